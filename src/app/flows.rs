//! The joints: each takes what one part sends and hands it to the next, in one small task.
//!
//! Every channel is bounded and every joint waits when the next part is busy, so that pressure runs
//! back to the source; none drops. A joint ends when its source does, and with it the part behind it
//! hears that there is no more to come.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    LocalTopics,
    bridge_health::bridge,
    buttons::Buttons,
    cloud_tree::{CloudTree, FromTree},
    description::Descriptions,
    downlink::Downlink,
    translate::json,
};
use crate::{
    broker::{BrokerHandle, Heard, InProcess},
    commands::{Incoming, Told},
    devices::LanPublish,
    health::{Board, LaneReport, StoreReport, WrittenReport},
    model::{
        Ack, DeviceEvent, DeviceId, Entity, Fields, Inbound, Message, Origin, QoS, Reading, Receipt,
        Receipts, Sender, Staleness, Subject, Topic,
    },
    store::{Durable, Entry, LaneStats, Store, StoreError, StoreStats},
};

/// How many readings may be on their way to the disk at once. Full: the next ones wait in line.
const READINGS_IN_HAND: usize = 256;
/// How many readings may wait in line for a disk that is slow. Full: the newest is not kept for the
/// cloud (policy `disk_too_slow`), counted, while the house sees it all the same.
pub(super) const READINGS_IN_LINE: usize = 1024;

/// The member of a state that says when it was taken.
const LAST_SEEN: &str = "last_seen";

/// How many messages from the cloud may wait to be safe at home. Full: the next ones, commands included, wait for
/// the first of them, which the broker ends within seconds.
const SETTLING: usize = 256;

/// What a device says goes to the house at once, and into the line to the disk.
pub(super) struct Telemetry {
    pub(super) broker: BrokerHandle,
    pub(super) local: LocalTopics,
    /// `None` without a cloud.
    pub(super) cloud: Option<CloudTree>,
    /// In the store, for states.
    pub(super) lane: Option<usize>,
    pub(super) line: mpsc::Sender<Kept>,
    /// How many readings the line had no room for.
    pub(super) not_kept: watch::Sender<u64>,
    /// What devices have, to be announced. Full: they wait.
    pub(super) entities: mpsc::Sender<(DeviceId, Vec<Entity>)>,
    /// What devices say, for Homie controllers; `None`: nobody is told. Full: they wait, and nobody there waits for them.
    pub(super) homie: Option<mpsc::Sender<DeviceEvent>>,
    /// How the devices are described in the cloud.
    pub(super) descriptions: Descriptions,
    /// What may be pressed on the status page; `None`: nothing.
    pub(super) buttons: Option<Buttons>,
}

/// What is to be kept of something that a device said.
pub(super) struct Kept {
    reading: Option<Reading>,
    for_cloud: Option<Entry>,
}

