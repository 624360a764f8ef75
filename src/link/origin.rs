//! What a record of the outbox adds to its message on the way out: its name and its age.

use std::{sync::Arc, time::Duration};

use crate::model::{Message, MessageId, Timestamp};

/// MQTT has no word for less, and what has waited too long is for the receiver to judge.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Where a publish comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: MessageId,
    pub(super) accepted_at: Timestamp,
}

impl Origin {
    /// Takes from the message's life what it waited here until `now` (MQTT-3.3.2-6). A clock that went
    /// backwards takes nothing.
    pub(super) fn count_down(&self, message: &mut Message, now: Timestamp) {
        let waited = now.since(self.accepted_at).unwrap_or_default();
        if let Some(properties) = &mut message.properties
            && let Some(life) = properties.expiry
        {
            Arc::make_mut(properties).expiry = Some(life.saturating_sub(waited).max(SHORTEST_LIFE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Properties, QoS, Topic};

    #[test]
    fn what_was_waited_here_is_taken_from_the_messages_life() {
        let seconds = Duration::from_secs;
        for (life, accepted_at, now, left) in [
            (Some(60), 1_000, 51_000, Some(seconds(10))),
            (Some(60), 1_000, 1_000, Some(seconds(60))),
            (Some(60), 1_000, 60_500, Some(seconds(1))),
            (Some(60), 1_000, 999_000, Some(seconds(1))),
            (Some(60), 90_000, 1_000, Some(seconds(60))),
            (None, 1_000, 51_000, None),
        ] {
            let mut message = Message::new(Topic::parse("h/g/toaster").unwrap(), "22.5", QoS::AtLeastOnce);
            let expiry = life.map(seconds);
            message.properties = Some(Arc::new(Properties { expiry, ..Properties::default() }));
            let kept = message.clone();
            let accepted_at = Timestamp::from_millis(accepted_at);
            let origin = Origin { id: MessageId::new("store", 1), accepted_at };
            origin.count_down(&mut message, Timestamp::from_millis(now));
            assert_eq!(message.properties.unwrap().expiry, left, "{life:?} {accepted_at} {now}");
            assert_eq!(kept.properties.unwrap().expiry, expiry, "the record keeps its own");
        }
    }
}
