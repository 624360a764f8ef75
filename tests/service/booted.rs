//! The service in a system that a real systemd has booted: `systemd-nspawn` on this machine's own programs, with files that are
//! thrown away, a network of its own and nothing else running. `inside.sh` does it and tells facts; they are judged here.
//!
//! What a container cannot show is the unit's list of devices (`DeviceAllow=`), which is the kernel's business by control
//! groups: a serial line here is a pseudo-terminal, which every list lets in.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use super::{repository, run};

/// `$1`: an empty folder; `$2`: a folder for what comes out; `$3`: the program; `$4`: the unit that is the whole of the system;
/// `$5`: the repository.
const BOOT: &str = "set -e
mount --bind / \"$1\"
mount -t tmpfs tmpfs /run
exec systemd-nspawn --quiet --directory=\"$1\" --volatile=overlay --boot --register=no --keep-unit --private-network \
    --console=pipe --bind-ro=\"$3\":/usr/bin/hearthlink --bind=\"$2\":/out --bind-ro=\"$5\":/repository \
    --bind-ro=\"$4\":/etc/systemd/system/whole.service -- systemd.unit=whole.service";

/// The facts, by their names.
fn boot() -> (BTreeMap<String, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["root", "out"] {
        fs::create_dir(path(name)).unwrap();
    }
    let whole = "\
         [Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nTimeoutStartSec=480\n\
         StandardOutput=file:/out/facts\nStandardError=file:/out/complaints\n\
         ExecStart=/bin/bash /repository/tests/service/inside.sh /repository\n\
         ExecStopPost=/bin/sh -c 'journalctl --boot --no-pager > /out/journal'\n\
         ExecStopPost=/bin/systemctl poweroff --no-block --force\n";
    fs::write(path("whole.service"), whole).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", BOOT, "sh"]);
    command.arg(path("root")).arg(path("out")).arg(env!("CARGO_BIN_EXE_hearthlink"));
    command.arg(path("whole.service")).arg(repository());
    let (_, said) = run(command.stdin(std::process::Stdio::null()));
    let read = |name: &str| fs::read_to_string(path("out").join(name)).unwrap_or_default();
    let facts = read("facts")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    (facts, format!("{said}\n{}\n{}", read("complaints"), read("journal")))
}

#[test]
fn the_service_works_under_its_own_unit_and_may_nothing_else() {
    assert!(
        Path::new("/usr/sbin/init").exists() || Path::new("/sbin/init").exists(),
        "Debian's `systemd-sysv` is there"
    );
    let (facts, log) = boot();
    let fact = |name: &str| facts.get(name).map_or("nothing", String::as_str);
    let mut wrong = Vec::new();
    for (name, expected) in [
        // The package's user, without any right.
        ("groups", "hearthlink dialout gpio"),
        ("user", "hearthlink"),
        ("capabilities", "0000000000000000"),
        ("seccomp", "2"),
        ("state_directory", "hearthlink 700"),
        // It starts with a secret of root's, its status is seen, and it goes on after a reload.
        ("started", "active"),
        ("credential", "secret_page"),
        ("status", "Everything at home is working. No cloud is configured."),
        ("reloaded", "active"),
        // The message bus: BlueZ and nothing else; the stranger shows that the bus asks who it is.
        ("bus_bluez", "allowed"),
        ("bus_bluez_stranger", "denied"),
        ("bus_other", "denied"),
        ("bus_other_stranger", "allowed"),
        ("bus_own", "denied"),
        // The sandbox, by other programs.
        ("may_read_etc", "yes"),
        ("may_write_state", "yes"),
        ("may_read_cpuinfo", "yes"),
        ("may_write_etc", "no"),
        ("may_read_secrets", "no"),
        ("may_see_others", "no"),
        ("may_see_home", "no"),
        ("may_mount", "no"),
        ("may_unshare", "no"),
        // The watchdog: twice its time without a word against it, and then one that stands still.
        ("restarts_while_it_turns", "0"),
        ("restarted_by_watchdog", "active"),
        ("watchdog_said", "yes"),
        ("lan_only", "active"),
        ("lan_only_serial", "gone"),
        ("lan_only_null", "there"),
        // EX_CONFIG, and nobody tries again.
        ("bad_file", "failed 78 0"),
        ("no_secret", "active"),
        ("no_directory_of_secrets", "refused"),
    ] {
        if fact(name) != expected {
            wrong.push(format!("{name}: `{}` and not `{expected}`", fact(name)));
        }
    }
    // What came over a serial line, and through BlueZ, is on the broker.
    for (name, part) in [
        ("serial", "\"temperature\":7.25"),
        ("bluetooth", "\"temperature\":21.5"),
        ("lan_only_state", "\"state\":\"OFF\""),
    ] {
        if !fact(name).contains(part) {
            wrong.push(format!("{name}: `{}` and not `{part}`", fact(name)));
        }
    }
    assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
}
