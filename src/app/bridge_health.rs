//! Says at home how the gateway itself fares: one retained message on `home/bridge/health`, and what its fields are for
//! people.
//!
//! Owns what was said last, also by an earlier run. Invariants: a line that went or came is said at once, and at most once
//! in [`REST`]; everything else at most once in [`SAY_EVERY`], and only when it is not what was said before, for what is
//! retained is written to the flash. A temperature counts as another one from [`WARMER`] on. Between, it sleeps.
//!
//! Rejected: to wait for changes of the board; it changes with every reading of every device. The line changes seldom.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::LocalTopics;
use crate::{
    broker::BrokerHandle,
    config::Config,
    health::{Board, HostReport, Level, Snapshot},
    model::{DeviceEvent, DeviceId, Entity, Fields, LinkState, Message, Platform, QoS, Reading, StateClass},
};

/// For so long nothing is said after something was: a line that flutters is not written to the flash each time. Also how
/// often it is looked, after the start, whether somebody has looked at the machine.
const REST: Duration = Duration::from_secs(2);
/// How often the rest is said.
const SAY_EVERY: Duration = Duration::from_secs(120);
/// For so many looks nothing is said while nobody has looked at the machine yet: half a minute. What would be left out is
/// taken from people, and given to them again a moment later.
const WAIT_FOR_MACHINE: u32 = 15;
/// In degrees Celsius: what is less is no news.
const WARMER: f64 = 2.0;

/// What is wrong for less is no problem: after a start nobody has been heard yet. The board does not say of everything since
/// when it is so.
const LASTING: Duration = Duration::from_secs(60);

/// Whether something is wrong, whatever it is.
const PROBLEM: &str = "problem";
/// Whether the line carries.
const LINE_UP: &str = "line_up";
/// Messages that wait for the cloud.
const WAITING: &str = "waiting";
/// Whole days until the gateway's own certificate ends; below 0 when it is over.
const CERTIFICATE_DAYS: &str = "certificate_days";
/// Of the processor, in whole degrees Celsius.
const TEMPERATURE: &str = "temperature";
/// Whether a Raspberry Pi gets too little voltage now.
const UNDER_VOLTAGE: &str = "under_voltage";

/// The gateway's own name among the devices. The check of the configuration lets no device be called so.
pub(super) fn bridge() -> DeviceId {
    DeviceId::parse("bridge").expect("a plain word")
}

/// What there is to say by the configuration; the machine brings more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Has {
    cloud: bool,
    certificate: bool,
}

impl Has {
    pub(super) fn new(config: &Config) -> Self {
        let certificate = config.cloud.as_ref().is_some_and(|cloud| cloud.certificate_file.is_some());
        Self { cloud: config.cloud.is_some(), certificate }
    }

    fn fields(self) -> BTreeSet<String> {
        let of_cloud = [LINE_UP, WAITING].into_iter().filter(|_| self.cloud);
        let of_certificate = self.certificate.then_some(CERTIFICATE_DAYS);
        let all = [PROBLEM].into_iter().chain(of_cloud).chain(of_certificate);
        all.map(str::to_owned).collect()
    }
}

/// The one who says it.
pub(super) struct BridgeHealth {
    pub(super) board: Board,
    pub(super) broker: BrokerHandle,
    pub(super) topics: LocalTopics,
    pub(super) has: Has,
    /// What the gateway has, to be announced. Full: it waits.
    pub(super) entities: mpsc::Sender<(DeviceId, Vec<Entity>)>,
    /// The same and what is true of it, for Homie controllers; `None`: nobody is told. Full: it waits.
    pub(super) homie: Option<mpsc::Sender<DeviceEvent>>,
}

impl BridgeHealth {
    pub(super) async fn run(self, stop: CancellationToken) {
        // Cancel safety: what is cut short is the last of it.
        stop.run_until_cancelled(self.look_on()).await;
    }

