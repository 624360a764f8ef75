//! How one message becomes each subscriber's own.

use std::sync::Arc;

use super::Subscriber;
use crate::broker::delivery::{Delivery, Identifiers, Publication};

/// The message as `subscriber` is to get it; `None`: not at all (`no local`).
pub(super) fn delivery(
    subscriber: &Subscriber,
    key: u64,
    publication: &Arc<Publication>,
    publisher: u64,
) -> Option<Delivery> {
    let message = &publication.message;
    let mut identifiers = Identifiers::default();
    let (qos, retain) = match subscriber {
        Subscriber::Client(_, options) if options.no_local && key == publisher => return None,
        Subscriber::Client(_, options) => {
            identifiers.add(options.identifier);
            (message.qos.min(options.qos), message.retain && options.retain_as_published)
        }
        Subscriber::Gateway(_) => (message.qos, false),
    };
    Some(Delivery { publication: publication.clone(), qos, retain, identifiers, share: None })
}

/// Adds one filter's subscribers to those of others.
pub(super) fn merge<'a>(
    merged: &mut Vec<(u64, &'a Subscriber, Delivery)>,
    all: &'a [(u64, Subscriber)],
    publication: &Arc<Publication>,
    publisher: u64,
) {
    // Sorted by key, so that thousands of subscribers on two filters are not compared each with each.
    merged.sort_unstable_by_key(|(key, ..)| *key);
    let known = merged.len();
    for (key, subscriber) in all {
        let Some(new) = delivery(subscriber, *key, publication, publisher) else { continue };
        match merged[..known].binary_search_by_key(key, |(key, ..)| *key) {
            Ok(index) => {
                let old = &mut merged[index].2;
                old.qos = old.qos.max(new.qos);
                old.retain |= new.retain;
                for identifier in new.identifiers.as_slice() {
                    old.identifiers.add(Some(*identifier));
                }
            }
            Err(_) => merged.push((*key, subscriber, new)),
        }
    }
}
