//! The buses of a house before they run: one entry a bus, with the devices that hang on it.
//!
//! Owns which device hangs where, and opens nothing, so that a configuration is checked by building it.
//! The LAN is always there: it must be read until the stop even when no device wants anything of it.

use std::collections::BTreeSet;

use super::{
    super::DeviceError,
    Adapter, Appliance, LanAdapter, LanPort, SimulatedBus, SimulationProbe, Wiring, Wishes,
    ble::{BleAdapter, BleMember, BleSettings},
    gpio::{self, ChipName, GpioAdapter, GpioWiring},
    serial::{Member, PortSettings, SerialAdapter},
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
        let id = id.clone();
        match wiring {
            Wiring::Lan { hears, obeys } => {
                self.obeyed.extend(obeys);
                self.join(
                    (id, hears),
                    |_, bus| Ok(matches!(bus, Bus::Lan(_))),
                    |bus| if let Bus::Lan(wishes) = bus { Some(wishes) } else { None },
                    Bus::Lan,
                )
            }
            Wiring::Simulated(appliance) => self.join(
                (id, appliance),
                |_, bus| Ok(matches!(bus, Bus::Simulated(_))),
                |bus| if let Bus::Simulated(appliances) = bus { Some(appliances) } else { None },
                Bus::Simulated,
            ),
            Wiring::Serial { port, talker } => self.join(
                Member { id, talker },
                |member, bus| match bus {
                    Bus::Serial(theirs, others) => member.joins(&port, theirs, others),
                    _ => Ok(false),
                },
                |bus| if let Bus::Serial(_, members) = bus { Some(members) } else { None },
                |members| Bus::Serial(port.clone(), members),
            ),
            Wiring::Gpio(GpioWiring { connection, role }) => {
                let chip = connection.chip.clone();
                self.join(
                    gpio::Member { id, connection, role },
                    |member, bus| match bus {
                        Bus::Gpio(theirs, others) => member.joins(theirs, others).map(|()| *theirs == chip),
                        _ => Ok(false),
                    },
                    |bus| if let Bus::Gpio(_, members) = bus { Some(members) } else { None },
                    |members| Bus::Gpio(chip.clone(), members),
                )
            }
            Wiring::Ble { settings, peer } => self.join(
                BleMember { id, peer },
                |member, bus| match bus {
                    Bus::Ble(theirs, others) => member.joins(&settings, theirs, others),
                    _ => Ok(false),
                },
                |bus| if let Bus::Ble(_, members) = bus { Some(members) } else { None },
                |members| Bus::Ble(settings.clone(), members),
            ),
        }
    }

    /// Puts `member` into the bus that it `joins`, or into a `new` one. Every bus is asked, as it may say that the two
    /// cannot be in one house.
    fn join<T>(
        &mut self,
        member: T,
        joins: impl Fn(&T, &mut Bus) -> Result<bool, DeviceError>,
        list: fn(&mut Bus) -> Option<&mut Vec<T>>,
        new: impl FnOnce(Vec<T>) -> Bus,
    ) -> Result<usize, DeviceError> {
        let mut home = None;
        for (place, bus) in self.entries.iter_mut().enumerate() {
            if joins(&member, bus)? {
                home = home.or(Some(place));
            }
        }
        match home.and_then(|place| Some((place, list(self.entries.get_mut(place)?)?))) {
            Some((place, members)) => {
                members.push(member);
                Ok(place)
            }
            None => {
                self.entries.push(new(vec![member]));
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
