//! What a user who upgrades has on the disk goes on: stores and configurations of every earlier version, with today's
//! program.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "upgrade/configurations.rs"]
mod configurations;
#[allow(dead_code, reason = "tests/link.rs needs more of it")]
#[path = "support/gateway.rs"]
mod gateway;
#[allow(dead_code, reason = "tests/disk.rs needs more of it")]
#[path = "upgrade/golden.rs"]
mod golden;
#[path = "upgrade/house.rs"]
mod house;
#[path = "upgrade/made.rs"]
mod made;
#[allow(dead_code, reason = "tests/cloud_faults.rs needs more of it")]
#[path = "support/peer.rs"]
mod peer;
#[allow(dead_code, reason = "shared with the tests of the broker")]
#[path = "support/raw.rs"]
mod raw;

use std::{collections::BTreeSet, fs, time::Duration};

use gateway::Papers;
use golden::{ALL, Golden, RELEASED, directory, version};
use hearthlink::{
    clock::Clock,
    model::{CommandId, DeviceId, OutcomeStatus, Timestamp},
    store::{Begun, SCHEMA_VERSION, Store, StoreOptions},
};
use house::{House, next, store_file};
use peer::Peer;
use raw::publish;
use serde_json::Value;

/// Ten minutes after the files were left.
pub fn then() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T12:10:00Z").unwrap()
}

fn id(golden: &Golden, sequence: u64) -> String {
    format!("{}-{sequence}", golden.name)
}

/// To the nearest: the broker counted the life of what it keeps by a clock of its own.
fn seconds(time: Duration) -> u64 {
    time.as_secs_f64().round() as u64
}

#[test]
fn no_version_of_the_tables_and_no_release_is_without_its_golden_file() {
    for schema in 1..SCHEMA_VERSION {
        let has_it = ALL.iter().any(|golden| golden.schema == schema);
        assert!(has_it, "STEPS has grown, and no golden file has version {schema}: tests/golden/README.md");
    }
    let changelog = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md")).unwrap();
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split_once(']'));
    let told: BTreeSet<&str> =
        headings.map(|(version, _)| version).filter(|version| *version != "Unreleased").collect();
    let known: BTreeSet<&str> = RELEASED.iter().map(|(version, _)| *version).collect();
    assert!(told.is_subset(&known), "released, and not in the table: {told:?} {known:?}");
    for (release, schema) in RELEASED {
        let file = format!("store-{release}.db");
        let golden = ALL.iter().find(|golden| golden.file == file).unwrap_or_else(|| panic!("{file}"));
        assert_eq!(golden.schema, schema, "{release}");
        assert!(directory().join(format!("config-{release}")).is_dir(), "{release}");
        if release == env!("CARGO_PKG_VERSION") {
            assert_eq!(
                schema, SCHEMA_VERSION,
                "the tables are others than in {file}: if {release} is out, raise the version in Cargo.toml; if not, \
                 write that file anew"
            );
        }
    }
    let house = tempfile::tempdir().unwrap();
    for golden in ALL {
        let path = house.path().join(golden.file).join("store.db");
        golden.put(&path);
        assert_eq!(version(&path), golden.schema, "{}", golden.file);
    }
}

