//! A message that came in on the line to the cloud, with the right to acknowledge it.

use tokio::{sync::oneshot, time::Instant};

use super::Message;

/// Whether a message can have waited in the cloud while the line was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// The line was up when it was published: everything queued before had been delivered already.
    Live,
    /// It may have been published while the line was down.
    MayHaveWaited,
}

/// The right to send the MQTT acknowledgement. Dropped without [`Ack::send`], the cloud sends the
/// message again on the next connection.
#[derive(Debug)]
pub struct Ack(Option<oneshot::Sender<()>>);

impl Ack {
    /// An acknowledgement and the end that hears of it.
    pub fn channel() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// For QoS 0, which is never acknowledged.
    pub fn none() -> Self {
        Self(None)
    }

    /// Lets the acknowledgement go out. A line that broke meanwhile is no error: the cloud sends again.
    pub fn send(self) {
        if let Some(sender) = self.0 {
            let _ = sender.send(());
        }
    }
}

/// A message from the cloud.
#[derive(Debug)]
pub struct Inbound {
    /// The message; `retain` says that the cloud kept it from the past.
    pub message: Message,
    /// When it arrived, by the monotonic clock.
    pub received: Instant,
    /// Whether the cloud says that it sent it before (DUP).
    pub redelivered: bool,
    /// Whether it can have waited.
    pub staleness: Staleness,
    /// The acknowledgement, to be sent once the message is safe.
    pub ack: Ack,
}
