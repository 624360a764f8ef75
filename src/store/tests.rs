//! The store against its promises: durable before it answers, bounded, counted, nothing twice.

mod ages;
mod in_hand;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;

use super::{
    Awaiting, AwaitingChange, Begun, Born, Entry, Keep, LaneOptions, Part, Record, Selection, SessionState,
    Store, StoreError, StoreOptions, WhenFull, ledger::LAST_KEPT,
};
use crate::{
    clock::Clock,
    model::{CommandId, DeviceId, Message, Outcome, OutcomeStatus, Properties, QoS, Timestamp, Topic},
};

fn noon() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
}

fn open(directory: &TempDir, options: &StoreOptions, clock: &Clock) -> Store {
    // The thread of an earlier handle lets go of its lock a moment after the handle is gone.
    for _ in 0..500 {
        match Store::open(&directory.path().join("store.db"), options, clock.clone()) {
            Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the store stayed locked");
}

fn session(number: u8) -> SessionState {
    SessionState { bytes: vec![number], left: None }
}

fn entry(number: usize, size: usize) -> Entry {
    let payload = format!("{number:0size$}");
    Entry::new(Message::new(Topic::parse("t").unwrap(), Bytes::from(payload), QoS::AtLeastOnce))
}

async fn append(store: &Store, entry: Entry) -> Result<u64, StoreError> {
    Ok(store.append(entry).await?.await?.expect("kept"))
}

fn id(text: &str) -> (CommandId, DeviceId) {
    (CommandId::parse(text).unwrap(), DeviceId::parse("toaster").unwrap())
}

fn outcome(text: &str, status: OutcomeStatus) -> Outcome {
    let (id, device) = id(text);
    Outcome { id, device, status, reason: None, detail: None, at: noon(), duplicate: false }
}

#[tokio::test]
async fn what_was_appended_survives_in_order_with_its_properties_and_its_id() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let mut message = Message::new(Topic::parse("öl/heizung").unwrap(), "1", QoS::ExactlyOnce).retained();
    message.properties = Some(
        Properties {
            expiry: Some(Duration::from_secs(7)),
            correlation_data: Some(Bytes::from_static(b"\x00\xff")),
            user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
            ..Properties::default()
        }
        .into(),
    );
    append(&store, Entry::new(message.clone())).await.unwrap();
    append(&store, entry(2, 1)).await.unwrap();
    let before = store.pending(0, 10, 1 << 20).await.unwrap();
    drop(store);

    let store = open(&directory, &StoreOptions::default(), &clock);
    let after = store.pending(0, 10, 1 << 20).await.unwrap();
    // When it was born is told in another way after a restart.
    let unborn = |records: &[Record]| -> Vec<Record> {
        records.iter().map(|record| Record { born: Born::default(), ..record.clone() }).collect()
    };
    assert_eq!(unborn(&after), unborn(&before));
    assert_eq!(after[0].message, message);
    assert_eq!(after[0].accepted_at, noon());
    assert_eq!(store.age(after[0].born), Duration::ZERO);
    assert_ne!(after[0].id, after[1].id);
    assert_eq!(store.stats().borrow().waiting, 2);
}

#[tokio::test]
async fn the_answer_comes_only_after_the_commit() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { commit_floor: Duration::from_millis(300), ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    // The floor holds the second commit back, and with it the answer; another connection sees why.
    let durable = store.append(entry(2, 1)).await.unwrap();
    let look = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    let on_disk = || -> u64 { look.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap() };
    assert_eq!(on_disk(), 1);
    durable.await.unwrap();
    assert_eq!(on_disk(), 2);
}

#[tokio::test]
async fn a_commit_that_is_in_a_hurry_does_not_wait_for_the_floor() {
    let directory = TempDir::new().unwrap();
    // As good as never.
    let options = StoreOptions { commit_floor: Duration::from_secs(600), ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    let durable = store.append(entry(2, 1)).await.unwrap();
    store.hurry();
    tokio::time::timeout(Duration::from_secs(30), durable).await.expect("no wait for the floor").unwrap();
}

#[tokio::test]
async fn acknowledged_messages_are_gone_and_sequences_are_never_used_again() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let first = append(&store, entry(1, 1)).await.unwrap();
    store.acknowledge(vec![first, first]).await.unwrap().await.unwrap();
    assert!(store.pending(0, 10, 1 << 20).await.unwrap().is_empty());
    assert_eq!(store.stats().borrow().acknowledged, 1);
    drop(store);
    let store = open(&directory, &StoreOptions::default(), &clock);
    assert!(append(&store, entry(2, 1)).await.unwrap() > first);
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_within_the_bound_and_counts_the_others() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_bytes: 1010, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    for number in 0..20 {
        append(&store, entry(number, 100)).await.unwrap();
    }
    let kept = store.pending(0, 100, 1 << 20).await.unwrap();
    let numbers: Vec<String> =
        kept.iter().map(|r| String::from_utf8_lossy(&r.message.payload).into_owned()).collect();
    assert_eq!(numbers.len(), 10);
    assert_eq!(numbers[9], format!("{:0100}", 19));
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.waiting, stats.dropped_full, stats.waiting_bytes), (10, 10, 1010));
}

