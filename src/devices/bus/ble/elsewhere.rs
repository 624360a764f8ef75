//! The adapter on a system that has no BlueZ: it says so, and so does every device on it.

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Adapter, AdapterError, FromBus, Ports, WriteError},
    BleMember, BleSettings,
};
use crate::health::Board;

const REASON: &str = "Bluetooth LE needs BlueZ, and so Linux; `--simulate` plays the devices elsewhere";

pub(in crate::devices) struct BleAdapter {
    settings: BleSettings,
    members: Vec<BleMember>,
}

impl BleAdapter {
    pub(in crate::devices) fn new(settings: BleSettings, members: Vec<BleMember>, _board: Board) -> Self {
        Self { settings, members }
    }
}

impl Adapter for BleAdapter {
    fn name(&self) -> String {
        self.settings.to_string()
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            for member in &self.members {
                ports.devices.tell(&member.id, FromBus::Lost(REASON.to_owned())).await;
            }
            // Cancel safe: a write that was taken is answered without waiting.
            while let Some(Some(write)) = stop.run_until_cancelled(ports.writes.next()).await {
                write.answer(Err(WriteError::NotSent(REASON.to_owned())));
            }
            stop.cancelled().await;
            Ok(())
        })
    }
}
