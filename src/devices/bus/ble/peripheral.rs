//! One peripheral: connects to it, keeps the connection, and brings its characteristics.
//!
//! A task of its own, so that a slow peripheral holds up nobody. Invariants: what it is asked by itself is asked one by
//! one and given up soon, and orders go before it; an order that waits is not begun, so that its device can take it back
//! when its time is over; a connection that was lost is told before anything else, and sought again, ever more seldom; a
//! characteristic that cannot be had is told once with the reason, and the others go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use btleplug::{
    api::{CharPropFlags, Peripheral as _, ValueNotification, WriteType},
    platform::{Adapter as Central, PeripheralId},
};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    super::{super::device::Frame, FromBus, Waiting, WriteError},
    BleAddress, Characteristic, bluez,
    channel::{BATTERY, CHARACTERISTIC, CONNECTION, MISSING, Short, WRITE, frame, uuid},
    counts::{Counts, count},
    link::{ANSWER_WITHIN, Link, is_readable, is_shown, is_subscribable, open},
};
use crate::retry::{Backoff, Policy};

/// From a second to a minute; a peripheral that stays away costs the air little.
const RECONNECTS: Policy = Policy {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
    stable_after: Duration::from_secs(60),
};
/// How often it is asked whether the connection still holds, beside being told.
const STILL_THERE: Duration = Duration::from_secs(15);
/// How often the battery is asked for.
const BATTERY_EVERY: Duration = Duration::from_secs(3600);
/// A reading comes as a notification, too; the same value within this time is its echo.
const ECHO: Duration = Duration::from_secs(1);
/// How long a reading that nobody ordered may take. Orders wait for it, and a command from the cloud lives half a minute;
/// a connection of 4 s, the slowest there is, needs two of its intervals for an answer (Core Specification 5.3, volume 6,
/// part B, 4.5.1).
const READ_WITHIN: Duration = Duration::from_secs(10);
/// What a look at what was written has at least, however little of its time is left.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

/// What the session hears of a peripheral.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct News {
    /// What BlueZ calls it, from when it was heard.
    pub(super) id: Option<PeripheralId>,
    /// How often BlueZ said that a connection ended.
    pub(super) partings: u64,
    /// How strong it came in last.
    pub(super) signal: Option<i8>,
}

/// What a peripheral's task is made of.
pub(super) struct Peripheral {
    pub(super) address: BleAddress,
    pub(super) wanted: Vec<Characteristic>,
    pub(super) central: Central,
    /// The adapter's name.
    pub(super) adapter: String,
    pub(super) said: mpsc::Sender<FromBus>,
    /// Why nothing is heard of anyone: then it is not the peripheral's fault that it is not connected.
    pub(super) deaf: watch::Receiver<Option<String>>,
    /// Why it is not connected, as far as it is known here.
    pub(super) reason: String,
    pub(super) orders: mpsc::Receiver<Waiting>,
    pub(super) news: watch::Receiver<News>,
    /// How many peripherals are connected.
    pub(super) connected: Arc<AtomicUsize>,
    pub(super) counts: Arc<Counts>,
}

