//! The fleet as a whole, with paused time: what a command's outcome is, and what a fault does.

mod described;
mod simulated;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::Clock,
    health::{Board, DeviceReport},
    model::{
        Actuation, ActuationReply, Availability, Command, CommandId, DeviceEvent, Fields, Mailbox, Message,
        Origin, OutcomeStatus, QoS, Reading, Request, Timestamp, Topic, TopicFilter,
    },
};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn spec(name: &str, kind: &str, options: Value) -> DeviceSpec {
    DeviceSpec { id: id(name), kind: kind.to_owned(), options }
}

fn toaster() -> DeviceSpec {
    spec("toaster", "toaster", json!({"toasting_time": "3s"}))
}

/// A device that panics when it is told to, on a bus that it has for itself.
struct Fragile(DeviceId);

static FRAGILE_RESTORED: AtomicBool = AtomicBool::new(false);

impl Device for Fragile {
    fn wiring(&self) -> Wiring {
        Wiring::Lan { hears: vec![TopicFilter::parse("fragile/#").unwrap()], obeys: Vec::new() }
    }
    fn presence(&self) -> Presence {
        Presence::Assumed
    }
    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        assert_ne!(frame.text(), Some("panic"), "told to");
        if frame.text() == Some("refused") {
            return Err(DeviceError::unread(&self.0, "odd", "it refuses"));
        }
        let number: u64 = frame
            .text()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| DeviceError::unreadable(&self.0, "number", "it is no number"))?;
        Ok(Changes::field(if number.is_multiple_of(2) { "even" } else { "odd" }, number))
    }
    fn encode(&self, _request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        Ok(Plan::confirmed(vec![Frame::new("to/fragile", "go")], Duration::from_secs(5), |_| false))
    }
    fn restore(&mut self, last: &Fields) {
        FRAGILE_RESTORED.store(last.contains_key("even"), Ordering::SeqCst);
    }
}

fn test_kinds() -> Vec<Kind> {
    let fragile: Kind =
        Kind { name: "fragile", about: "", build: |spec| Ok(Box::new(Fragile(spec.id.clone()))) };
    [&[fragile], KINDS].concat()
}

