//! How a connection ends: who is told what, whose will is published, what is still acknowledged.

use std::{io, time::Duration};

use tokio::time::timeout;

use super::{Connection, next_progress};
use crate::broker::{
    held::{HeldBack, Progress},
    packet::{PacketError, Reason, TooLarge},
    session::Arrived,
};

/// How long a client may take for the last bytes when the connection is closed by us, and how long a
/// stopping broker waits for the disk.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Over {
    /// DISCONNECT, with or without the will.
    Goodbye { with_will: bool },
    /// The client is gone, or is to go and to come back without a word about it.
    Lost,
    /// It is told why.
    Told(PacketError),
    /// The broker stops.
    Stopping,
}

impl From<PacketError> for Over {
    fn from(error: PacketError) -> Self {
        Self::Told(error)
    }
}

impl From<Reason> for Over {
    fn from(reason: Reason) -> Self {
        Self::Told(PacketError { reason, rule: reason.explanation() })
    }
}

impl From<TooLarge> for Over {
    fn from(_: TooLarge) -> Self {
        Reason::PacketTooLarge.into()
    }
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // TLS or WebSocket would not take it.
            io::ErrorKind::InvalidData => Reason::ProtocolError.into(),
            _ => Self::Lost,
        }
    }
}

impl Connection {
    /// Ends it.
    ///
    /// A stopping broker publishes wills too, as Mosquitto does. It may put them off (section 3.1.2.5), but a
    /// client that does not find the way back would then be "online" for ever in what is retained, in the
    /// queues of absent clients and in the cloud; one that does find it says so itself.
    pub(super) async fn end(self: Box<Self>, over: Over, mut held: HeldBack) {
        let Self { core, mut wire, seat, encoder, will, place, guest, .. } = *self;
        let owner = seat.owner().clone();
        let (told, will) = match over {
            Over::Goodbye { with_will } => (None, will.filter(|_| with_will)),
            Over::Lost => (None, will),
            Over::Told(error) => (Some(error), will),
            Over::Stopping => {
                // What is nearly on the disk is still acknowledged.
                let _ = timeout(GOODBYE, async {
                    while !held.is_empty() {
                        match next_progress(&mut held).await {
                            Progress::Answer { kind, id, result: Ok(reason) } => {
                                encoder.ack(&mut wire.output, kind, id, reason);
                            }
                            Progress::Bytes(bytes) => wire.output.extend_from_slice(&bytes),
                            Progress::Taken(Some((id, storing))) => {
                                seat.session().set_arrived(&owner, id, Some(Arrived::Storing(storing)));
                            }
                            Progress::Answer { result: Err(_), .. } | Progress::Taken(None) => {}
                        }
                    }
                })
                .await;
                let reason = Reason::ServerShuttingDown;
                (Some(PacketError { reason, rule: reason.explanation() }), will)
            }
        };
        // What it published before it went goes to the store all the same; a disk that hangs is not waited for.
        // A QoS 2 message of one whose session somebody else has now is left to that one, who cannot be told where it is.
        let is_replaced = matches!(&told, Some(why) if why.reason == Reason::SessionTakenOver);
        if !(is_replaced && held.has_exactly_once())
            && let Ok(Some((id, storing))) = timeout(GOODBYE, held.hand_over()).await
        {
            seat.session().set_arrived(&owner, id, Some(Arrived::Storing(storing)));
        }
        let client = seat.session().client.clone();
        // A delay that the process does not live to see is none.
        let may_wait = !matches!(&told, Some(why) if why.reason == Reason::ServerShuttingDown);
        let (delayed, at_once) = match will {
            Some(will) if may_wait && !will.delay.is_zero() => (Some((will.delay, will.message)), None),
            will => (None, will.map(|will| will.message)),
        };
        let of_the_session = seat.leave(delayed);
        // Who is sent away for what it did keeps its place until it is gone; a successor needs it at once.
        let place = Some((place, guest))
            .filter(|_| matches!(&told, Some(why) if why.reason != Reason::SessionTakenOver));
        let offender = place.as_ref().filter(|_| told.as_ref().is_some_and(|why| why.reason.is_offence()));
        for will in at_once.into_iter().chain(of_the_session) {
            core.publish_will(will, &client).await;
        }
        owner.gone.notify_one();
        if let Some(PacketError { reason, rule }) = &told {
            tracing::debug!(client = client.as_str(), ?reason, rule, "closing a client's connection");
            encoder.disconnect(&mut wire.output, *reason, rule);
        }
        // A client that does not read its last bytes is not waited for.
        let is_heard = matches!(timeout(GOODBYE, wire.drain()).await, Ok(Ok(())));
        if let Some((_, guest)) = offender {
            guest.atone().await;
        }
        if is_heard {
            let _ = timeout(GOODBYE, async {
                wire.shutdown().await?;
                if told.is_some() { wire.discard().await } else { Ok(()) }
            })
            .await;
        }
        drop(place);
    }
}
