//! The journal itself: Debian's `systemd-journald` in a mount namespace of its own, and `journalctl` on what it wrote.
//!
//! The socket's path is fixed by systemd, so the gateway runs in that namespace, too. Needs root, util-linux and systemd's
//! programs; the machine's own journal sees nothing of it. A missing program is a failure.

use std::process::Output;

use super::*;

/// `$1`: where the journal's files go; the rest is run beside it.
const BESIDE_A_JOURNAL: &str = "set -e
files=$1; shift
mount --bind \"$files\" /mnt
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --move /mnt /run/log/journal 2>/dev/null || mount --bind \"$files\" /run/log/journal
/lib/systemd/systemd-journald &
until [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
exec \"$@\"";

fn journalctl(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new("journalctl").args(arguments).output().expect("systemd's journalctl is there");
    let complaint = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success() || stdout.is_empty(), "journalctl {arguments:?}: {complaint}");
    String::from_utf8(stdout).unwrap()
}

/// The entries with this id; waits for the first.
fn entries(files: &Path, event: KeyEvent) -> Vec<Value> {
    let wanted = format!("MESSAGE_ID={}", event.id());
    let end = Instant::now() + PATIENCE;
    loop {
        let written = files.read_dir().unwrap().next();
        let said = written.map(|directory| {
            let directory = directory.unwrap().path();
            journalctl(&["-D", directory.to_str().unwrap(), "-o", "json", "--no-pager", "-q", &wanted])
        });
        let said = said.unwrap_or_default();
        if !said.trim().is_empty() {
            return said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        assert!(Instant::now() < end, "{event:?} is not in the journal");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_journal_finds_key_events_by_their_id_and_has_their_fields() {
    let mut house = House::new();
    house.write("{format: journal}");
    let files = tempfile::tempdir().unwrap();
    // With process ids of their own, all of it ends with the first.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", BESIDE_A_JOURNAL, "sh"]).arg(files.path());
    command.arg(env!("CARGO_BIN_EXE_hearthlink")).args(["run", "--config"]).arg(&house.file);
    command.env_remove("HEARTHLINK_LOG").stdin(Stdio::null());
    house.gateway = Some(command.spawn().expect("util-linux's unshare is there"));
    wait_for_door(house.broker.address());

    let running = entries(files.path(), KeyEvent::Running);
    let [running] = running.as_slice() else { panic!("{running:?}") };
    assert_eq!((&running["MESSAGE"], &running["GATEWAY"]), (&json!("running"), &json!("home")));
    assert_eq!((&running["PRIORITY"], &running["SYSLOG_IDENTIFIER"]), (&json!("5"), &json!("hearthlink")));

    publish(
        house.broker.address(),
        "home/toaster/set",
        r#"{"id":"a1","state":"ON","expires_at":"2020-01-01T00:00:00Z"}"#,
    );
    let refused = entries(files.path(), KeyEvent::CommandRefused);
    assert_eq!((&refused[0]["DEVICE"], &refused[0]["ID"]), (&json!("toaster"), &json!("a1")));
    assert_eq!(entries(files.path(), KeyEvent::DeviceOnline)[0]["DEVICE"], "toaster");
}

#[test]
fn journalctl_takes_the_catalog() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&directory).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::write(directory.join("hearthlink.catalog"), page("systemd/hearthlink.catalog")).unwrap();
    let root = format!("--root={}", root.path().display());
    journalctl(&[&root, "--update-catalog"]);
    let listed = journalctl(&[&root, "--list-catalog", "--no-pager"]);
    for event in KeyEvent::ALL {
        assert!(listed.contains(event.id()), "{event:?} is not in:\n{listed}");
    }
}
