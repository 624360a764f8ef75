//! The desk against promise 3: once, in time, or not at all, and always an outcome.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{AllowList, CommandsOptions, Desk, Incoming, Rule, Timing, Told, Values};
use crate::{
    clock::Clock,
    health::Board,
    model::{
        Ack, Actuation, ActuationReply, DeviceId, Message, Origin, OutcomeStatus, Properties, QoS, Reason,
        Staleness, Timestamp, Topic,
    },
    store::{Entry, Store, StoreOptions},
};

struct Bench {
    directory: TempDir,
    store: Store,
    commands: mpsc::Sender<Incoming>,
    toaster: mpsc::Receiver<Actuation>,
    told: mpsc::Receiver<Told>,
    stop: CancellationToken,
    desk: tokio::task::JoinHandle<()>,
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap())
}

fn desk(
    store: &Store,
    mailboxes: HashMap<DeviceId, mpsc::Sender<Actuation>>,
) -> (Desk, mpsc::Receiver<Told>) {
    let (told_sender, told) = mpsc::channel(64);
    let options = CommandsOptions {
        allow: AllowList::new([Rule {
            device: device("toaster"),
            set: [("state".to_owned(), Values::OneOf(vec![json!("ON")]))].into(),
        }]),
        timing: Timing::default(),
        mailboxes,
        tell: Arc::new(|outcome, reply_to| {
            let payload = serde_json::to_vec(outcome).unwrap();
            let topics = [Some(Topic::parse("cloud/result").unwrap()), reply_to.topic.clone()];
            topics
                .into_iter()
                .flatten()
                .map(|topic| Entry::new(Message::new(topic, payload.clone(), QoS::AtLeastOnce)))
                .collect()
        }),
    };
    (Desk::new(options, store.clone(), Board::new("g", clock()), clock(), told_sender), told)
}

impl Bench {
    fn start(options: StoreOptions) -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(&directory.path().join("store.db"), &options, clock()).unwrap();
        let (mailbox, toaster) = mpsc::channel(1);
        let (desk, told) = desk(&store, HashMap::from([(device("toaster"), mailbox)]));
        let (commands, incoming) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let desk = tokio::spawn(desk.run(incoming, stop.clone()));
        Self { directory, store, commands, toaster, told, stop, desk }
    }

    async fn send(&self, payload: &str, change: impl FnOnce(&mut Incoming)) -> oneshot::Receiver<()> {
        let (ack, acknowledged) = Ack::channel();
        let message = Message::new(Topic::parse("c/set").unwrap(), payload.to_owned(), QoS::AtLeastOnce);
        let mut incoming = Incoming {
            device: device("toaster"),
            message,
            received: Instant::now(),
            redelivered: false,
            staleness: Staleness::Live,
            origin: Origin::Cloud,
            ack,
        };
        change(&mut incoming);
        self.commands.send(incoming).await.unwrap();
        acknowledged
    }

    async fn toast(&mut self) -> Actuation {
        timeout(Duration::from_secs(10), self.toaster.recv()).await.unwrap().unwrap()
    }

    async fn outcome(&mut self) -> (OutcomeStatus, Option<Reason>, bool) {
        let told = timeout(Duration::from_secs(10), self.told.recv()).await.unwrap().unwrap();
        (told.outcome.status, told.outcome.reason, told.outcome.duplicate)
    }

    async fn outbox(&self) -> Vec<serde_json::Value> {
        let records = self.store.pending(0, 100, 1 << 20).await.unwrap();
        records.iter().map(|record| serde_json::from_slice(&record.message.payload).unwrap()).collect()
    }
}

fn applied(actuation: Actuation) {
    actuation.reply.send(ActuationReply { status: OutcomeStatus::Applied, detail: None }).unwrap();
}

#[tokio::test]
async fn an_allowed_command_runs_and_its_repetition_replays_the_outcome() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send(r#"{"id":"c1","state":"ON"}"#, |_| {}).await.await.unwrap();
    let actuation = bench.toast().await;
    assert_eq!(actuation.command.request.fields()["state"], "ON");

    // Still running: the repetition waits for the first one's outcome.
    bench.send(r#"{"id":"c1","state":"ON"}"#, |_| {}).await.await.unwrap();
    applied(actuation);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));

    // Finished, and sent again long after its time: what was recorded counts, not what is so now.
    let late = r#"{"id":"c1","state":"ON","expires_at":"2020-01-01T00:00:00Z"}"#;
    bench.send(late, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, true));
    assert!(bench.toaster.try_recv().is_err(), "the toaster heard of it once");
    let told = bench.outbox().await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["status"], &told[1]["duplicate"]), (&json!("applied"), &json!(true)));
}

