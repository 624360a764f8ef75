//! The line walked once, step by step, for `hearthlink doctor`: nothing of it stays.
//!
//! Owns the order of the steps and their time limits. Never publishes anything but a token on the gateway's own topic,
//! never acknowledges what waits in the cloud for the gateway, and never begins a clean session: the session that is
//! there is the gateway's. Invariants: with [`Depth::Line`] no CONNECT is sent, so a gateway that runs keeps its
//! connection; every wait has a limit. Rejected: another client id for the test; clouds tie ids to certificates and
//! policies, so it would test something else.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    LinkError, LinkOptions, Versions,
    access::Issuer,
    chain,
    diagnose::VersionHint,
    dial::{self, Progress, Step},
    driver::{Driver, Errand},
    tls::Credentials,
    wire::{Greeting, Refusal, Verdict, Version, Wire},
};
use crate::{
    clock::Clock,
    health::Traffic,
    model::{Fault, FaultKind, Message, QoS, TopicFilter, printable},
};

/// A step of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStep {
    /// What the gateway says of itself is put together.
    Access,
    /// Name resolution, of the cloud's name or the proxy's.
    Dns,
    /// TCP.
    Tcp,
    /// The proxy's tunnel.
    Proxy,
    /// TLS with the certificates of both sides.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
    /// MQTT's CONNECT and CONNACK.
    Connack,
    /// SUBSCRIBE to the gateway's own topic.
    Subscribe,
    /// A message to it and back.
    RoundTrip,
}

/// What came of a step.
pub type Seen = (LinkStep, Result<String, Fault>);

/// One way to one broker, as far as it led.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Which, without secrets.
    pub way: String,
    /// The steps that were tried, in order; only the last one can have failed.
    pub steps: Vec<Seen>,
}

impl Walk {
    /// Whether every step was good.
    pub fn is_good(&self) -> bool {
        self.steps.last().is_some_and(|(_, result)| result.is_ok())
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Up to where MQTT would begin.
    Line,
    /// With CONNECT by the gateway's own client id: only while no gateway runs, which would lose its connection.
    RoundTrip,
}

/// Walks one way after the other to one broker after the other, up to the first that is good.
///
/// # Errors
/// [`LinkError`]: a certificate or key that cannot be used.
pub async fn examine(options: LinkOptions, depth: Depth, clock: &Clock) -> Result<Vec<Walk>, LinkError> {
    let credentials = Credentials::of(&options)?;
    let issuer = Arc::new(Issuer::new(options.access.clone()));
    let options = Arc::new(options);
    let mut walks: Vec<Walk> = Vec::new();
    for way in options.brokers.iter().flatten() {
        let errand = Errand {
            options: options.clone(),
            issuer: issuer.clone(),
            credentials: credentials.clone(),
            clock: clock.clone(),
            traffic: Traffic::default(),
            way: way.clone(),
            version: Version::first_of(options.version),
            turn: 0,
        };
        walks.push(walk(errand, depth).await);
        if walks.last().is_some_and(Walk::is_good) {
            break;
        }
    }
    Ok(walks)
}

async fn walk(mut errand: Errand, depth: Depth) -> Walk {
    let options = errand.options.clone();
    let mut steps = line(&errand).await;
    if depth == Depth::RoundTrip && steps.iter().all(|(_, result)| result.is_ok()) {
        let (seen, hint) = mqtt(&errand).await;
        if hint == VersionHint::None || options.version != Versions::Any {
            steps.extend(seen);
        } else {
            // Servers that do not know a version refuse it, or just hang up.
            errand.version = Version::V4;
            steps.extend(mqtt(&errand).await.0);
        }
    }
    Walk { way: errand.way.to_string(), steps }
}

/// Everything below MQTT.
async fn line(errand: &Errand) -> Vec<Seen> {
    let mut progress = Progress::new();
    let dialled = dial::dial(&errand.call(), errand.options.connect_limit, &mut progress).await;
    let certificate =
        progress.witness.as_ref().map_or(String::new(), |witness| chain::described(witness.shown()));
    let mut steps: Vec<Seen> = progress
        .done
        .into_iter()
        .map(|(step, seen)| {
            let seen = if step == Step::Tls && !certificate.is_empty() {
                format!("{seen}, {certificate}")
            } else {
                seen
            };
            (named(step), Ok(printable(&seen)))
        })
        .collect();
    if let Err(fault) = dialled {
        steps.push((named(progress.step), Err(fault)));
    }
    steps
}

fn named(step: Step) -> LinkStep {
    match step {
        Step::Access => LinkStep::Access,
        Step::Resolve => LinkStep::Dns,
        Step::Tcp => LinkStep::Tcp,
        Step::Proxy => LinkStep::Proxy,
        Step::Tls => LinkStep::Tls,
        Step::Upgrade => LinkStep::Upgrade,
    }
}

/// CONNACK, SUBACK and a message to ourselves; what the failure says about the version.
async fn mqtt(errand: &Errand) -> (Vec<Seen>, VersionHint) {
    let mut visit = Visit {
        driver: Driver::start(errand.clone()),
        limit: errand.options.answer_limit,
        steps: Vec::new(),
        hint: VersionHint::None,
    };
    visit.go(errand).await;
    let Visit { driver, steps, hint, .. } = visit;
    if steps.last().is_some_and(|(_, result)| result.is_ok()) {
        driver.leave().await;
    } else {
        driver.close().await;
    }
    (steps, hint)
}

/// One connection on which MQTT is spoken.
struct Visit {
    driver: Driver,
    limit: Duration,
    steps: Vec<Seen>,
    hint: VersionHint,
}

impl Visit {
    async fn go(&mut self, errand: &Errand) {
        let options = &errand.options;
        let fence = &options.fence;
        let connected = self.until(options.connect_limit + self.limit, "CONNECT", |wire| match wire {
            Wire::Connected(greeting) => Some(greeting),
            _ => None,
        });
        let greeted = connected.await.map(|greeting| told(errand, &greeting));
        // Where nothing comes back there is no fence, and what is subscribed to would be taken from the gateway.
        if !self.step(LinkStep::Connack, greeted) || !options.limits.echoes {
            return;
        }
        let filters = [(TopicFilter::from(fence), QoS::AtMostOnce)];
        let asked = self.driver.subscribe(filters.to_vec()).is_ok();
        debug_assert!(asked, "a new connection has room");
        let subscribed = self.until(self.limit, "SUBSCRIBE", |wire| match wire {
            Wire::Subscribed(refusals) => Some(match refusals.first() {
                Some(Some(refusal)) => Err(*refusal),
                _ => Ok(()),
            }),
            _ => None,
        });
        let subscribed = match subscribed.await {
            Ok(Ok(())) => Ok(format!("`{fence}`, by which the gateway sees that it is up to date")),
            Ok(Err(Refusal { kind, reason })) => {
                Err(Fault::new(kind, format!("subscribing to `{fence}`: {reason}")))
            }
            Err(fault) => Err(fault),
        };
        if !self.step(LinkStep::Subscribe, subscribed) {
            return;
        }
        let returned = self.round_trip(fence).await;
        self.step(LinkStep::RoundTrip, returned);
    }