#[tokio::test]
async fn refuse_new_keeps_the_oldest_and_tells_the_sender() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_bytes: 202, when_full: WhenFull::RefuseNew, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(0, 100)).await.unwrap();
    append(&store, entry(1, 100)).await.unwrap();
    assert!(matches!(append(&store, entry(2, 100)).await, Err(StoreError::Full { max: 202 })));
    assert!(matches!(append(&store, entry(3, 300)).await, Err(StoreError::TooLarge { size: 301, max: 202 })));
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.waiting, stats.refused_full), (2, 2));
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes_but_never_empty() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    for number in 0..5 {
        append(&store, entry(number, 1000)).await.unwrap();
    }
    assert_eq!(store.pending(0, 10, 1).await.unwrap().len(), 1);
    assert_eq!(store.pending(0, 10, 2500).await.unwrap().len(), 2);
    assert_eq!(store.pending(3, 10, 1 << 20).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_command_begins_once_and_its_first_outcome_stays() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let (command, device) = id("c1");
    assert_eq!(store.begin(&command, &device, noon()).await.unwrap(), Begun::Fresh);
    assert_eq!(store.begin(&command, &device, noon()).await.unwrap(), Begun::Running);
    assert_eq!(store.interrupted().await.unwrap(), vec![id("c1")]);

    let applied = outcome("c1", OutcomeStatus::Applied);
    store.finish(applied.clone(), vec![entry(1, 1)]).await.unwrap().await.unwrap();
    store.finish(outcome("c1", OutcomeStatus::Unknown), Vec::new()).await.unwrap().await.unwrap();
    drop(store);

    let store = open(&directory, &StoreOptions::default(), &clock);
    assert_eq!(store.begin(&command, &device, noon()).await.unwrap(), Begun::Finished(applied));
    assert!(store.interrupted().await.unwrap().is_empty());
    assert_eq!(store.pending(0, 10, 1 << 20).await.unwrap().len(), 1, "the outcome was told with it");
}

#[tokio::test]
async fn the_same_id_for_another_device_is_another_command() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    let (command, device) = id("1");
    let other = DeviceId::parse("lamp").unwrap();
    assert_eq!(store.begin(&command, &device, noon()).await.unwrap(), Begun::Fresh);
    assert_eq!(store.begin(&command, &other, noon()).await.unwrap(), Begun::Fresh);
    store.finish(outcome("1", OutcomeStatus::Applied), Vec::new()).await.unwrap().await.unwrap();
    assert_eq!(store.begin(&command, &other, noon()).await.unwrap(), Begun::Running);
}

#[tokio::test]
async fn an_outcome_is_told_even_when_the_outbox_refuses_new_messages() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_bytes: 202, when_full: WhenFull::RefuseNew, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(0, 100)).await.unwrap();
    append(&store, entry(1, 100)).await.unwrap();
    store.finish(outcome("1", OutcomeStatus::Applied), vec![entry(9, 50)]).await.unwrap().await.unwrap();
    let kept = store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].message.payload.len(), 50);
    assert_eq!(store.stats().borrow().dropped_full, 1, "and what gave way is counted");
}