impl Telemetry {
    pub(super) async fn run(self, mut events: mpsc::Receiver<DeviceEvent>) {
        // What devices are, until the line has room for it: the newest word of each. What is left at the stop is said
        // again at the next start.
        let mut untold: BTreeMap<DeviceId, Entry> = BTreeMap::new();
        loop {
            // Cancel safety: `recv` loses nothing when dropped, and `reserve` its turn.
            let event = tokio::select! {
                biased;
                Ok(room) = self.line.reserve(), if !untold.is_empty() => {
                    let for_cloud = untold.pop_first().map(|(_, entry)| entry);
                    room.send(Kept { reading: None, for_cloud });
                    continue;
                }
                event = events.recv() => event,
            };
            let Some(event) = event else { break };
            let for_homie = self.homie.as_ref().map(|_| event.clone());
            let message =
                |topic: Topic, payload: String| Message::new(topic, payload, QoS::AtLeastOnce).retained();
            let (at_home, for_cloud) = match &event {
                DeviceEvent::Reading(reading) | DeviceEvent::Happened(reading) => {
                    let Reading { device, fields, taken_at } = reading;
                    let is_state = matches!(event, DeviceEvent::Reading(_));
                    // What happened is of now: not for those who come later, and no later state takes its place.
                    let message = |topic: Topic, fields: Fields| Message {
                        retain: is_state,
                        ..message(topic, json(fields))
                    };
                    let entry = |cloud: &CloudTree| {
                        let mut entry = cloud.reading(device, fields, *taken_at, LAST_SEEN);
                        entry.message.retain = is_state;
                        Entry { lane: self.lane.filter(|_| is_state), ..entry }
                    };
                    let mut seen = fields.clone();
                    seen.insert(LAST_SEEN.to_owned(), Value::from(taken_at.to_string()));
                    (message(self.local.state(device), seen), self.cloud.as_ref().map(entry))
                }
                DeviceEvent::Entities(device, entities) => {
                    if let Some(buttons) = &self.buttons {
                        buttons.tell(device, entities);
                    }
                    // Nobody there: the gateway is stopping.
                    let _ = self.entities.send((device.clone(), entities.clone())).await;
                    let describe = || self.descriptions.of(device, entities);
                    if let Some(entry) = self.cloud.as_ref().and_then(|cloud| cloud.about(device, describe)) {
                        untold.insert(device.clone(), entry);
                    }
                    self.tell_homie(for_homie).await;
                    continue;
                }
                DeviceEvent::Availability(device, availability) => {
                    let word = |topic: Topic| message(topic, availability.as_str().to_owned());
                    let entry = |cloud: &CloudTree| cloud.availability(device, *availability);
                    (word(self.local.availability(device)), self.cloud.as_ref().map(entry))
                }
            };
            self.broker.publish(&at_home);
            let kept = Kept {
                reading: match event {
                    DeviceEvent::Reading(reading) => Some(reading),
                    DeviceEvent::Happened(_) | DeviceEvent::Availability(..) | DeviceEvent::Entities(..) => {
                        None
                    }
                },
                for_cloud,
            };
            self.keep(kept);
            self.tell_homie(for_homie).await;
        }
    }

    /// Last: the house's own topics and the cloud do not wait for it.
    async fn tell_homie(&self, event: Option<DeviceEvent>) {
        if let (Some(homie), Some(event)) = (&self.homie, event) {
            // Nobody there: the gateway is stopping.
            let _ = homie.send(event).await;
        }
    }

    fn keep(&self, kept: Kept) {
        if self.line.try_send(kept).is_err() {
            self.not_kept.send_modify(|count| *count += 1);
        }
    }
}

/// Carries readings from the line to the disk.
pub(super) struct Keeper {
    pub(super) store: Store,
    /// What the store remembers of each device, to spare the flash what has not changed.
    pub(super) remembered: HashMap<DeviceId, Fields>,
}

impl Keeper {
    pub(super) async fn run(mut self, mut line: mpsc::Receiver<Kept>) {
        let mut in_hand: FuturesUnordered<Durable<Option<u64>>> = FuturesUnordered::new();
        let mut is_failing = false;
        loop {
            // Cancel safety: `recv` and `next` lose nothing when dropped.
            tokio::select! {
                Some(kept) = in_hand.next(), if !in_hand.is_empty() => complain(kept, &mut is_failing),
                next = line.recv(), if in_hand.len() < READINGS_IN_HAND => {
                    let Some(Kept { reading, for_cloud }) = next else { break };
                    if let Some(entry) = for_cloud {
                        match self.store.append(entry).await {
                            Ok(durable) => in_hand.push(durable),
                            Err(error) => complain(Err(error), &mut is_failing),
                        }
                    }
                    if let Some(reading) = reading {
                        self.remember(reading).await;
                    }
                }
            }
        }
        while let Some(kept) = in_hand.next().await {
            complain(kept, &mut is_failing);
        }
    }

    async fn remember(&mut self, reading: Reading) {
        let Reading { device, fields, taken_at } = reading;
        if self.remembered.get(&device) == Some(&fields) {
            return;
        }
        match self.store.put_state(device.clone(), fields.clone(), taken_at).await {
            Ok(_not_waited_for) => drop(self.remembered.insert(device, fields)),
            Err(error) => tracing::warn!(%device, %error, "failed to remember the last state"),
        }
    }
}

