//! The first start of the real program: while there is no configuration its page says what to write, judges the file as it
//! is saved, and makes way for the status page.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with the other tests of the real program")]
mod program;

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

use program::{Port, page, status, unescaped};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the page has all of these words.
async fn says(address: SocketAddr, words: &[&str]) -> String {
    let mut last = None;
    let wait = async {
        loop {
            last = page(address, "/").await;
            match &last {
                Some(page) if words.iter().all(|word| page.contains(word)) => return page.clone(),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let found = timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("the page never says {words:?}: {last:?}"))
}

/// The configuration that the page gives, as whoever copies it has it.
fn example(page: &str) -> String {
    let (_, rest) = page.split_once("aria-label=\"A configuration\"><code>").unwrap();
    let (text, _) = rest.split_once("</code>").unwrap();
    unescaped(text)
}

/// The program without its configuration, where its page is, and who reads its log, which must not fill the pipe.
async fn first_start(file: &Path) -> (Child, SocketAddr, JoinHandle<()>) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(["run", "--guide", "127.0.0.1:0", "--config"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(program.stderr.take().unwrap()).lines();
    let first = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    let (_, rest) = first.split_once("http://").unwrap_or_else(|| panic!("no page: {first}"));
    let address = rest.split_once('/').unwrap().0.parse().unwrap();
    (program, address, tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_page_gives_is_judged_as_it_is_saved_and_started_when_it_is_good() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("home.yaml");
    let (mut program, address, reader) = first_start(&file).await;
    let asked = format!("hearthlink init --config {}", file.display());
    let text = example(&says(address, &["There is no configuration yet.", &asked]).await);
    let broker = Port::reserve();
    let taken = text.lines().find(|line| line.trim_start().starts_with("- address: 127.0.0.1:")).unwrap();
    let good = text.replace(taken, &format!("    - address: {}", broker.address()));
    fs::write(&file, good.replace("broker:\n", "brokre:\n")).unwrap();
    let bad = says(address, &["The configuration is not good yet.", "brokre", "did you mean"]).await;
    assert!(bad.contains("home.yaml:"), "its place: {bad}");
    fs::write(&file, format!("{good}# A secret in the wrong place:\ncloud: {{password: hunter2}}\n"))
        .unwrap();
    let bad = says(address, &["The configuration is not good yet.", "password"]).await;
    assert!(!bad.contains("hunter2"), "{bad}");
    fs::write(&file, format!("{good}# And under a wrong name:\ncloud: {{passwd: hunter3}}\n")).unwrap();
    let bad = says(address, &["The configuration is not good yet.", "passwd"]).await;
    assert!(!bad.contains("hunter3"), "{bad}");
    // Another file is missing, and then it is there.
    fs::write(&file, good.replace("web:\n", "web:\n  password_file: page-password\n")).unwrap();
    says(address, &["The configuration is not good yet.", "page-password"]).await;
    let password = home.path().join("page-password");
    fs::write(&password, "let me in\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let link = format!("<a href=\"http://{address}/\">");
    says(address, &["The configuration is good: the gateway starts.", &link]).await;
    program.kill().await.unwrap();
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_on_the_first_page_makes_the_gateway_that_stands_there_then() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("home.yaml");
    let (mut program, address, reader) = first_start(&file).await;
    let page = says(address, &["There is no configuration yet."]).await;
    let (_, rest) = page.split_once("aria-label=\"The command\"><code>").unwrap();
    let (command, _) = rest.split_once("</code>").unwrap();
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("hearthlink"));
    let init = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(words)
        .args(["--yes", "--no-scan"])
        .kill_on_drop(true)
        .output();
    let init = timeout(PATIENCE, init).await.unwrap().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let link = format!("<a href=\"http://{address}/\">");
    says(address, &["The configuration is good: the gateway starts.", &link]).await;
    says(address, &["id=\"verdict\"", "id=\"device-thermometer\""]).await;
    assert!(status(address).await.unwrap()["now"].is_string());
    program.kill().await.unwrap();
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_comments_only_as_the_package_brings_it_is_a_first_start_and_init_fills_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yaml");
    fs::write(&file, "# Nothing is set up yet.\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(home.path().join("config.d")).unwrap();
    let more = home.path().join("config.d/1.yaml");
    fs::write(&more, "# Nor here.\n").unwrap();
    let (mut program, address, reader) = first_start(&file).await;
    says(address, &["There is no configuration yet."]).await;
    // What is wrong is said wherever it stands.
    fs::write(&more, "gatewya: {id: home}\n").unwrap();
    says(address, &["The configuration is not good yet.", "1.yaml", "did you mean"]).await;
    fs::write(&more, "# Nor here.\n").unwrap();
    says(address, &["There is no configuration yet."]).await;
    let init = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(["init", "--yes", "--no-scan", "--port", &address.port().to_string(), "--config"])
        .arg(&file)
        .kill_on_drop(true)
        .output();
    let init = timeout(PATIENCE, init).await.unwrap().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    says(address, &["id=\"verdict\"", "id=\"device-thermometer\""]).await;
    program.kill().await.unwrap();
    reader.await.unwrap();
}

#[tokio::test]
async fn a_first_page_that_everybody_could_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(["run", "--guide", "0.0.0.0:0", "--config"])
        .arg(home.path().join("home.yaml"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{words}");
    assert!(words.contains("`hearthlink init` writes one") && words.contains("0.0.0.0:0"), "{words}");
}
