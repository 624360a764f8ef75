//! What the real program tells systemd, heard on a socket of the test's own: that everything runs, how the house is, that it
//! reads its configuration again, that it stops, and the watchdog's word, which a disk that hangs and a name that is never
//! resolved must not keep it from.
//!
//! That a stuck part does keep it from that is tested in `src/app/vigil`, by paused time; systemd itself is in tests/service.rs.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "support/disk.rs"]
#[allow(dead_code, reason = "shared with the tests of the disk")]
mod disk;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with the other tests of the real program")]
mod program;

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use disk::FaultyDisk;
use program::{Port, Program, status};
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Short, so that the test is: the parts are asked twice a second.
const WATCHDOG: Duration = Duration::from_millis(1500);

/// systemd, as far as the program can see it.
struct Systemd {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { directory, socket }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("home.yaml")
    }

    /// What a program that it starts has in its environment.
    fn environment(&self, watchdog: Option<Duration>) -> Vec<(&'static str, OsString)> {
        let socket = ("NOTIFY_SOCKET", self.directory.path().join("notify").into_os_string());
        let watchdog = watchdog.map(|time| ("WATCHDOG_USEC", time.as_micros().to_string().into()));
        [socket].into_iter().chain(watchdog).collect()
    }

    /// The lines of the next word.
    async fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length =
            timeout(PATIENCE, self.socket.recv(&mut bytes)).await.expect("it says something").unwrap();
        let word = String::from_utf8(bytes[..length].to_vec()).unwrap();
        word.lines().map(str::to_owned).collect()
    }

    /// All lines up to the one that begins so.
    async fn until(&self, beginning: &str) -> Vec<String> {
        let mut all = Vec::new();
        while !all.iter().any(|line: &String| line.starts_with(beginning)) {
            all.extend(self.next().await);
        }
        all
    }

    /// What was said so far.
    fn so_far(&self) -> String {
        let (mut all, mut bytes) = (String::new(), [0; 4096]);
        while let Ok(length) = self.socket.try_recv(&mut bytes) {
            all.push_str(str::from_utf8(&bytes[..length]).unwrap());
        }
        all
    }

    /// So many words of the watchdog's, from now on.
    async fn fed(&self, times: usize) {
        self.so_far();
        for _ in 0..times {
            self.until("WATCHDOG=1").await;
        }
    }
}

async fn signal(id: u32, name: &str) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().await.unwrap().success());
}

fn position(lines: &[String], line: &str) -> Option<usize> {
    lines.iter().position(|other| other == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_the_start_the_house_a_reload_and_the_end_and_the_watchdogs_word_all_along() {
    let systemd = Systemd::new();
    let (broker, file) = (Port::reserve(), systemd.file());
    let listener = broker.address();
    let write = |level: &str| {
        let text = format!(
            "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"{listener}\"}}]}}\nlog: {level}\n"
        );
        fs::write(&file, text).unwrap();
    };
    write("{}");
    let mut program = Program::start(&file, systemd.environment(Some(WATCHDOG)));
    let id = program.id().unwrap();
    let mut said = systemd.until("READY=1").await;
    // What it is depends on the machine, whose disk may be full.
    let is_sentence = |line: &String| line.starts_with("STATUS=") && line.ends_with('.');
    if !said.iter().any(is_sentence) {
        said = systemd.until("STATUS=").await;
    }
    assert!(said.iter().any(is_sentence), "{said:?}");
    systemd.fed(5).await;

    // A good file, and one that is refused: the service goes on either way.
    for level in ["{level: debug}", "{level: mumble}"] {
        write(level);
        signal(id, "-HUP").await;
        let said = systemd.until("READY=1").await;
        let begun =
            position(&said, "RELOADING=1").expect("that it reloads is said before that it is ready again");
        let time = said[begun + 1].strip_prefix("MONOTONIC_USEC=").expect("systemd 253 wants to know when");
        assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{time}");
        systemd.fed(1).await;
    }

    // So short that it is over before anybody has waited too long.
    signal(id, "-STOP").await;
    tokio::time::sleep(WATCHDOG / 2).await;
    signal(id, "-CONT").await;
    systemd.fed(3).await;
    assert!(!program.last_words().contains("is stuck"), "{}", program.last_words());

    signal(id, "-TERM").await;
    let said = systemd.until("STOPPING=1").await;
    assert_eq!(said.last().unwrap(), "STATUS=Stopping.");
    let ended = timeout(PATIENCE, program.wait()).await.unwrap();
    assert!(ended.success(), "{}", program.last_words());
    let rest = systemd.so_far();
    assert!(!rest.contains("READY=1") && !rest.contains("RELOADING=1"), "after the end has begun: {rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_and_a_name_that_is_never_resolved_are_no_reason_to_end_the_gateway() {
    let (systemd, disk) = (Systemd::new(), FaultyDisk::new());
    let (broker, web) = (Port::reserve(), Port::reserve());
    let text = format!(
        "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"{}\"}}]}}\nweb: {{address: \"{}\"}}\n\
         cloud: {{url: \"wss://cloud.example/mqtt\"}}\ndevices: [{{id: thermometer, kind: thermometer}}]\n",
        broker.address(),
        web.address()
    );
    fs::write(systemd.file(), text).unwrap();
    disk.hang_names();
    let environment = systemd.environment(Some(WATCHDOG)).into_iter();
    let environment = environment.chain(disk.environment().map(|(name, path)| (name, path.into_os_string())));
    let mut program = Program::start(&systemd.file(), environment);
    systemd.until("READY=1").await;
    disk.hang_syncs();
    let says_so = async {
        while !status(web.address()).await.is_some_and(|status| {
            status["verdict"]["sentence"].as_str().is_some_and(|sentence| sentence.contains("disk"))
        }) {
            // A socket that is full would hold up the one who speaks.
            systemd.so_far();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, says_so).await.expect("the page says that the disk hangs");
    assert!(disk.names_hung() > 0, "the line waits for its name");
    // Several times what systemd would wait.
    systemd.fed(9).await;
    program.must_run();
    assert!(!program.last_words().contains("is stuck"), "{}", program.last_words());
    disk.heal();
    systemd.fed(3).await;
    program.stop().await;
}

/// The program at its first start, without a configuration.
fn first_start(systemd: &Systemd, watchdog: Option<Duration>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(["run", "--guide", "127.0.0.1:0", "--config"])
        .arg(systemd.file())
        .envs(systemd.environment(watchdog))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_of_a_gateway_that_waits_for_its_configuration_and_of_nothing_where_there_is_none()
{
    let systemd = Systemd::new();
    let mut program = first_start(&systemd, Some(WATCHDOG));
    let said = systemd.until("STATUS=").await;
    assert!(position(&said, "READY=1").is_some(), "{said:?}");
    let status = said.last().unwrap();
    assert!(status.starts_with("STATUS=There is no configuration yet; http://127.0.0.1:"), "{status}");
    systemd.fed(5).await;
    program.kill().await.unwrap();

    let systemd = Systemd::new();
    let mut program = first_start(&systemd, None);
    systemd.until("READY=1").await;
    assert!(timeout(2 * WATCHDOG, systemd.next()).await.is_err(), "there is no watchdog");
    signal(program.id().unwrap(), "-TERM").await;
    assert_eq!(systemd.next().await[0], "STOPPING=1");
    assert!(timeout(PATIENCE, program.wait()).await.unwrap().unwrap().success());
}
