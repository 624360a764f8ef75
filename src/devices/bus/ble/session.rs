//! An adapter that works: its scan, its watchdog, its peripherals.
//!
//! Owns the talk with btleplug. What devices are told waits in a queue with an end, so that a slow one holds up neither
//! the scan nor the others; full: what was advertised is left out and counted, for it is said again. Invariant: nothing
//! that blocks is awaited in the midst of hearing.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use btleplug::{
    api::{
        Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _, PeripheralProperties,
        ScanFilter,
    },
    platform::{Adapter as Central, Manager, PeripheralId},
};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    super::{super::device::Frame, FromBus, Ports, Write, WriteError, Writes},
    BleAddress, BleChannel, BleMember, BlePeer, BleSettings,
    audience::Audience,
    bluez::{self, Sight, Trouble},
    counts::{Counts, count},
    ladder::{Ladder, Step},
    peripheral::{News, Peripheral},
};
use crate::health::{Board, BusReport};

/// What devices are told and have not yet taken.
const QUEUE: usize = 256;
/// Writes that may wait for one peripheral. Full: refused.
const ORDERS: usize = 8;
/// Descriptions of devices that BlueZ is asked for at the same time. Full: left out; it is heard again.
const ASKED: usize = 16;
/// How often the adapter is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often in a row it may be seen not scanning, or unwell, before something is done about it.
const DOUBTS: u32 = 2;
/// How long the daemon may take to start or stop a scan.
const SCAN_WITHIN: Duration = Duration::from_secs(10);
/// How long the daemon may take to say who its adapter is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often people are told of counts that change all the time.
const REPORT_EVERY: Duration = Duration::from_secs(15);

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
    orders: mpsc::Sender<Write>,
}

