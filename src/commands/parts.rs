//! The decision about a command for `benches/`, by the feature `parts`: packages are built without it.
//!
//! Owns nothing and decides nothing: these are the desk's own questions in its order, without its journal and its
//! mailboxes.

use tokio::time::Instant;

use super::{
    AllowList, Timing,
    admission::{self, Arrival, Now},
    payload,
};
use crate::model::{DeviceId, Origin, Staleness, Timestamp};

/// Whether this payload, arriving at `now` on a live line, would reach its device.
pub fn is_admitted(
    payload: &[u8],
    device: &DeviceId,
    origin: &Origin,
    allow: &AllowList,
    now: Timestamp,
) -> bool {
    let Ok(order) = payload::parse(payload) else { return false };
    let Ok(permission) = allow.permission(device, &order.request, origin) else { return false };
    let monotonic = Instant::now();
    let arrival = Arrival { received: monotonic, life_left: None, staleness: Staleness::Live };
    let now = Now { monotonic, wall: now, is_trusted: true, on_the_wall: None };
    match (admission::deadline(&order, arrival, Timing::default(), now), permission.now(now)) {
        (Ok(_), Ok(one_use)) => {
            one_use.count(now);
            true
        }
        _ => false,
    }
}
