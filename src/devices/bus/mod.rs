//! Buses: who moves frames between devices and the world.
//!
//! Owns the [`Adapter`] trait, the [`Wiring`] that says which bus a device hangs on, and the ports
//! through which adapters and device tasks talk. An adapter never looks into a frame's meaning.
//! A new bus is one file here, one variant of [`Wiring`] and its entry in [`Buses`].

pub mod ble;
mod buses;
pub mod gpio;
mod lan;
mod ports;
pub mod serial;
mod simulated;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub(super) use buses::Buses;
use lan::{LanAdapter, Wishes};
pub use lan::{LanPort, LanPublish};
use ports::Waiting;
pub use ports::{FromBus, Ports, ToDevices, Write, WriteError, Writes};
use simulated::SimulatedBus;
pub use simulated::{Appliance, SimulationProbe, Tally};

use self::{
    ble::{BlePeer, BleSettings},
    gpio::GpioWiring,
    serial::{PortSettings, Talker},
};
use crate::model::TopicFilter;

/// Which bus a device hangs on, and what of it the device wants.
pub enum Wiring {
    /// The house's MQTT.
    Lan {
        /// It wants messages that match one of these.
        hears: Vec<TopicFilter>,
        /// Where it is told what to do: nothing that comes from the cloud may reach this by another way.
        obeys: Vec<TopicFilter>,
    },
    /// The simulated bus: this appliance, and all that it says.
    Simulated(Box<dyn Appliance>),
    /// A serial port, which others may share.
    Serial {
        /// The port.
        port: PortSettings,
        /// The device's side of it.
        talker: Box<dyn Talker>,
    },
    /// A line of a GPIO chip, which nobody else may have.
    Gpio(GpioWiring),
    /// Bluetooth LE, whose adapter others may share.
    Ble {
        /// The adapter.
        settings: BleSettings,
        /// Whom the device listens to.
        peer: BlePeer,
    },
}

/// Why a bus stopped working. It is started again after a wait.
#[derive(Debug, thiserror::Error)]
#[error("{bus}: {problem}")]
pub struct AdapterError {
    /// The bus.
    pub bus: String,
    /// What happened, as a sentence for people.
    pub problem: String,
}

/// One bus's input and output.
pub trait Adapter: Send {
    /// The bus's name for people: `the LAN`, `the simulated bus`.
    fn name(&self) -> String;

    /// Moves frames until `stop`. Called again after an error or a panic: it must begin from
    /// nothing, as if the bus had just been plugged in, and call [`ToDevices::up`] when frames can move.
    ///
    /// # Errors
    /// [`AdapterError`] when the bus is lost as a whole; its devices are then shown as offline.
    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>>;
}
