//! How old things are, however the wall clock is set, over a restart and while it is wrong.

use super::{super::ledger::Ledger, *};

/// A gateway that wakes up at `noon`, is off for some time, and then believes that it is 1970.
async fn woken_in_1970(directory: &TempDir, options: &StoreOptions) -> (Store, Clock) {
    let store = open(directory, options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    drop(store);
    let clock = Clock::manual(Timestamp::from_millis(5_000));
    clock.set_trusted(false);
    (open(directory, options, &clock), clock)
}

fn set(clock: &Clock, now: Timestamp) {
    clock.set(now);
    clock.set_trusted(true);
}

#[tokio::test]
async fn what_is_taken_before_the_clock_is_set_is_made_no_older_by_setting_it() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(7200), ..StoreOptions::default() };
    let (store, clock) = woken_in_1970(&directory, &options).await;
    append(&store, Entry { life: Some(seconds(600)), ..entry(2, 1) }).await.unwrap();
    clock.advance(seconds(60));
    let read_before = store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!(store.age(read_before[1].born), seconds(60));

    // It was off for an hour.
    set(&clock, noon().plus(seconds(3660)));
    append(&store, entry(3, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 0);
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages = |records: &[Record]| -> Vec<u64> {
        records.iter().map(|record| store.age(record.born).as_secs()).collect()
    };
    assert_eq!(ages(&records), [3660, 60, 0]);
    // Behind the first row of this run the store may answer from memory, which must not be older than the file.
    let recent = store.pending(1, 10, 1 << 20).await.unwrap();
    assert_eq!(ages(&recent), [60, 0]);
    assert_eq!(ages(&read_before), [3660, 60], "one that the link has in its hands is no older either");

    clock.advance(seconds(539));
    append(&store, entry(4, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 0, "its own expiry has moved with it");
    clock.advance(seconds(2));
    append(&store, entry(5, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 1);
}

#[tokio::test]
async fn what_passed_is_not_counted_twice_when_the_disk_fails_at_that_moment() {
    let directory = TempDir::new().unwrap();
    let (store, clock) = woken_in_1970(&directory, &StoreOptions::default()).await;
    append(&store, entry(2, 1)).await.unwrap();
    let born = store.pending(0, 10, 1 << 20).await.unwrap()[1].born;
    set(&clock, noon().plus(seconds(3600)));
    let fail = |how: &'static str| {
        store.read(move |connection| Ok(connection.execute_batch(&format!("PRAGMA query_only = {how}"))?))
    };
    fail("ON").await.unwrap();
    append(&store, entry(3, 1)).await.unwrap_err();
    fail("OFF").await.unwrap();
    append(&store, entry(4, 1)).await.unwrap();
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages: Vec<u64> = records.iter().map(|record| store.age(record.born).as_secs()).collect();
    assert_eq!((ages, store.age(born)), (vec![3600, 0, 0], Duration::ZERO));
}

#[tokio::test]
async fn a_second_restart_adds_only_what_passed_since_the_first() {
    let directory = TempDir::new().unwrap();
    let (store, clock) = woken_in_1970(&directory, &StoreOptions::default()).await;
    append(&store, entry(2, 1)).await.unwrap();
    set(&clock, noon().plus(seconds(3600)));
    append(&store, entry(3, 1)).await.unwrap();
    drop(store);
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon().plus(seconds(4000))));
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages: Vec<u64> = records.iter().map(|record| store.age(record.born).as_secs()).collect();
    assert_eq!(ages, [4000, 400, 400]);
}

fn brief(life: u64) -> Message {
    let mut message = Message::new(Topic::parse("t").unwrap(), "x", QoS::AtLeastOnce).retained();
    message.properties = Some(Properties { expiry: Some(seconds(life)), ..Properties::default() }.into());
    message
}

/// A session, a message that waits for it and a retained one, each with so much of its life left.
async fn put_with_life(store: &Store, name: &str, life: u64) {
    let retained = Message { topic: Topic::parse(name).unwrap(), ..brief(life) };
    store.put_retained(retained).await.unwrap().await.unwrap();
    let state = SessionState { bytes: vec![1], left: Some(seconds(life)) };
    let awaiting =
        Awaiting { sequence: 1, message: brief(life), identifiers: Vec::new(), is_released: false };
    let changes = vec![AwaitingChange::Put(awaiting)];
    store.put_session(name, Some(state), changes).await.unwrap().await.unwrap();
}