/// A running fleet, with the local broker and the world in the test's hands.
struct House {
    mailboxes: HashMap<DeviceId, Mailbox>,
    probe: SimulationProbe,
    lan: mpsc::Sender<Message>,
    published: mpsc::Receiver<LanPublish>,
    events: mpsc::Receiver<DeviceEvent>,
    board: Board,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl House {
    fn new(specs: &[DeviceSpec]) -> Self {
        Self::with_last(specs, HashMap::new())
    }

    fn with_last(specs: &[DeviceSpec], last: HashMap<DeviceId, Fields>) -> Self {
        Self::of(Fleet::build_with(specs, &test_kinds()).unwrap(), last)
    }

    fn of(fleet: Fleet, last: HashMap<DeviceId, Fields>) -> Self {
        let (mailboxes, probe) = (fleet.mailboxes.clone(), fleet.simulation());
        let (lan, incoming) = mpsc::channel(16);
        let (publish, published) = mpsc::channel(16);
        let (to_world, events) = mpsc::channel(1024);
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let (board, stop) = (Board::new("test", clock.clone()), CancellationToken::new());
        let port = LanPort { incoming, publish };
        let task = tokio::spawn(fleet.run(port, to_world, last, clock, board.clone(), stop.clone()));
        Self { mailboxes, probe, lan, published, events, board, stop, task }
    }

    fn send(&self, device: &str, request: Value, life: Duration) -> oneshot::Receiver<ActuationReply> {
        self.try_send(device, request, life).unwrap()
    }

    fn try_send(
        &self,
        device: &str,
        request: Value,
        life: Duration,
    ) -> Option<oneshot::Receiver<ActuationReply>> {
        let Value::Object(fields) = request else { panic!("a request is an object") };
        let command = Command {
            id: CommandId::parse("c").unwrap(),
            device: id(device),
            request: Request::from_fields(fields).unwrap(),
            origin: Origin::Cloud(None),
            deadline: Instant::now() + life,
        };
        let (reply, answer) = oneshot::channel();
        self.mailboxes[&id(device)].try_send(Actuation { command, reply }).ok()?;
        Some(answer)
    }

    async fn say(&self, topic: &str, payload: &'static str) {
        let topic = Topic::parse(topic).unwrap();
        self.lan.send(Message::new(topic, payload, QoS::AtLeastOnce)).await.unwrap();
    }

    /// The next publish at the local broker, with its text.
    async fn publish(&mut self) -> (String, oneshot::Sender<usize>) {
        let LanPublish { message, delivered } =
            timeout(Duration::from_secs(60), self.published.recv()).await.unwrap().unwrap();
        assert_eq!((message.qos, message.retain), (QoS::AtMostOnce, false));
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        (format!("{} {payload}", message.topic), delivered)
    }

    async fn event(&mut self) -> DeviceEvent {
        timeout(Duration::from_secs(600), self.events.recv()).await.unwrap().unwrap()
    }

    async fn reading(&mut self) -> Reading {
        loop {
            if let DeviceEvent::Reading(reading) = self.event().await {
                return reading;
            }
        }
    }

    async fn availability(&mut self) -> Availability {
        loop {
            if let DeviceEvent::Availability(_, availability) = self.event().await {
                return availability;
            }
        }
    }

    fn report(&self, device: &str) -> DeviceReport {
        self.board.snapshot().devices.into_iter().find(|report| report.id == id(device)).unwrap()
    }
}

const LIFE: Duration = Duration::from_secs(30);

async fn status(answer: oneshot::Receiver<ActuationReply>) -> (OutcomeStatus, String) {
    let reply = answer.await.unwrap();
    (reply.status, reply.detail.unwrap_or_default())
}

fn plug() -> DeviceSpec {
    spec("plug", "tasmota", json!({"topic": "plug"}))
}

#[test]
fn an_unknown_kind_is_named_with_the_nearest_and_the_list() {
    let check = |spec: &DeviceSpec| Checker::default().check(spec);
    let error = check(&spec("t", "toster", Value::Null)).unwrap_err().to_string();
    for part in ["`t`", "`toster`", "did you mean `toaster`?", "`lan`", "`tasmota`", "`thermometer`"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert!(!check(&spec("t", "xyz", Value::Null)).unwrap_err().to_string().contains("did you mean"));
    assert_eq!(check(&toaster()), Ok(Claims::default()));
    let twice = Fleet::build(&[toaster(), toaster()]).err();
    assert_eq!(twice, Some(DeviceError::DuplicateId { device: id("toaster") }));
}

#[test]
fn each_filter_is_wanted_once() {
    let lamp = |name: &str| spec(name, "lan", json!({"state_topic": "lamp"}));
    let filters = Fleet::build(&[lamp("a"), lamp("b"), toaster()]).unwrap().lan_filters();
    assert_eq!(filters, [TopicFilter::parse("lamp").unwrap()]);
}

#[test]
fn where_devices_of_the_lan_are_told_what_to_do_is_known() {
    let lamp = spec("a", "lan", json!({"state_topic": "lamp", "command_topic": "lamp/set"}));
    let plug = spec("b", "tasmota", json!({"topic": "plug"}));
    let fleet = Fleet::build(&[lamp, plug, toaster()]).unwrap();
    let obeys = |topic: &str| {
        let topic = crate::model::Topic::parse(topic).unwrap();
        fleet.lan_obeyed().iter().any(|filter| filter.matches(&topic))
    };
    assert!(obeys("lamp/set") && obeys("cmnd/plug/POWER") && obeys("cmnd/tasmotas/POWER"));
    assert!(!obeys("lamp") && !obeys("stat/plug/POWER"));
}

#[tokio::test(start_paused = true)]
async fn a_pressed_toaster_toasts_and_says_that_toast_is_ready() {
    let mut house = House::new(&[toaster()]);
    let pressed = Instant::now();
    let answer = house.send("toaster", json!({"state": "ON"}), LIFE);
    let (what, detail) = status(answer).await;
    assert_eq!(
        (what, detail.as_str()),
        (OutcomeStatus::Applied, "the lever is down, the toast is ready in 3 s")
    );
    assert!(pressed.elapsed() < Duration::from_secs(1), "the phone sees it within a second");
    let again = status(house.send("toaster", json!({"state": "ON"}), LIFE)).await;
    assert_eq!(again, (OutcomeStatus::Applied, "it was toasting already and goes on".to_owned()));
    let mut progress = Vec::new();
    let ready = loop {
        let reading = house.reading().await;
        progress.push(reading.fields["progress"].as_u64());
        if reading.fields.get("toast") == Some(&json!("ready")) {
            break reading;
        }
    };
    assert_eq!(pressed.elapsed(), Duration::from_secs(3));
    assert_eq!(
        Value::Object(ready.fields),
        json!({"state": "OFF", "toast": "ready", "progress": 100, "browning": 3})
    );
    assert!(progress.windows(2).all(|pair| pair[0] <= pair[1]), "{progress:?}");
    assert_eq!(house.probe.of(&id("toaster")).runs, 1);
    assert_eq!(house.probe.of(&id("toaster")).touches, 2);
}

#[tokio::test(start_paused = true)]
async fn off_pops_the_toast_early() {
    let house = House::new(&[toaster()]);
    status(house.send("toaster", json!({"state": "ON"}), LIFE)).await;
    let (what, detail) = status(house.send("toaster", json!({"state": "OFF"}), LIFE)).await;
    assert_eq!(
        (what, detail.as_str()),
        (OutcomeStatus::Applied, "the lever is up, the toast came out early")
    );
    sleep(Duration::from_millis(1)).await;
    assert_eq!(house.report("toaster").fields.unwrap()["toast"], json!("early"));
}

#[tokio::test(start_paused = true)]
async fn expired_command_never_reaches_the_bus() {
    let house = House::new(&[toaster()]);
    let (what, _) = status(house.send("toaster", json!({"state": "ON"}), Duration::ZERO)).await;
    assert_eq!(what, OutcomeStatus::Expired);
    assert_eq!(house.probe.of(&id("toaster")), Tally { said: 2, ..Tally::default() });
}

#[tokio::test(start_paused = true)]
async fn a_command_that_expires_while_its_bus_is_stuck_never_reaches_it() {
    // The broker does not say what became of the first publish; the second waits at the door of the bus.
    let specs: Vec<DeviceSpec> =
        (0..2).map(|n| spec(&format!("l{n}"), "lan", json!({"command_topic": format!("c{n}")}))).collect();
    let mut house = House::new(&specs);
    let first = house.send("l0", json!({"state": "ON"}), LIFE);
    sleep(Duration::from_millis(1)).await;
    let second = house.send("l1", json!({"state": "ON"}), Duration::from_secs(2));
    let (what, detail) = status(second).await;
    assert_eq!(what, OutcomeStatus::Expired, "{detail}");
    let (_, delivered) = house.publish().await;
    delivered.send(1).unwrap();
    assert_eq!(status(first).await.0, OutcomeStatus::Applied);
    sleep(LIFE).await;
    assert!(house.published.try_recv().is_err(), "the expired command was published");
}

#[tokio::test(start_paused = true)]
async fn a_silent_lan_device_is_applied_when_delivered_and_failed_when_nobody_listens() {
    let mut house = House::new(&[spec("lamp", "lan", json!({"command_topic": "cmnd/lamp/POWER"}))]);
    let answer = house.send("lamp", json!({"state": "ON"}), LIFE);
    let (publish, delivered) = house.publish().await;
    assert_eq!(publish, "cmnd/lamp/POWER ON");
    delivered.send(1).unwrap();
    let (what, detail) = status(answer).await;
    assert_eq!(what, OutcomeStatus::Applied);
    assert!(detail.contains("does not confirm"), "{detail}");
    let answer = house.send("lamp", json!({"state": "ON"}), LIFE);
    house.publish().await.1.send(0).unwrap();
    let failed = (OutcomeStatus::Failed, "nobody is subscribed to cmnd/lamp/POWER".to_owned());
    assert_eq!(status(answer).await, failed);
    assert_eq!(house.availability().await, Availability::Online);
}

#[tokio::test(start_paused = true)]
async fn a_plug_is_applied_when_it_shows_it_and_unknown_when_it_does_not() {
    let mut house = House::new(&[plug()]);
    house.say("tele/plug/LWT", "Online").await;
    assert_eq!(house.availability().await, Availability::Online);
    let (inquiry, delivered) = house.publish().await;
    assert_eq!(inquiry, "cmnd/plug/STATE ");
    delivered.send(1).unwrap();

    let answer = house.send("plug", json!({"state": "ON"}), LIFE);
    let (publish, delivered) = house.publish().await;
    assert_eq!(publish, "cmnd/plug/POWER ON");
    delivered.send(1).unwrap();
    house.say("stat/plug/RESULT", r#"{"POWER":"ON"}"#).await;
    assert_eq!(status(answer).await, (OutcomeStatus::Applied, "the relay shows ON".to_owned()));
    assert_eq!(house.reading().await.fields["state"], json!("ON"));

    let (sent_at, answer) = (Instant::now(), house.send("plug", json!({"state": "ON"}), LIFE));
    house.publish().await.1.send(1).unwrap();
    let (what, detail) = status(answer).await;
    assert_eq!(what, OutcomeStatus::Unknown, "what it showed before the command proves nothing");
    assert!(detail.contains("did not show it"), "{detail}");
    assert_eq!(sent_at.elapsed(), Duration::from_secs(2));

    let (sent_at, answer) =
        (Instant::now(), house.send("plug", json!({"state": "OFF"}), Duration::from_millis(500)));
    house.publish().await.1.send(1).unwrap();
    assert_eq!(status(answer).await.0, OutcomeStatus::Unknown);
    assert_eq!(sent_at.elapsed(), Duration::from_millis(500), "the deadline bounds the wait");

    let answer = house.send("plug", json!({"state": "OFF"}), LIFE);
    house.publish().await.1.send(1).unwrap();
    house.say("stat/plug/RESULT", r#"{"Command":"Error"}"#).await;
    assert_eq!(status(answer).await.0, OutcomeStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_kept_message_tells_the_state_but_confirms_nothing() {
    let mut house = House::new(&[spec("lamp", "lan", json!({"command_topic": "c", "state_topic": "s"}))]);
    let answer = house.send("lamp", json!({"state": "ON"}), LIFE);
    house.publish().await.1.send(1).unwrap();
    let kept = Message::new(Topic::parse("s").unwrap(), "ON", QoS::AtLeastOnce).retained();
    house.lan.send(kept.clone()).await.unwrap();
    assert_eq!(house.reading().await.fields["state"], json!("ON"));
    house.lan.send(kept).await.unwrap();
    assert_eq!(status(answer).await.0, OutcomeStatus::Unknown);
    assert!(house.events.try_recv().is_err(), "it is neither heard nor read anew");
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_is_busy_and_commands_run_one_at_a_time() {
    let mut house = House::new(&[plug()]);
    let first = house.send("plug", json!({"state": "ON"}), LIFE);
    house.publish().await.1.send(1).unwrap();
    let waiting: Vec<_> =
        (0..MAILBOX_CAPACITY).map(|_| house.send("plug", json!({"state": "OFF"}), LIFE)).collect();
    assert!(house.try_send("plug", json!({"state": "OFF"}), LIFE).is_none(), "the ninth is refused");
    sleep(Duration::from_secs(1)).await;
    assert!(house.published.try_recv().is_err(), "the second waits for the first");
    assert_eq!(status(first).await.0, OutcomeStatus::Unknown);
    for answer in waiting {
        house.publish().await.1.send(0).unwrap();
        assert_eq!(status(answer).await.0, OutcomeStatus::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_makes_the_command_in_hand_unknown_restores_the_state_and_disturbs_nobody() {
    let mut house = House::new(&[spec("fragile", "fragile", Value::Null), toaster()]);
    house.say("fragile/a", "2").await;
    let answer = house.send("fragile", json!({"state": "ON"}), LIFE);
    house.publish().await.1.send(1).unwrap();
    house.say("fragile/a", "panic").await;
    assert!(answer.await.is_err(), "the way back is dropped");
    let waiting = status(house.send("fragile", json!({"state": "ON"}), LIFE)).await;
    assert_eq!(waiting.0, OutcomeStatus::Failed);
    assert!(waiting.1.contains("nothing was sent"), "{}", waiting.1);
    house.say("fragile/a", "3").await;
    let report = house.report("fragile");
    assert_eq!(report.restarts, 1);
    assert!(report.fault.unwrap().contains("told to"));
    assert_eq!(status(house.send("toaster", json!({"state": "ON"}), LIFE)).await.0, OutcomeStatus::Applied);
    sleep(Duration::from_secs(1)).await;
    let report = house.report("fragile");
    assert_eq!(
        Value::Object(report.fields.unwrap()),
        json!({"even": 2, "odd": 3}),
        "what came meanwhile was read"
    );
    assert_eq!(report.fault, None);
    assert!(FRAGILE_RESTORED.load(Ordering::SeqCst));
    assert_eq!(house.report("toaster").restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_not_told_is_a_fault_until_it_is_whatever_else_is_read() {
    let house = House::new(&[spec("fragile", "fragile", Value::Null)]);
    let refused = Some("device `fragile`: cannot read `odd`: it refuses");
    for (said, fault) in [
        ("refused", refused),
        ("2", refused),
        ("many", refused),
        ("4", refused),
        ("1", None),
        ("many", Some("device `fragile`: cannot read `number`: it is no number")),
        ("4", None),
    ] {
        house.say("fragile/a", said).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(house.report("fragile").fault.as_deref(), fault, "after {said}");
    }
}

#[test]
fn a_port_by_another_name_is_the_same_port() {
    let directory = tempfile::tempdir().unwrap();
    let (bare, by_id) = (directory.path().join("ttyUSB0"), directory.path().join("usb-FTDI-if00-port0"));
    std::fs::write(&bare, "").unwrap();
    std::os::unix::fs::symlink(&bare, &by_id).unwrap();
    let on = |name: &str, port: &std::path::Path, baud: u32| {
        spec(name, "serial_line", json!({"port": port, "baud": baud, "pattern": "(?P<t>.*)"}))
    };
    let error = Fleet::build(&[on("a", &bare, 9600), on("b", &by_id, 19200)]).err().unwrap().to_string();
    assert!(error.contains("`a` shares this port and has 9600"), "{error}");
    assert!(Fleet::build(&[on("a", &bare, 9600), on("b", &by_id, 9600)]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_a_fault_on_the_board_and_not_a_restart() {
    let house = House::new(&[spec("fragile", "fragile", Value::Null)]);
    house.say("fragile/a", "many").await;
    sleep(Duration::from_millis(1)).await;
    let report = house.report("fragile");
    assert_eq!(report.restarts, 0);
    assert_eq!(report.fault.as_deref(), Some("device `fragile`: cannot read `number`: it is no number"));
}

#[tokio::test(start_paused = true)]
async fn a_thermometer_reads_at_its_interval_and_a_silent_device_goes_offline() {
    let thermometer = spec("t", "thermometer", json!({"interval": "5s", "seed": 3}));
    let lamp = spec("lamp", "lan", json!({"state_topic": "s", "offline_after": "1m"}));
    let mut house = House::new(&[thermometer, lamp]);
    house.say("s", "ON").await;
    let (mut readings, mut lamp_said) = (0, Vec::new());
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(61) {
        match house.event().await {
            DeviceEvent::Reading(reading) if reading.device == id("t") => readings += 1,
            DeviceEvent::Availability(device, word) if device == id("lamp") => lamp_said.push(word),
            _ => {}
        }
    }
    assert!((13..=14).contains(&readings), "{readings} readings");
    assert_eq!(lamp_said, [Availability::Online, Availability::Offline]);
    let fault = house.report("lamp").fault;
    assert_eq!(fault.as_deref(), Some("its bus works, but nothing was heard of it for 60 s"));
    house.say("s", "OFF").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(house.report("lamp").fault, None);
    assert_eq!(house.report("t").availability, Availability::Online);
}

#[tokio::test(start_paused = true)]
async fn one_that_never_announces_itself_is_offline_after_a_while() {
    let mut house = House::new(&[plug()]);
    let since = Instant::now();
    assert_eq!(house.availability().await, Availability::Offline);
    assert_eq!(since.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_command_under_way_within_two_seconds_and_refuses_the_waiting() {
    let mut house = House::new(&[plug(), toaster()]);
    let slow = spec("slow", "tasmota", json!({"topic": "slow", "confirm_within": "1m"}));
    let mut other = House::new(&[slow]);
    let under_way = other.send("slow", json!({"state": "ON"}), Duration::from_secs(60));
    other.publish().await.1.send(1).unwrap();
    let waiting = other.send("slow", json!({"state": "ON"}), LIFE);
    let shown = house.send("plug", json!({"state": "ON"}), LIFE);
    house.publish().await.1.send(1).unwrap();
    let stopped = Instant::now();
    house.stop.cancel();
    other.stop.cancel();
    sleep(Duration::from_millis(500)).await;
    house.say("stat/plug/POWER", "ON").await;
    assert_eq!(status(shown).await.0, OutcomeStatus::Applied, "a stop lets it finish");
    let (what, detail) = status(waiting).await;
    assert_eq!((what, detail.as_str()), (OutcomeStatus::Failed, "the gateway is stopping; nothing was sent"));
    assert_eq!(status(under_way).await.0, OutcomeStatus::Unknown);
    other.task.await.unwrap();
    house.task.await.unwrap();
    assert_eq!(stopped.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_reading_carries_the_whole_state_and_the_last_one_survives_a_restart() {
    let last = HashMap::from([(id("lamp"), Fields::from_iter([("power".to_owned(), json!(7))]))]);
    let mut house = House::with_last(&[spec("lamp", "lan", json!({"state_topic": "s"}))], last);
    house.say("s", "ON").await;
    assert_eq!(Value::Object(house.reading().await.fields), json!({"power": 7, "state": "ON"}));
}

/// A bus that fails twice, once by an error and once by a panic.
struct Flaky(u32);

impl Adapter for Flaky {
    fn name(&self) -> String {
        "the flaky bus".to_owned()
    }
    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.0 += 1;
        let turn = self.0;
        Box::pin(async move {
            assert_ne!(turn, 2, "the second turn panics");
            if turn == 1 {
                return Err(AdapterError {
                    bus: "the flaky bus".to_owned(),
                    problem: "no such port".to_owned(),
                });
            }
            ports.devices.up().await;
            ports.devices.tell(&id("d"), FromBus::Frame(Frame::new("turn", turn.to_string()))).await;
            stop.cancelled().await;
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_fails_tells_its_devices_and_starts_again() {
    let (to_device, mut inbox) = mpsc::channel(8);
    let (_writes, receiver) = mpsc::channel(8);
    let ports = Ports::new(receiver, HashMap::from([(id("d"), to_device)]));
    let stop = CancellationToken::new();
    let task = tokio::spawn(supervisor::adapter(Box::new(Flaky(0)), ports, stop.clone()));
    let mut said = Vec::new();
    while said.len() < 4 {
        said.push(inbox.recv().await.unwrap());
    }
    let FromBus::BusFailed(reason) = &said[0] else { panic!("{said:?}") };
    assert_eq!(reason, "the flaky bus: no such port");
    assert!(
        matches!(&said[1], FromBus::BusFailed(reason) if reason.contains("the second turn panics")),
        "{said:?}"
    );
    assert_eq!(said[2], FromBus::Found, "only when it works again");
    assert_eq!(said[3], FromBus::Frame(Frame::new("turn", "3")));
    stop.cancel();
    task.await.unwrap();
}