/// On change, not for every reading: the store counts what it did not take.
fn complain(kept: Result<Option<u64>, StoreError>, is_failing: &mut bool) {
    match kept {
        Ok(_) => *is_failing = false,
        Err(error) if !*is_failing => {
            tracing::error!(%error, "devices' readings are not kept for the cloud now");
            *is_failing = true;
        }
        Err(_) => {}
    }
}

/// What comes in on the line: commands to the desk, and what a route lets in to the house.
pub(super) struct FromCloud {
    pub(super) tree: CloudTree,
    pub(super) downlink: Downlink,
    pub(super) broker: BrokerHandle,
    pub(super) desk: mpsc::Sender<Incoming>,
}

impl FromCloud {
    pub(super) async fn run(self, mut inbox: mpsc::Receiver<Inbound>, stop: CancellationToken) {
        let mut settling = FuturesUnordered::new();
        loop {
            // Cancel safety: `recv` and `next` lose nothing when dropped; what stays in the inbox, or is not
            // settled at the stop, is not acknowledged, and the cloud sends it again.
            let inbound = tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = settling.next(), if !settling.is_empty() => continue,
                inbound = inbox.recv(), if settling.len() < SETTLING => inbound,
            };
            let Some(inbound) = inbound else { break };
            let Inbound { message, received, redelivered, staleness, ack } = inbound;
            let (device, sender, message) = match self.tree.understand(message) {
                FromTree::Command { device, sender, message } => (device, sender, message),
                FromTree::Other(message) => {
                    settling.push(self.to_home(message, ack));
                    continue;
                }
                FromTree::Echo => {
                    ack.send();
                    continue;
                }
            };
            // A name that cannot be one is nobody's.
            let sender = sender.and_then(|sender| Sender::parse(&sender).ok());
            let origin = Origin::Cloud(sender);
            let device = addressee(&device);
            let command = Incoming { device, message, received, redelivered, staleness, origin, ack };
            if self.desk.send(command).await.is_err() {
                break;
            }
        }
    }

    /// Publishes it at home at once; acknowledges it to the cloud when it is safe there.
    fn to_home(&self, message: Message, ack: Ack) -> impl Future<Output = ()> + use<> {
        let safe = self.downlink.at_home(&message).map(|message| self.broker.deliver(&message));
        if safe.is_none() {
            tracing::warn!(topic = %message.topic, "the cloud sent a message that nobody asked for");
        }
        async move {
            if let Some(safe) = safe {
                safe.await;
            }
            ack.send();
        }
    }
}

/// Commands from clients of the local broker, to the desk.
pub(super) async fn from_home(
    mut sets: InProcess,
    topics: LocalTopics,
    desk: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) {
    while let Some(Some(heard)) = stop.run_until_cancelled(sets.recv()).await {
        let Some(device) = topics.device_of_set(&heard.message.topic).map(addressee) else { continue };
        let command = asked_at_home(device, heard);
        if desk.send(command).await.is_err() {
            break;
        }
    }
}

/// What a client of the local broker asks of a device.
pub(super) fn asked_at_home(device: DeviceId, heard: Heard) -> Incoming {
    let Heard { mut message, publisher, is_redelivered, is_to_be_retained } = heard;
    // An order that is to be kept is an order from the past for everybody who hears it later.
    message.retain |= is_to_be_retained;
    Incoming {
        device,
        message,
        received: Instant::now(),
        redelivered: is_redelivered,
        staleness: Staleness::Live,
        origin: Origin::Local(publisher),
        ack: Ack::none(),
    }
}

/// A device that cannot exist is told about below the gateway's own name.
fn addressee(device: &str) -> DeviceId {
    DeviceId::parse(device).unwrap_or_else(|error| {
        tracing::warn!(%error, "a command names a device that cannot exist");
        bridge()
    })
}

