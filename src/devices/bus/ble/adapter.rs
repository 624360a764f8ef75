//! One Bluetooth adapter and the devices on it.

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Adapter, AdapterError, Ports},
    BlePeer, BleSettings,
};
use crate::model::DeviceId;

/// A device on the adapter.
pub(in crate::devices) struct BleMember {
    pub(in crate::devices) id: DeviceId,
    pub(in crate::devices) peer: BlePeer,
}

pub(in crate::devices) struct BleAdapter {
    settings: BleSettings,
    members: Vec<BleMember>,
}

impl BleAdapter {
    pub(in crate::devices) fn new(settings: BleSettings, members: Vec<BleMember>) -> Self {
        Self { settings, members }
    }
}

impl Adapter for BleAdapter {
    fn name(&self) -> String {
        self.settings.to_string()
    }

    fn run<'a>(
        &'a mut self,
        _ports: &'a mut Ports,
        _stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        let problem = format!("its driver comes with the next commit; {} devices wait", self.members.len());
        Box::pin(async move { Err(AdapterError { bus: self.name(), problem }) })
    }
}
