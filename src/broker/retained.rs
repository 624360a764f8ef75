//! The retained messages: the last known good of every topic.
//!
//! Owns them in memory, bounded in count and bytes; the disk is the recorder's business. Invariant:
//! `bytes` is the sum of what is held. Beyond a bound a new topic is not retained (and counted), so
//! that what the house relies on is not pushed out by whoever publishes most.
//!
//! A sorted map and not a tree of levels: a filter's literal front narrows the range, which for
//! `home/+/state` is what a tree would visit, and a tree costs some 300 bytes a node on a Pi.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Instant};

use super::delivery::Publication;
use crate::model::{Topic, TopicFilter};

/// The retained messages.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Topic, Arc<Publication>>,
    bytes: usize,
    max_count: usize,
    max_bytes: usize,
}

/// What became of a message that wanted to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is, or its topic was cleared: the disk is to follow.
    Changed,
    /// There was nothing to clear.
    Unchanged,
    /// A bound was reached.
    Refused,
    /// A bound was reached, and the message that it was to replace is gone: the disk is to follow.
    Removed,
}

impl Retained {
    pub(super) fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, max_count, max_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes a message published with the retain flag; an empty payload clears its topic (MQTT-3.3.1-6).
    pub(super) fn keep(&mut self, publication: &Arc<Publication>) -> Kept {
        let topic = &publication.message.topic;
        if publication.message.payload.is_empty() {
            return if self.remove(topic) { Kept::Changed } else { Kept::Unchanged };
        }
        let old = self.messages.get(topic).map(|old| old.size());
        let bytes = self.bytes - old.unwrap_or(0) + publication.size();
        if bytes > self.max_bytes || (old.is_none() && self.messages.len() >= self.max_count) {
            // None is better than one that is not true any more.
            return if self.remove(topic) { Kept::Removed } else { Kept::Refused };
        }
        self.bytes = bytes;
        self.messages.insert(topic.clone(), publication.clone());
        Kept::Changed
    }

    /// Clears a topic; whether there was something.
    pub(super) fn remove(&mut self, topic: &Topic) -> bool {
        let old = self.messages.remove(topic);
        self.bytes -= old.as_ref().map_or(0, |old| old.size());
        old.is_some()
    }

    pub(super) fn get(&self, topic: &Topic) -> Option<&Arc<Publication>> {
        self.messages.get(topic)
    }

    /// Those that a new subscription is sent, in the topics' order, behind `after`. Expired ones are not.
    pub(super) fn matching<'a>(
        &'a self,
        filter: &'a TopicFilter,
        after: Option<&Topic>,
    ) -> impl Iterator<Item = &'a Arc<Publication>> {
        self.candidates(filter, after)
            .filter(move |(topic, publication)| filter.matches(topic) && publication.left().is_ok())
            .map(|(_, publication)| publication)
    }

    /// Those that have to be looked at for it.
    pub(super) fn candidates<'a>(
        &'a self,
        filter: &TopicFilter,
        after: Option<&Topic>,
    ) -> impl Iterator<Item = (&'a Topic, &'a Arc<Publication>)> + use<'a> {
        let text = filter.as_str();
        let literal = &text[..text.find(['+', '#']).unwrap_or(text.len())];
        // `a/#` matches `a` too, which sorts before `a/`.
        let front = literal.strip_suffix('/').unwrap_or(literal).to_owned();
        let from = match after {
            Some(topic) => Bound::Excluded(topic.clone()),
            None => Topic::parse(&front).map_or(Bound::Unbounded, Bound::Included),
        };
        self.messages
            .range((from, Bound::Unbounded))
            .take_while(move |(topic, _)| topic.as_str().starts_with(&front))
    }

    /// Forgets those whose life is over; gives their topics. When the next will be over is told to `next_end`, if that is
    /// earlier than what is there.
    pub(super) fn expire(&mut self, next_end: &mut Option<Instant>) -> Vec<Topic> {
        let mut over = Vec::new();
        let now = Instant::now();
        for (topic, publication) in &self.messages {
            match publication.left() {
                Ok(None) => {}
                Ok(Some(left)) => *next_end = (*next_end).into_iter().chain(now.checked_add(left)).min(),
                Err(_) => over.push(topic.clone()),
            }
        }
        for topic in &over {
            self.remove(topic);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Message, QoS};

    fn publication(topic: &str, payload: &'static str) -> Arc<Publication> {
        let topic = Topic::parse(topic).unwrap();
        Publication::new(Message::new(topic, payload, QoS::AtMostOnce).retained())
    }

    #[test]
    fn bounds_refuse_new_topics_and_let_old_ones_change() {
        let mut retained = Retained::new(2, 10_000);
        assert_eq!(retained.keep(&publication("a", "1")), Kept::Changed);
        assert_eq!(retained.keep(&publication("b", "1")), Kept::Changed);
        assert_eq!(retained.keep(&publication("c", "1")), Kept::Refused);
        assert_eq!(retained.keep(&publication("a", "2")), Kept::Changed);
        assert_eq!(retained.keep(&publication("b", "")), Kept::Changed);
        assert_eq!(retained.keep(&publication("b", "")), Kept::Unchanged);
        assert_eq!(retained.len(), 1);
        assert_eq!(retained.bytes, retained.messages.values().map(|held| held.size()).sum::<usize>());
    }

    proptest! {
        #[test]
        fn a_filter_finds_every_retained_message_that_it_matches(
            topics in prop::collection::btree_set("[ab/$]{1,5}", 0..20),
            filter in "([ab+]/){0,3}[ab+#]",
        ) {
            let Ok(filter) = TopicFilter::parse(&filter) else { return Ok(()) };
            let mut retained = Retained::new(100, 100_000);
            for topic in &topics {
                retained.keep(&publication(topic, "x"));
            }
            let found: Vec<&str> =
                retained.matching(&filter, None).map(|found| found.message.topic.as_str()).collect();
            let expected: Vec<&str> = topics
                .iter()
                .map(String::as_str)
                .filter(|topic| filter.matches(&Topic::parse(topic).unwrap()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
