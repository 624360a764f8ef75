//! The desk against promise 3: once, in time, or not at all, and always an outcome.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{AllowList, CommandsOptions, Desk, Incoming, QuietHours, Rate, Rule, Timing, Told, Values};
use crate::{
    clock::Clock,
    health::Board,
    model::{
        Ack, Actuation, ActuationReply, DeviceId, Message, Origin, OutcomeStatus, Properties, QoS, Reason,
        Receipts, Sender, Staleness, TimeOfDay, Timestamp, Topic,
    },
    store::{Entry, Store, StoreError, StoreOptions},
};

mod together;
mod trouble;

type Way = mpsc::Sender<Incoming>;

struct Bench {
    directory: TempDir,
    store: Store,
    home: Way,
    cloud: Way,
    toaster: mpsc::Receiver<Actuation>,
    told: mpsc::Receiver<Told>,
    clock: Clock,
    stop: CancellationToken,
    desk: tokio::task::JoinHandle<()>,
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap())
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn toaster_on() -> Rule {
    Rule::new(device("toaster"), [("state".to_owned(), Values::OneOf(vec![json!("ON")]))].into())
}

fn desk(
    rule: Rule,
    (store, clock): (&Store, &Clock),
    mailboxes: HashMap<DeviceId, mpsc::Sender<Actuation>>,
) -> (Desk, mpsc::Receiver<Told>) {
    let (told_sender, told) = mpsc::channel(64);
    let options = CommandsOptions {
        receipts: Receipts::default(),
        allow: AllowList::new([rule]),
        timing: Timing::default(),
        mailboxes,
        tell: Arc::new(|told, reply_to| {
            let payload = serde_json::to_vec(told).unwrap();
            let topics = [Some(Topic::parse("cloud/result").unwrap()), reply_to.topic.clone()];
            topics
                .into_iter()
                .flatten()
                .map(|topic| Entry::new(Message::new(topic, payload.clone(), QoS::AtLeastOnce)))
                .collect()
        }),
    };
    (Desk::new(options, store.clone(), Board::new("g", clock.clone()), clock.clone(), told_sender), told)
}

impl Bench {
    fn start(options: StoreOptions) -> Self {
        Self::start_with(toaster_on(), options)
    }

    fn start_with(rule: Rule, options: StoreOptions) -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(&directory.path().join("store.db"), &options, clock()).unwrap();
        Self::start_on(store, directory, rule)
    }

    /// With a disk that takes nothing.
    fn start_without_disk() -> Self {
        let directory = TempDir::new().unwrap();
        let why = StoreError::Disk("the disk is full".to_owned());
        let path = directory.path().join("store.db");
        let store = Store::refusing(&path, &why, &StoreOptions::default(), clock()).unwrap();
        Self::start_on(store, directory, toaster_on())
    }

    fn start_on(store: Store, directory: TempDir, rule: Rule) -> Self {
        let clock = clock();
        let (mailbox, toaster) = mpsc::channel(1);
        let (desk, told) = desk(rule, (&store, &clock), HashMap::from([(device("toaster"), mailbox)]));
        let stop = CancellationToken::new();
        let (home, cloud, desk) = Self::run(desk, &stop);
        Self { directory, store, home, cloud, toaster, told, clock, stop, desk }
    }

    fn run(desk: Desk, stop: &CancellationToken) -> (Way, Way, tokio::task::JoinHandle<()>) {
        let ((home, from_home), (cloud, from_cloud)) = (mpsc::channel(16), mpsc::channel(16));
        (home, cloud, tokio::spawn(desk.run(from_home, from_cloud, stop.clone())))
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
            origin: Origin::Cloud(None),
            ack,
        };
        change(&mut incoming);
        let way = match incoming.origin {
            Origin::Cloud(_) => &self.cloud,
            Origin::Local(_) | Origin::Page | Origin::Rule | Origin::Forgotten => &self.home,
        };
        way.send(incoming).await.unwrap();
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
async fn a_press_on_the_page_needs_the_allow_list_and_is_told_at_home_only() {
    let mut bench = Bench::start(StoreOptions::default());
    bench.send("OFF", |command| command.origin = Origin::Page).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::NotAllowed), false));
    bench.send("ON", |command| command.origin = Origin::Page).await.await.unwrap();
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
async fn a_command_beyond_the_rate_is_refused_for_good_and_a_repetition_takes_nothing_from_the_rate() {
    let rate = Rate { count: 2, per: Duration::from_secs(3600) };
    let mut bench = Bench::start_with(Rule { rate: Some(rate), ..toaster_on() }, StoreOptions::default());
    let send = |id: &str| format!(r#"{{"id":"{id}","state":"ON"}}"#);
    // The same one three times, and once in vain: that is one.
    bench.send(&send("a"), |_| {}).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    for _ in 0..2 {
        bench.send(&send("a"), |_| {}).await.await.unwrap();
        assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, true));
    }
    let late = r#"{"id":"late","state":"ON","ttl":0}"#;
    bench.send(late, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await.1, Some(Reason::TooLate));
    bench.send(&send("b"), |_| {}).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);

    bench.send(&send("c"), |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::RateLimited), false));
    // Delivered again, it is refused again: its sender has been told so.
    bench.send(&send("c"), |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::RateLimited), true));
    // Home needs no permission, and takes none away.
    bench.send("ON", |command| command.origin = Origin::Local(None)).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);
    assert!(bench.toaster.try_recv().is_err());
    assert!(bench.store.interrupted().await.unwrap().is_empty(), "nothing is left as if it ran");
}

