//! A store of a later version, as somebody has it who went back to an earlier package: refused, told, not touched.

use std::{
    fs,
    process::{Command, Output},
};

use rusqlite::Connection;

use crate::{
    disk::FaultyDisk,
    golden::{ALL, Golden},
    home::{Home, house, kept},
    house::House,
    raw::{Raw, publish},
};

const LATER: usize = 99;

/// A version that this program does not know.
fn make_later(house: &House) {
    let connection = Connection::open(house.store_file()).unwrap();
    connection.execute_batch("CREATE TABLE of_later (x TEXT) STRICT").unwrap();
    connection.pragma_update(None, "user_version", LATER).unwrap();
    connection.close().unwrap();
}

/// What the later program does when it is there again, as far as this one can tell.
fn make_known(house: &House, version: usize) {
    let connection = Connection::open(house.store_file()).unwrap();
    connection.execute_batch("DROP TABLE of_later").unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
    connection.close().unwrap();
}

fn newest() -> Golden {
    ALL.into_iter().max_by_key(|golden| golden.schema).unwrap()
}

fn ask(house: &House, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    program.args(arguments).arg("--config").arg(house.path().join("home.yaml")).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    // `doctor` and `check` may break lines.
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every file of the store but its lock, with its bytes.
fn files(house: &House) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(house.store_file().parent().unwrap()).unwrap();
    let files = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(".lock"));
    let mut files: Vec<_> = files
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_store_of_a_later_version_is_told_everywhere_and_not_touched_while_the_home_goes_on() {
    let house = house();
    let golden = newest();
    golden.put(&house.store_file());
    make_later(&house);
    let copy = house.store_file().with_file_name("hearthlink.db.v1");
    fs::write(&copy, "from before").unwrap();
    let before = files(&house);

    let mut home = Home::start_in(house, FaultyDisk::new()).await;
    let status = home.disk_is_reported("written by a later Hearthlink").await;
    let sentence = status["verdict"]["sentence"].as_str().unwrap().to_owned();
    assert!(
        sentence.contains("of version 99") && sentence.contains("install the later one again"),
        "{sentence}"
    );
    assert!(sentence.contains("hearthlink.db.v1"), "the copy is named: {sentence}");
    home.house.page_when("a later one wrote it", |page| page.contains("written by a later Hearthlink")).await;
    home.home_goes_on().await;
    home.sensor_says(1, "lost").await;
    assert!(home.sensor.is_quiet().await, "nothing is acknowledged that is not kept");
    let outcome = home.command_is_answered(r#"{"id":"c1","state":"ON"}"#).await;
    assert_eq!(outcome["reason"], "not_durable", "its journal cannot be asked");
    home.program.must_run();

    let asked: [(&[&str], i32); 4] =
        [(&["status"], 1), (&["doctor"], 1), (&["queue", "list"], 1), (&["check"], 0)];
    for (arguments, code) in asked {
        let output = ask(&home.house, arguments);
        let said = words(&[output.stdout, output.stderr].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains("of version 99, written by a later Hearthlink"), "{arguments:?}: {said}");
    }
    for arguments in [&["queue", "drop", "1", "--yes"][..], &["reset", "--all", "--yes"]] {
        let output = ask(&home.house, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
    let Home { house, program, .. } = home;
    program.stop().await;
    assert!(files(&house) == before, "something was changed");

    // The later one is installed again.
    make_known(&house, golden.schema);
    let program = house.start().await;
    house.status_when("all is there again", |status| status["store"]["fault"].is_null()).await;
    let mut sensor = Raw::to(house.port).await;
    sensor.connect("sensor", true).await;
    sensor.send(&publish(2, "sensors/attic", 3, b"after")).await;
    assert_eq!(sensor.next().await, Some((0x40, vec![0, 3])));
    program.kill().await;
    let kept = kept(&house).await;
    let waited = golden.waiting.iter().filter(|waiting| waiting.topic.starts_with("sensors/"));
    for payload in waited.map(|waiting| waiting.payload).chain(["after"]) {
        assert!(kept.contains(payload), "{payload} of {kept:?}");
    }
}

#[tokio::test]
async fn a_home_that_went_back_goes_on_by_itself_once_the_copy_is_in_place() {
    let house = house();
    ALL[1].put_as_of_now(&house.store_file());
    // Brought up to date by this program, which here is the later one.
    house.start().await.stop().await;
    let file = house.store_file();
    let copy = file.with_file_name(format!("hearthlink.db.v{}", ALL[1].schema));
    assert!(copy.exists());
    make_later(&house);

    let home = Home::start_in(house, FaultyDisk::new()).await;
    home.disk_is_reported("written by a later Hearthlink").await;
    // Without the stop that docs/upgrades.md has, so at one blow: the gateway looks for its store again and again.
    fs::rename(copy, &file).unwrap();
    home.disk_is_well().await;
    let Home { house, program, .. } = home;
    program.kill().await;
    let kept = kept(&house).await;
    for waiting in ALL[1].waiting {
        assert!(kept.contains(waiting.payload), "{} of {kept:?}", waiting.payload);
    }
}