#[tokio::test]
async fn what_must_not_run_never_reaches_the_device_and_gets_its_reason() {
    let mut bench = Bench::start(StoreOptions::default());
    type Change = fn(&mut Incoming);
    let cases: [(&str, Change, OutcomeStatus, Reason); 8] = [
        (r#"{"id":"1","state":"OFF"}"#, |_| {}, OutcomeStatus::Refused, Reason::NotAllowed),
        ("ON", |c| c.message.retain = true, OutcomeStatus::Refused, Reason::Retained),
        ("ON", |c| c.redelivered = true, OutcomeStatus::Refused, Reason::Redelivered),
        ("ON", |c| c.device = device("garage"), OutcomeStatus::Refused, Reason::NoSuchDevice),
        ("[]", |_| {}, OutcomeStatus::Refused, Reason::Malformed),
        (
            r#"{"id":"2","state":"ON"}"#,
            |c| c.staleness = Staleness::MayHaveWaited,
            OutcomeStatus::Refused,
            Reason::Undated,
        ),
        (
            r#"{"id":"3","state":"ON","at":"2026-11-22T11:00:00Z"}"#,
            |_| {},
            OutcomeStatus::Expired,
            Reason::TooLate,
        ),
        (
            r#"{"id":"4","state":"ON","at":"2027-11-22T11:00:00Z"}"#,
            |_| {},
            OutcomeStatus::Refused,
            Reason::FromTheFuture,
        ),
    ];
    for (payload, change, status, reason) in cases {
        bench.send(payload, change).await.await.unwrap();
        assert_eq!(bench.outcome().await, (status, Some(reason), false), "{payload}");
    }
    assert!(bench.toaster.try_recv().is_err());
    assert_eq!(bench.outbox().await.len(), 8, "the cloud is told of each");
}

#[tokio::test]
async fn a_local_command_needs_no_allow_list_and_is_told_at_home_only() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send("OFF", |command| command.origin = Origin::Local(None)).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);
    assert!(bench.outbox().await.is_empty());
}

#[tokio::test]
async fn a_busy_device_refuses_instead_of_queueing_without_end() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send("ON", |_| {}).await.await.unwrap();
    bench.send("ON", |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::Busy), false));
}

#[tokio::test]
async fn nothing_is_acknowledged_or_run_before_the_id_is_durable() {
    let mut bench = Bench::start(StoreOptions::default());
    let other = rusqlite::Connection::open(bench.directory.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut ack = bench.send(r#"{"id":"c1","state":"ON"}"#, |_| {}).await;
    // Somebody else is writing, which holds the commit back: neither the cloud nor the toaster hears anything.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ack.try_recv().is_err() && bench.toaster.try_recv().is_err());
    other.execute_batch("ROLLBACK").unwrap();
    ack.await.unwrap();
    bench.toast().await;
}

#[tokio::test]
async fn the_answer_goes_to_the_response_topic_and_correlation_data_is_nobodys_id() {
    let mut bench = Bench::start(StoreOptions::default());
    // Two phones count their requests from 1, each for itself: both are to be served.
    for phone in ["phone/1", "phone/2"] {
        let asks = |command: &mut Incoming| {
            command.message.properties = Some(Arc::new(Properties {
                response_topic: Some(phone.into()),
                correlation_data: Some("1".into()),
                ..Properties::default()
            }));
        };
        bench.send("ON", asks).await.await.unwrap();
        applied(bench.toast().await);
        assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    }
    let records = bench.store.pending(0, 10, 1 << 20).await.unwrap();
    let topics: Vec<&str> = records.iter().map(|record| record.message.topic.as_str()).collect();
    assert_eq!(topics, ["cloud/result", "phone/1", "cloud/result", "phone/2"]);
}

#[tokio::test]
async fn a_command_whose_end_is_not_known_is_unknown_for_ever() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send(r#"{"id":"lost","state":"ON"}"#, |_| {}).await.await.unwrap();
    drop(bench.toast().await);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Unknown, Some(Reason::Interrupted), false));

    // Begun, and then the power goes: the next start tells it, and a repetition does not run.
    bench.send(r#"{"id":"cut","state":"ON"}"#, |_| {}).await.await.unwrap();
    let _in_hand = bench.toast().await;
    bench.desk.abort();
    let (mailbox, mut toaster) = mpsc::channel(1);
    let (next, mut told) = desk(&bench.store, HashMap::from([(device("toaster"), mailbox)]));
    next.settle_interrupted().await.unwrap();
    assert_eq!(told.recv().await.unwrap().outcome.reason, Some(Reason::Interrupted));
    let (commands, incoming) = mpsc::channel(16);
    bench.desk = tokio::spawn(next.run(incoming, bench.stop.clone()));
    bench.commands = commands;
    bench.send(r#"{"id":"cut","state":"ON"}"#, |_| {}).await.await.unwrap();
    let repeated = told.recv().await.unwrap().outcome;
    assert_eq!((repeated.status, repeated.duplicate), (OutcomeStatus::Unknown, true));
    assert!(toaster.try_recv().is_err());
}
