//! The buses of a house before they run: one entry a bus, with the devices that hang on it.
//!
//! Owns which device hangs where, and opens nothing, so that a configuration is checked by building it.
//! The LAN is always there: it must be read until the stop even when no device wants anything of it.

use std::collections::BTreeSet;

use super::{
    super::DeviceError,
    Adapter, Appliance, LanAdapter, LanPort, SimulatedBus, SimulationProbe, Wiring, Wishes,
    ble::{BleAdapter, BleMember, BlePeer, BleSettings},
    gpio::{self, ChipName, GpioAdapter, GpioWiring},
    serial::{Member, PortSettings, SerialAdapter, Talker, is_bare_name},
};
use crate::{
    health::Board,
    model::{DeviceId, TopicFilter},
};

enum Bus {
    Lan(Wishes),
    Simulated(Vec<(DeviceId, Box<dyn Appliance>)>),
    /// One for each port. Who was first says how it is opened.
    Serial(PortSettings, Vec<Member>),
    /// One for each chip.
    Gpio(ChipName, Vec<gpio::Member>),
    /// One for each Bluetooth adapter.
    Ble(BleSettings, Vec<BleMember>),
}

pub(in crate::devices) struct Buses {
    entries: Vec<Bus>,
    /// Where devices of the LAN are told what to do.
    obeyed: Vec<TopicFilter>,
    probe: SimulationProbe,
}

impl Default for Buses {
    fn default() -> Self {
        Self { entries: vec![Bus::Lan(Wishes::new())], obeyed: Vec::new(), probe: SimulationProbe::default() }
    }
}

impl Buses {
    /// Hangs a device on its bus and gives the bus's place in the list of [`Buses::adapters`].
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when others need the bus in another way.
    pub(in crate::devices) fn hang(&mut self, id: &DeviceId, wiring: Wiring) -> Result<usize, DeviceError> {
        Ok(match wiring {
            Wiring::Lan { hears, obeys } => {
                self.obeyed.extend(obeys);
                self.join(
                    (id.clone(), hears),
                    |bus| if let Bus::Lan(wishes) = bus { Some(wishes) } else { None },
                    Bus::Lan,
                )
            }
            Wiring::Simulated(appliance) => self.join(
                (id.clone(), appliance),
                |bus| if let Bus::Simulated(appliances) = bus { Some(appliances) } else { None },
                Bus::Simulated,
            ),
            Wiring::Serial { port, talker } => return self.share(id, port, talker),
            Wiring::Gpio(wiring) => return self.own(id, wiring),
            Wiring::Ble { settings, peer } => return self.share_adapter(id, settings, peer),
        })
    }

    fn share(
        &mut self,
        id: &DeviceId,
        port: PortSettings,
        talker: Box<dyn Talker>,
    ) -> Result<usize, DeviceError> {
        let member = Member { id: id.clone(), talker };
        for (place, bus) in self.entries.iter_mut().enumerate() {
            if let Bus::Serial(settings, members) = bus
                && settings.is_same_port(&port)
            {
                if let Some((option, value)) = settings.contradicts(&port) {
                    let first = members.first().map_or("another device", |first| first.id.as_str());
                    let problem =
                        format!("`{first}` shares this port and has {value}; write the same for both");
                    return Err(DeviceError::bad_option(id, option, problem));
                }
                if is_bare_name(&settings.path) {
                    // The other name may last longer.
                    settings.path = port.path;
                }
                members.push(member);
                return Ok(place);
            }
        }
        self.entries.push(Bus::Serial(port, vec![member]));
        Ok(self.entries.len() - 1)
    }

    fn own(
        &mut self,
        id: &DeviceId,
        GpioWiring { connection, role }: GpioWiring,
    ) -> Result<usize, DeviceError> {
        let member = gpio::Member { id: id.clone(), connection, role };
        let mut own = None;
        for (place, bus) in self.entries.iter().enumerate() {
            let Bus::Gpio(other, members) = bus else { continue };
            member.joins(other, members)?;
            if *other == member.connection.chip {
                own = Some(place);
            }
        }
        match own.and_then(|place| Some((place, self.entries.get_mut(place)?))) {
            Some((place, Bus::Gpio(_, members))) => {
                members.push(member);
                Ok(place)
            }
            _ => {
                self.entries.push(Bus::Gpio(member.connection.chip.clone(), vec![member]));
                Ok(self.entries.len() - 1)
            }
        }
    }

