//! A fleet of serial devices, its events and its board.

use std::{collections::HashMap, time::Duration};

use hearthlink::{
    clock::Clock,
    devices::{DeviceSpec, Fleet, LanPort},
    health::{Board, DeviceReport},
    model::{
        Actuation, ActuationReply, Availability, Command, CommandId, DeviceEvent, DeviceId, Fields, Mailbox,
        Origin, Request,
    },
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Longer than any of these should take on the busiest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct House {
    pub events: mpsc::Receiver<DeviceEvent>,
    mailboxes: HashMap<DeviceId, Mailbox>,
    board: Board,
    stop: CancellationToken,
    task: JoinHandle<()>,
    // The LAN's ends: dropped, it would be over.
    _lan: (mpsc::Sender<hearthlink::model::Message>, mpsc::Receiver<hearthlink::devices::LanPublish>),
}

pub fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

impl House {
    pub fn start(devices: &[(&str, &str, Value)]) -> Self {
        let spec = |(name, kind, options): &(&str, &str, Value)| DeviceSpec {
            id: id(name),
            kind: (*kind).to_owned(),
            options: options.clone(),
        };
        let fleet = Fleet::build(&devices.iter().map(spec).collect::<Vec<_>>()).unwrap();
        let mailboxes = fleet.mailboxes.clone();
        let (lan, incoming) = mpsc::channel(1);
        let (publish, published) = mpsc::channel(1);
        let (to_world, events) = mpsc::channel(20_000);
        let (board, stop) = (Board::new("test", Clock::system()), CancellationToken::new());
        let port = LanPort { incoming, publish };
        let running = fleet.run(port, to_world, HashMap::new(), Clock::system(), board.clone(), stop.clone());
        let task = tokio::spawn(running);
        Self { events, mailboxes, board, stop, task, _lan: (lan, published) }
    }

    pub async fn event(&mut self) -> DeviceEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("nothing happened").expect("the fleet ended")
    }

    pub async fn reading(&mut self) -> Fields {
        loop {
            if let DeviceEvent::Reading(reading) = self.event().await {
                return reading.fields;
            }
        }
    }

    pub async fn becomes(&mut self, availability: Availability) {
        loop {
            if let DeviceEvent::Availability(_, word) = self.event().await
                && word == availability
            {
                return;
            }
        }
    }

    /// What the board says; `None` before the device runs.
    pub fn find(&self, device: &str) -> Option<DeviceReport> {
        self.board.snapshot().devices.into_iter().find(|report| report.id == id(device))
    }

    pub fn report(&self, device: &str) -> DeviceReport {
        self.find(device).expect("the device runs")
    }

    pub fn send(&self, device: &str, request: Value) -> oneshot::Receiver<ActuationReply> {
        let Value::Object(fields) = request else { panic!("a request is an object") };
        let command = Command {
            id: CommandId::parse("c").unwrap(),
            device: id(device),
            request: Request::from_fields(fields).unwrap(),
            origin: Origin::Cloud(None),
            deadline: Instant::now() + Duration::from_secs(30),
        };
        let (reply, answer) = oneshot::channel();
        self.mailboxes[&id(device)].try_send(Actuation { command, reply }).unwrap();
        answer
    }

    pub async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("the fleet does not stop").unwrap();
    }
}
