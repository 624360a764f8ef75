//! The desk while the disk is slow, refuses or hangs: home waits for nothing of the cloud's, and no outcome is lost.

use futures_util::FutureExt;

use super::*;
use crate::{
    commands::{insistence::insist, lane::MOST_ANSWERS},
    model::CommandId,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn local(command: &mut Incoming) {
    command.origin = Origin::Local(None);
}

/// Another program that has the store's file open.
pub(super) fn meddler(bench: &Bench) -> rusqlite::Connection {
    rusqlite::Connection::open(bench.directory.path().join("store.db")).unwrap()
}

/// Until the desk has received all that was sent, and has had turns enough since to hand it to the store (tokio lets
/// a task do so much in a turn).
pub(super) async fn until_taken(way: &Way) {
    let taken = async {
        while way.capacity() < way.max_capacity() {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.expect("the desk takes what is sent");
}

async fn until_outbox_has(bench: &Bench, count: usize) -> Vec<serde_json::Value> {
    let found = async {
        loop {
            let outbox = bench.outbox().await;
            if outbox.len() >= count {
                return outbox;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, found).await.expect("the cloud is told")
}

#[tokio::test]
async fn a_flood_of_refused_commands_from_the_cloud_holds_up_nobody_at_home() {
    let mut bench = Bench::start(StoreOptions::default());
    // From now on nothing is committed.
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut acknowledged = Vec::new();
    let flood = async {
        for _ in 0..MOST_ANSWERS + 10 {
            acknowledged.push(bench.send("OFF", |_| {}).await);
        }
        // Each of the last has no room: it is left for the cloud to send again.
        for dropped in acknowledged.split_off(MOST_ANSWERS) {
            assert!(dropped.await.is_err());
        }
    };
    timeout(PATIENCE, flood).await.expect("the desk takes them without waiting for the disk");
    assert!(bench.told.try_recv().is_err(), "no refusal is told before it is on the disk");

    bench.send("ON", local).await;
    until_taken(&bench.home).await;
    meddler.execute_batch("ROLLBACK").unwrap();
    applied(bench.toast().await);
    let mut refused = 0;
    while bench.outcome().await.0 == OutcomeStatus::Refused {
        refused += 1;
    }
    let told = async {
        while refused < MOST_ANSWERS {
            assert_eq!(bench.outcome().await.1, Some(Reason::NotAllowed));
            refused += 1;
        }
        for acknowledged in acknowledged {
            acknowledged.await.unwrap();
        }
    };
    timeout(PATIENCE, told).await.expect("each is told and acknowledged");
    assert_eq!(bench.store.stats().borrow().waiting, MOST_ANSWERS as u64);
}

#[tokio::test]
async fn both_ways_of_an_answer_are_on_the_disk_together() {
    let floor = Duration::from_secs(600);
    let bench = Bench::start(StoreOptions { commit_floor: floor, ..StoreOptions::default() });
    let entry = Entry::new(Message::new(Topic::parse("t").unwrap(), "x", QoS::AtLeastOnce));
    bench.store.append(entry).await.unwrap().await.unwrap();
    let asks = |command: &mut Incoming| {
        let response_topic = Some("phone/1".into());
        command.message.properties = Some(Arc::new(Properties { response_topic, ..Properties::default() }));
    };
    let acknowledged = bench.send("OFF", asks).await;
    // One hurry, one commit: both are in it.
    tokio::task::yield_now().await;
    let written = async {
        loop {
            bench.store.hurry();
            let waiting = bench.store.stats().borrow().waiting;
            if waiting > 1 {
                return waiting;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(PATIENCE, written).await.unwrap(), 3);
    acknowledged.await.unwrap();
}

#[tokio::test]
async fn an_outcome_that_the_disk_refuses_is_told_at_home_at_once_and_in_the_cloud_when_the_disk_is_well() {
    let mut bench = Bench::start(StoreOptions::default());
    let order = r#"{"id":"c1","state":"ON"}"#;
    bench.send(order, |_| {}).await.await.unwrap();
    let actuation = bench.toast().await;
    let meddler = meddler(&bench);
    meddler.execute_batch("ALTER TABLE journal RENAME TO gone").unwrap();
    applied(actuation);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    meddler.execute_batch("ALTER TABLE gone RENAME TO journal").unwrap();
    let outbox = until_outbox_has(&bench, 1).await;
    assert_eq!((outbox.len(), &outbox[0]["status"]), (1, &json!("applied")));

    bench.send(order, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, true), "told at home once before");
    assert!(bench.toaster.try_recv().is_err(), "it ran once");
}

#[tokio::test]
async fn a_stop_waits_for_an_attempt_that_the_store_has_unless_the_disk_hangs() {
    let bench = Bench::start(StoreOptions::default());
    let (id, device) = (CommandId::parse("c1").unwrap(), device("toaster"));
    let meddler = meddler(&bench);
    bench.stop.cancel();
    for is_to_hang in [false, true] {
        bench.store.begin(&id, &device, bench.clock.now()).await.unwrap();
        meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insisting =
            Box::pin(insist(&bench.store, || bench.store.withdraw(&id, &device), &bench.stop));
        assert!(insisting.as_mut().now_or_never().is_none(), "it is not given up at once");
        if is_to_hang {
            assert!(matches!(timeout(PATIENCE, insisting).await.unwrap(), Err(StoreError::Hangs)));
            meddler.execute_batch("ROLLBACK").unwrap();
        } else {
            meddler.execute_batch("ROLLBACK").unwrap();
            timeout(PATIENCE, insisting).await.unwrap().unwrap();
            assert_eq!(in_journal(&meddler), 0);
        }
    }
}

#[tokio::test]
async fn a_refusal_waits_for_no_floor_between_commits() {
    let floor = Duration::from_secs(600);
    let mut bench = Bench::start(StoreOptions { commit_floor: floor, ..StoreOptions::default() });
    let entry = Entry::new(Message::new(Topic::parse("t").unwrap(), "x", QoS::AtLeastOnce));
    bench.store.append(entry).await.unwrap().await.unwrap();
    for _ in 0..2 {
        let acknowledged = bench.send("OFF", |_| {}).await;
        assert_eq!(bench.outcome().await.1, Some(Reason::NotAllowed));
        timeout(PATIENCE, acknowledged).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_interrupted_command_that_cannot_be_told_at_the_start_is_told_when_the_disk_is_well() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send(r#"{"id":"cut","state":"ON"}"#, |_| {}).await.await.unwrap();
    let _in_hand = bench.toast().await;
    bench.desk.abort();
    let meddler = meddler(&bench);
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON journal BEGIN SELECT no_such_function(); END";
    meddler.execute_batch(refuse).unwrap();
    let (mailbox, _toaster) = mpsc::channel(1);
    let mailboxes = HashMap::from([(device("toaster"), mailbox)]);
    let (mut next, mut told) = desk(toaster_on(), (&bench.store, &bench.clock), mailboxes);
    next.settle_interrupted(&bench.stop).await.unwrap();
    assert_eq!(told.recv().await.unwrap().outcome.reason, Some(Reason::Interrupted));
    let _desk = Bench::run(next, &bench.stop);
    meddler.execute_batch("DROP TRIGGER refuse").unwrap();
    let outbox = until_outbox_has(&bench, 1).await;
    assert_eq!((outbox.len(), &outbox[0]["status"]), (1, &json!("unknown")));
    assert!(told.try_recv().is_err(), "told at home once");
}

/// A command with the id `c1` that was given up because the disk hung; its id has come to the disk after all, and
/// nobody but the store's thread has had a turn since.
pub(super) async fn given_up(bench: &mut Bench, meddler: &rusqlite::Connection, order: &str) {
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let acknowledged = bench.send(order, |_| {}).await;
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::NotDurable), false));
    assert!(acknowledged.await.is_err());
    meddler.execute_batch("ROLLBACK").unwrap();
    while in_journal(meddler) == 0 || bench.store.hangs() {
        std::thread::yield_now();
    }
}

pub(super) fn in_journal(meddler: &rusqlite::Connection) -> u64 {
    meddler.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_command_that_comes_again_while_it_is_taken_back_waits_for_that_and_runs() {
    let mut bench = Bench::start(StoreOptions::default());
    let order = r#"{"id":"c1","state":"ON"}"#;
    let meddler = meddler(&bench);
    given_up(&mut bench, &meddler, order).await;
    bench.send(order, |_| {}).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
}

#[tokio::test]
async fn a_command_that_cannot_be_taken_back_yet_is_left_for_the_cloud_to_send_again() {
    let mut bench = Bench::start(StoreOptions::default());
    let order = r#"{"id":"c1","state":"ON"}"#;
    let meddler = meddler(&bench);
    given_up(&mut bench, &meddler, order).await;
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON journal BEGIN SELECT no_such_function(); END";
    meddler.execute_batch(refuse).unwrap();
    let again = bench.send(order, |_| {}).await;
    let handled = timeout(PATIENCE, again).await.unwrap();
    assert!(handled.is_err(), "acknowledged, and it would neither run nor get an outcome");
    assert_eq!(bench.outcome().await.1, Some(Reason::NotDurable));
    meddler.execute_batch("DROP TRIGGER refuse").unwrap();
    while in_journal(&meddler) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.send(order, |_| {}).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
}
