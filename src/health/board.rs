//! The board itself: one short lock around the facts, one version number for those who wait.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::watch;

use super::{
    BrokerReport, BusReport, ButtonReport, CertificateReport, CertificateStatus, CommandCount, CommandReport,
    DeviceReport, HostReport, LastFault, LineHistoryReport, LinkCounters, LinkReport, OutlookReport,
    ReceiptReport, ReceiptsReport, Refusal, RefusalsReport, StoreReport, Traffic, Verdict, filling::Filling,
    line_history::LineHistory, moment::Now, trend::Trend,
};
use crate::{
    clock::Clock,
    model::{CommandId, DeviceId, LinkState, Receipt, Timestamp},
};

/// How many finished commands are remembered. Full: the oldest is forgotten.
const LAST_COMMANDS: usize = 50;
/// How many receipts are remembered. Full: the oldest is forgotten.
const LAST_RECEIPTS: usize = 200;

pub(super) struct Facts {
    pub(super) link: LinkReport,
    pub(super) link_down_since: Option<Timestamp>,
    /// Since when something is wrong with a line that is up.
    pub(super) link_ill_since: Option<Timestamp>,
    /// Why the last connection or attempt ended, and when.
    link_last_fault: Option<LastFault>,
    pub(super) counters: LinkCounters,
    pub(super) refusals: RefusalsReport,
    pub(super) store: StoreReport,
    pub(super) disk_fault_since: Option<Timestamp>,
    pub(super) over_budget_since: Option<Timestamp>,
    pub(super) set_aside_since: Option<Timestamp>,
    pub(super) broker: BrokerReport,
    pub(super) devices: BTreeMap<DeviceId, DeviceReport>,
    pub(super) buses: BTreeMap<String, BusReport>,
    /// Since when each bus that is ill is.
    pub(super) ill_since: BTreeMap<String, Timestamp>,
    /// Of each device that has some.
    buttons: BTreeMap<DeviceId, Vec<ButtonReport>>,
    pub(super) commands: VecDeque<CommandReport>,
    command_counts: Vec<CommandCount>,
    pub(super) host: HostReport,
    /// Since when the machine is in trouble.
    pub(super) host_ill_since: Option<Timestamp>,
    line_history: LineHistory,
    filling: Filling,
    /// Of each device that has a number.
    trends: BTreeMap<DeviceId, Trend>,
    are_devices_simulated: bool,
    receipts: VecDeque<ReceiptReport>,
    receipts_missed: u64,
}

/// Everything on the board at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// The program's version.
    pub version: &'static str,
    /// The gateway's id.
    pub gateway: String,
    /// The wall clock.
    pub now: Timestamp,
    /// Whether the wall clock can be believed.
    pub clock_trusted: bool,
    /// When the program started.
    pub started: Timestamp,
    /// Whether the devices are simulated.
    pub simulated: bool,
    /// The whole in one sentence.
    pub verdict: Verdict,
    /// The line to the cloud.
    pub link: LinkReport,
    /// Why its last connection or attempt ended, and when that was last seen; it may have healed since.
    pub link_last_fault: Option<LastFault>,
    /// What it did over hours and days.
    pub line_history: LineHistoryReport,
    /// What went over it.
    pub counters: LinkCounters,
    /// What the cloud did not take.
    pub refusals: RefusalsReport,
    /// The gateway's own certificate for the cloud, if it has one.
    pub certificate: Option<CertificateStatus>,
    /// The queue and its disk.
    pub store: StoreReport,
    /// When the queue will be full.
    pub outlook: OutlookReport,
    /// The local broker.
    pub broker: BrokerReport,
    /// Every device, by id.
    pub devices: Vec<DeviceReport>,
    /// The buses that can be ill by themselves, by name.
    pub buses: Vec<BusReport>,
    /// What may be pressed on the page, by device; for the page alone.
    #[serde(skip)]
    pub buttons: Vec<(DeviceId, Vec<ButtonReport>)>,
    /// The last commands, newest first.
    pub commands: Vec<CommandReport>,
    /// How commands ended, since the start.
    pub command_counts: Vec<CommandCount>,
    /// The machine.
    pub host: HostReport,
}