/// Outcomes, to the house and, of what a rule asked for, to the rule. Full: the rule misses it, and asks again.
pub(super) async fn outcomes(
    mut told: mpsc::Receiver<Told>,
    broker: BrokerHandle,
    topics: LocalTopics,
    rule: mpsc::Sender<Told>,
) {
    while let Some(told) = told.recv().await {
        match serde_json::to_vec(&told) {
            Ok(payload) => {
                let topic = topics.result(&told.outcome.device);
                broker.publish(&Message::new(topic, payload, QoS::AtLeastOnce));
            }
            Err(error) => {
                tracing::error!(id = %told.outcome.id, %error, "failed to write an outcome as JSON")
            }
        }
        if told.origin == Origin::Rule {
            // Nobody there: no device has a rule.
            let _ = rule.try_send(told);
        }
    }
}

/// How far messages and commands have come, to the house and to the board.
pub(super) struct Receipted {
    pub(super) broker: BrokerHandle,
    pub(super) board: Board,
    pub(super) topics: LocalTopics,
    pub(super) receipts: Receipts,
}

impl Receipted {
    pub(super) async fn run(self, mut issued: mpsc::Receiver<Receipt>, stop: CancellationToken) {
        while let Some(Some(receipt)) = stop.run_until_cancelled(issued.recv()).await {
            let topic = match &receipt.subject {
                Subject::Message(..) => self.topics.message_receipts(),
                Subject::Command(..) => self.topics.command_receipts(),
            };
            let report = self.board.receipt(receipt, self.receipts.missed());
            // Ids, words and a time: serialising them cannot fail.
            let payload = serde_json::to_string(&report).unwrap_or_default();
            self.broker.publish(&Message::new(topic, payload, QoS::AtMostOnce));
        }
    }
}

/// What devices on the LAN publish, to their bus.
pub(super) async fn lan_in(mut messages: InProcess, bus: mpsc::Sender<Message>, stop: CancellationToken) {
    while let Some(Some(heard)) = stop.run_until_cancelled(messages.recv()).await {
        if bus.send(heard.message).await.is_err() {
            break;
        }
    }
}

/// What the LAN bus sends to its devices, with the number of those who heard it.
pub(super) async fn lan_out(mut publishes: mpsc::Receiver<LanPublish>, broker: BrokerHandle) {
    while let Some(LanPublish { message, delivered }) = publishes.recv().await {
        let heard = broker.publish(&message);
        // Who does not wait for the number does not want it.
        let _ = delivered.send(heard);
    }
}

/// The store's sums, what did not even reach it, and whether its disk answers at all, to the board.
pub(super) async fn store_report(
    store: Store,
    mut not_kept: watch::Receiver<u64>,
    board: Board,
    stop: CancellationToken,
) {
    let mut stats = store.stats();
    loop {
        let mut report = report(&stats.borrow_and_update());
        report.dropped.push(("disk_too_slow", *not_kept.borrow_and_update()));
        let hangs = store.hangs();
        if hangs {
            report.fault = Some("the disk does not answer; it is overloaded or about to fail".to_owned());
        }
        board.store(report);
        let change = async {
            // Cancel safety: `changed` marks nothing as seen before it returns, and a disk that turned has turned.
            tokio::select! {
                changed = stats.changed() => changed,
                changed = not_kept.changed() => changed,
                () = store.turns(hangs) => Ok(()),
            }
        };
        match stop.run_until_cancelled(change).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => break,
        }
    }
}

fn report(stats: &StoreStats) -> StoreReport {
    StoreReport {
        waiting: stats.waiting,
        waiting_bytes: stats.waiting_bytes,
        max_bytes: stats.max_bytes,
        oldest: stats.oldest,
        accepted: stats.accepted,
        acknowledged: stats.acknowledged,
        dropped: vec![
            ("drop_oldest", stats.dropped_full),
            ("refuse_new", stats.refused_full),
            ("max_age", stats.dropped_expired),
            ("refused_by_cloud", stats.dropped_by_cloud),
            ("beyond_limits", stats.beyond_limits),
            ("unreadable", stats.unreadable),
            ("superseded", stats.superseded),
            ("thinned", stats.thinned),
            ("line_down", stats.not_kept),
        ],
        lanes: stats.lanes.iter().map(lane).collect(),
        written: WrittenReport {
            days: stats.written.days.clone(),
            budget: stats.written.budget,
            floor: stats.written.floor,
        },
        fault: stats.fault.clone(),
        set_aside: stats.set_aside.clone(),
    }
}

