//! An adapter that works: what it hears, its peripherals, and what the devices are told.
//!
//! Owns the talk with btleplug. What devices are told, and what when they are slow, is [`Voices`]' affair. Invariant:
//! nothing that blocks, and no device, is awaited in the midst of hearing.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use btleplug::{
    api::{Central as _, CentralEvent, CentralState, Peripheral as _, PeripheralProperties},
    platform::{Adapter as Central, PeripheralId},
};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{super::device::Frame, Ports, Waiting, Writes},
    BleAddress, BleChannel, BleMember, BlePeer, BleSettings,
    audience::Audience,
    bluez::{Sight, Trouble},
    central::{address, scan},
    counts::{Counts, count},
    peripheral::{News, Peripheral},
    voices::{Heralds, Voices},
    watchdog::Watchdog,
};
use crate::health::Board;

/// Writes that may wait for one peripheral. Full: refused.
const ORDERS: usize = 8;
/// When a silence is told again for which its device had no room.
const AGAIN: Duration = Duration::from_secs(1);
/// Descriptions of devices that BlueZ is asked for at the same time. Full: left out; it is heard again.
const ASKED: usize = 16;

type Events = Pin<Box<dyn Stream<Item = CentralEvent> + Send>>;

/// How a session ended.
pub(super) enum End {
    Stop,
    Trouble(Trouble),
    /// A task of it failed.
    Broken(String),
}

struct Remote {
    place: usize,
    address: BleAddress,
    news: watch::Sender<News>,
    orders: mpsc::Sender<Waiting>,
}

pub(super) struct Session<'a> {
    members: &'a [BleMember],
    counts: Arc<Counts>,
    watchdog: Watchdog<'a>,
    central: Central,
    events: Events,
    /// Those that BlueZ knew from earlier: what it has of them is old.
    old: HashSet<PeripheralId>,
    audience: Audience,
    remotes: Vec<Remote>,
    connected: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
    tasks_stop: CancellationToken,
    voices: Voices,
    heralds: Option<Heralds>,
    /// Descriptions that were asked for.
    asked: FuturesUnordered<BoxFuture<'static, Option<(BleAddress, PeripheralProperties)>>>,
}

impl<'a> Session<'a> {
    /// Starts the scan of an adapter that was opened.
    pub(super) async fn open(
        settings: &'a BleSettings,
        members: &'a [BleMember],
        counts: &Arc<Counts>,
        board: &'a Board,
        (central, sight): (Central, Sight),
    ) -> Result<Self, Trouble> {
        let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
        let old = central.peripherals().await.map_err(odd)?;
        let old = old.iter().map(|peripheral| peripheral.id()).collect();
        let events = central.events().await.map_err(odd)?;
        scan(&central).await?;
        let (voices, heralds) = Voices::new(members.len());
        let mut session = Self {
            members,
            counts: counts.clone(),
            watchdog: Watchdog::new(settings, board, counts.clone(), central.clone(), sight),
            central,
            events,
            old,
            audience: Audience::new(members.iter().map(|member| &member.peer), Instant::now()),
            remotes: Vec::new(),
            connected: Arc::default(),
            tasks: JoinSet::new(),
            tasks_stop: CancellationToken::new(),
            voices,
            heralds: Some(heralds),
            asked: FuturesUnordered::new(),
        };
        session.start_peripherals();
        Ok(session)
    }

    fn start_peripherals(&mut self) {
        for (place, member) in self.members.iter().enumerate() {
            let BlePeer::Peripheral { address, characteristics } = &member.peer else { continue };
            let (news, hears) = watch::channel(News::default());
            let (orders, taken) = mpsc::channel(ORDERS);
            let peripheral = Peripheral {
                address: *address,
                wanted: characteristics.clone(),
                central: self.central.clone(),
                adapter: self.watchdog.adapter().to_owned(),
                said: self.voices.of(place),
                deaf: self.voices.deafness(),
                reason: String::new(),
                orders: taken,
                news: hears,
                connected: self.connected.clone(),
                counts: self.counts.clone(),
            };
            self.tasks.spawn(peripheral.run(self.tasks_stop.clone()));
            self.remotes.push(Remote { place, address: *address, news, orders });
        }
    }

    /// Until the stop, or until the adapter is lost.
    pub(super) async fn run(mut self, ports: &mut Ports, stop: &CancellationToken) -> End {
        let Ports { writes, devices } = ports;
        let members = self.members;
        let Some(heralds) = self.heralds.take() else { return End::Stop };
        // Cancel safe: what is told at the end of a session is out of date with it.
        let end = tokio::select! {
            end = self.hear(writes, stop) => end,
            never = heralds.carry(devices, members) => never,
        };
        self.tasks_stop.cancel();
        if matches!(end, End::Stop) {
            let leaving = async { while self.tasks.join_next().await.is_some() {} };
            let _ = timeout(Duration::from_millis(1500), leaving).await;
        }
        // The connection stays, and BlueZ would go on scanning for it.
        let _ = timeout(Duration::from_millis(500), self.central.stop_scan()).await;
        self.tasks.shutdown().await;
        end
    }

