//! The rule for a lost line: a device is put into a state when the cloud has been out of reach for a time.
//!
//! Owns the timers. Never talks to a device: what it wants goes to the desk like every command, with an id of
//! its own, a place in the journal and an outcome. Invariants: a device is asked once the line has been down
//! for its time without a break, counted from the start when it has never been up; once the device did it,
//! it is left alone until the line has been up again, for home is the authority and may have switched it
//! back on. One that did not do it is asked again after the same time, at least [`SHORTEST_PAUSE`].
//!
//! Rejected: to let the device's own part of the gateway watch the line. It would have to know of the line,
//! and the outcome would have no id.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Incoming, Told};
use crate::model::{
    Ack, CommandId, DeviceId, LinkState, Message, Origin, OutcomeStatus, QoS, Request, Staleness, Topic,
};

/// The least time between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30);
/// The life of a command: it is over before the next attempt.
const LIFE: Duration = Duration::from_secs(20);

/// What a device is to be set to when the line has been lost for a time.
#[derive(Debug, Clone, PartialEq)]
pub struct SafeState {
    /// The device.
    pub device: DeviceId,
    /// For how long the line must have been down.
    pub after: Duration,
    /// What is to be set.
    pub set: Request,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The line is up, or the device is safe.
    AtRest,
    /// The line is down; the device is asked then.
    Due(Instant),
    /// It was asked with this id, and is asked again then unless it did it.
    Asked(CommandId, Instant),
}

struct Watched {
    state: SafeState,
    phase: Phase,
}

/// The rule, for all devices that have one.
pub struct LineLost {
    devices: Vec<Watched>,
    is_up: bool,
}

impl LineLost {
    /// The line has not been up yet; time runs from [`LineLost::run`] on.
    pub fn new(states: impl IntoIterator<Item = SafeState>) -> Self {
        let devices = states.into_iter().map(|state| Watched { state, phase: Phase::AtRest }).collect();
        Self { devices, is_up: true }
    }

