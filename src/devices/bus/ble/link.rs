//! A connection to a peripheral as it came about: what was found on it, and what it says by itself.

use std::{collections::HashMap, pin::Pin, time::Duration};

use btleplug::{
    api::{Central as _, CharPropFlags, Characteristic as Found, Peripheral as _, ValueNotification},
    platform::{Adapter as Central, Peripheral as Remote, PeripheralId},
};
use futures_util::Stream;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{Characteristic, channel::short, looks::Looks};

/// How long a connection may take to come about. BlueZ gives up by itself after about 25 s.
const CONNECT_WITHIN: Duration = Duration::from_secs(40);
/// How long a connection that is there already may take to show what is on it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);
/// How long a peripheral may take to answer (an ATT transaction: Core Specification 5.3, volume 3, part F, 3.3.3).
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const BATTERY_LEVEL: Uuid = short(0x2a19);

type Notifications = Pin<Box<dyn Stream<Item = ValueNotification> + Send>>;

/// A connection that is there.
pub(super) struct Link {
    pub(super) remote: Remote,
    pub(super) notifications: Notifications,
    /// What was found, by the wanted characteristics' places.
    pub(super) found: Vec<Option<Found>>,
    /// When each is to be read next.
    pub(super) reads: Vec<Option<Instant>>,
    /// What was written and is to show.
    pub(super) looks: Looks,
    pub(super) battery: Option<Found>,
    pub(super) battery_at: Instant,
    /// What was just read, and when.
    pub(super) read: HashMap<Uuid, (Vec<u8>, Instant)>,
}

/// Whether it can be asked for its value.
pub(super) fn is_readable(found: &Found) -> bool {
    found.properties.contains(CharPropFlags::READ)
}

/// Whether anything ever shows its value.
pub(super) fn is_shown(wanted: &Characteristic, found: &Found) -> bool {
    is_readable(found) || (wanted.notify && is_subscribable(found))
}

/// Whether it says its changes by itself.
pub(super) fn is_subscribable(found: &Found) -> bool {
    found.properties.intersects(CharPropFlags::NOTIFY | CharPropFlags::INDICATE)
}

/// Connects and finds what is wanted. An error is the reason why not, and leaves nothing half connected.
pub(super) async fn open(
    central: &Central,
    id: &PeripheralId,
    wanted: &[Characteristic],
) -> Result<Link, String> {
    let not_there =
        |error: btleplug::Error| format!("it is out of reach ({error}); is it near, and switched on?");
    let remote = central.peripheral(id).await.map_err(not_there)?;
    // From before our start. After its own death the daemon never completes such a one, and tells so only by silence.
    if let Ok(Ok(true)) = timeout(ANSWER_WITHIN, remote.is_connected()).await {
        if let Ok(Ok(link)) = timeout(TAKEN_OVER_WITHIN, connect(&remote, wanted)).await {
            return Ok(link);
        }
        leave(&remote).await;
    }
    let link = connect(&remote, wanted).await;
    if link.is_err() {
        leave(&remote).await;
    }
    link
}

async fn connect(remote: &Remote, wanted: &[Characteristic]) -> Result<Link, String> {
    match timeout(CONNECT_WITHIN, remote.connect()).await {
        Ok(Ok(())) => describe(remote, wanted).await,
        Ok(Err(error)) => Err(format!(
            "it does not take the connection ({error}); is it near, and has no phone a connection to it?"
        )),
        Err(_) => Err("it does not answer; is it near, and switched on?".to_owned()),
    }
}

/// Ends a connection, also one that is only under way.
async fn leave(remote: &Remote) {
    let _ = timeout(ANSWER_WITHIN, remote.disconnect()).await;
}

async fn describe(remote: &Remote, wanted: &[Characteristic]) -> Result<Link, String> {
    let odd = |error: btleplug::Error| format!("it does not tell what it has ({error})");
    match timeout(ANSWER_WITHIN, remote.discover_services()).await {
        Ok(result) => result.map_err(odd)?,
        Err(_) => return Err("it does not tell what it has in time".to_owned()),
    }
    let all: Vec<Found> = remote.services().into_iter().flat_map(|service| service.characteristics).collect();
    let find = |uuid: Uuid, service: Option<Uuid>| {
        let is_it = |found: &&Found| {
            found.uuid == uuid && service.is_none_or(|service| service == found.service_uuid)
        };
        all.iter().find(is_it).cloned()
    };
    let found: Vec<Option<Found>> = wanted.iter().map(|one| find(one.uuid, one.service)).collect();
    let notifications = remote.notifications().await.map_err(odd)?;
    for (wanted, found) in wanted.iter().zip(&found) {
        if let Some(found) = found
            && wanted.notify
            && is_subscribable(found)
        {
            match timeout(ANSWER_WITHIN, remote.subscribe(found)).await {
                Ok(result) => result.map_err(odd)?,
                Err(_) => return Err("it does not answer".to_owned()),
            }
        }
    }
    let now = Instant::now();
    let reads = (wanted.iter().zip(&found))
        .map(|(_, found)| found.as_ref().filter(|found| is_readable(found)).map(|_| now))
        .collect();
    let battery = find(BATTERY_LEVEL, None);
    let remote = remote.clone();
    let looks = Looks::default();
    Ok(Link { remote, notifications, found, reads, looks, battery, battery_at: now, read: HashMap::new() })
}
