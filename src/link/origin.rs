//! What a record of the outbox adds to its message on the way out: its name and its age.

use std::{sync::Arc, time::Duration};

use crate::{
    model::{Message, MessageId},
    store::Born,
};

/// MQTT has no word for less, and what has waited too long is for the receiver to judge.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Where a publish comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: MessageId,
    pub(super) born: Born,
}

/// Takes from a message's life what it `waited` here (MQTT-3.3.2-6).
pub(super) fn count_down(message: &mut Message, waited: Duration) {
    if let Some(properties) = &mut message.properties
        && let Some(life) = properties.expiry
    {
        Arc::make_mut(properties).expiry = Some(life.saturating_sub(waited).max(SHORTEST_LIFE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Properties, QoS, Topic};

    #[test]
    fn what_was_waited_here_is_taken_from_the_messages_life() {
        let millis = Duration::from_millis;
        for (life, waited, left) in [
            (Some(60_000), 50_000, Some(10_000)),
            (Some(60_000), 0, Some(60_000)),
            (Some(60_000), 59_500, Some(1_000)),
            (Some(60_000), 998_000, Some(1_000)),
            (None, 50_000, None),
        ] {
            let mut message = Message::new(Topic::parse("h/g/toaster").unwrap(), "22.5", QoS::AtLeastOnce);
            let expiry = life.map(millis);
            message.properties = Some(Arc::new(Properties { expiry, ..Properties::default() }));
            let kept = message.clone();
            count_down(&mut message, millis(waited));
            assert_eq!(message.properties.unwrap().expiry, left.map(millis), "{life:?} {waited}");
            assert_eq!(kept.properties.unwrap().expiry, expiry, "the record keeps its own");
        }
    }
}