#[tokio::test]
async fn the_journal_forgets_the_oldest_finished_commands_only() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { journal_entries: 3, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    let (running, device) = id("running");
    store.begin(&running, &device, Timestamp::from_millis(0)).await.unwrap();
    for number in 0..6 {
        let finished = outcome(&format!("c{number}"), OutcomeStatus::Refused);
        store.finish(finished, Vec::new()).await.unwrap().await.unwrap();
    }
    assert_eq!(store.interrupted().await.unwrap().len(), 1);
    assert_eq!(store.begin(&running, &device, noon()).await.unwrap(), Begun::Running);
    let (newest, _) = id("c5");
    assert!(matches!(store.begin(&newest, &device, noon()).await.unwrap(), Begun::Finished(_)));
    let (oldest, _) = id("c0");
    assert_eq!(store.begin(&oldest, &device, noon()).await.unwrap(), Begun::Fresh);
}

#[tokio::test]
async fn retained_messages_sessions_and_states_survive() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let topic = Topic::parse("home/toaster").unwrap();
    let message = Message::new(topic.clone(), "x", QoS::AtMostOnce).retained();
    store.put_retained(message.clone()).await.unwrap().await.unwrap();
    store.put_session("a/b+#", Some(session(1)), Vec::new()).await.unwrap().await.unwrap();
    let fields = serde_json::Map::from_iter([("state".to_owned(), "ON".into())]);
    let (_, device) = id("x");
    store.put_state(device.clone(), fields.clone(), noon()).await.unwrap().await.unwrap();
    drop(store);

    let store = open(&directory, &StoreOptions::default(), &clock);
    assert_eq!(store.retained().await.unwrap(), vec![message]);
    assert_eq!(store.sessions().await.unwrap(), vec![("a/b+#".to_owned(), session(1))]);
    assert_eq!(store.states().await.unwrap()[&device], fields);
    store.delete_retained(topic).await.unwrap().await.unwrap();
    store.delete_session("a/b+#").await.unwrap().await.unwrap();
    assert!(store.retained().await.unwrap().is_empty());
    assert!(store.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_waits_for_a_session_survives_ages_and_goes_with_it() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let awaiting = |sequence: u64, expiry: Option<u64>| {
        let mut message = Message::new(Topic::parse("t").unwrap(), "x", QoS::ExactlyOnce);
        message.properties = expiry.map(|seconds| {
            let expiry = Some(Duration::from_secs(seconds));
            Arc::new(Properties { expiry, ..Default::default() })
        });
        Awaiting { sequence, message, identifiers: vec![sequence as u32, 7], is_released: false }
    };
    let puts = [(3, None), (1, Some(60)), (2, Some(5)), (4, None)];
    let puts = puts.map(|(sequence, expiry)| AwaitingChange::Put(awaiting(sequence, expiry)));
    store.put_session("a", Some(session(1)), puts.to_vec()).await.unwrap().await.unwrap();
    let changes = vec![AwaitingChange::Released(3), AwaitingChange::Deleted(4), AwaitingChange::Deleted(99)];
    store.put_session("a", None, changes).await.unwrap().await.unwrap();
    store
        .put_session(
            "b",
            Some(SessionState { left: Some(Duration::from_secs(60)), ..session(2) }),
            vec![AwaitingChange::Put(awaiting(1, None))],
        )
        .await
        .unwrap()
        .await
        .unwrap();
    drop(store);

    clock.set(Timestamp::from_millis(noon().as_millis() + 10_000));
    let store = open(&directory, &StoreOptions::default(), &clock);
    let found = store.awaiting("a").await.unwrap();
    let mut released = awaiting(3, None);
    (released.is_released, released.message.payload) = (true, Default::default());
    assert_eq!(found, [awaiting(1, Some(50)), awaiting(2, Some(0)), released]);

    store.delete_session("a").await.unwrap().await.unwrap();
    assert_eq!(store.awaiting("a").await.unwrap(), []);
    assert_eq!(store.awaiting("b").await.unwrap(), [awaiting(1, None)]);
    assert_eq!(
        store.sessions().await.unwrap(),
        [("b".to_owned(), SessionState { left: Some(Duration::from_secs(50)), ..session(2) })]
    );

    // A clock that was set back gives nobody more life than was written.
    let mut brief = awaiting(5, Some(60)).message;
    brief.retain = true;
    store.put_retained(brief.clone()).await.unwrap().await.unwrap();
    clock.set(Timestamp::from_millis(0));
    assert_eq!(store.retained().await.unwrap(), [brief]);
}