/// How much is left of the three, in seconds.
async fn lives(store: &Store, name: &str) -> [u64; 3] {
    let expiry = |message: &Message| message.properties.as_ref().unwrap().expiry.unwrap().as_secs();
    let sessions = store.sessions().await.unwrap();
    let session = sessions.iter().find(|(client, _)| client == name).unwrap().1.left.unwrap().as_secs();
    let retained = store.retained().await.unwrap();
    let retained = retained.iter().find(|message| message.topic.as_str() == name).unwrap();
    [session, expiry(&store.awaiting(name).await.unwrap()[0].message), expiry(retained)]
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_session_and_no_retained_message() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    put_with_life(&store, "a", 60).await;
    for wrong in [noon().plus(365 * seconds(24 * 3600)), Timestamp::from_millis(0), noon()] {
        clock.set(wrong);
        assert_eq!(lives(&store, "a").await, [60; 3], "{wrong}");
    }
    clock.advance(seconds(10));
    assert_eq!(lives(&store, "a").await, [50; 3]);
}

#[tokio::test]
async fn lives_go_on_while_the_gateway_is_off_but_not_for_what_came_before_the_clock_was_set() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon()));
    put_with_life(&store, "before", 7200).await;
    drop(store);
    let (store, clock) = woken_in_1970(&directory, &StoreOptions::default()).await;
    assert_eq!(lives(&store, "before").await, [7200; 3]);
    put_with_life(&store, "early", 600).await;
    set(&clock, noon().plus(seconds(3600)));
    append(&store, entry(1, 1)).await.unwrap();
    put_with_life(&store, "late", 600).await;
    for name in ["early", "late"] {
        assert_eq!(lives(&store, name).await, [600; 3], "{name}");
    }
    assert_eq!(lives(&store, "before").await, [3600; 3]);
}

#[tokio::test]
async fn a_file_whose_sessions_ended_by_the_wall_clock_keeps_their_lives() {
    let directory = TempDir::new().unwrap();
    let old = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    for (number, step) in crate::store::schema::STEPS.iter().enumerate().take(3) {
        old.execute_batch(&format!("{step}PRAGMA user_version = {};", number + 1)).unwrap();
    }
    let end = noon().as_millis() + 60_000;
    old.execute("INSERT INTO meta VALUES ('anchor', ?1)", [format!("1000 {}", noon().as_millis())]).unwrap();
    let properties = r#"{"expiry":{"secs":90,"nanos":0},"user":[]}"#;
    old.execute_batch(&format!(
        "INSERT INTO retained VALUES ('a', x'31', 1, '{properties}', {end});
         INSERT INTO session VALUES ('a', x'01', {end});
         INSERT INTO session VALUES ('connected', x'01', NULL);
         INSERT INTO session_message
             VALUES ('a', 1, 't', x'31', 1, 0, '{properties}', NULL, 0, {end});"
    ))
    .unwrap();
    drop(old);
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon().plus(seconds(10))));
    assert_eq!(lives(&store, "a").await, [50; 3]);
    let sessions = store.sessions().await.unwrap();
    assert_eq!(sessions[1], ("connected".to_owned(), session(1)));
}

fn in_2099() -> Timestamp {
    Timestamp::parse_rfc3339("2099-01-01T00:00:00Z").unwrap()
}