pub(super) struct Session<'a> {
    settings: &'a BleSettings,
    members: &'a [BleMember],
    counts: Arc<Counts>,
    board: &'a Board,
    sight: Sight,
    central: Central,
    events: Events,
    /// Those that BlueZ knew from earlier: what it has of them is old.
    old: HashSet<PeripheralId>,
    audience: Audience,
    ladder: Ladder,
    remotes: Vec<Remote>,
    connected: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
    tasks_stop: CancellationToken,
    said: mpsc::Sender<(usize, FromBus)>,
    queue: Option<mpsc::Receiver<(usize, FromBus)>>,
    /// Descriptions that were asked for.
    asked: FuturesUnordered<BoxFuture<'static, Option<(BleAddress, PeripheralProperties)>>>,
    /// What is being done to the adapter.
    acting: Option<BoxFuture<'static, Result<(), Trouble>>>,
    looking: Option<BoxFuture<'static, Result<Sight, Trouble>>>,
    look_at: Instant,
    doubts: u32,
    /// What people were told of the silence.
    fault: Option<String>,
    reported: (Vec<(&'static str, u64)>, Instant),
}

impl<'a> Session<'a> {
    /// Opens the adapter and starts its scan.
    pub(super) async fn open(
        settings: &'a BleSettings,
        members: &'a [BleMember],
        counts: &Arc<Counts>,
        board: &'a Board,
        sight: Sight,
    ) -> Result<Self, Trouble> {
        let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
        let central = central(&sight.name).await?;
        let old = central.peripherals().await.map_err(odd)?;
        let old = old.iter().map(|peripheral| peripheral.id()).collect();
        let events = central.events().await.map_err(odd)?;
        scan(&central, false).await?;
        let now = Instant::now();
        let (said, queue) = mpsc::channel(QUEUE);
        let mut session = Self {
            settings,
            members,
            counts: counts.clone(),
            board,
            sight,
            central,
            events,
            old,
            audience: Audience::new(members.iter().map(|member| &member.peer), now),
            ladder: Ladder::new(settings.patience(), now),
            remotes: Vec::new(),
            connected: Arc::default(),
            tasks: JoinSet::new(),
            tasks_stop: CancellationToken::new(),
            said,
            queue: Some(queue),
            asked: FuturesUnordered::new(),
            acting: None,
            looking: None,
            look_at: now + LOOK_EVERY,
            doubts: 0,
            fault: None,
            reported: (Vec::new(), now),
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
                place,
                address: *address,
                wanted: characteristics.clone(),
                central: self.central.clone(),
                adapter: self.sight.name.clone(),
                said: self.said.clone(),
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
        let Some(mut queue) = self.queue.take() else { return End::Stop };
        let telling = async {
            while let Some((place, what)) = queue.recv().await {
                devices.tell(&members[place].id, what).await;
            }
            pending().await
        };
        // Cancel safe: what is told at the end of a session is out of date with it.
        let end = tokio::select! {
            end = self.hear(writes, stop) => end,
            never = telling => never,
        };
        self.tasks_stop.cancel();
        if matches!(end, End::Stop) {
            let leaving = async { while self.tasks.join_next().await.is_some() {} };
            let _ = timeout(Duration::from_millis(1500), leaving).await;
            let _ = timeout(Duration::from_millis(500), self.central.stop_scan()).await;
        }
        self.tasks.shutdown().await;
        end
    }

    async fn hear(&mut self, writes: &mut Writes, stop: &CancellationToken) -> End {
        let mut are_devices_gone = false;
        loop {
            let now = Instant::now();
            let silence = self.audience.next_silence();
            let (is_idle, is_looking) = (self.acting.is_none(), self.looking.is_some());
            let looking =
                async { if let Some(look) = &mut self.looking { look.await } else { pending().await } };
            let acting = async { if let Some(act) = &mut self.acting { act.await } else { pending().await } };
            // Cancel safe: streams, channels, timers, and futures that are kept and polled by reference.
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stop,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let problem = ended.err().map_or("a peripheral's task ended".to_owned(), |panic| panic.to_string());
                    return End::Broken(problem);
                }
                write = writes.next(), if !are_devices_gone => match write {
                    Some(write) => self.order(write),
                    None => are_devices_gone = true,
                },
                seen = looking => {
                    self.looking = None;
                    self.look_at = Instant::now() + LOOK_EVERY;
                    if let Err(trouble) = self.judge(seen) {
                        return End::Trouble(trouble);
                    }
                }
                done = acting => {
                    self.acting = None;
                    self.doubts = 0;
                    if let Err(trouble) = done {
                        return End::Trouble(trouble);
                    }
                }
                event = self.events.next() => match event {
                    Some(event) => self.on(event).await,
                    None => return End::Trouble(Trouble::Odd("its events ended".to_owned())),
                },
                Some(described) = self.asked.next(), if !self.asked.is_empty() => {
                    if let Some((address, properties)) = described {
                        self.described(address, properties);
                    }
                }
                () = sleep_until(self.ladder.next()), if is_idle => self.climb().await,
                () = sleep_until(self.look_at), if !is_looking => self.look(),
                () = sleep_until(silence.unwrap_or(now)), if silence.is_some() => {
                    for (place, frame) in self.audience.silences(Instant::now()) {
                        let _ = self.said.send((place, FromBus::Frame(frame))).await;
                    }
                }
            }
        }
    }

    fn order(&self, write: Write) {
        let place = self.members.iter().position(|member| member.id == write.device);
        let remote = self.remotes.iter().find(|remote| Some(remote.place) == place);
        let Some(remote) = remote else {
            let problem = "it only advertises; nothing can be written to it".to_owned();
            return write.answer(Err(WriteError::NotSent(problem)));
        };
        if let Err(error) = remote.orders.try_send(write) {
            let problem = "it is still busy with what was written before".to_owned();
            error.into_inner().answer(Err(WriteError::NotSent(problem)));
        }
    }

    async fn on(&mut self, event: CentralEvent) {
        match event {
            CentralEvent::DeviceDiscovered(id) => {
                let Some(address) = address(&id) else { return };
                self.meet(address, &id);
                if !self.old.remove(&id) {
                    self.heard().await;
                    self.ask(id, address);
                }
            }
            CentralEvent::RssiUpdate { id, rssi } => {
                let Some(address) = address(&id) else { return };
                self.heard().await;
                self.audience.signal(address, rssi);
                self.meet(address, &id);
                self.ask_name(id, address);
            }
            CentralEvent::ManufacturerDataAdvertisement { id, manufacturer_data } => {
                let Some(address) = address(&id) else { return };
                self.heard().await;
                self.manufacturer_data(address, &manufacturer_data);
                self.ask_name(id, address);
            }
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                let Some(address) = address(&id) else { return };
                self.heard().await;
                self.service_data(address, &service_data);
                self.ask_name(id, address);
            }
            CentralEvent::DeviceDisconnected(id) => {
                let Some(address) = address(&id) else { return };
                self.tell_news(address, |news| news.partings += 1);
            }
            // Somebody switched it off, or blocked it.
            CentralEvent::StateUpdate(CentralState::PoweredOff) => self.look_at = Instant::now(),
            _ => {}
        }
    }

    /// Anything came from anyone: the radio works.
    async fn heard(&mut self) {
        count(&self.counts.advertisements);
        if self.ladder.heard(Instant::now()) {
            info!(adapter = self.sight.name, "Bluetooth is heard again");
            self.fault = None;
            self.tell_listeners(&FromBus::Found).await;
            self.report();
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
        if self.said.try_send((place, FromBus::Frame(frame))).is_err() {
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

    fn look(&mut self) {
        let (central, name) = (self.central.clone(), self.sight.name.clone());
        let look = async move {
            let sight = bluez::look_again(name).await?;
            // btleplug's own connection may be the one that is dead: its task is nobody's to watch.
            match timeout(ANSWER_WITHIN, central.adapter_info()).await {
                Ok(Ok(_)) => Ok(sight),
                Ok(Err(error)) => Err(Trouble::Odd(error.to_string())),
                Err(_) => Err(Trouble::Odd("nothing comes through any more".to_owned())),
            }
        };
        self.looking = Some(look.boxed());
        if self.reported.0 != self.steady_counts() || self.reported.1.elapsed() >= REPORT_EVERY {
            self.report();
        }
    }

    /// What the look at the adapter means.
    fn judge(&mut self, seen: Result<Sight, Trouble>) -> Result<(), Trouble> {
        let trouble = match seen {
            Err(Trouble::Odd(problem)) => {
                self.doubts += 1;
                let is_sure = self.doubts > DOUBTS;
                return if is_sure { Err(Trouble::Odd(problem)) } else { Ok(()) };
            }
            Err(trouble) => trouble,
            Ok(seen) if seen.daemon != self.sight.daemon => Trouble::NoDaemon,
            // It is switched off on purpose, and not scanning.
            Ok(_) if self.acting.is_some() => return Ok(()),
            Ok(seen) if !seen.is_powered => Trouble::Off(seen.name, "it was switched off".to_owned()),
            Ok(seen) => {
                self.doubts = if seen.is_discovering { 0 } else { self.doubts + 1 };
                if self.doubts > DOUBTS {
                    warn!(adapter = seen.name, "the Bluetooth scan ended by itself and is started again");
                    self.restart_scan();
                }
                return Ok(());
            }
        };
        Err(trouble)
    }

    fn restart_scan(&mut self) {
        count(&self.counts.scans_restarted);
        let central = self.central.clone();
        self.acting = Some(async move { scan(&central, true).await }.boxed());
    }

    /// The next step of the ladder.
    async fn climb(&mut self) {
        let now = Instant::now();
        let has_listeners =
            self.members.iter().any(|member| !matches!(member.peer, BlePeer::Peripheral { .. }));
        if !has_listeners && self.connected.load(Ordering::Relaxed) == self.remotes.len() {
            // Everybody is connected: there is nothing to be heard.
            self.ladder.heard(now);
            return;
        }
        match self.ladder.step(now) {
            None => {}
            Some(Step::RestartScan) => {
                warn!(adapter = self.sight.name, "nothing is heard; the Bluetooth scan is restarted");
                self.restart_scan();
            }
            Some(Step::PowerCycle) => {
                warn!(
                    adapter = self.sight.name,
                    "nothing is heard; the Bluetooth adapter is switched off and on"
                );
                count(&self.counts.power_cycles);
                let (central, name) = (self.central.clone(), self.sight.name.clone());
                self.acting = Some(
                    async move {
                        bluez::power_cycle(name).await?;
                        scan(&central, true).await
                    }
                    .boxed(),
                );
            }
            Some(Step::Report(silence)) => {
                let fault = format!(
                    "nothing was heard of any Bluetooth device for {} s, though the scan was restarted and the adapter {} \
                     switched off and on; plug it out and in again, or restart the machine, and keep it away from USB 3 \
                     plugs and metal",
                    silence.as_secs_f64().round(),
                    self.sight.name
                );
                error!(adapter = self.sight.name, fault, "Bluetooth hears nothing");
                count(&self.counts.silences_reported);
                self.fault = Some(fault.clone());
                self.tell_listeners(&FromBus::Lost(fault)).await;
            }
        }
        self.report();
    }

    /// Tells those who live by advertisements.
    async fn tell_listeners(&mut self, what: &FromBus) {
        for (place, member) in self.members.iter().enumerate() {
            if !matches!(member.peer, BlePeer::Peripheral { .. }) {
                let _ = self.said.send((place, what.clone())).await;
            }
        }
    }

    /// The counts that do not change all the time.
    fn steady_counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.list().split_off(1)
    }

    fn report(&mut self) {
        self.reported = (self.steady_counts(), Instant::now());
        self.board.bus(BusReport {
            name: self.settings.to_string(),
            fault: self.fault.clone(),
            counts: self.counts.list(),
        });
    }
}

/// The device that BlueZ calls so: `hci0/dev_A4_C1_38_01_02_03`.
fn address(id: &PeripheralId) -> Option<BleAddress> {
    let mut name = String::new();
    // `to_string` would panic where it has no name.
    write!(name, "{id}").ok()?;
    let (_, address) = name.rsplit_once("dev_")?;
    address.replace('_', ":").parse().ok()
}

/// The adapter called `name`, on a connection to the daemon that is made anew.
async fn central(name: &str) -> Result<Central, Trouble> {
    let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
    let runtime = Handle::current();
    // Connecting blocks.
    let manager = spawn_blocking(move || runtime.block_on(Manager::new()));
    let manager = manager.await.map_err(|panic| Trouble::Odd(panic.to_string()))?.map_err(odd)?;
    for central in manager.adapters().await.map_err(odd)? {
        // `hci0 (usb:v1D6Bp0246d0542)`
        let info = central.adapter_info().await.map_err(odd)?;
        if info.split(' ').next() == Some(name) {
            return Ok(central);
        }
    }
    Err(Trouble::NotThis(name.to_owned(), Vec::new()))
}

async fn scan(central: &Central, again: bool) -> Result<(), Trouble> {
    if again {
        // It may have ended by itself.
        let _ = timeout(SCAN_WITHIN, central.stop_scan()).await;
    }
    match timeout(SCAN_WITHIN, central.start_scan(ScanFilter::default())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Trouble::Odd(format!("it does not scan: {error}"))),
        Err(_) => Err(Trouble::Odd("it does not scan".to_owned())),
    }
}
