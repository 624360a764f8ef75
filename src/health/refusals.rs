//! What the cloud did not take, by topic.
//!
//! Pure data. Bounded: [`TOPICS`] topics; a new one takes the place of that whose last refusal is longest ago (policy
//! `forgotten`), whose count goes into the sum of the others.

use serde::Serialize;

use crate::model::Timestamp;

/// How many topics are remembered.
pub(super) const TOPICS: usize = 16;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refused {
    /// A publish on the topic.
    Publish,
    /// A subscription to the filter.
    Subscribe,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What.
    pub what: Refused,
    /// The topic, or the filter.
    pub topic: String,
    /// What the cloud said, or which of its limits was in the way.
    pub reason: String,
    /// Whether a message was dropped for it; else it is tried again.
    pub is_dropped: bool,
}

/// What is known of a topic that the cloud refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalReport {
    /// What was refused last.
    pub what: Refused,
    /// The topic, or the filter.
    pub topic: String,
    /// Why, the last time.
    pub reason: String,
    /// How often since the start.
    pub count: u64,
    /// How many messages were dropped for it since the start.
    pub dropped: u64,
    /// When it was refused last.
    pub last: Timestamp,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RefusalsReport {
    /// The last one first.
    pub topics: Vec<RefusalReport>,
    /// Refusals of topics that are forgotten.
    pub forgotten: u64,
}

impl RefusalsReport {
    /// Counts one.
    pub(super) fn add(&mut self, refusal: Refusal, now: Timestamp) {
        let Refusal { what, topic, reason, is_dropped } = refusal;
        let known = self.topics.iter().position(|known| known.topic == topic && known.what == what);
        let (count, dropped) = match known.map(|at| self.topics.remove(at)) {
            Some(known) => (known.count, known.dropped),
            None => (0, 0),
        };
        if self.topics.len() >= TOPICS
            && let Some(forgotten) = self.topics.pop()
        {
            self.forgotten += forgotten.count;
        }
        let dropped = dropped + u64::from(is_dropped);
        self.topics.insert(0, RefusalReport { what, topic, reason, count: count + 1, dropped, last: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(topic: &str, is_dropped: bool) -> Refusal {
        let (topic, reason) = (topic.to_owned(), "not authorized".to_owned());
        Refusal { what: Refused::Publish, topic, reason, is_dropped }
    }

    #[test]
    fn a_topic_that_is_refused_again_is_counted_and_comes_first() {
        let mut report = RefusalsReport::default();
        for (second, topic) in ["a", "b", "a"].iter().enumerate() {
            report.add(refusal(topic, second == 0), Timestamp::from_millis(second as i64));
        }
        let seen: Vec<_> =
            report.topics.iter().map(|known| (&*known.topic, known.count, known.dropped)).collect();
        assert_eq!(seen, [("a", 2, 1), ("b", 1, 0)]);
        assert_eq!(report.topics[0].last, Timestamp::from_millis(2));
    }

    #[test]
    fn the_list_is_bounded_and_what_it_forgets_is_counted() {
        let mut report = RefusalsReport::default();
        for number in 0..TOPICS + 5 {
            report.add(refusal(&number.to_string(), true), Timestamp::from_millis(number as i64));
        }
        assert_eq!((report.topics.len(), report.forgotten), (TOPICS, 5));
        assert_eq!(report.topics[0].topic, (TOPICS + 4).to_string());
        assert!(!report.topics.iter().any(|known| known.topic == "0"));
    }
}
