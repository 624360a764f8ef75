//! Hears what values somebody wants properties to have, and hands each on as the command that it is.
//!
//! Invariant: it is admitted as any other command from home; what became of it is told on `home/<device>/result`, and its
//! effect by the property. What is said of a property that cannot be set is nobody's.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{property::Property, value};
use crate::{
    broker::{Heard, InProcess},
    commands::Incoming,
    model::{Ack, DeviceId, Origin, Staleness, Topic},
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
        while let Some(Some(heard)) = stop.run_until_cancelled(self.sets.recv()).await {
            let Heard { mut message, publisher, is_redelivered, is_to_be_retained } = heard;
            let found = self.settable.borrow().get(&message.topic).cloned();
            let Some((device, property)) = found else { continue };
            message.payload = value::request(&property, &message.payload).into();
            // An order that is to be kept is an order from the past for everybody who hears it later.
            message.retain |= is_to_be_retained;
            let command = Incoming {
                device,
                message,
                received: Instant::now(),
                redelivered: is_redelivered,
                staleness: Staleness::Live,
                origin: Origin::Local(publisher),
                ack: Ack::none(),
            };
            if self.desk.send(command).await.is_err() {
                break;
            }
        }
    }
}
