//! The LAN as a bus: devices of the house that speak MQTT through the local broker.
//!
//! Knows topics, never what they mean. Commands leave with QoS 0: a broker keeps QoS 1 for absent
//! clients and sends it again after a reconnect, and a command that acts late or twice is worse
//! than one that fails at once and says so.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{super::device::Frame, Adapter, AdapterError, FromBus, Ports, ToDevices, Write, WriteError};
use crate::model::{DeviceId, Message, Properties, QoS, Topic, TopicFilter};

/// A message to publish at the local broker.
#[derive(Debug)]
pub struct LanPublish {
    /// The message. QoS 0, not retained: only sessions that are connected right now may get it.
    pub message: Message,
    /// Hears how many connected sessions got it.
    pub delivered: oneshot::Sender<usize>,
}

/// The local broker, as the devices see it.
#[derive(Debug)]
pub struct LanPort {
    /// Messages that match `Fleet::lan_filters`.
    pub incoming: mpsc::Receiver<Message>,
    /// Messages to publish. Full: the command waits, until its deadline.
    pub publish: mpsc::Sender<LanPublish>,
}

/// Who wants what. Looked through for every message: a house has tens of devices, not thousands.
pub(in crate::devices) type Wishes = Vec<(DeviceId, Vec<TopicFilter>)>;

pub(in crate::devices) struct LanAdapter {
    port: LanPort,
    wishes: Wishes,
}

impl LanAdapter {
    pub(in crate::devices) fn new(port: LanPort, wishes: Wishes) -> Self {
        Self { port, wishes }
    }
}

async fn read(incoming: &mut mpsc::Receiver<Message>, wishes: &Wishes, devices: &ToDevices) {
    while let Some(message) = incoming.recv().await {
        let mut frame = Frame::new(message.topic.as_str(), message.payload);
        frame.retained = message.retain;
        for (device, filters) in wishes {
            if filters.iter().any(|filter| filter.matches(&message.topic)) {
                devices.tell(device, FromBus::Frame(frame.clone())).await;
            }
        }
    }
}

async fn publish(room: mpsc::Permit<'_, LanPublish>, write: &Write) -> Result<(), WriteError> {
    let not_sent = |problem: String| WriteError::NotSent(problem);
    let channel = &write.frame.channel;
    let topic =
        Topic::parse(channel).map_err(|error| not_sent(format!("`{channel}` is not a topic: {error}")))?;
    let (delivered, answer) = oneshot::channel();
    let mut message = Message::new(topic, write.frame.payload.clone(), QoS::AtMostOnce);
    // A device that does not read must not find it later, when it is too late.
    message.properties = Some(Arc::new(Properties { expiry: Some(write.left()), ..Properties::default() }));
    room.send(LanPublish { message, delivered });
    match answer.await {
        Ok(0) => Err(not_sent(format!("nobody is subscribed to {channel}"))),
        Ok(_) => Ok(()),
        Err(_) => Err(WriteError::Uncertain("the local broker stopped while it was sending".to_owned())),
    }
}

impl Adapter for LanAdapter {
    fn name(&self) -> String {
        "the LAN".to_owned()
    }

    fn run<'a>(
        &'a mut self,
        ports: &'a mut Ports,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            ports.devices.up().await;
            let writing = async {
                // Room first: a write that was taken must not wait, or it could act after its deadline.
                while let Ok(room) = self.port.publish.reserve().await
                    && let Some(write) = ports.writes.next().await
                {
                    let result = publish(room, &write).await;
                    write.answer(result);
                }
            };
            // Reading and writing do not wait for each other: a full device must not delay a command.
            let both = async {
                tokio::join!(read(&mut self.port.incoming, &self.wishes, &ports.devices), writing);
            };
            // Cancel safe: nothing is read or written after the stop, and a write cut off answers by its drop.
            tokio::select! {
                () = both => stop.cancelled().await,
                () = stop.cancelled() => {}
            }
            Ok(())
        })
    }
}