fn lane(stats: &LaneStats) -> LaneReport {
    LaneReport {
        name: stats.name.trim_start().to_owned(),
        waiting: stats.waiting,
        waiting_bytes: stats.waiting_bytes,
        dropped: stats.dropped,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        app::{CloudTopics, testing::Home},
        clock::Clock,
        model::{GatewayId, Timestamp},
        store::StoreOptions,
    };

    #[tokio::test]
    async fn a_disk_that_takes_nothing_does_not_hold_up_the_house() {
        // Ten minutes between commits: as good as a disk that hangs.
        let options = StoreOptions { commit_floor: Duration::from_secs(600), ..StoreOptions::default() };
        let home = Home::new(&options, Clock::system()).await;
        let local = LocalTopics::default();
        let device = DeviceId::parse("thermometer").unwrap();
        let mut ear = home.broker.subscribe(&[(&local.state(&device)).into()], 4096);
        let prefix = Topic::parse("p").unwrap();
        let cloud = CloudTree::Own(CloudTopics::new(&prefix, &GatewayId::parse("g").unwrap()).unwrap());
        let (line, mut line_to_disk) = mpsc::channel(READINGS_IN_LINE);
        let (not_kept, count) = watch::channel(0);
        let (entities, _) = mpsc::channel(1);
        let telemetry = Telemetry {
            broker: home.broker.clone(),
            local,
            cloud: Some(cloud),
            lane: None,
            line,
            not_kept,
            entities,
            homie: None,
            descriptions: Descriptions::default(),
            buttons: None,
        };
        let (sender, events) = mpsc::channel(16);
        tokio::spawn(telemetry.run(events));
        // What it is comes while the line is full: it is no reading, and waits.
        let reading = |number: usize| {
            let fields = Fields::from_iter([("n".to_owned(), Value::from(number))]);
            Reading { device: device.clone(), fields, taken_at: Timestamp::from_millis(0) }
        };
        for turn in 0..READINGS_IN_LINE {
            sender.send(DeviceEvent::Reading(reading(turn))).await.unwrap();
            ear.recv().await.unwrap();
        }
        sender.send(DeviceEvent::Entities(device.clone(), Vec::new())).await.unwrap();
        // Taken in hand only when what came before it was.
        sender.send(DeviceEvent::Happened(reading(0))).await.unwrap();
        ear.recv().await.unwrap();
        assert_eq!(*count.borrow(), 1, "what happened was not kept, and nothing else");
        let mut topics = Vec::new();
        for _ in 0..=READINGS_IN_LINE {
            topics.push(line_to_disk.recv().await.unwrap().for_cloud.unwrap().message.topic.to_string());
        }
        assert_eq!(topics.last().map(String::as_str), Some("p/g/thermometer/about"));
        let lost_before = *count.borrow();
        tokio::spawn(Keeper { store: home.store.clone(), remembered: HashMap::new() }.run(line_to_disk));

        let all = 2 * (READINGS_IN_HAND + READINGS_IN_LINE);
        for number in 0..all {
            sender.send(DeviceEvent::Reading(reading(number))).await.unwrap();
            ear.recv().await.unwrap();
        }
        assert!(*count.borrow() > lost_before, "what the line had no room for is counted");

        // A press is heard by those who are there, and by nobody who comes later.
        let fields = Fields::from_iter([("button".to_owned(), Value::from("press"))]);
        let reading = Reading { device: device.clone(), fields, taken_at: Timestamp::from_millis(0) };
        sender.send(DeviceEvent::Happened(reading)).await.unwrap();
        let word =
            |heard: Option<Heard>| String::from_utf8_lossy(&heard.unwrap().message.payload).into_owned();
        assert!(word(ear.recv().await).contains("press"));
        let local = LocalTopics::default();
        let mut late = home.broker.subscribe(&[(&local.state(&device)).into()], 16);
        let kept = word(late.recv().await);
        assert!(kept.contains(&(all - 1).to_string()) && !kept.contains("press"), "{kept}");
    }
}
