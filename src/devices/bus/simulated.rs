//! The simulated bus: appliances with physics instead of wires.
//!
//! Owns the time of its appliances and the tally of what really reached them, which the
//! demonstration and the tests take as the truth: an appliance cannot be run without being counted.
//! Time is `tokio::time`, so tests pause it. An appliance is pure; it lives beside its kind.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{super::device::Frame, Adapter, AdapterError, FromBus, Ports, ToDevices, Write, WriteError};
use crate::model::DeviceId;

/// A thing with physics, driven by the simulated bus.
pub trait Appliance: Send {
    /// It is plugged in: what it says first.
    fn start(&mut self, now: Instant) -> Vec<Frame>;

    /// When something will happen by itself; `None` when it only waits for a hand.
    fn next(&self) -> Option<Instant>;

    /// That moment has come: what it says.
    fn tick(&mut self, now: Instant) -> Vec<Frame>;

    /// A hand on it: what it says.
    ///
    /// # Errors
    /// Why the hand found nothing to do its work on; the appliance did nothing.
    fn touch(&mut self, frame: &Frame, now: Instant) -> Result<Vec<Frame>, String>;

    /// How often it has begun its work since it was built (toasts begun).
    fn runs(&self) -> u64 {
        0
    }
}

/// What really reached one appliance, since the start of the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hands that were laid on it: frames that reached it, in vain or not.
    pub touches: u64,
    /// How often it began its work: toasts begun.
    pub runs: u64,
    /// Frames that it said.
    pub said: u64,
}

/// The truth about the simulated appliances, for stories and tests; cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct SimulationProbe(Arc<Mutex<BTreeMap<DeviceId, Tally>>>);

impl SimulationProbe {
    /// The tally of a device; nothing happened yet when it is not simulated.
    pub fn of(&self, device: &DeviceId) -> Tally {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.get(device).copied().unwrap_or_default()
    }

    fn count(&self, device: &DeviceId, count: impl FnOnce(&mut Tally)) {
        count(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(device.clone()).or_default());
    }
}

pub(in crate::devices) struct SimulatedBus {
    appliances: Vec<(DeviceId, Box<dyn Appliance>)>,
    probe: SimulationProbe,
}

impl SimulatedBus {
    pub(in crate::devices) fn new(
        appliances: Vec<(DeviceId, Box<dyn Appliance>)>,
        probe: SimulationProbe,
    ) -> Self {
        Self { appliances, probe }
    }

    fn next(&self) -> Option<Instant> {
        self.appliances.iter().filter_map(|(_, appliance)| appliance.next()).min()
    }

    fn touch(&mut self, write: &Write) -> Result<Vec<Frame>, WriteError> {
        let Some((device, appliance)) = self.appliances.iter_mut().find(|(id, _)| *id == write.device) else {
            return Err(WriteError::NotSent(format!("`{}` is not on the simulated bus", write.device)));
        };
        let result = appliance.touch(&write.frame, Instant::now());
        self.probe.count(device, |tally| {
            tally.touches += 1;
            tally.runs = appliance.runs();
        });
        result.map_err(WriteError::NotSent)
    }
}

async fn say(probe: &SimulationProbe, devices: &ToDevices, device: &DeviceId, frames: Vec<Frame>) {
    for frame in frames {
        probe.count(device, |tally| tally.said += 1);
        devices.tell(device, FromBus::Frame(frame)).await;
    }
}

impl Adapter for SimulatedBus {
    fn name(&self) -> String {
        "the simulated bus".to_owned()
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let probe = self.probe.clone();
            ports.devices.up().await;
            for (device, appliance) in &mut self.appliances {
                let frames = appliance.start(Instant::now());
                say(&probe, &ports.devices, device, frames).await;
            }
            loop {
                let next = self.next();
                // Cancel safe: `Writes::next` loses nothing, the rest are a token and a timer.
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    write = ports.writes.next() => match write {
                        // No device is left to write; the stop follows.
                        None => { stop.cancelled().await; return Ok(()) }
                        Some(write) => {
                            let device = write.device.clone();
                            let (frames, result) = match self.touch(&write) {
                                Ok(frames) => (frames, Ok(())),
                                Err(error) => (Vec::new(), Err(error)),
                            };
                            write.answer(result);
                            say(&probe, &ports.devices, &device, frames).await;
                        }
                    },
                    () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                        let now = Instant::now();
                        for (device, appliance) in &mut self.appliances {
                            if appliance.next().is_some_and(|moment| moment <= now) {
                                let frames = appliance.tick(now);
                                say(&probe, &ports.devices, device, frames).await;
                            }
                        }
                    }
                }
            }
        })
    }
}