    /// Watches the line until `stop`. `told` brings the outcomes of what a rule asked for; one that is
    /// missed means that the device is asked once more.
    pub async fn run(
        mut self,
        mut line: watch::Receiver<LinkState>,
        mut told: mpsc::Receiver<Told>,
        desk: mpsc::Sender<Incoming>,
        stop: CancellationToken,
    ) {
        loop {
            self.line_is(*line.borrow_and_update(), Instant::now());
            for (device, id, set) in self.take_due(Instant::now()) {
                tracing::warn!(%device, %id, "the line is lost for too long: the device is set to its safe state");
                if desk.send(incoming(device, &id, &set)).await.is_err() {
                    return;
                }
            }
            let next = self.next();
            // Cancel safety: `changed` marks nothing as seen before it returns, `recv` loses nothing.
            tokio::select! {
                () = stop.cancelled() => return,
                changed = line.changed() => if changed.is_err() { return },
                Some(told) = told.recv() => self.hear(&told),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn line_is(&mut self, state: LinkState, now: Instant) {
        let is_up = match state {
            LinkState::CatchingUp | LinkState::Online => true,
            LinkState::Off | LinkState::Connecting | LinkState::Subscribing | LinkState::Waiting => false,
        };
        if is_up == self.is_up {
            return;
        }
        self.is_up = is_up;
        for Watched { state, phase } in &mut self.devices {
            *phase = if is_up { Phase::AtRest } else { Phase::Due(now + state.after) };
        }
    }

    /// Who is to be asked now, each with a fresh id.
    fn take_due(&mut self, now: Instant) -> Vec<(DeviceId, CommandId, Request)> {
        let mut due = Vec::new();
        for Watched { state, phase } in &mut self.devices {
            match phase {
                Phase::Due(at) | Phase::Asked(_, at) if *at <= now => {
                    let id = new_id();
                    *phase = Phase::Asked(id.clone(), now + state.after.max(SHORTEST_PAUSE));
                    due.push((state.device.clone(), id, state.set.clone()));
                }
                Phase::AtRest | Phase::Due(_) | Phase::Asked(..) => {}
            }
        }
        due
    }

    fn next(&self) -> Option<Instant> {
        let times = self.devices.iter().filter_map(|watched| match &watched.phase {
            Phase::AtRest => None,
            Phase::Due(at) | Phase::Asked(_, at) => Some(*at),
        });
        times.min()
    }

    fn hear(&mut self, Told { outcome, .. }: &Told) {
        for Watched { phase, .. } in &mut self.devices {
            let is_its = matches!(&*phase, Phase::Asked(id, _) if *id == outcome.id);
            if is_its && outcome.status == OutcomeStatus::Applied {
                *phase = Phase::AtRest;
            }
        }
    }
}

fn incoming(device: DeviceId, id: &CommandId, set: &Request) -> Incoming {
    let mut payload = set.fields().clone();
    payload.insert("id".to_owned(), Value::from(id.as_str()));
    payload.insert("ttl".to_owned(), Value::from(LIFE.as_secs()));
    let topic = Topic::parse("rule/on_line_lost").expect("plain words");
    Incoming {
        device,
        message: Message::new(topic, Value::Object(payload).to_string(), QoS::AtLeastOnce),
        received: Instant::now(),
        redelivered: false,
        staleness: Staleness::Live,
        origin: Origin::Rule,
        ack: Ack::none(),
    }
}

fn new_id() -> CommandId {
    let text = format!("line-lost-{:016x}", fastrand::u64(..));
    CommandId::parse(&text).expect("hexadecimal digits are printable and few")
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::model::{Outcome, Timestamp};

    struct Bench {
        line: watch::Sender<LinkState>,
        told: mpsc::Sender<Told>,
        asked: mpsc::Receiver<Incoming>,
        stop: CancellationToken,
        rule: tokio::task::JoinHandle<()>,
    }

    impl Bench {
        fn start(line: LinkState, states: &[(&str, u64)]) -> Self {
            let states = states.iter().map(|(device, after)| SafeState {
                device: DeviceId::parse(device).unwrap(),
                after: Duration::from_secs(*after),
                set: Request::from_word("OFF").unwrap(),
            });
            let rule = LineLost::new(states.collect::<Vec<_>>());
            let ((line, seen), stop) = (watch::channel(line), CancellationToken::new());
            let ((told, outcomes), (desk, asked)) = (mpsc::channel(8), mpsc::channel(8));
            let rule = tokio::spawn(rule.run(seen, outcomes, desk, stop.clone()));
            Self { line, told, asked, stop, rule }
        }

        /// Who is asked within so many seconds, and after how many.
        async fn asked_within(&mut self, seconds: u64) -> Option<(String, u64, String)> {
            let start = Instant::now();
            let incoming = timeout(Duration::from_secs(seconds), self.asked.recv()).await.ok()??;
            assert_eq!(incoming.origin, Origin::Rule);
            let payload: Value = serde_json::from_slice(&incoming.message.payload).unwrap();
            assert_eq!(payload["state"], "OFF");
            let id = payload["id"].as_str().unwrap().to_owned();
            Some((incoming.device.to_string(), start.elapsed().as_secs(), id))
        }

        async fn outcome(&self, device: &str, id: &str, status: OutcomeStatus) {
            let outcome = Outcome {
                id: CommandId::parse(id).unwrap(),
                device: DeviceId::parse(device).unwrap(),
                status,
                reason: None,
                detail: None,
                at: Timestamp::from_millis(0),
                duplicate: false,
            };
            self.told.send(Told { origin: Origin::Rule, outcome }).await.unwrap();
        }
    }

    const LONG: u64 = 7 * 24 * 3600;

    #[tokio::test(start_paused = true)]
    async fn each_device_is_asked_once_after_its_time_and_again_only_when_the_line_was_up_between() {
        let mut bench = Bench::start(LinkState::Online, &[("heater", 600), ("lamp", 60)]);
        assert_eq!(bench.asked_within(LONG).await, None, "the line is up");
        for outage in 0..2 {
            bench.line.send(LinkState::Waiting).unwrap();
            let (device, after, id) = bench.asked_within(LONG).await.unwrap();
            assert_eq!((device.as_str(), after), ("lamp", 60), "outage {outage}");
            bench.outcome("lamp", &id, OutcomeStatus::Applied).await;
            let (device, after, id) = bench.asked_within(LONG).await.unwrap();
            assert_eq!((device.as_str(), after), ("heater", 540));
            bench.outcome("heater", &id, OutcomeStatus::Applied).await;
            // It tries, and fails: still the same outage.
            bench.line.send(LinkState::Connecting).unwrap();
            bench.line.send(LinkState::Subscribing).unwrap();
            assert_eq!(bench.asked_within(LONG).await, None, "done once is enough");
            bench.line.send(LinkState::CatchingUp).unwrap();
            assert_eq!(bench.asked_within(LONG).await, None);
        }
        bench.stop.cancel();
        bench.rule.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_back_in_time_changes_nothing_and_the_time_starts_again() {
        let mut bench = Bench::start(LinkState::Online, &[("heater", 600)]);
        for _ in 0..3 {
            bench.line.send(LinkState::Waiting).unwrap();
            assert_eq!(bench.asked_within(599).await, None);
            bench.line.send(LinkState::Online).unwrap();
            sleep(Duration::from_secs(5)).await;
        }
        bench.line.send(LinkState::Waiting).unwrap();
        assert_eq!(bench.asked_within(LONG).await.unwrap().1, 600);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_line_from_the_start_the_time_runs_from_the_start() {
        let mut bench = Bench::start(LinkState::Connecting, &[("heater", 600)]);
        assert_eq!(bench.asked_within(LONG).await.unwrap().1, 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_did_not_do_it_is_asked_again_with_another_id() {
        let mut bench = Bench::start(LinkState::Waiting, &[("heater", 10)]);
        let (_, after, first) = bench.asked_within(LONG).await.unwrap();
        assert_eq!(after, 10);
        bench.outcome("heater", &first, OutcomeStatus::Failed).await;
        let (_, after, second) = bench.asked_within(LONG).await.unwrap();
        assert_eq!(after, SHORTEST_PAUSE.as_secs());
        assert_ne!(first, second, "it is another command");
        // An outcome that comes late, of the first one, says nothing about the second.
        bench.outcome("heater", &first, OutcomeStatus::Applied).await;
        let (_, after, third) = bench.asked_within(LONG).await.unwrap();
        assert_eq!(after, SHORTEST_PAUSE.as_secs());
        bench.outcome("heater", &third, OutcomeStatus::Applied).await;
        assert_eq!(bench.asked_within(LONG).await, None);
    }
}