#[tokio::test]
async fn a_store_in_use_and_a_store_of_a_later_version_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    let second = Store::open(&path, &StoreOptions::default(), clock.clone());
    assert!(matches!(second, Err(StoreError::InUse(_))));
    drop(store);

    let other = TempDir::new().unwrap();
    let path = other.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(&path, &StoreOptions::default(), clock);
    assert!(matches!(refused, Err(StoreError::FromTheFuture { found: 99, .. })));
}

#[tokio::test]
async fn a_disk_that_takes_no_more_refuses_the_message_and_heals() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    // SQLite's own bound on the file stands for a full disk: the same SQLITE_FULL.
    let pages: u64 = store
        .read(|connection| {
            let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(pages)
        })
        .await
        .unwrap();
    let refused = append(&store, entry(2, 60_000)).await;
    assert!(matches!(refused, Err(StoreError::Disk(_))), "{refused:?}");
    assert!(store.stats().borrow().fault.as_deref().is_some_and(|fault| fault.contains("full")));
    assert_eq!(store.stats().borrow().waiting, 1);

    store
        .read(move |connection| {
            let more = format!("PRAGMA max_page_count = {}", pages + 10_000);
            Ok(connection.query_row(&more, [], |_| Ok(()))?)
        })
        .await
        .unwrap();
    append(&store, entry(2, 60_000)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.fault, stats.waiting), (None, 2));
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn old_and_expired_messages_are_dropped_and_counted_however_the_clock_is_set() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let options = StoreOptions { max_age: seconds(3600), ..StoreOptions::default() };
    let store = open(&directory, &options, &clock);
    append(&store, entry(1, 1)).await.unwrap();
    append(&store, Entry { life: Some(seconds(5)), ..entry(2, 1) }).await.unwrap();

    for wrong in [noon().plus(365 * seconds(24 * 3600)), Timestamp::from_millis(0), noon()] {
        clock.set(wrong);
        append(&store, entry(3, 1)).await.unwrap();
        assert_eq!(store.stats().borrow().dropped_expired, 0, "{wrong}");
    }
    clock.advance(seconds(6));
    append(&store, entry(4, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 1);

    clock.advance(seconds(3596));
    append(&store, entry(5, 1)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.dropped_expired, stats.waiting), (5, 2));
}

#[tokio::test]
async fn what_passed_while_the_gateway_was_off_counts_once_the_clock_can_be_believed() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(3600), ..StoreOptions::default() };
    let clock = Clock::manual(noon());
    let store = open(&directory, &options, &clock);
    append(&store, entry(1, 1)).await.unwrap();
    clock.advance(seconds(1800));
    append(&store, entry(2, 1)).await.unwrap();
    drop(store);

    // A Pi comes back after half an hour and believes that it is 1970.
    let clock = Clock::manual(Timestamp::from_millis(5_000));
    clock.set_trusted(false);
    let store = open(&directory, &options, &clock);
    append(&store, entry(3, 1)).await.unwrap();
    clock.advance(seconds(60));
    append(&store, entry(4, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().waiting, 4);

    clock.set(noon().plus(seconds(3661)));
    clock.set_trusted(true);
    append(&store, entry(5, 1)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.dropped_expired, stats.waiting), (1, 4), "only the first is an hour old");
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let times: Vec<Timestamp> = records.iter().map(|record| record.accepted_at).collect();
    assert_eq!(times, [1800, 3601, 3661, 3661].map(|passed| noon().plus(seconds(passed))));
}

