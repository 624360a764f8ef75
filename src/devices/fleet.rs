//! The fleet: every device with its mailbox, and the buses that they hang on.
//!
//! Owns the building and the tasks. Built without I/O, so that a configuration can be checked by
//! building it. Stop order: devices first, while their buses still carry the last frame, then buses.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    Device, DeviceError, DeviceSpec, KINDS, Kind, LanPort, SimulationProbe, Wiring,
    bus::{Buses, FromBus, Ports, Write},
    desk::Desk,
    kinds,
    supervisor::{self, Blueprint},
};
use crate::{
    clock::Clock,
    health::Board,
    model::{Actuation, DeviceEvent, DeviceId, Fields, Mailbox, TopicFilter},
};

/// Commands that may wait at a device. Full: the command is refused as `busy`.
pub const MAILBOX_CAPACITY: usize = 8;
/// Frames that may wait at a device. Full: its bus waits.
const INBOX_CAPACITY: usize = 64;
/// Frames that may wait at a bus. Full: the device waits, until the command's deadline.
const WRITES_CAPACITY: usize = 32;

struct Member {
    device: Box<dyn Device>,
    blueprint: Blueprint,
    mailbox: mpsc::Receiver<Actuation>,
    /// The place of its bus among the adapters.
    bus: usize,
}

/// All devices of the house, before they run.
pub struct Fleet {
    /// Where each device takes its commands. A full one means `busy`.
    pub mailboxes: HashMap<DeviceId, Mailbox>,
    members: Vec<Member>,
    buses: Buses,
}

impl Fleet {
    /// Builds every device, without I/O.
    ///
    /// # Errors
    /// The first [`DeviceError`]: an unknown kind, a bad option, an id that stands twice, two
    /// devices that need a bus in different ways.
    pub fn build(specs: &[DeviceSpec]) -> Result<Self, DeviceError> {
        Self::build_with(specs, KINDS)
    }

    /// The same devices, each with what stands in for it: no port, pin or radio is opened, and nothing is heard of the
    /// LAN.
    ///
    /// # Errors
    /// As [`Fleet::build`], but for buses that devices need in different ways.
    pub fn simulated(specs: &[DeviceSpec]) -> Result<Self, DeviceError> {
        Self::of(specs, KINDS, |device| Wiring::Simulated(device.simulation()))
    }

    /// As [`Fleet::build`], with kinds of one's own.
    ///
    /// # Errors
    /// As [`Fleet::build`].
    pub fn build_with(specs: &[DeviceSpec], kinds: &[Kind]) -> Result<Self, DeviceError> {
        Self::of(specs, kinds, |device| device.wiring())
    }

    fn of(
        specs: &[DeviceSpec],
        kinds: &[Kind],
        wiring: fn(&dyn Device) -> Wiring,
    ) -> Result<Self, DeviceError> {
        let mut fleet = Self { mailboxes: HashMap::new(), members: Vec::new(), buses: Buses::default() };
        for spec in specs {
            let kind = kinds::find(kinds, spec)?;
            let device = (kind.build)(spec)?;
            let (sender, mailbox) = mpsc::channel(MAILBOX_CAPACITY);
            if fleet.mailboxes.insert(spec.id.clone(), sender).is_some() {
                return Err(DeviceError::DuplicateId { device: spec.id.clone() });
            }
            let bus = fleet.buses.hang(&spec.id, wiring(&*device))?;
            let blueprint = Blueprint { spec: spec.clone(), kind };
            fleet.members.push(Member { device, blueprint, mailbox, bus });
        }
        match fleet.buses.complaints().into_iter().next() {
            Some(complaint) => Err(complaint),
            None => Ok(fleet),
        }
    }

    /// What must be subscribed at the local broker and handed in at [`LanPort::incoming`]; each once.
    pub fn lan_filters(&self) -> Vec<TopicFilter> {
        self.buses.lan_filters()
    }

    /// Where devices of the LAN are told what to do, which the cloud may do by commands only.
    pub fn lan_obeyed(&self) -> &[TopicFilter] {
        self.buses.lan_obeyed()
    }

    /// What really happens on the simulated bus.
    pub fn simulation(&self) -> SimulationProbe {
        self.buses.simulation()
    }

    /// Runs every device and bus until `stop`; then returns within about two seconds, when the
    /// commands under way have come to an end.
    ///
    /// `last` are the states from before the start. `events` full: the devices wait.
    pub async fn run(
        self,
        lan: LanPort,
        events: mpsc::Sender<DeviceEvent>,
        mut last: HashMap<DeviceId, Fields>,
        clock: Clock,
        board: Board,
        stop: CancellationToken,
    ) {
        let mut lines: Vec<_> = (self.buses.adapters(lan, &board).into_iter())
            .map(|adapter| (adapter, mpsc::channel::<Write>(WRITES_CAPACITY), HashMap::new()))
            .collect();
        let mut devices = JoinSet::new();
        for Member { device, blueprint, mailbox, bus } in self.members {
            let id = blueprint.spec.id.clone();
            let (to_device, inbox) = mpsc::channel::<FromBus>(INBOX_CAPACITY);
            let (_, (bus, _), inboxes) = &mut lines[bus];
            inboxes.insert(id.clone(), to_device);
            let desk = Desk {
                kind: blueprint.spec.kind.clone(),
                mailbox,
                inbox,
                held: VecDeque::new(),
                bus: bus.clone(),
                events: events.clone(),
                state: last.remove(&id).unwrap_or_default(),
                entities: None,
                own_word: None,
                bus_fault: None,
                told: None,
                last_seen: None,
                restarts: 0,
                fault: None,
                unread: BTreeMap::new(),
                clock: clock.clone(),
                board: board.clone(),
                id,
            };
            desk.report();
            devices.spawn(supervisor::device(device, blueprint, desk, stop.clone()));
        }
        // What is kept here must not keep an end of a channel open that the others wait for.
        drop(events);
        let buses_stop = CancellationToken::new();
        let mut adapters = JoinSet::new();
        for (adapter, (_, writes), inboxes) in lines {
            adapters.spawn(supervisor::adapter(adapter, Ports::new(writes, inboxes), buses_stop.clone()));
        }
        finish(&mut devices).await;
        // Without devices there is still a LAN to be read until the stop.
        stop.cancelled().await;
        buses_stop.cancel();
        finish(&mut adapters).await;
    }
}

async fn finish(tasks: &mut JoinSet<()>) {
    while let Some(result) = tasks.join_next().await {
        if let Err(problem) = result {
            // The supervisors catch their part's panics; this is a fault of ours.
            error!(%problem, "a supervisor ended");
        }
    }
}
