//! Hears what values somebody wants properties to have, and hands each on as the command that it is.
//!
//! Invariant: it is admitted as any other command from home; what became of it is told on `home/<device>/result`, and its
//! effect by the property. What is said of a property that cannot be set is nobody's.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{super::flows::asked_at_home, property::Property, value};
use crate::{
    broker::InProcess,
    commands::Incoming,
    model::{DeviceId, Topic},
};

/// What can be set now, by the topic on which it is: from who describes the devices to who hears.
pub(super) type Settable = Arc<HashMap<Topic, (DeviceId, Property)>>;

/// The one who hears.
pub(in crate::app) struct Ear {
    pub(super) sets: InProcess,
    pub(super) settable: watch::Receiver<Settable>,
    /// Full: it waits.
    pub(super) desk: mpsc::Sender<Incoming>,
}

impl Ear {
    pub(in crate::app) async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(mut heard)) = stop.run_until_cancelled(self.sets.recv()).await {
            let found = self.settable.borrow().get(&heard.message.topic).cloned();
            let Some((device, property)) = found else { continue };
            heard.message.payload = value::request(&property, &heard.message.payload).into();
            let command = asked_at_home(device, heard);
            if self.desk.send(command).await.is_err() {
                break;
            }
        }
    }
}