#[tokio::test]
async fn everything_that_an_earlier_version_kept_is_in_the_store_of_this_one() {
    for golden in ALL {
        let case = golden.file;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.db");
        golden.put(&path);
        let store = Store::open(&path, &StoreOptions::default(), Clock::manual(then())).unwrap();

        let records = store.pending(0, 1000, usize::MAX).await.unwrap();
        let said: Vec<_> = records
            .iter()
            .map(|record| {
                let topic = record.message.topic.as_str().strip_prefix("hearthlink/home/").unwrap();
                let payload = String::from_utf8_lossy(&record.message.payload).into_owned();
                (
                    record.sequence,
                    record.id.as_str().to_owned(),
                    topic,
                    payload,
                    store.age(record.born).as_secs(),
                )
            })
            .collect();
        let expected = golden.waiting.iter().map(|waiting| {
            let payload = waiting.payload.to_owned();
            (waiting.sequence, id(&golden, waiting.sequence), waiting.topic, payload, waiting.age)
        });
        assert_eq!(said, expected.collect::<Vec<_>>(), "{case}");
        let lives = records.iter().filter_map(|record| record.message.properties.as_ref());
        let lives: Vec<_> =
            lives.map(|properties| (properties.expiry.unwrap().as_secs(), properties.user.clone())).collect();
        assert_eq!(lives, [(3600, vec![("unit".to_owned(), "C".to_owned())])], "{case}");

        let (plug, command) = (DeviceId::parse("plug").unwrap(), |text| CommandId::parse(text).unwrap());
        assert_eq!(store.interrupted().await.unwrap(), [(command("c2"), plug.clone())], "{case}");
        let again = store.begin(&command("c1"), &plug, then()).await.unwrap();
        assert!(
            matches!(again, Begun::Finished(outcome) if outcome.status == OutcomeStatus::Applied),
            "{case}"
        );
        assert_eq!(store.states().await.unwrap()[&plug]["state"], "ON", "{case}");

        let retained = store.retained().await.unwrap();
        let lamp = retained.iter().find(|message| message.topic.as_str() == "porch/lamp").unwrap();
        assert_eq!((&lamp.payload[..], lamp.retain), (&b"on"[..], true), "{case}");
        if golden.schema > 1 {
            let brief = retained.iter().find(|message| message.topic.as_str() == "porch/brief").unwrap();
            let left = brief.properties.as_ref().unwrap().expiry.unwrap();
            assert_eq!(seconds(left), 3000, "{case}: ten minutes of an hour are over");
        }
        let sessions = store.sessions().await.unwrap();
        let (_, visitor) = sessions.iter().find(|(client, _)| client == "visitor").unwrap();
        if golden.schema > 1 {
            assert_eq!(visitor.left.map(seconds), Some(86_400 - 600), "{case}");
        }
        let notes = store.awaiting("visitor").await.unwrap();
        let notes: Vec<_> = notes.iter().map(|note| String::from_utf8_lossy(&note.message.payload)).collect();
        assert_eq!(notes, golden.notes, "{case}");
        assert_eq!(store.noted("line").await.unwrap().is_some(), golden.has_past, "{case}");
        store.closed().await;

        assert_eq!(version(&path), SCHEMA_VERSION);
        let copy = directory.path().join(format!("hearthlink.db.v{}", golden.schema));
        assert_eq!(copy.exists(), golden.schema < SCHEMA_VERSION, "{case}");
        if copy.exists() {
            assert_eq!(version(&copy), golden.schema, "{case}");
        }
    }
}

#[tokio::test]
async fn a_gateway_on_an_earlier_store_sends_everything_and_remembers_what_the_house_and_its_commands_were() {
    for golden in ALL {
        let case = golden.file;
        let papers = Papers::new();
        golden.put(&store_file(&papers));
        let cloud = Peer::bind(&papers.server).await;
        let house = House::start(&papers, &cloud.url(), &Clock::manual(then())).await;
        let mut line = cloud.online().await;
        let (mut sent, mut unknown) = (Vec::new(), None);
        while sent.len() < golden.waiting.len() || unknown.is_none() {
            let message = next(&mut line).await;
            if golden.waiting.iter().any(|waiting| id(&golden, waiting.sequence) == message.id) {
                sent.push(message);
            } else if message.topic == "hearthlink/home/plug/result" {
                unknown = Some(serde_json::from_str::<Value>(&message.payload).unwrap());
            }
        }
        for (message, waiting) in sent.iter().zip(golden.waiting) {
            assert_eq!(message.id, id(&golden, waiting.sequence), "{case}: not in order");
            assert_eq!(message.topic, format!("hearthlink/home/{}", waiting.topic), "{case}");
            assert_eq!(message.payload, waiting.payload, "{case}");
            let left = message.expiry.map(|left| u64::from(left) + waiting.age);
            assert!(left.is_none_or(|life| life == 3600), "{case}: {left:?} and not an hour");
        }
        assert_eq!(sent.iter().filter(|message| message.expiry.is_some()).count(), 1, "{case}");
        let unknown = unknown.unwrap();
        assert_eq!((&unknown["id"], &unknown["status"]), (&"c2".into(), &"unknown".into()), "{case}");

        let mut plug = house.plug().await;
        let mut switch = house.client("switch").await;
        switch.subscribe("home/plug/result", 0).await;
        switch.send(&publish(0, "home/plug/set", 0, br#"{"id":"c1","state":"ON"}"#)).await;
        let outcome: Value = serde_json::from_slice(&switch.got().await.payload).unwrap();
        assert_eq!(
            (&outcome["status"], &outcome["duplicate"]),
            (&"applied".into(), &true.into()),
            "{outcome}"
        );
        assert!(plug.is_quiet().await, "{case}: it ran once more");

        let mut late = house.client("late").await;
        late.subscribe("porch/lamp", 0).await;
        let lamp = late.got().await;
        assert_eq!((lamp.flags & 1, &lamp.payload[..]), (1, &b"on"[..]), "{case}");
        let (mut visitor, was_there) = house.visitor().await;
        assert!(was_there, "{case}: the session is gone");
        for note in golden.notes {
            assert_eq!(visitor.got().await.payload, note.as_bytes(), "{case}");
        }
        late.send(&publish(0, "notes/door", 0, b"new")).await;
        assert_eq!(visitor.got().await.payload, b"new", "{case}: the subscription is gone");
        drop(line);
        house.end().await;
    }
}
