//! From a byte stream to a connected client: CONNECT, who it is, CONNACK.
//!
//! Owns what a client must show before it gets a session. Invariants: every refusal that the version
//! has a code for is told by that code before the connection is closed; a stranger holds at most
//! [`CONNECT_LIMIT`] bytes, and only for the handshake's time, which the listener watches.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    auth::{Claim, Identity},
    connection::{Alarm, Connection},
    core::Core,
    network::Guest,
    options::{Acl, Limits},
    packet::{
        ALIASES, Accepted, Connect, Encoder, PacketError, Reason, TheirAliases, TooLarge, Version, connect,
    },
    seat::Seat,
    session::Appetite,
    wire::{FILL, Turn, Wire},
};
use crate::model::ClientId;

/// The largest CONNECT, in bytes; what is told before we know who tells it.
pub(super) const CONNECT_LIMIT: usize = 64 << 10;

/// The longest client id, in bytes; the standard wants 23 at least (MQTT-3.1.3-5).
const LONGEST_CLIENT_ID: usize = 1 << 10;

/// How long a client that replaces itself waits for its own old place.
const OWN_PLACE: Duration = Duration::from_secs(1);

/// What is known of a client before it says anything.
#[derive(Debug)]
pub(super) struct Stranger {
    /// Its count among those of its network.
    pub(super) guest: Guest,
    /// The names in its certificate, which TLS has verified.
    pub(super) certificate_names: Vec<String>,
    /// Whether its listener takes anybody.
    pub(super) anonymous: bool,
    /// What that one allows to anybody.
    pub(super) acl: Option<Acl>,
}

/// Reads CONNECT and answers it. `None`: refused or gone.
pub(super) async fn greet(
    core: &Arc<Core>,
    places: &Arc<Semaphore>,
    mut wire: Wire,
    stranger: Stranger,
) -> Option<Box<Connection>> {
    let connect = match read_connect(&mut wire).await? {
        Ok(connect) => connect,
        Err((version, PacketError { reason, .. })) => {
            // Before the version is known there is no answer that could be understood.
            if let Some(version) = version {
                say(&mut wire, &Encoder::new(version), reason).await;
            }
            stranger.guest.atone().await;
            let _ = wire.shutdown().await;
            return None;
        }
    };
    let encoder = Encoder::as_wished(connect.version, &connect.wishes);
    match admit(core, places, connect, stranger).await {
        Ok(admitted) => {
            if admitted.accept(&core.hub.limits, &encoder, &mut wire).is_err() {
                // It takes no packet as large as its CONNACK: nothing can be said to it.
                return None;
            }
            wire.admit(core.hub.limits.max_packet, core.intake.clone());
            Some(admitted.into_connection(core.clone(), wire, encoder))
        }
        Err(reason) => {
            say(&mut wire, &encoder, reason).await;
            let _ = wire.shutdown().await;
            None
        }
    }
}

/// `None`: gone.
async fn read_connect(wire: &mut Wire) -> Option<Result<Connect, (Option<Version>, PacketError)>> {
    loop {
        match wire.packet() {
            Err(error) => return Some(Err((None, error))),
            Ok(Some(raw)) => {
                let (first, body) = wire.body(&raw);
                let result = connect(first, body.bytes);
                wire.consume(&raw);
                return Some(result);
            }
            Ok(None) => match wire.turn(true).await {
                Ok(Turn::Read { .. } | Turn::Wrote) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Some(Err((None, PacketError::protocol("TLS or WebSocket would not take it"))));
                }
                Ok(Turn::Closed) | Err(_) => return None,
            },
        }
    }
}

/// Whoever does not listen to a refusal is not told; the handshake's time bounds this.
async fn say(wire: &mut Wire, encoder: &Encoder, reason: Reason) {
    encoder.refuse(&mut wire.output, reason);
    let _ = wire.drain().await;
}

/// A client that may come in.
struct Admitted {
    seat: Seat,
    identity: Identity,
    place: tokio::sync::OwnedSemaphorePermit,
    guest: Guest,
    connect: Connect,
    client: ClientId,
    was_assigned: bool,
    was_present: bool,
}