    /// What cannot be said of one device alone: names of others that are not there.
    pub(in crate::devices) fn complaints(&self) -> Vec<DeviceError> {
        let complaints = |bus: &Bus| match bus {
            Bus::Gpio(_, members) => gpio::complaints(members),
            _ => Vec::new(),
        };
        self.entries.iter().flat_map(complaints).collect()
    }

    fn share_adapter(
        &mut self,
        id: &DeviceId,
        settings: BleSettings,
        peer: BlePeer,
    ) -> Result<usize, DeviceError> {
        let bad = |option: &str, problem: String| Err(DeviceError::bad_option(id, option, problem));
        let mut home = None;
        for (place, bus) in self.entries.iter_mut().enumerate() {
            let Bus::Ble(theirs, members) = bus else { continue };
            for member in members.iter() {
                if let Some(problem) = member.peer.contradicts(member.id.as_str(), &peer) {
                    return bad("address", problem);
                }
            }
            let first = members.first().map_or("another device", |first| first.id.as_str());
            match (&theirs.adapter, &settings.adapter) {
                (own, other) if own == other => {
                    if let Some((option, value)) = theirs.contradicts(&settings) {
                        let problem =
                            format!("`{first}` shares this adapter and has {value}; write the same for both");
                        return bad(option, problem);
                    }
                    theirs.watchdog = theirs.watchdog.or(settings.watchdog);
                    home = Some(place);
                }
                // Which is the first may change with every start, so it could be the named one, too.
                (Some(named), None) | (None, Some(named)) => {
                    let problem = format!(
                        "of this device and `{first}` only one names its adapter; write `adapter: {named}`, or another \
                         one's name, for both"
                    );
                    return bad("adapter", problem);
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        let member = BleMember { id: id.clone(), peer };
        if let Some(place) = home
            && let Bus::Ble(_, members) = &mut self.entries[place]
        {
            members.push(member);
            return Ok(place);
        }
        self.entries.push(Bus::Ble(settings, vec![member]));
        Ok(self.entries.len() - 1)
    }

    /// Puts `member` into the one bus that has a list for it, or into a new one.
    fn join<T>(
        &mut self,
        member: T,
        list: fn(&mut Bus) -> Option<&mut Vec<T>>,
        new: fn(Vec<T>) -> Bus,
    ) -> usize {
        let known = self.entries.iter_mut().enumerate();
        if let Some((place, list)) = known.filter_map(|(place, bus)| Some((place, list(bus)?))).next() {
            list.push(member);
            return place;
        }
        self.entries.push(new(vec![member]));
        self.entries.len() - 1
    }

    /// What the devices want to hear of the LAN; each once.
    pub(in crate::devices) fn lan_filters(&self) -> Vec<TopicFilter> {
        let mut seen = BTreeSet::new();
        let wishes = self
            .entries
            .iter()
            .filter_map(|bus| if let Bus::Lan(wishes) = bus { Some(wishes) } else { None });
        let filters = wishes.flatten().flat_map(|(_, filters)| filters);
        filters.filter(|filter| seen.insert(filter.to_string())).cloned().collect()
    }

    /// Where devices of the LAN are told what to do: nothing that comes from the cloud may be published there.
    pub(in crate::devices) fn lan_obeyed(&self) -> &[TopicFilter] {
        &self.obeyed
    }

    /// What really happens on the simulated bus.
    pub(in crate::devices) fn simulation(&self) -> SimulationProbe {
        self.probe.clone()
    }

    /// The adapter of each bus.
    pub(in crate::devices) fn adapters(self, lan: LanPort, board: &Board) -> Vec<Box<dyn Adapter>> {
        let mut lan = Some(lan);
        let probe = self.probe;
        let adapter = |bus| -> Option<Box<dyn Adapter>> {
            Some(match bus {
                Bus::Lan(wishes) => Box::new(LanAdapter::new(lan.take()?, wishes)),
                Bus::Serial(port, members) => Box::new(SerialAdapter::new(port, members)),
                Bus::Gpio(chip, members) => Box::new(GpioAdapter::new(chip, members)),
                Bus::Ble(settings, members) => Box::new(BleAdapter::new(settings, members, board.clone())),
                Bus::Simulated(appliances) => Box::new(SimulatedBus::new(appliances, probe.clone())),
            })
        };
        self.entries.into_iter().filter_map(adapter).collect()
    }
}
