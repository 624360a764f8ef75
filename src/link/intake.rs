//! Messages on their way from the line to the inbox, and their acknowledgements on the way back.
//!
//! Owns the order: acknowledgements go out in the order of receipt (MQTT-4.6.0-2). Full inbox:
//! messages wait here, unacknowledged, and the cloud stops by itself at the receive maximum; the
//! state machine breaks a connection that does not. So the line is read and pinged on however slow
//! the commands are.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

use crate::model::Inbound;

/// What has become of the oldest message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is safe: to be acknowledged.
    Handled(u16),
    /// Its acknowledgement was dropped: the cloud has to send it again.
    Unhandled,
}

enum Due {
    Now,
    When(oneshot::Receiver<()>),
}

/// The intake of one connection after the other.
pub(super) struct Intake {
    inbox: mpsc::Sender<Inbound>,
    waiting: VecDeque<Inbound>,
    due: VecDeque<(u16, Due)>,
}

impl Intake {
    pub(super) fn new(inbox: mpsc::Sender<Inbound>) -> Self {
        Self { inbox, waiting: VecDeque::new(), due: VecDeque::new() }
    }

    /// Takes a message; `handled` resolves when it is safe. Packet 0 is never acknowledged.
    pub(super) fn deliver(&mut self, message: Inbound, packet: u16, handled: oneshot::Receiver<()>) {
        self.waiting.push_back(message);
        if packet != 0 {
            self.due.push_back((packet, Due::When(handled)));
        }
    }

    /// Acknowledges in turn what nobody has to handle.
    pub(super) fn acknowledge_in_turn(&mut self, packet: u16) {
        self.due.push_back((packet, Due::Now));
    }

    /// The connection is gone: the cloud sends again what was not acknowledged.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.due.clear();
    }

    /// Moves messages on and waits for the oldest acknowledgement. Cancel-safe: state changes only
    /// together with a return or after a permit was used.
    pub(super) async fn next(&mut self) -> Taken {
        let Self { inbox, waiting, due } = self;
        let feed = async {
            while !waiting.is_empty() {
                match inbox.reserve().await {
                    Ok(permit) => {
                        if let Some(message) = waiting.pop_front() {
                            permit.send(message);
                        }
                    }
                    // Whoever handles messages has stopped, and so will the link soon.
                    Err(_) => break,
                }
            }
            std::future::pending().await
        };
        let oldest = async {
            match due.front_mut() {
                None => std::future::pending().await,
                Some((packet, Due::Now)) => Taken::Handled(*packet),
                Some((packet, Due::When(handled))) => match handled.await {
                    Ok(()) => Taken::Handled(*packet),
                    Err(_) => Taken::Unhandled,
                },
            }
        };
        let taken = tokio::select! {
            taken = feed => taken,
            taken = oldest => taken,
        };
        due.pop_front();
        taken
    }
}