async fn admit(
    core: &Arc<Core>,
    places: &Arc<Semaphore>,
    mut connect: Connect,
    stranger: Stranger,
) -> Result<Admitted, Reason> {
    if connect.wishes.wants_authentication {
        return Err(Reason::BadAuthenticationMethod);
    }
    let was_assigned = connect.client_id.is_empty();
    let may_be_empty = match connect.version {
        Version::V31 => false,
        Version::V311 => connect.is_clean,
        Version::V5 => true,
    };
    if was_assigned && !may_be_empty || connect.client_id.len() > LONGEST_CLIENT_ID {
        return Err(Reason::ClientIdNotValid);
    }
    let client = if was_assigned {
        ClientId::new(&format!("hearthlink-{:016x}", fastrand::u64(..)))
    } else {
        ClientId::new(&connect.client_id)
    };
    // Before the password: a full broker does not also burn its processor.
    let place = places.clone().try_acquire_owned().ok();
    if place.is_none() && !core.hub.is_connected(&client) {
        return Err(Reason::ServerUnavailable);
    }
    let identity = core
        .auth
        .identify(Claim {
            network: stranger.guest.network,
            client: client.as_str(),
            user: connect.user.as_deref(),
            password: connect.password.take(),
            certificate_names: &stranger.certificate_names,
            anonymous: stranger.anonymous,
            acl: stranger.acl.as_ref(),
        })
        .await?;
    if let Some(will) = &connect.will {
        let topic = &will.message.topic;
        if !core.may_publish(&identity.rights, topic) || !core.hub.limits.takes(topic.as_str()) {
            return Err(Reason::NotAuthorized);
        }
    }
    let mut attached =
        core.hub.attach(&client, &identity, &core.auth, (connect.is_clean, connect.wishes.session_expiry))?;
    let (wills, was_present) = (std::mem::take(&mut attached.wills), attached.was_present);
    let (predecessor, settling) = (attached.predecessor.take(), attached.settling.take());
    // From here on the session is given back, also when the handshake's time is over.
    let seat = Seat::new(core.hub.clone(), attached);
    for (client, will) in wills {
        core.publish_will(will, &client).await;
    }
    if let Some(settling) = settling {
        settling.await;
    }
    if let Some(predecessor) = predecessor {
        // It has been asked to leave, and its will is older than anything that comes now. Not for ever: it
        // may be one whose disk does not answer.
        let _ = timeout(OWN_PLACE, predecessor.gone.notified()).await;
    }
    let place = match place {
        Some(place) => place,
        // It has just been asked to leave.
        None => match timeout(OWN_PLACE, places.clone().acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(Reason::ServerUnavailable),
        },
    };
    Ok(Admitted { seat, identity, place, guest: stranger.guest, connect, client, was_assigned, was_present })
}

impl Admitted {
    /// The keep-alive, when it is another one than the client asked for.
    fn keep_alive(&self, limits: &Limits) -> Option<Duration> {
        let asked = self.connect.keep_alive;
        let longest = limits.longest_keep_alive.filter(|_| self.connect.version == Version::V5)?;
        (asked.is_zero() || asked > longest).then_some(longest)
    }

    fn accept(&self, limits: &Limits, encoder: &Encoder, wire: &mut Wire) -> Result<(), TooLarge> {
        let longest = limits.longest_session;
        let is_shorter = self.connect.wishes.session_expiry.is_none_or(|wanted| wanted > longest);
        let accepted = Accepted {
            session_present: self.was_present,
            assigned_id: self.was_assigned.then_some(self.client.as_str()),
            session_expiry: is_shorter.then_some(longest),
            keep_alive: self.keep_alive(limits),
            receive_maximum: limits.receive_maximum,
            maximum_packet_size: u32::try_from(limits.max_packet).unwrap_or(u32::MAX),
        };
        encoder.accept(&mut wire.output, &accepted)
    }

    fn into_connection(self, core: Arc<Core>, wire: Wire, encoder: Encoder) -> Box<Connection> {
        let keep_alive = self.keep_alive(&core.hub.limits).unwrap_or(self.connect.keep_alive);
        let Self { seat, identity, place, guest, connect, client, was_assigned, .. } = self;
        tracing::debug!(
            client = client.as_str(),
            user = identity.user.as_deref(),
            version = ?connect.version,
            was_assigned,
            "a client connected"
        );
        let appetite = Appetite {
            window: usize::from(core.hub.limits.inflight.min(connect.wishes.receive_maximum)).max(1),
            until: FILL,
        };
        Box::new(Connection {
            seat,
            core,
            wire,
            identity,
            aliases: TheirAliases::new(if connect.version == Version::V5 { ALIASES } else { 0 }),
            encoder,
            appetite,
            alarm: Alarm::new(keep_alive),
            rest: None,
            unfinished: 0,
            is_refused_until: None,
            gives_way: false,
            in_a_row: 0,
            has_woken: false,
            will: connect.will,
            place,
            guest,
        })
    }
}
