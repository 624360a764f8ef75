//! A command: the decision alone, and its whole way from the line to the device's mailbox, durable before it.

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use hearthlink::{
    clock::Clock,
    commands::{AllowList, CommandsOptions, Desk, Incoming, Rule, Timing, Told, Values, parts::is_admitted},
    health::Board,
    model::{
        Ack, Actuation, ActuationReply, DeviceId, Message, Origin, OutcomeStatus, QoS, Receipts, Staleness,
        Timestamp, Topic,
    },
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    part::{Part, Work},
    store,
};

pub const PARTS: &[Part] = &[
    Part::pure("commands/decision, 1 rule", || decision(1)),
    Part::pure("commands/decision, 1000 rules", || decision(1_000)),
    Part::on_disk("commands/to the mailbox", 1, || Box::new(House::new())),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn device(number: usize) -> DeviceId {
    DeviceId::parse(&format!("lamp-{number}")).expect("an id")
}

fn allow(rules: usize) -> AllowList {
    let set = |_| [("state".to_owned(), Values::OneOf(vec![json!("ON"), json!("OFF")]))].into();
    AllowList::new((0..rules).map(|number| Rule::new(device(number), set(number))))
}

fn decision(rules: usize) -> Box<dyn Work> {
    let (allow, device) = (allow(rules), device(rules - 1));
    let now = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").expect("a time");
    let payload = br#"{"id":"6f1c","at":"2026-11-22T11:59:59Z","state":"ON"}"#;
    Box::new(move || {
        assert!(is_admitted(black_box(payload), &device, &Origin::Cloud(None), &allow, now));
    })
}

/// A desk with one lamp, which does at once what it is told.
struct House {
    runtime: Runtime,
    cloud: mpsc::Sender<Incoming>,
    lamp: mpsc::Receiver<Actuation>,
    told: mpsc::Receiver<Told>,
    _home: mpsc::Sender<Incoming>,
    _directory: TempDir,
    last: u64,
}

impl House {
    fn new() -> Self {
        let runtime = store::runtime();
        let ((store, _directory), clock) = (store::open(), Clock::system());
        let (mailbox, lamp) = mpsc::channel(1);
        let (teller, told) = mpsc::channel(64);
        let options = CommandsOptions {
            allow: allow(1),
            timing: Timing::default(),
            mailboxes: HashMap::from([(device(0), mailbox)]),
            tell: Arc::new(|_, _| Vec::new()),
            receipts: Receipts::default(),
        };
        let desk = Desk::new(options, store, Board::new("home", clock.clone()), clock, teller);
        let ((home, from_home), (cloud, from_cloud)) = (mpsc::channel(16), mpsc::channel(16));
        runtime.spawn(desk.run(from_home, from_cloud, CancellationToken::new()));
        Self { runtime, cloud, lamp, told, _home: home, _directory, last: 0 }
    }
}

impl Work for House {
    /// The outcome of the command before is waited for outside of the measurement.
    fn prepare(&mut self) {
        while self.last > 0 && self.told.try_recv().is_ok() {}
    }

    fn run(&mut self) {
        self.last += 1;
        let payload = format!(r#"{{"id":"c-{}","state":"ON"}}"#, self.last);
        let topic = Topic::parse("homes/home/lamp-0/set").expect("a topic");
        let incoming = Incoming {
            device: device(0),
            message: Message::new(topic, payload, QoS::AtLeastOnce),
            received: Instant::now(),
            redelivered: false,
            staleness: Staleness::Live,
            origin: Origin::Cloud(None),
            ack: Ack::none(),
        };
        let Self { runtime, cloud, lamp, .. } = self;
        runtime.block_on(async {
            cloud.send(incoming).await.expect("the desk is there");
            let actuation = timeout(PATIENCE, lamp.recv()).await.expect("it arrives").expect("it is there");
            let reply = ActuationReply { status: OutcomeStatus::Applied, detail: None };
            actuation.reply.send(reply).expect("the desk waits");
        });
    }
}
