//! How the golden store of a release is made: a gateway lives through a day, and loses its power.

use std::{fs, time::Duration};

use hearthlink::{clock::Clock, model::LinkState};
use rusqlite::Connection;

use crate::{
    gateway::Papers,
    golden::directory,
    house::{House, store_file},
    raw::{Raw, publish, publish5, text},
    then,
};

const AT_LEAST_ONCE: u8 = 2;
const RETAINED: u8 = 1;
const EXPIRY: u8 = 2;
const USER: u8 = 0x26;

/// A publish of QoS 1 that is acknowledged, by MQTT 5.
async fn say(client: &mut Raw, flags: u8, topic: &str, properties: &[u8], payload: &str) {
    client.send(&publish5(AT_LEAST_ONCE | flags, topic, 1, properties, payload.as_bytes())).await;
    let (first, body) = client.next().await.unwrap();
    assert_eq!((first, &body[..2]), (0x40, &[0, 1][..]), "not acknowledged: {body:?}");
}

fn expiry(seconds: u32) -> Vec<u8> {
    [&[EXPIRY][..], &seconds.to_be_bytes()].concat()
}

#[tokio::test]
#[ignore = "writes into the repository: at a release"]
async fn write_the_golden_store() {
    let target = directory().join(concat!("store-", env!("CARGO_PKG_VERSION"), ".db"));
    assert!(!target.exists(), "{} is there already; nothing is written over", target.display());
    let seconds = Duration::from_secs;
    let start = then().as_millis() - 600_000 - 700_000;
    let clock = Clock::manual(hearthlink::model::Timestamp::from_millis(start));
    let papers = Papers::new();
    // A port at which nobody is.
    let house = House::start(&papers, "wss://127.0.0.1:9/mqtt", &clock).await;
    let mut changes = house.board.watch();
    while house.board.line() != LinkState::Waiting {
        changes.changed().await.unwrap();
    }
    // The line's past is looked at now and then, and written every ten minutes.
    tokio::time::sleep(seconds(2)).await;
    clock.advance(seconds(640));

    let mut sensor = Raw::to(house.port()).await;
    sensor.connect5("sensor", true, 0).await;
    say(&mut sensor, 0, "sensors/attic", &[], "21.5").await;
    clock.advance(seconds(30));
    let unit = [&[USER][..], &text("unit"), &text("C")].concat();
    say(&mut sensor, 0, "sensors/attic", &[expiry(3600), unit].concat(), "21.7").await;
    clock.advance(seconds(10));

    let mut plug = house.plug().await;
    let mut switch = house.client("switch").await;
    switch.subscribe("home/plug/availability", 0).await;
    while switch.got().await.payload != b"online" {}
    switch.subscribe("home/plug/result", 0).await;
    switch.send(&publish(0, "home/plug/set", 0, br#"{"id":"c1","state":"ON"}"#)).await;
    assert_eq!(plug.got().await.payload, b"ON");
    plug.send(&publish(0, "stat/plug/RESULT", 0, br#"{"POWER":"ON"}"#)).await;
    assert_eq!(switch.got().await.topic, "home/plug/result");

    clock.advance(seconds(19));
    for payload in ["10", "11", "12"] {
        say(&mut sensor, 0, "sensors/cellar", &[], payload).await;
    }
    clock.advance(seconds(1));
    say(&mut sensor, RETAINED, "porch/lamp", &[], "on").await;
    say(&mut sensor, RETAINED, "porch/brief", &expiry(3600), "on").await;
    let mut visitor = Raw::to(house.port()).await;
    visitor.connect5("visitor", false, 86_400).await;
    visitor.subscribe5("notes/door", 1).await;
    visitor.send(&[0xE0, 0]).await;
    assert!(visitor.hangs_up().await);
    for payload in ["first", "second"] {
        say(&mut sensor, 0, "notes/door", &[], payload).await;
    }
    clock.set_trusted(false);
    say(&mut sensor, 0, "sensors/attic", &[], "21.9").await;
    switch.send(&publish(0, "home/plug/set", 0, br#"{"id":"c2","state":"ON"}"#)).await;
    assert_eq!(plug.got().await.payload, b"ON", "it has begun, and the plug does not confirm it");

    let file = store_file(&papers);
    let copy = papers.directory.path().join("copy.db");
    fs::copy(&file, &copy).unwrap();
    fs::copy(file.with_file_name("hearthlink.db-wal"), copy.with_file_name("copy.db-wal")).unwrap();
    let connection = Connection::open(&copy).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let mut statement = connection
        .prepare(
            "SELECT sequence, topic, CAST(payload AS TEXT), is_unsure, born FROM outbox ORDER BY sequence",
        )
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (sequence, topic, payload): (u64, String, String) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        let (is_unsure, born): (bool, i64) = (row.get(3).unwrap(), row.get(4).unwrap());
        println!("{sequence} {topic} {payload} unsure {is_unsure} age {}", then().as_millis() - born);
    }
    drop(rows);
    drop(statement);
    let name: String =
        connection.query_row("SELECT value FROM meta WHERE name = 'store'", [], |row| row.get(0)).unwrap();
    println!("name {name}");
    // The last connection folds the log in.
    connection.close().unwrap();
    house.end().await;
    fs::copy(&copy, target).unwrap();
}
