//! The service as systemd sees it: the unit and what the package puts beside it, judged by Debian's own programs, and
//! started by a real systemd under its own restrictions. Needs root; `.ci/run` installs what it needs, and without that this
//! fails.
#![cfg(feature = "interop")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "service/booted.rs"]
mod booted;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What systemd-analyze may say of the unit with all buses, out of 10: issue 8's figure. Less is better.
const EXPOSURE: f64 = 1.7;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a program says, standard error too, and whether it went well.
fn run(command: &mut Command) -> (bool, String) {
    let said = command.env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "").output();
    let Output { status, stdout, stderr } =
        said.unwrap_or_else(|error| panic!("{:?}: {error}; `.ci/run` installs it", command.get_program()));
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// The unit in a folder, with the program that was built; beside it the drop-in, if it is to be there.
struct Unit {
    folder: tempfile::TempDir,
}

impl Unit {
    fn new(drop_in: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(repository().join("systemd/hearthlink.service")).unwrap();
        assert!(text.contains("ExecStart=/usr/bin/hearthlink run --config /etc/hearthlink/config.yaml\n"));
        let text = text.replace("/usr/bin/hearthlink", env!("CARGO_BIN_EXE_hearthlink"));
        fs::write(folder.path().join("hearthlink.service"), text).unwrap();
        if let Some(name) = drop_in {
            let beside = folder.path().join("hearthlink.service.d");
            fs::create_dir(&beside).unwrap();
            fs::copy(repository().join("systemd").join(name), beside.join(name)).unwrap();
        }
        Self { folder }
    }

    /// systemd-analyze, which looks for drop-ins where it looks for units.
    fn analyze(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("systemd-analyze");
        // A path that ends with a colon stands before the usual ones.
        command.args(arguments).arg(self.file());
        run(command.env("SYSTEMD_UNIT_PATH", format!("{}:", self.folder.path().display())))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hearthlink.service")
    }

    fn exposure(&self) -> f64 {
        let (_, said) = self.analyze(&["security", "--offline=true"]);
        let figure = said.split_once("Overall exposure level for hearthlink.service: ");
        let figure = figure.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        figure.unwrap_or_else(|| panic!("no figure: {said}"))
    }
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    for drop_in in [None, Some("lan-only.conf")] {
        let unit = Unit::new(drop_in);
        let (is_good, said) = unit.analyze(&["verify", "--man=no", "--recursive-errors=no"]);
        assert!(is_good && said.trim().is_empty(), "{drop_in:?}: {said}");
    }
    // It would have.
    let unit = Unit::new(None);
    let text = fs::read_to_string(unit.file()).unwrap().replace("WatchdogSec=", "WatchdogSeconds=");
    fs::write(unit.file(), text).unwrap();
    let (_, said) = unit.analyze(&["verify", "--man=no", "--recursive-errors=no"]);
    assert!(said.contains("WatchdogSeconds"), "{said}");
}

#[test]
fn the_unit_exposes_little_and_less_in_a_house_without_buses() {
    let (all, lan_only) = (Unit::new(None).exposure(), Unit::new(Some("lan-only.conf")).exposure());
    println!(
        "systemd-analyze security: {all} with all buses, {lan_only} with lan-only.conf; at most {EXPOSURE}"
    );
    assert!(all <= EXPOSURE && lan_only < all, "{all}, {lan_only}");
}

#[test]
fn the_user_is_made_with_its_groups_whether_or_not_these_are_there() {
    for before in ["", "gpio:x:997:pi\ndialout:x:20:pi\n"] {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("group"), before).unwrap();
        let mut command = Command::new("systemd-sysusers");
        command.arg(format!("--root={}", root.path().display()));
        let (is_good, said) = run(command.arg(repository().join("deploy/deb/sysusers.conf")));
        assert!(is_good, "{said}");
        let read = |name: &str| fs::read_to_string(etc.join(name)).unwrap();
        let (users, groups) = (read("passwd"), read("group"));
        let user = users.lines().find(|line| line.starts_with("hearthlink:")).expect("the user");
        assert!(user.ends_with(":/var/lib/hearthlink:/usr/sbin/nologin"), "{user}");
        for group in ["gpio", "dialout"] {
            let line = groups.lines().find(|line| line.starts_with(&format!("{group}:"))).expect("the group");
            let members: Vec<&str> = line.rsplit_once(':').unwrap().1.split(',').collect();
            let was_there = before.lines().any(|line| line.starts_with(group));
            assert!(members.contains(&"hearthlink"), "{line}");
            assert_eq!(members.contains(&"pi"), was_there, "{line}");
        }
        let own: Vec<&str> = groups.lines().filter(|line| line.contains("hearthlink")).collect();
        assert_eq!(own.len(), 3, "its own, and the two of the buses: {own:?}");
    }
}

/// `$1`: our rules. In a namespace of its own, so that the machine's udev never sees them; udevadm reads all rules there are,
/// and only says what it would do.
const TEST_RULES: &str = "set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d
cp \"$1\" /run/udev/rules.d/60-hearthlink.rules
udevadm test --action=add /sys/devices/virtual/mem/null 2>&1";

#[test]
fn udev_understands_every_rule() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(repository().join("deploy/deb/60-hearthlink.rules")).unwrap();
    // The group is made by the package, and is not on every machine.
    let text = text.replace("GROUP=\"gpio\"", "GROUP=\"dialout\"");
    let judge = |text: &str| {
        let file = folder.path().join("rules");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", TEST_RULES, "sh"]);
        let (is_good, said) = run(command.arg(file));
        assert!(
            is_good && said.contains("Reading rules file: /run/udev/rules.d/60-hearthlink.rules"),
            "{said}"
        );
        let about_ours = |line: &&str| line.contains("60-hearthlink.rules:");
        said.lines().filter(about_ours).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(judge(&text), Vec::<String>::new());
    assert!(!judge(&text.replace("MODE=", "MODUS=")).is_empty(), "it would say so");
}