#[tokio::test]
async fn what_was_accepted_before_the_clock_was_set_gets_its_true_time_afterwards() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(Timestamp::from_millis(0));
    clock.set_trusted(false);
    let store = open(&directory, &StoreOptions::default(), &clock);
    let object = |text: &str| {
        let message = Message::new(Topic::parse("t").unwrap(), text.to_owned(), QoS::AtLeastOnce);
        Entry { stamp: Some("last_seen"), ..Entry::new(message) }
    };
    append(&store, object(r#"{"t":1}"#)).await.unwrap();
    clock.advance(seconds(30));
    append(&store, object("{}")).await.unwrap();
    clock.advance(seconds(30));
    clock.set(noon());
    clock.set_trusted(true);
    append(&store, object(r#"{"t":3}"#)).await.unwrap();

    assert_eq!(
        store.stats().borrow().oldest,
        Some(Timestamp::parse_rfc3339("2026-11-22T11:59:00Z").unwrap())
    );
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let payloads: Vec<serde_json::Value> =
        records.iter().map(|record| serde_json::from_slice(&record.message.payload).unwrap()).collect();
    for (payload, time) in payloads.iter().zip(["11:59:00", "11:59:30", "12:00:00"]) {
        assert_eq!(payload["last_seen"], format!("2026-11-22T{time}Z"), "{payload}");
    }
    assert_eq!((&payloads[0]["t"], &payloads[2]["t"]), (&1.into(), &3.into()));
    for (record, payload) in records.iter().zip(&payloads) {
        assert_eq!(payload["message_id"], record.id.as_str());
    }
}

fn lane(name: &str, keep: Keep) -> LaneOptions {
    LaneOptions { name: name.to_owned(), keep, max_age: None, max_bytes: None, is_live_first: false }
}

fn in_lane(lane: usize, topic: &str, payload: &str) -> Entry {
    let message = Message::new(Topic::parse(topic).unwrap(), payload.to_owned(), QoS::AtLeastOnce);
    Entry { lane: Some(lane), ..Entry::new(message) }
}

async fn payloads(store: &Store) -> Vec<String> {
    let records = store.pending(0, 100, 1 << 20).await.unwrap();
    records.iter().map(|record| String::from_utf8_lossy(&record.message.payload).into_owned()).collect()
}

#[tokio::test]
async fn while_the_line_is_down_each_lane_keeps_what_its_policy_says_and_counts_the_rest() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let lanes = vec![
        lane("all", Keep::All),
        lane("latest", Keep::Latest),
        lane("every", Keep::Every(seconds(60))),
        lane("nothing", Keep::Nothing),
    ];
    let store = open(&directory, &StoreOptions { lanes, ..StoreOptions::default() }, &clock);
    let names = ["all", "latest", "every", "nothing"];
    let say = |number: usize| {
        let store = store.clone();
        async move {
            let mut kept = Vec::new();
            for (lane, name) in names.iter().enumerate() {
                for topic in ["x", "y"] {
                    let entry =
                        in_lane(lane, &format!("{name}/{topic}"), &format!("{name} {topic} {number}"));
                    kept.push(store.append(entry).await.unwrap().await.unwrap().is_some());
                }
            }
            kept
        }
    };
    assert_eq!(say(0).await, [true; 8], "while the line is up everything is kept, whatever the policy");
    store.acknowledge((1..=8).collect()).await.unwrap().await.unwrap();

    store.set_line_up(false);
    for number in 1..=5 {
        let first = number == 1 || number == 5;
        assert_eq!(say(number).await, [true, true, true, true, first, first, false, false], "{number}");
        clock.advance(seconds(15));
    }
    let expected: Vec<String> = [
        "all x 1",
        "all y 1",
        "every x 1",
        "every y 1",
        "all x 2",
        "all y 2",
        "all x 3",
        "all y 3",
        "all x 4",
        "all y 4",
        "all x 5",
        "all y 5",
        "latest x 5",
        "latest y 5",
        "every x 5",
        "every y 5",
    ]
    .map(str::to_owned)
    .to_vec();
    assert_eq!(payloads(&store).await, expected);
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.superseded, stats.thinned, stats.not_kept), (8, 6, 10));
    assert_eq!((stats.waiting, stats.accepted, stats.acknowledged), (16, 32, 8));
    let lanes: Vec<_> = stats.lanes.iter().map(|lane| (&lane.name[..], lane.waiting, lane.dropped)).collect();
    assert_eq!(lanes, [("all", 10, 0), ("latest", 2, 8), ("every", 4, 6), ("nothing", 0, 10)]);
}