#[tokio::test]
async fn a_command_that_ran_is_replayed_in_quiet_hours_and_a_new_one_waits_for_nothing() {
    let time = |text| TimeOfDay::parse(text).unwrap();
    let quiet = QuietHours { from: time("12:30"), to: time("13:00"), days: Vec::new() };
    let mut bench = Bench::start_with(Rule { quiet: vec![quiet], ..toaster_on() }, StoreOptions::default());
    bench.send(r#"{"id":"a","state":"ON"}"#, |_| {}).await.await.unwrap();
    applied(bench.toast().await);
    assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);
    bench.clock.set(moment("2026-11-22T12:30:00Z"));
    bench.send(r#"{"id":"a","state":"ON"}"#, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, true));
    bench.send(r#"{"id":"b","state":"ON"}"#, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::QuietHours), false));
    bench.clock.set(moment("2026-11-22T13:00:00Z"));
    bench.clock.set_trusted(false);
    bench.send(r#"{"id":"c","state":"ON"}"#, |_| {}).await.await.unwrap();
    assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(Reason::ClockUnknown), false));
    assert!(bench.toaster.try_recv().is_err());
}

#[tokio::test]
async fn an_outcome_says_who_asked_and_what_a_rule_did_is_told_in_the_cloud_too() {
    let mut bench = Bench::start(StoreOptions::default());
    let anna = Sender::parse("anna").unwrap();
    for origin in [Origin::Cloud(Some(anna)), Origin::Cloud(None), Origin::Rule] {
        bench.send("ON", |command| command.origin = origin).await.await.unwrap();
        applied(bench.toast().await);
        assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);
    }
    let told = bench.outbox().await;
    let who: Vec<_> = told.iter().map(|outcome| (&outcome["origin"], outcome.get("sender"))).collect();
    let (cloud, rule, anna) = (json!("cloud"), json!("rule"), json!("anna"));
    assert_eq!(who, [(&cloud, Some(&anna)), (&cloud, None), (&rule, None)]);
    assert_eq!(told[0]["status"], "applied", "{told:?}");
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
    let (mut next, mut told) =
        desk(toaster_on(), (&bench.store, &bench.clock), HashMap::from([(device("toaster"), mailbox)]));
    next.settle_interrupted(&bench.stop).await.unwrap();
    let interrupted = told.recv().await.unwrap();
    assert_eq!(
        (interrupted.outcome.reason, interrupted.origin),
        (Some(Reason::Interrupted), Origin::Forgotten)
    );
    (bench.home, bench.cloud, bench.desk) = Bench::run(next, &bench.stop);
    bench.send(r#"{"id":"cut","state":"ON"}"#, |_| {}).await.await.unwrap();
    let repeated = told.recv().await.unwrap().outcome;
    assert_eq!((repeated.status, repeated.duplicate), (OutcomeStatus::Unknown, true));
    assert!(toaster.try_recv().is_err());
}

#[tokio::test]
async fn on_a_sick_disk_only_what_nobody_could_run_twice_runs() {
    let mut bench = Bench::start_without_disk();
    let local = |command: &mut Incoming| command.origin = Origin::Local(None);
    bench.send("ON", local).await.await.unwrap();
    applied(bench.toast().await);
    let told = timeout(Duration::from_secs(10), bench.told.recv()).await.unwrap().unwrap().outcome;
    assert_eq!((told.status, told.reason), (OutcomeStatus::Applied, None));
    assert!(told.detail.unwrap().contains("not written down"));
    for (ours, origin) in [("line-lost-1", Origin::Rule), ("page-1", Origin::Page)] {
        let payload = format!(r#"{{"id":"{ours}","state":"ON"}}"#);
        bench.send(&payload, |command| command.origin = origin).await.await.unwrap();
        applied(bench.toast().await);
        assert_eq!(bench.outcome().await.0, OutcomeStatus::Applied);
    }

    type Change = fn(&mut Incoming);
    let refused: [(&str, Change, Reason); 4] = [
        (r#"{"id":"1","state":"ON"}"#, |c| c.origin = Origin::Local(None), Reason::NotDurable),
        ("ON", |c| (c.origin, c.redelivered) = (Origin::Local(None), true), Reason::Redelivered),
        ("ON", |_| {}, Reason::NotDurable),
        (r#"{"id":"2","state":"ON"}"#, |_| {}, Reason::NotDurable),
    ];
    for (payload, change, reason) in refused {
        bench.send(payload, change).await;
        assert_eq!(bench.outcome().await, (OutcomeStatus::Refused, Some(reason), false), "{payload}");
    }
    assert!(bench.toaster.try_recv().is_err());
}

#[tokio::test]
async fn what_the_cloud_cannot_be_told_is_not_acknowledged_so_that_it_is_sent_again() {
    let mut bench = Bench::start_without_disk();
    let acknowledged = bench.send(r#"{"id":"1","state":"OFF"}"#, |_| {}).await;
    assert_eq!(bench.outcome().await.1, Some(Reason::NotAllowed));
    assert!(acknowledged.await.is_err(), "the cloud would never hear of it");
}

#[tokio::test]
async fn setting_the_clock_neither_expires_what_is_under_way_nor_lets_anything_run_twice() {
    let mut bench = Bench::start(StoreOptions::default());
    let order = r#"{"id":"c1","state":"ON","ttl":5}"#;
    bench.send(order, |_| {}).await.await.unwrap();
    let actuation = bench.toast().await;
    let deadline = actuation.command.deadline;
    bench.clock.set(moment("2027-11-22T12:00:00Z"));
    assert!(deadline > Instant::now(), "a deadline is of the monotonic clock");
    applied(actuation);
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    for clock in ["2027-11-22T12:00:00Z", "1970-01-01T00:00:00Z", "2026-11-22T12:00:01Z"] {
        bench.clock.set(moment(clock));
        bench.send(order, |_| {}).await.await.unwrap();
        assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, true), "at {clock}");
    }
    assert!(bench.toaster.try_recv().is_err(), "it ran a second time");
}

#[tokio::test]
async fn a_dated_command_is_judged_by_a_clock_that_can_be_believed_and_a_ttl_by_any() {
    use OutcomeStatus::{Applied, Expired, Refused};
    let dated = r#"{"state":"ON","at":"2026-11-22T12:00:00Z"}"#;
    let lived = r#"{"state":"ON","ttl":5}"#;
    for (clock, is_trusted, order, status, reason) in [
        ("2026-11-22T12:00:01Z", true, dated, Applied, None),
        // It jumped forward, or the command is old: nobody can tell, so it does not run.
        ("2026-11-22T13:00:00Z", true, dated, Expired, Some(Reason::TooLate)),
        ("2026-11-22T11:00:00Z", true, dated, Refused, Some(Reason::FromTheFuture)),
        ("1970-01-01T00:00:30Z", false, dated, Refused, Some(Reason::ClockUnknown)),
        ("2026-11-22T12:00:01Z", false, dated, Refused, Some(Reason::ClockUnknown)),
        ("2026-11-22T13:00:00Z", true, lived, Applied, None),
        ("1970-01-01T00:00:30Z", false, lived, Applied, None),
    ] {
        let mut bench = Bench::start(StoreOptions::default());
        bench.clock.set(moment(clock));
        bench.clock.set_trusted(is_trusted);
        bench.send(order, |_| {}).await.await.unwrap();
        if status == Applied {
            applied(bench.toast().await);
        }
        assert_eq!(bench.outcome().await, (status, reason, false), "{order} at {clock}");
    }
}
