//! One attempt and, if it succeeds, its connection: from dialling to the last event.
//!
//! Every attempt is a new one, so nothing of an earlier connection can leak into it: the store is the only truth. Owns
//! what was told and is not said yet. Has no task: it turns while its next event is awaited, so that what was told in
//! one turn of the link goes out in one write. Dropping it drops the connection, without a word.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    LinkOptions,
    access::Issuer,
    diagnose::{self, Breakage, Scene},
    dial::{self, Call, Progress},
    line::Line,
    tls::Credentials,
    way::Way,
    wire::{Command, Greeting, Version, Wire},
};
use crate::{
    clock::Clock,
    health::Traffic,
    model::{FaultKind, Message, MessageId, QoS, Timestamp, TopicFilter},
};

/// What may be told beside a whole window of publishes before it is said: acknowledgements above all. See [`Full`].
const BESIDE_THE_WINDOW: usize = 1024;
/// How long DISCONNECT may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long what was written may still need when nobody waits for it any more.
const LINGER: Duration = Duration::from_secs(1);

/// There is room for a whole window and for all acknowledgements that can be due, so this means that the connection
/// hangs.
#[derive(Debug)]
pub(super) struct Full;

/// What an attempt needs.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) options: Arc<LinkOptions>,
    /// Shared by all attempts, for what it bought.
    pub(super) issuer: Arc<Issuer>,
    pub(super) credentials: Credentials,
    pub(super) clock: Clock,
    /// Where its bytes are counted.
    pub(super) traffic: Traffic,
    /// Which way.
    pub(super) way: Way,
    pub(super) version: Version,
    /// How many attempts in a row came to nothing.
    pub(super) turn: usize,
}

impl Errand {
    /// What of it is below MQTT.
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            way: &self.way,
            proxy: &self.options.proxy,
            issuer: &self.issuer,
            credentials: &self.credentials,
            clock: &self.clock,
            traffic: &self.traffic,
            turn: self.turn,
        }
    }
}

/// A connection, and what is known of it when it fails.
struct Open {
    line: Line,
    scene: Scene,
}

type Dialling = Pin<Box<dyn Future<Output = Result<(Open, Greeting), Breakage>> + Send>>;
type Breaking = Pin<Box<dyn Future<Output = Breakage> + Send>>;

enum Stage {
    Dialling(Dialling),
    Open(Box<Open>),
    /// Whoever was refused tells the issuer first.
    Breaking(Breaking),
    Over,
}

/// One attempt and, if it succeeds, its connection.
pub(super) struct Driver {
    stage: Stage,
    commands: VecDeque<Command>,
    /// The most commands that may wait.
    room: usize,
    events: VecDeque<Wire>,
    issuer: Arc<Issuer>,
    renewal: Arc<OnceLock<Timestamp>>,
}

impl Driver {
    /// Dials as soon as the next event is awaited.
    pub(super) fn start(errand: Errand) -> Self {
        let renewal = Arc::new(OnceLock::new());
        let (room, issuer) = (usize::from(errand.options.window) + BESIDE_THE_WINDOW, errand.issuer.clone());
        let stage = Stage::Dialling(Box::pin(dial(errand, renewal.clone())));
        Self { stage, commands: VecDeque::new(), room, events: VecDeque::new(), issuer, renewal }
    }

    /// The next event; after [`Wire::Broken`] there is none. Cancel-safe: what was taken is kept.
    pub(super) async fn next(&mut self) -> Wire {
        poll_fn(|context| self.poll_guarded(context)).await
    }

    /// A panic over what the far end says ends the connection, and not the link with the house behind it.
    fn poll_guarded(&mut self, context: &mut Context<'_>) -> Poll<Wire> {
        // Nothing of a connection that panicked is used again but the events before it, which were whole.
        catch_unwind(AssertUnwindSafe(|| self.poll_next(context))).unwrap_or_else(|_| {
            self.stage = Stage::Over;
            let ended = Breakage::new(FaultKind::Closed, "the connection panicked; see the log");
            Poll::Ready(Wire::Broken(ended))
        })
    }