#[tokio::test]
async fn the_last_message_of_a_topic_is_found_without_reading_the_others() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    let plan = store
        .read(|connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {LAST_KEPT}"))?;
            let lines = statement.query_map(["t"], |row| row.get::<_, String>(3))?;
            Ok(lines.collect::<Result<Vec<_>, _>>()?)
        })
        .await
        .unwrap();
    assert_eq!(plan, ["SEARCH outbox USING INDEX outbox_topic (topic=?)"], "and no sorting");
}

#[tokio::test]
async fn a_lane_has_its_own_bound_and_its_own_life_and_takes_nothing_from_others() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let small = LaneOptions { max_bytes: Some(25), max_age: Some(seconds(60)), ..lane("small", Keep::All) };
    let options =
        StoreOptions { lanes: vec![small, lane("latest", Keep::Latest)], ..StoreOptions::default() };
    let store = open(&directory, &options, &clock);
    append(&store, entry(1, 40)).await.unwrap();
    for number in 0..5 {
        append(&store, in_lane(0, "s", &format!("small-{number:03}"))).await.unwrap();
    }
    assert_eq!(payloads(&store).await[1..], ["small-003", "small-004"]);
    let refused = store.append(in_lane(0, "s", &"x".repeat(31))).await.unwrap().await;
    assert!(matches!(refused, Err(StoreError::TooLarge { size: 32, max: 25 })), "{refused:?}");
    drop(store);

    let store = open(&directory, &options, &clock);
    assert_eq!(store.stats().borrow().lanes[0].waiting, 2, "a lane keeps what is its own over a restart");
    append(&store, in_lane(0, "s", "small-005")).await.unwrap();
    assert_eq!(payloads(&store).await[1..], ["small-004", "small-005"]);
    clock.advance(seconds(61));
    append(&store, entry(2, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().lanes[0].waiting, 0);
    assert_eq!(store.stats().borrow().waiting, 2);
}