    async fn look_on(self) {
        let mut rhythm = Rhythm::new(self.kept());
        let mut line = self.board.watch_line();
        for _ in 0..WAIT_FOR_MACHINE {
            if self.board.machine() != HostReport::default() {
                break;
            }
            sleep(REST).await;
        }
        let (mut known, mut announced) = (self.has.fields(), BTreeSet::new());
        loop {
            let is_up = *line.borrow_and_update() == LinkState::Online;
            // Every step of a line that is dialled wakes; the whole board is copied only when something is to be said.
            if rhythm.is_due(is_up) {
                let board = self.board.snapshot();
                let has_problem = rhythm.has_problem(board.verdict.level != Level::Ok);
                let fresh = self.has.read(is_up, has_problem, &board, &rhythm.said);
                known.extend(fresh.keys().cloned());
                if known != announced {
                    // Nobody there: the gateway is stopping.
                    let _ = self.entities.send((bridge(), entities(&known))).await;
                    self.tell_homie(DeviceEvent::Entities(bridge(), entities(&known))).await;
                    announced.clone_from(&known);
                }
                let taken_at = board.now;
                let reading = Reading { device: bridge(), fields: fresh.clone(), taken_at };
                self.tell_homie(DeviceEvent::Reading(reading)).await;
                if fresh != rhythm.said {
                    let payload = Value::Object(fresh.clone()).to_string();
                    let message = Message::new(self.topics.health(), payload, QoS::AtLeastOnce);
                    self.broker.publish(&message.retained());
                    rhythm.said = fresh;
                }
                sleep(REST).await;
            }
            // Cancel safety: `changed` marks nothing as seen before it returns.
            tokio::select! {
                // It ends only with the board, which is held here.
                _ = line.changed() => {}
                () = sleep_until(rhythm.say_at) => {}
            }
        }
    }

    async fn tell_homie(&self, event: DeviceEvent) {
        if let Some(homie) = &self.homie {
            // Nobody there: the gateway is stopping.
            let _ = homie.send(event).await;
        }
    }

    /// What an earlier run has said last.
    fn kept(&self) -> Fields {
        let kept = self.broker.retained(&[(&self.topics.health()).into()], 1);
        kept.first().and_then(|message| serde_json::from_slice(&message.payload).ok()).unwrap_or_default()
    }
}

/// When something may be said.
#[derive(Debug)]
struct Rhythm {
    said: Fields,
    line: Option<bool>,
    /// When something else than the line is said.
    say_at: Instant,
    /// Since when something has been wrong, as far as was looked.
    wrong_since: Option<Instant>,
}

impl Rhythm {
    fn new(said: Fields) -> Self {
        Self { said, line: None, say_at: Instant::now(), wrong_since: None }
    }

    fn is_due(&mut self, is_up: bool) -> bool {
        let now = Instant::now();
        let is_due = self.line.replace(is_up) != Some(is_up) || now >= self.say_at;
        if is_due {
            self.say_at = now + SAY_EVERY;
        }
        is_due
    }

    /// Whether what is wrong now has been for a while.
    fn has_problem(&mut self, is_wrong: bool) -> bool {
        let since = self.wrong_since.filter(|_| is_wrong);
        self.wrong_since = is_wrong.then(|| since.unwrap_or_else(Instant::now));
        since.is_some_and(|since| since.elapsed() >= LASTING)
    }
}

impl Has {
    /// What is true now. What cannot be known at the moment is left out.
    fn read(self, is_up: bool, has_problem: bool, board: &Snapshot, said: &Fields) -> Fields {
        let mut fields = Fields::new();
        let mut say = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        say(PROBLEM, has_problem.into());
        if self.cloud {
            say(LINE_UP, is_up.into());
            say(WAITING, board.store.waiting.into());
        }
        let certificate = board.certificate.as_ref().filter(|_| self.certificate);
        if let Some(days) = certificate.and_then(|certificate| certificate.days_left) {
            say(CERTIFICATE_DAYS, days.into());
        }
        if let Some(now) = board.host.temperature_celsius.filter(|now| now.is_finite()) {
            let told = said
                .get(TEMPERATURE)
                .filter(|told| told.as_f64().is_some_and(|told| (told - now).abs() < WARMER));
            // A processor is nowhere near the ends of the type.
            say(TEMPERATURE, told.cloned().unwrap_or_else(|| Value::from(now.round() as i64)));
        }
        if let Some(under_voltage) = board.host.under_voltage {
            say(UNDER_VOLTAGE, under_voltage.now.into());
        }
        fields
    }
}

/// What these fields of the message are for people. All of them are about the gateway and not what it is for.
fn entities(fields: &BTreeSet<String>) -> Vec<Entity> {
    let is = |field: &str, class: &'static str| {
        let platform = Platform::BinarySensor { on: true.into(), off: false.into() };
        Entity::new(field, platform).class(class)
    };
    let all = [
        is(PROBLEM, "problem").named("Problem"),
        is(LINE_UP, "connectivity").named("Line to the cloud"),
        Entity::sensor(WAITING).stated(StateClass::Measurement).named("Messages waiting for the cloud"),
        Entity::measurement(CERTIFICATE_DAYS, "duration", "d").named("Certificate valid for"),
        Entity::measurement(TEMPERATURE, "temperature", "°C").named("Processor temperature"),
        is(UNDER_VOLTAGE, "problem").named("Under-voltage"),
    ];
    all.into_iter().filter(|entity| fields.contains(&entity.field)).map(Entity::diagnostic).collect()
}

#[cfg(test)]
mod tests;