    async fn hear(&mut self, writes: &mut Writes, stop: &CancellationToken) -> End {
        let mut are_devices_gone = false;
        loop {
            let silence = self.audience.next_silence();
            // Cancel safe: streams, channels, a timer, and `Watchdog::next`.
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stop,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let problem = ended.err().map_or("a peripheral's task ended".to_owned(), |panic| panic.to_string());
                    return End::Broken(problem);
                }
                write = writes.pass(), if !are_devices_gone => match write {
                    Some(write) => self.order(write),
                    None => are_devices_gone = true,
                },
                turn = self.watchdog.next() => {
                    if self.expects_nothing() && self.watchdog.is_well() {
                        self.voices.set_deaf(None);
                    }
                    let is_connected = self.connected.load(Ordering::Relaxed) > 0;
                    match self.watchdog.take(turn, is_connected) {
                        Ok(None) => {}
                        Ok(Some(fault)) => self.voices.set_deaf(Some(fault)),
                        Err(trouble) => return End::Trouble(trouble),
                    }
                }
                event = self.events.next() => match event {
                    Some(event) => self.on(event),
                    None => return End::Trouble(Trouble::Odd("its events ended".to_owned())),
                },
                Some(described) = self.asked.next(), if !self.asked.is_empty() => {
                    if let Some((address, properties)) = described {
                        self.described(address, properties);
                    }
                }
                () = sleep_until(silence.unwrap_or_else(Instant::now)), if silence.is_some() => {
                    let now = Instant::now();
                    for (place, frame) in self.audience.silences(now) {
                        if !self.voices.pass(place, frame) {
                            self.audience.put_off(place, now + AGAIN);
                        }
                    }
                }
            }
        }
    }

    /// Whether all who hang on this adapter are connected, so that nobody need be heard.
    fn expects_nothing(&self) -> bool {
        let is_connected = self.connected.load(Ordering::Relaxed) == self.remotes.len();
        self.remotes.len() == self.members.len() && is_connected
    }

    fn order(&self, write: Waiting) {
        let place = self.members.iter().position(|member| member.id == *write.device());
        let remote = self.remotes.iter().find(|remote| Some(remote.place) == place);
        let Some(remote) = remote else {
            return write.refuse("it only advertises; nothing can be written to it");
        };
        if let Err(error) = remote.orders.try_send(write) {
            error.into_inner().refuse("it is still busy with what was written before");
        }
    }

    fn on(&mut self, event: CentralEvent) {
        match event {
            CentralEvent::DeviceDiscovered(id) => {
                let Some(address) = address(&id) else { return };
                self.meet(address, &id);
                if !self.old.remove(&id) {
                    self.heard();
                    self.ask(id, address);
                }
            }
            CentralEvent::RssiUpdate { id, rssi } => {
                let Some(address) = address(&id) else { return };
                self.heard();
                self.audience.signal(address, rssi);
                self.meet(address, &id);
                self.ask_name(id, address);
            }
            CentralEvent::ManufacturerDataAdvertisement { id, manufacturer_data } => {
                let Some(address) = address(&id) else { return };
                self.heard();
                self.manufacturer_data(address, &manufacturer_data);
                self.ask_name(id, address);
            }
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                let Some(address) = address(&id) else { return };
                self.heard();
                self.service_data(address, &service_data);
                self.ask_name(id, address);
            }
            CentralEvent::DeviceDisconnected(id) => {
                let Some(address) = address(&id) else { return };
                self.tell_news(address, |news| news.partings += 1);
            }
            // Somebody switched it off, or blocked it.
            CentralEvent::StateUpdate(CentralState::PoweredOff) => self.watchdog.look_soon(),
            _ => {}
        }
    }

    /// Anything came from anyone: the radio works.
    fn heard(&mut self) {
        if self.watchdog.heard() {
            self.voices.set_deaf(None);
        }
    }

    fn meet(&self, address: BleAddress, id: &PeripheralId) {
        let signal = self.audience.signal_of(address);
        self.tell_news(address, |news| {
            news.signal = signal.or(news.signal);
            if news.id.as_ref() != Some(id) {
                news.id = Some(id.clone());
            }
        });
    }

    fn tell_news(&self, address: BleAddress, change: impl Fn(&mut News)) {
        for remote in self.remotes.iter().filter(|remote| remote.address == address) {
            remote.news.send_modify(&change);
        }
    }

    fn manufacturer_data(&mut self, address: BleAddress, data: &HashMap<u16, Vec<u8>>) {
        for (company, data) in data {
            self.advertised(address, BleChannel::ManufacturerData(*company), data);
        }
    }

    fn service_data(&mut self, address: BleAddress, data: &HashMap<uuid::Uuid, Vec<u8>>) {
        for (service, data) in data {
            self.advertised(address, BleChannel::ServiceData(*service), data);
        }
    }

    fn advertised(&mut self, address: BleAddress, channel: BleChannel, data: &[u8]) {
        for (place, frame) in self.audience.hear(address, channel, data, Instant::now()) {
            self.pass(place, frame);
        }
    }

    fn pass(&self, place: usize, frame: Frame) {
        if !self.voices.pass(place, frame) {
            count(&self.counts.not_taken);
        }
    }

    fn ask_name(&mut self, id: PeripheralId, address: BleAddress) {
        if self.audience.may_ask_name(address, Instant::now()) {
            self.ask(id, address);
        }
    }

    /// Asks BlueZ for what it has of a device: a first advertisement comes with no event of its own, a name never does.
    fn ask(&mut self, id: PeripheralId, address: BleAddress) {
        if self.asked.len() >= ASKED || !self.audience.knows(address) {
            return;
        }
        let central = self.central.clone();
        self.asked.push(
            async move {
                let properties = central.peripheral(&id).await.ok()?.properties().await.ok()??;
                Some((address, properties))
            }
            .boxed(),
        );
    }

    fn described(&mut self, address: BleAddress, properties: PeripheralProperties) {
        if let Some(rssi) = properties.rssi {
            self.audience.signal(address, rssi);
            let signal = self.audience.signal_of(address);
            self.tell_news(address, |news| news.signal = signal);
        }
        self.manufacturer_data(address, &properties.manufacturer_data);
        self.service_data(address, &properties.service_data);
        if let Some(name) = &properties.advertisement_name {
            self.advertised(address, BleChannel::Name, name.as_bytes());
        }
    }
}