#[tokio::test]
async fn a_clock_that_wakes_up_in_2099_drops_nothing_for_an_hour() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions::default();
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    append(&store, Entry { life: Some(seconds(86_400)), ..entry(2, 1) }).await.unwrap();
    put_with_life(&store, "a", 86_400).await;
    drop(store);

    let clock = Clock::manual(in_2099());
    let store = open(&directory, &options, &clock);
    append(&store, Entry { life: Some(seconds(60)), ..entry(3, 1) }).await.unwrap();
    assert_eq!(lives(&store, "a").await, [3600; 3]);
    clock.advance(seconds(1800));
    append(&store, entry(4, 1)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.dropped_expired, stats.waiting), (1, 3), "what came since has no grace");
    drop(store);

    // By now the time has been put right, and the gateway is started again.
    let clock = Clock::manual(noon().plus(seconds(1800)));
    let store = open(&directory, &options, &clock);
    append(&store, entry(5, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().waiting, 4);
    assert_eq!(lives(&store, "a").await, [1800; 3]);
    clock.advance(seconds(1801));
    append(&store, entry(6, 1)).await.unwrap();
    let stats = store.stats().borrow().clone();
    assert_eq!((stats.dropped_expired, stats.waiting), (2, 3));
    assert_eq!(lives(&store, "a").await, [0; 3]);
}

#[tokio::test]
async fn the_grace_is_no_longer_than_the_age_limit() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(60), ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    drop(store);
    let clock = Clock::manual(noon().plus(seconds(120)));
    let store = open(&directory, &options, &clock);
    append(&store, entry(2, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 0);
    clock.advance(seconds(60));
    append(&store, entry(3, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 1);
}

#[tokio::test]
async fn a_power_cut_after_the_clock_was_stepped_makes_nothing_older() {
    let directory = TempDir::new().unwrap();
    // It wakes up with the time of eight days ago, which looks right.
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    append(&store, entry(1, 1)).await.unwrap();
    clock.advance(seconds(5));
    let stepped = noon().plus(seconds(8 * 86_400));
    clock.set(stepped);
    // Nothing more is written; the store only looks, as it does every few seconds.
    store.pending(0, 10, 1 << 20).await.unwrap();
    clock.advance(seconds(5));
    drop(store);

    let store = open(&directory, &StoreOptions::default(), &Clock::manual(stepped.plus(seconds(60))));
    append(&store, entry(2, 1)).await.unwrap();
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages: Vec<u64> = records.iter().map(|record| store.age(record.born).as_secs()).collect();
    assert_eq!(ages, [65, 0]);
}

#[tokio::test]
async fn a_clock_that_is_corrected_by_a_little_costs_no_commit() {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let store = open(&directory, &StoreOptions::default(), &clock);
    append(&store, entry(1, 1)).await.unwrap();
    let anchor = async || {
        let read = |connection: &rusqlite::Connection| -> Result<String, StoreError> {
            Ok(connection.query_row("SELECT value FROM meta WHERE name = 'anchor'", [], |row| row.get(0))?)
        };
        store.read(read).await.unwrap()
    };
    let first = anchor().await;
    clock.set(noon().plus(seconds(60)));
    assert_eq!(anchor().await, first);
    clock.set(noon().plus(seconds(61)));
    assert_ne!(anchor().await, first);
}

#[tokio::test]
async fn what_passed_is_added_for_nobody_before_it_is_on_the_disk() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(60), ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    drop(store);
    let mut connection = rusqlite::Connection::open(directory.path().join("store.db")).unwrap();
    let clock = Clock::manual(Timestamp::from_millis(5_000));
    clock.set_trusted(false);
    let mut ledger = Ledger::load(&connection, &options, clock.clone(), Default::default()).unwrap();
    let elsewhere = ledger.timeline().clone();
    let start = elsewhere.now();
    set(&clock, noon().plus(seconds(3600)));

    // A disk that fails when it comes to the commit.
    for _ in 0..3 {
        let before = ledger.clone();
        let transaction = connection.transaction().unwrap();
        ledger.keep_time(&transaction, true).unwrap();
        assert_eq!((ledger.timeline().now(), elsewhere.now()), (start + 3_600_000, start));
        transaction.rollback().unwrap();
        ledger = before;
        assert_eq!((ledger.timeline().now(), elsewhere.now()), (start, start));
    }
    let transaction = connection.transaction().unwrap();
    ledger.keep_time(&transaction, true).unwrap();
    transaction.commit().unwrap();
    assert_eq!(elsewhere.now(), start);
    ledger.share_time();
    assert_eq!((ledger.timeline().now(), elsewhere.now()), (start + 3_600_000, start + 3_600_000));
}