    /// What else there is without waiting: what came together with the last one.
    pub(super) fn more(&mut self) -> Option<Wire> {
        self.events.pop_front()
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Wire> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match &mut self.stage {
                Stage::Dialling(dialling) => match ready!(dialling.as_mut().poll(context)) {
                    Ok((open, greeting)) => {
                        self.events.push_back(Wire::Connected(greeting));
                        self.stage = Stage::Open(Box::new(open));
                    }
                    Err(breakage) => self.breaks(breakage),
                },
                Stage::Open(open) => {
                    let Open { line, scene } = &mut **open;
                    let polled = line.poll_events(&mut self.commands, &mut self.events, context);
                    if let Err(error) = ready!(polled) {
                        let breakage = diagnose::line(&error, Scene { is_connected: true, ..*scene });
                        self.breaks(breakage);
                    }
                }
                Stage::Breaking(breaking) => {
                    let breakage = ready!(breaking.as_mut().poll(context));
                    self.stage = Stage::Over;
                    return Poll::Ready(Wire::Broken(breakage));
                }
                Stage::Over => return Poll::Pending,
            }
        }
    }

    fn breaks(&mut self, breakage: Breakage) {
        let issuer = self.issuer.clone();
        self.stage = Stage::Breaking(Box::pin(async move {
            if matches!(breakage.fault.kind, FaultKind::Credentials | FaultKind::NotAuthorized) {
                issuer.was_refused().await;
            }
            breakage
        }));
    }

    /// Whether the connection is over. It then takes nothing more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Breaking(_) | Stage::Over)
    }

    fn tell(&mut self, command: Command) -> Result<(), Full> {
        if self.commands.len() >= self.room {
            return Err(Full);
        }
        self.commands.push_back(command);
        Ok(())
    }

    /// Asks for subscriptions in one SUBSCRIBE.
    pub(super) fn subscribe(&mut self, filters: Vec<(TopicFilter, QoS)>) -> Result<(), Full> {
        self.tell(Command::Subscribe(filters))
    }

    /// Publishes with QoS 1.
    pub(super) fn publish(&mut self, message: Message, id: Option<MessageId>) -> Result<(), Full> {
        self.tell(Command::Publish(message, id))
    }

    /// Acknowledges a publish of QoS 1.
    pub(super) fn acknowledge(&mut self, packet: u16) -> Result<(), Full> {
        self.tell(Command::Acknowledge(packet))
    }

    /// Ends the connection in order: the cloud does not publish the will.
    pub(super) fn disconnect(&mut self) -> Result<(), Full> {
        self.tell(Command::Disconnect)
    }

    /// What was told and not said goes on the line that takes this one's place.
    fn say_no_more(&mut self) {
        self.commands.retain(|command| matches!(command, Command::Acknowledge(_)));
    }

    /// Says goodbye, so that the cloud does not publish the will; whoever does not take it has hung up by himself.
    pub(super) async fn leave(mut self) {
        self.say_no_more();
        if self.disconnect().is_ok() {
            let gone =
                async { while !matches!(self.next().await, Wire::DisconnectSent | Wire::Broken(_)) {} };
            let _ = timeout(FAREWELL, gone).await;
        }
        self.close().await;
    }

    /// Closes the connection, if there is one: what was written still goes out, for [`LINGER`] at most.
    pub(super) async fn close(self) {
        if let Stage::Open(open) = self.stage {
            let _ = timeout(LINGER, open.line.close()).await;
        }
    }

    /// When what was said to be let in should be said anew, on another connection.
    pub(super) fn renew_at(&self) -> Option<Timestamp> {
        self.renewal.get().copied()
    }
}

/// Up to CONNACK.
async fn dial(errand: Errand, renewal: Arc<OnceLock<Timestamp>>) -> Result<(Open, Greeting), Breakage> {
    let options = &errand.options;
    let deadline = Instant::now() + options.connect_limit;
    let dialled = dial::dial(&errand.call(), options.connect_limit, &mut Progress::new()).await?;
    if let Some(at) = dialled.grant.renew_at {
        let _ = renewal.set(at);
    }
    let scene = dialled.scene;
    let opening = Line::open(dialled.stream, errand.version, options, &dialled.grant);
    match timeout_at(deadline, opening).await {
        Ok(Ok((line, greeting))) => Ok((Open { line, scene }, greeting)),
        Ok(Err(error)) => Err(diagnose::line(&error, scene)),
        Err(_) => Err(no_connack(options.connect_limit)),
    }
}

fn no_connack(limit: Duration) -> Breakage {
    let detail = format!(
        "the connection is open, but MQTT had no answer within {} s of dialling",
        limit.as_secs_f32()
    );
    Breakage::new(FaultKind::NoAnswer, detail)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        link::{Access, ProxyOptions, state::tests::settings},
        model::{CloudUrl, Receipts},
    };

    pub(in crate::link) fn ca_file(directory: &TempDir) -> PathBuf {
        let ca = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca.cert.pem()).unwrap();
        ca_file
    }

    /// To a cloud on this machine.
    pub(in crate::link) fn options(port: u16, ca_file: &Path) -> LinkOptions {
        let settings = settings();
        LinkOptions {
            brokers: vec![vec![Way::direct(CloudUrl::parse(&format!("wss://localhost:{port}")).unwrap())]],
            proxy: ProxyOptions::None,
            access: Access::default(),
            ca_file: Some(ca_file.to_owned()),
            certificate_file: None,
            key_file: None,
            client_id: "gateway".to_owned(),
            subscriptions: settings.subscriptions,
            hellos: Vec::new(),
            birth: settings.birth,
            will: settings.will,
            fence: settings.fence,
            keep_alive: settings.keep_alive,
            answer_limit: settings.answer_limit,
            connect_limit: Duration::from_secs(30),
            climb_after: settings.climb_after,
            backoff: settings.backoff,
            window: settings.window,
            backlog_rate: None,
            receipts: Receipts::default(),
            version: Default::default(),
            limits: Default::default(),
            session_expiry: Duration::ZERO,
        }
    }

    /// One that does this instead of dialling.
    fn driver(dialling: Dialling) -> Driver {
        Driver {
            stage: Stage::Dialling(dialling),
            commands: VecDeque::new(),
            room: 9,
            events: VecDeque::new(),
            issuer: Arc::new(Issuer::new(Access::default())),
            renewal: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_panic_over_what_the_far_end_says_ends_the_connection_and_not_the_link() {
        let mut driver = driver(Box::pin(async { panic!("on purpose") }));
        let Wire::Broken(breakage) = driver.next().await else { panic!("the connection goes on") };
        assert_eq!(breakage.fault.kind, FaultKind::Closed);
        assert!(driver.is_over());
    }

    #[tokio::test]
    async fn who_leaves_says_no_more_what_will_be_said_on_another_line() {
        let mut driver = driver(Box::pin(std::future::pending()));
        let message = Message::new(crate::model::Topic::parse("a").unwrap(), "x", QoS::AtLeastOnce);
        driver.publish(message, None).unwrap();
        driver.acknowledge(7).unwrap();
        driver.say_no_more();
        assert!(matches!(driver.commands.make_contiguous(), [Command::Acknowledge(7)]));
    }
}