    async fn round_trip(&mut self, fence: &crate::model::Topic) -> Result<String, Fault> {
        let token = format!("doctor-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let message = Message::new(fence.clone(), token.clone(), QoS::AtLeastOnce);
        let sent = Instant::now();
        if self.driver.publish(message, None).is_err() {
            return Err(Fault::new(FaultKind::NoAnswer, "the connection takes no publish"));
        }
        let returned = self.until(self.limit, "the test message", |wire| match wire {
            Wire::Arrived(arrival) => {
                let message = arrival.message.ok()?;
                (message.topic == *fence && message.payload == token.as_bytes()).then_some(Ok(()))
            }
            Wire::PublishAnswered(_, Verdict::Refused(refusal) | Verdict::Later(refusal)) => {
                Some(Err(refusal))
            }
            _ => None,
        });
        match returned.await? {
            Ok(()) => Ok(format!("`{fence}` in {} ms", sent.elapsed().as_millis())),
            Err(Refusal { kind, reason }) => {
                Err(Fault::new(kind, format!("publishing to `{fence}`: {reason}")))
            }
        }
    }

    /// The first event that is asked for.
    async fn until<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(Wire) -> Option<T>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + limit;
        loop {
            let Ok(wire) = timeout_at(deadline, self.driver.next()).await else {
                let detail = format!("{what} was not answered within {} s", limit.as_secs_f32());
                return Err(Fault::new(FaultKind::NoAnswer, detail));
            };
            match wire {
                Wire::Broken(breakage) => {
                    self.hint = breakage.version;
                    return Err(breakage.fault);
                }
                wire => {
                    if let Some(picked) = pick(wire) {
                        return Ok(picked);
                    }
                }
            }
        }
    }

    /// Notes a step; whether to go on.
    fn step(&mut self, step: LinkStep, result: Result<String, Fault>) -> bool {
        let is_good = result.is_ok();
        self.steps.push((step, result));
        is_good
    }
}

/// What is said, behind other words, of a cloud that wants to hear from us more often than we would speak; else nothing.
pub fn shorter_keep_alive(theirs: Duration, ours: Duration) -> String {
    if theirs >= ours {
        return String::new();
    }
    let (theirs, ours) = (theirs.as_secs_f64(), ours.as_secs());
    format!(
        ", the cloud wants a keep-alive of {theirs} s, shorter than `cloud.keep_alive` ({ours} s), and gets it"
    )
}

/// What the cloud said, as far as it changes anything.
fn told(errand: &Errand, greeting: &Greeting) -> String {
    let mut words = errand.version.name().to_owned();
    words += if greeting.session_present { ", the session is kept" } else { ", a new session" };
    words += &greeting
        .keep_alive
        .map_or(String::new(), |theirs| shorter_keep_alive(theirs, errand.options.keep_alive));
    if let Some(largest) = greeting.max_packet {
        words += &format!(", takes {largest} bytes a message at most");
    }
    words
}