/// A handle to the board; cheap to clone.
#[derive(Clone)]
pub struct Board {
    facts: Arc<Mutex<Facts>>,
    version: Arc<watch::Sender<u64>>,
    traffic: Traffic,
    /// Apart from the facts: who waits for this one is not woken by every other.
    certificate: Arc<watch::Sender<Option<CertificateReport>>>,
    /// Where the line stands, apart from the facts for the same reason.
    line: Arc<watch::Sender<LinkState>>,
    gateway: Arc<str>,
    clock: Clock,
    /// After which uptime.
    started: Duration,
}

impl Board {
    /// An empty board of the gateway `gateway`.
    pub fn new(gateway: &str, clock: Clock) -> Self {
        let started = clock.uptime();
        Self {
            facts: Arc::new(Mutex::new(Facts {
                link: LinkReport::off(),
                link_down_since: None,
                link_ill_since: None,
                link_last_fault: None,
                counters: LinkCounters::default(),
                refusals: RefusalsReport::default(),
                store: StoreReport::default(),
                disk_fault_since: None,
                over_budget_since: None,
                set_aside_since: None,
                broker: BrokerReport::default(),
                devices: BTreeMap::new(),
                buses: BTreeMap::new(),
                ill_since: BTreeMap::new(),
                buttons: BTreeMap::new(),
                commands: VecDeque::with_capacity(LAST_COMMANDS),
                command_counts: Vec::new(),
                host: HostReport::default(),
                host_ill_since: None,
                line_history: LineHistory::default(),
                filling: Filling::default(),
                trends: BTreeMap::new(),
                are_devices_simulated: false,
                receipts: VecDeque::new(),
                receipts_missed: 0,
            })),
            version: Arc::new(watch::channel(0).0),
            traffic: Traffic::default(),
            certificate: Arc::new(watch::channel(None).0),
            line: Arc::new(watch::channel(LinkState::Off).0),
            gateway: gateway.into(),
            clock,
            started,
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Facts are replaced as a whole: a panic elsewhere leaves none half-written.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts());
        self.version.send_modify(|version| *version += 1);
    }

    /// The line's report.
    pub fn link(&self, report: LinkReport) {
        let both = Now::of(&self.clock);
        let now = both.wall;
        self.change(|facts| {
            facts.line_history.line(&report, both);
            let is_up = matches!(report.state, LinkState::Off | LinkState::CatchingUp | LinkState::Online);
            facts.link_down_since = if is_up { None } else { facts.link_down_since.or(Some(now)) };
            let is_ill = is_up && report.fault.is_some();
            facts.link_ill_since = if is_ill { facts.link_ill_since.or(Some(now)) } else { None };
            if let Some(fault) = report.fault.as_ref().filter(|_| !is_up) {
                facts.link_last_fault = Some(LastFault { fault: fault.clone(), at: now });
            }
            self.line.send_if_modified(|state| std::mem::replace(state, report.state) != report.state);
            facts.link = report;
        });
    }