#[tokio::test]
async fn a_message_that_is_refused_takes_nobodys_place() {
    let directory = TempDir::new().unwrap();
    let latest = LaneOptions { max_bytes: Some(20), ..lane("latest", Keep::Latest) };
    let options =
        StoreOptions { lanes: vec![latest], when_full: WhenFull::RefuseNew, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    store.set_line_up(false);
    append(&store, in_lane(0, "a", "12345678")).await.unwrap();
    append(&store, in_lane(0, "b", "12345678")).await.unwrap();
    let refused = store.append(in_lane(0, "a", "123456789012")).await.unwrap().await;
    assert!(matches!(refused, Err(StoreError::Full { max: 20 })), "{refused:?}");
    assert_eq!(payloads(&store).await, ["12345678", "12345678"]);
    append(&store, in_lane(0, "a", "1234567890")).await.unwrap();
    assert_eq!(payloads(&store).await, ["12345678", "1234567890"]);
}

#[tokio::test]
async fn live_messages_are_read_apart_from_what_waited() {
    let directory = TempDir::new().unwrap();
    let live = LaneOptions { is_live_first: true, ..lane("live", Keep::All) };
    let options = StoreOptions { lanes: vec![live], ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    for number in 1..=3 {
        append(&store, in_lane(0, "l", &format!("live {number}"))).await.unwrap();
        append(&store, entry(number, 1)).await.unwrap();
    }
    assert_eq!((store.appended().borrow().any, store.appended().borrow().live), (6, 5));
    let select = |after, part| {
        let selection = Selection { after, part, max_count: 100, max_bytes: 1 << 20 };
        let store = store.clone();
        async move {
            let records = store.select(selection).await.unwrap();
            records.iter().map(|record| record.sequence).collect::<Vec<_>>()
        }
    };
    assert_eq!(select(0, Part::Ordinary { backlog: 4 }).await, [1, 2, 3, 4, 6]);
    assert_eq!(select(4, Part::Live).await, [5]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_the_journal_forget_nothing_new() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { journal_entries: 3, ..StoreOptions::default() };
    let clock = Clock::manual(noon());
    let store = open(&directory, &options, &clock);
    for number in 0..3 {
        let begun = outcome(&format!("old{number}"), OutcomeStatus::Applied);
        store.finish(begun, Vec::new()).await.unwrap().await.unwrap();
    }
    let past = Timestamp::from_millis(0);
    let (new, device) = id("new");
    assert_eq!(store.begin(&new, &device, past).await.unwrap(), Begun::Fresh);
    let done = Outcome { at: past, ..outcome("new", OutcomeStatus::Applied) };
    store.finish(done.clone(), Vec::new()).await.unwrap().await.unwrap();
    store.finish(outcome("another", OutcomeStatus::Applied), Vec::new()).await.unwrap().await.unwrap();
    assert_eq!(
        store.begin(&new, &device, past).await.unwrap(),
        Begun::Finished(done),
        "it must not run again"
    );
}

#[tokio::test]
async fn a_file_of_the_version_before_keeps_its_messages_and_their_age() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for (number, step) in super::schema::STEPS.iter().enumerate().take(2) {
        old.execute_batch(&format!("{step}PRAGMA user_version = {};", number + 1)).unwrap();
    }
    let insert = "INSERT INTO outbox (topic, payload, qos, retain, size, accepted_at) VALUES ('t', x'31', 1, 0, 2, ?1)";
    for accepted in [noon().as_millis() - 4_000_000, noon().as_millis() - 1_000] {
        old.execute(insert, [accepted]).unwrap();
    }
    drop(old);
    let options = StoreOptions { max_age: seconds(3600), ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(2, 1)).await.unwrap();
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!((records.len(), store.age(records[0].born)), (2, seconds(1)));
}

#[tokio::test]
async fn a_message_that_the_disk_gives_back_damaged_does_not_stop_those_behind_it() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    for number in 1..=4 {
        append(&store, entry(number, 1)).await.unwrap();
    }
    store.closed().await;
    let other = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    other.execute("UPDATE outbox SET topic = '' WHERE sequence = 1", []).unwrap();
    other.execute("UPDATE outbox SET qos = 9 WHERE sequence = 4", []).unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    assert_eq!(payloads(&store).await, ["2", "3"]);
    append(&store, entry(5, 1)).await.unwrap();
    assert_eq!(payloads(&store).await, ["2", "3", "5"]);
    other.execute("UPDATE outbox SET topic = '' WHERE sequence < 5", []).unwrap();
    let behind = store.pending(0, 1, 1 << 20).await.unwrap();
    assert_eq!(behind.len(), 1, "however many of them there are");
    append(&store, entry(6, 1)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.waiting, stats.unreadable), (2, 4));
}

#[tokio::test]
async fn a_call_is_answered_by_the_thread_while_there_is_one_and_costs_the_disk_nothing() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    append(&store, entry(1, 10)).await.unwrap();
    let (file, caller) = (directory.path().join("store.db-wal"), store.caller());
    let before = file.metadata().unwrap().len();
    for _ in 0..100 {
        caller.call().await;
    }
    assert_eq!(file.metadata().unwrap().len(), before);

    // It panics, at the disk for all that anybody can see.
    let result = store.read::<()>(|_| panic!("on purpose")).await;
    assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
    // Longer than what a disk may take.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!store.hangs() && !store.is_at_disk(), "that is no disk that hangs");
    assert!(tokio::time::timeout(Duration::from_millis(100), caller.call()).await.is_err());
}