impl Peripheral {
    /// Until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RECONNECTS);
        self.lose("it was not heard yet; is it near, and switched on?").await;
        loop {
            let mut held = Duration::ZERO;
            let reason = match self.connect(&stop).await {
                None => return,
                Some(Err(reason)) => reason,
                Some(Ok(mut link)) => {
                    let since = Instant::now();
                    self.connected.fetch_add(1, Ordering::Relaxed);
                    let reason = self.stay(&mut link, &stop).await;
                    self.connected.fetch_sub(1, Ordering::Relaxed);
                    let Some(reason) = reason else {
                        // Politely: a peripheral with a connection does not advertise, and nobody else can have it.
                        let _ = timeout(Duration::from_secs(1), link.remote.disconnect()).await;
                        return;
                    };
                    held = since.elapsed();
                    reason
                }
            };
            debug!(address = %self.address, reason, "a peripheral is not connected");
            self.lose(&reason).await;
            let wait = backoff.after_failure(held, fastrand::f64());
            if self.refusing(&reason, &stop, sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    async fn tell(&self, what: FromBus) {
        // The session is over when nobody listens.
        let _ = self.said.send(what).await;
    }

    async fn lose(&mut self, reason: &str) {
        reason.clone_into(&mut self.reason);
        let reason = self.deaf.borrow_and_update().clone().unwrap_or_else(|| reason.to_owned());
        self.tell(FromBus::Lost(reason)).await;
    }

    async fn say(&self, frame: Frame) {
        self.tell(FromBus::Frame(frame)).await;
    }

    fn signal(&self) -> Option<i8> {
        self.news.borrow().signal
    }

    /// Waits for `what`; who writes meanwhile hears why not. `None` at the stop.
    async fn refusing<T>(
        &mut self,
        reason: &str,
        stop: &CancellationToken,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(what);
        loop {
            // Cancel safe: channels, and `what` is kept and polled by reference.
            tokio::select! {
                () = stop.cancelled() => return None,
                done = &mut what => return Some(done),
                Some(write) = self.orders.recv() => {
                    let deaf = self.deaf.borrow().clone();
                    write.refuse(deaf.as_deref().unwrap_or(reason));
                }
                Ok(()) = self.deaf.changed() => {
                    let known = std::mem::take(&mut self.reason);
                    self.lose(&known).await;
                }
            }
        }
    }

    /// Waits until it was heard, and connects. An error is the reason why not; `None` at the stop.
    async fn connect(&mut self, stop: &CancellationToken) -> Option<Result<Link, String>> {
        let mut news = self.news.clone();
        let heard = async move { news.wait_for(|news| news.id.is_some()).await.ok()?.id.clone() };
        let id = self.refusing("it was not heard yet; is it near, and switched on?", stop, heard).await??;
        let (central, wanted) = (self.central.clone(), self.wanted.clone());
        let opening = async move { open(&central, &id, &wanted).await };
        self.refusing("it is being connected; ask again in a moment", stop, opening).await
    }

    /// Until the connection is lost, with the reason, or until the stop (`None`).
    async fn stay(&mut self, link: &mut Link, stop: &CancellationToken) -> Option<String> {
        count(&self.counts.connections);
        info!(address = %self.address, "a peripheral is connected");
        self.tell(FromBus::Found).await;
        self.say(frame(CONNECTION, self.signal(), &[])).await;
        for (wanted, found) in self.wanted.iter().zip(&link.found) {
            let problem = match found {
                None => "the peripheral has no such characteristic",
                Some(found) if wanted.notify && !is_subscribable(found) => {
                    "it does not say its changes by itself; \
                     leave `notify` out and write `read_every`"
                }
                Some(found) if wanted.shows_within.is_some() && !is_shown(wanted, found) => {
                    "it does not show what is written to it; write `confirm: false`"
                }
                Some(_) => continue,
            };
            self.say(frame(format!("{MISSING}{}", Short(wanted.uuid)), self.signal(), problem.as_bytes()))
                .await;
        }
        let mut partings = self.news.borrow_and_update().partings;
        let mut check_at = Instant::now() + STILL_THERE;
        loop {
            let read = link.reads.iter().enumerate().filter_map(|(place, at)| Some(((*at)?, place))).min();
            let (now, look) = (Instant::now(), link.looks.next());
            // Cancel safe: channels, timers and a stream.
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                Some(write) = self.orders.recv() => self.carry_out(link, write).await,
                changed = self.news.changed() => {
                    if changed.is_err() {
                        return Some("the Bluetooth adapter was closed".to_owned());
                    }
                    let news = self.news.borrow_and_update().partings;
                    if std::mem::replace(&mut partings, news) != news {
                        check_at = now;
                    }
                }
                said = link.notifications.next() => match said {
                    Some(said) => self.hear(link, said).await,
                    None => return Some("the Bluetooth daemon was lost".to_owned()),
                },
                () = sleep_until(check_at) => {
                    match timeout(READ_WITHIN, link.remote.is_connected()).await {
                        Ok(Ok(true)) => check_at = Instant::now() + STILL_THERE,
                        Ok(Ok(false)) => return Some("its connection was lost; is it near, and charged?".to_owned()),
                        Ok(Err(error)) => return Some(format!("its connection was lost: {error}")),
                        Err(_) => return Some("the Bluetooth daemon does not answer for it".to_owned()),
                    }
                }
                () = sleep_until(look.unwrap_or(now)), if look.is_some() => {
                    if let Some((place, until)) = link.looks.take(Instant::now()) {
                        self.look(link, place, until).await;
                    }
                }
                () = sleep_until(read.map_or(now, |(at, _)| at)), if read.is_some() => {
                    let place = read.map_or(0, |(_, place)| place);
                    link.reads[place] = self.wanted[place].read_every.map(|every| now + every);
                    self.read(link, place).await;
                }
                () = sleep_until(link.battery_at) => {
                    link.battery_at = now + BATTERY_EVERY;
                    self.read_battery(link).await;
                }
            }
        }
    }

    async fn hear(&self, link: &mut Link, said: ValueNotification) {
        let is_wanted = |wanted: &Characteristic| {
            wanted.notify
                && wanted.uuid == said.uuid
                && wanted.service.is_none_or(|service| service == said.service_uuid)
        };
        let Some(place) = self.wanted.iter().position(is_wanted) else { return };
        link.looks.seen(place, &said.value);
        if let Some((value, at)) = link.read.remove(&said.uuid)
            && value == said.value
            && at.elapsed() < ECHO
        {
            return;
        }
        self.say(frame(format!("{CHARACTERISTIC}{}", Short(said.uuid)), self.signal(), &said.value)).await;
    }

    /// Reads a characteristic and tells it; why it cannot be read is told, too, and the next time may be better.
    async fn read(&self, link: &mut Link, place: usize) {
        let Some(found) = &link.found[place] else { return };
        let problem = match timeout(READ_WITHIN, link.remote.read(found)).await {
            Ok(Ok(value)) => return self.say_read(link, place, value).await,
            Ok(Err(error)) => format!("it cannot be read: {error}"),
            Err(_) => "it does not answer".to_owned(),
        };
        let channel = format!("{MISSING}{}", Short(self.wanted[place].uuid));
        self.say(frame(channel, self.signal(), problem.as_bytes())).await;
    }

    /// Reads what was written. When it does not show, the order's outcome says so.
    async fn look(&self, link: &mut Link, place: usize, until: Instant) {
        let Some(found) = &link.found[place] else { return };
        let until = until.max(Instant::now() + SHORTEST_LOOK);
        if let Ok(Ok(value)) = timeout_at(until, link.remote.read(found)).await {
            self.say_read(link, place, value).await;
        }
    }

    async fn say_read(&self, link: &mut Link, place: usize, value: Vec<u8>) {
        let wanted = &self.wanted[place];
        link.looks.seen(place, &value);
        self.say(frame(format!("{CHARACTERISTIC}{}", Short(wanted.uuid)), self.signal(), &value)).await;
        if wanted.notify {
            link.read.insert(wanted.uuid, (value, Instant::now()));
        }
    }

    async fn read_battery(&self, link: &mut Link) {
        let mut percent = bluez::battery(self.adapter.clone(), self.address).await;
        if let (None, Some(found)) = (percent, &link.battery) {
            let value = timeout(READ_WITHIN, link.remote.read(found)).await;
            percent = value.ok().and_then(Result::ok).and_then(|value| value.first().copied());
        }
        if let Some(percent) = percent.filter(|percent| *percent <= 100) {
            self.say(frame(BATTERY, self.signal(), &[percent])).await;
        }
    }

    async fn carry_out(&self, link: &mut Link, write: Waiting) {
        let Some(write) = write.begin() else { return };
        let channel = write.frame.channel.clone();
        let uuid = channel.strip_prefix(WRITE).and_then(uuid);
        let place = uuid.and_then(|uuid| self.wanted.iter().position(|wanted| wanted.uuid == uuid));
        let result = match place {
            Some(place) => self.write(link, place, &write.frame.payload).await,
            None => Err(WriteError::NotSent(format!("`{channel}` is nothing of this peripheral"))),
        };
        write.answer(result);
    }

    async fn write(&self, link: &mut Link, place: usize, value: &[u8]) -> Result<(), WriteError> {
        let not_sent = |problem: &str| Err(WriteError::NotSent(problem.to_owned()));
        let Some(found) = &link.found[place] else {
            return not_sent("the peripheral has no such characteristic");
        };
        let can = |with_response: &bool| {
            found.properties.contains(if *with_response {
                CharPropFlags::WRITE
            } else {
                CharPropFlags::WRITE_WITHOUT_RESPONSE
            })
        };
        let ways = self.wanted[place].with_response.map_or(vec![true, false], |way| vec![way]);
        let Some(with_response) = ways.into_iter().find(can) else {
            return not_sent(match self.wanted[place].with_response {
                None => "the peripheral does not let it be written",
                Some(true) => "it can only be written without response; write `write: without_response`",
                Some(false) => "it can only be written with response; leave `write` out",
            });
        };
        let way = if with_response { WriteType::WithResponse } else { WriteType::WithoutResponse };
        match timeout(ANSWER_WITHIN, link.remote.write(found, value, way)).await {
            Ok(Ok(())) => {
                if let Some(within) = self.wanted[place].shows_within.filter(|_| is_readable(found)) {
                    link.looks.begin(place, value, within, Instant::now());
                }
                Ok(())
            }
            // What went wrong is in its text only: it may have been done.
            Ok(Err(error)) => Err(WriteError::Uncertain(format!("it was sent, and came back with: {error}"))),
            Err(_) => {
                Err(WriteError::Uncertain("it was sent, and the peripheral does not answer".to_owned()))
            }
        }
    }
}