    /// The certificate that the gateway shows to the cloud from now on; `None`: none.
    pub fn certificate(&self, report: Option<CertificateReport>) {
        let is_new = self.certificate.send_if_modified(|old| {
            let is_new = *old != report;
            *old = report;
            is_new
        });
        if is_new {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// That certificate, and when it changes.
    pub fn watch_certificate(&self) -> watch::Receiver<Option<CertificateReport>> {
        self.certificate.subscribe()
    }

    /// Where the line stands, without the rest of the board.
    pub fn line(&self) -> LinkState {
        *self.line.borrow()
    }

    /// That, and when it changes.
    pub fn watch_line(&self) -> watch::Receiver<LinkState> {
        self.line.subscribe()
    }

    /// What is known of the machine.
    pub fn machine(&self) -> HostReport {
        self.facts().host
    }

    /// Counts on the line. Wakes nobody: it happens for every message.
    pub fn link_counters(&self, count: impl FnOnce(&mut LinkCounters)) {
        count(&mut self.facts().counters);
    }

    /// Where the connection counts its bytes. Wakes nobody.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// How long the cloud has just taken to answer.
    pub fn round_trip(&self, trip: Duration) {
        let now = Now::of(&self.clock);
        self.change(|facts| facts.line_history.round_trip(trip, now));
    }

    /// To be called every minute or so: what was counted goes to its day, what is too old goes, and how the queue
    /// fills is looked at.
    pub fn keep_time(&self) {
        let now = Now::of(&self.clock);
        self.change(|facts| {
            facts.line_history.settle(self.traffic.sums(), now);
            // Before the store has reported, nobody knows what waits.
            if !facts.filling.is_empty() {
                facts.filling.look(now.uptime, facts.store.waiting_bytes);
            }
        });
    }

    /// What the next run is to know of the line's past; `None` while the clock cannot be believed.
    pub fn line_note(&self) -> Option<String> {
        let note = self.facts().line_history.note(Now::of(&self.clock))?;
        // Texts, numbers and times: serialising them cannot fail.
        Some(serde_json::to_string(&note).unwrap_or_default())
    }

    /// Takes what an earlier run has noted of the line's past.
    ///
    /// # Errors
    /// It is no such note.
    pub fn restore_line(&self, note: &str) -> Result<(), serde_json::Error> {
        let note = serde_json::from_str(note)?;
        self.facts().line_history.restore(note);
        Ok(())
    }

    /// The cloud did not take something.
    pub fn refused(&self, refusal: Refusal) {
        let now = self.clock.now();
        self.change(|facts| facts.refusals.add(refusal, now));
    }

    /// The store's report.
    pub fn store(&self, report: StoreReport) {
        let (now, uptime) = (self.clock.now(), self.clock.uptime());
        self.change(|facts| {
            facts.filling.look(uptime, report.waiting_bytes);
            facts.disk_fault_since = report.fault.as_ref().map(|_| facts.disk_fault_since.unwrap_or(now));
            facts.over_budget_since = report.written.excess().and(facts.over_budget_since.or(Some(now)));
            let is_aside = !report.set_aside.is_empty();
            facts.set_aside_since = is_aside.then_some(facts.set_aside_since.unwrap_or(now));
            facts.store = report;
        });
    }

    /// The local broker's report.
    pub fn broker(&self, report: BrokerReport) {
        self.change(|facts| facts.broker = report);
    }

    /// Nothing of what devices say is real, and nothing happens that they are told.
    pub fn devices_are_simulated(&self) {
        self.change(|facts| facts.are_devices_simulated = true);
    }

    /// A device's report.
    pub fn device(&self, report: DeviceReport) {
        let uptime = self.clock.uptime();
        self.change(|facts| {
            if let Some(number) = report.number.as_ref().filter(|_| !report.stale) {
                let fresh = || Trend::of(&number.field);
                let trend = facts.trends.entry(report.id.clone()).or_insert_with(fresh);
                if !trend.is_of(&number.field) {
                    *trend = fresh();
                }
                trend.add(uptime, number.value);
            }
            facts.devices.insert(report.id.clone(), report);
        });
    }

    /// A bus's report.
    pub fn bus(&self, report: BusReport) {
        let now = self.clock.now();
        self.change(|facts| {
            if report.fault.is_some() {
                facts.ill_since.entry(report.name.clone()).or_insert(now);
            } else {
                facts.ill_since.remove(&report.name);
            }
            facts.buses.insert(report.name.clone(), report);
        });
    }

    /// What may be pressed of a device, from now on.
    pub fn buttons(&self, device: &DeviceId, buttons: Vec<ButtonReport>) {
        self.change(|facts| {
            if buttons.is_empty() {
                facts.buttons.remove(device);
            } else {
                facts.buttons.insert(device.clone(), buttons);
            }
        });
    }

    /// Whether a device has this button.
    pub fn has_button(&self, device: &DeviceId, field: &str, value: &serde_json::Value) -> bool {
        let facts = self.facts();
        let mut buttons = facts.buttons.get(device).into_iter().flatten();
        buttons.any(|button| button.field == field && button.value == *value)
    }

    /// Whether this command is among the last that have ended.
    pub fn has_ended(&self, id: &CommandId) -> bool {
        self.facts().commands.iter().any(|command| command.outcome.id == *id)
    }

    /// A command's outcome.
    pub fn command(&self, report: CommandReport) {
        self.change(|facts| {
            CommandCount::add(&mut facts.command_counts, &report);
            if facts.commands.len() == LAST_COMMANDS {
                facts.commands.pop_back();
            }
            facts.commands.push_front(report);
        });
    }

    /// What a look at the machine has found.
    pub fn host(&self, report: HostReport) {
        let now = self.clock.now();
        self.change(|facts| {
            let is_ill = !report.troubles().is_empty();
            facts.host_ill_since = is_ill.then_some(facts.host_ill_since.unwrap_or(now));
            facts.host = report;
        });
    }

    /// A receipt, and how many were not issued so far; gives it with its time. Wakes nobody: with `receipts: all`
    /// it happens for every message.
    pub fn receipt(&self, receipt: Receipt, missed: u64) -> ReceiptReport {
        let report = ReceiptReport::new(receipt, self.clock.now());
        let mut facts = self.facts();
        facts.receipts_missed = missed;
        facts.receipts.truncate(LAST_RECEIPTS - 1);
        facts.receipts.push_front(report.clone());
        report
    }

    /// The last receipts, newest first.
    pub fn receipts(&self) -> ReceiptsReport {
        let facts = self.facts();
        ReceiptsReport { receipts: facts.receipts.iter().cloned().collect(), missed: facts.receipts_missed }
    }

    fn certificate_at(&self, now: Now) -> Option<CertificateStatus> {
        let certificate = self.certificate.borrow().clone();
        certificate.map(|report| report.at(now.is_trusted.then_some(now.wall)))
    }

    /// The whole in one sentence, without the rest of the board.
    pub fn verdict(&self) -> Verdict {
        let now = Now::of(&self.clock);
        let certificate = self.certificate_at(now);
        Verdict::of(&self.facts(), certificate.as_ref(), now.wall)
    }

    /// Everything, as of now.
    pub fn snapshot(&self) -> Snapshot {
        let both = Now::of(&self.clock);
        let Now { wall: now, is_trusted: clock_trusted, uptime } = both;
        let certificate = self.certificate_at(both);
        let mut facts = self.facts();
        facts.line_history.settle(self.traffic.sums(), both);
        let outlook = facts.filling.outlook(uptime, facts.store.waiting_bytes, facts.store.max_bytes);
        let with_history = |report: &DeviceReport| {
            let mut report = report.clone();
            if let (Some(number), Some(trend)) = (&mut report.number, facts.trends.get(&report.id)) {
                number.history = trend.history(uptime);
            }
            report
        };
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            gateway: self.gateway.as_ref().to_owned(),
            now,
            clock_trusted,
            started: both.wall_at(self.started),
            simulated: facts.are_devices_simulated,
            verdict: Verdict::of(&facts, certificate.as_ref(), now),
            link: facts.link.clone(),
            link_last_fault: facts.link_last_fault.clone(),
            line_history: facts.line_history.report(both),
            counters: facts.counters.clone(),
            refusals: facts.refusals.clone(),
            certificate,
            store: facts.store.clone(),
            outlook,
            broker: facts.broker.clone(),
            devices: facts.devices.values().map(with_history).collect(),
            buses: facts.buses.values().cloned().collect(),
            buttons: facts
                .buttons
                .iter()
                .map(|(device, buttons)| (device.clone(), buttons.clone()))
                .collect(),
            commands: facts.commands.iter().cloned().collect(),
            command_counts: facts.command_counts.clone(),
            host: facts.host,
        }
    }

    /// Changes with every report; whoever waits on it takes a snapshot then.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

#[cfg(test)]
mod tests;
