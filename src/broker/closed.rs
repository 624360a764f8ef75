//! Where only the gateway publishes.
//!
//! Pure. Looked up for every publish of every client: exact topics by their text, filters with wildcards only of the tree
//! that the topic is in.

use std::collections::{HashMap, HashSet};

use crate::model::{Topic, TopicFilter};

/// The topics that are closed to all clients.
#[derive(Debug, Default)]
pub(super) struct Closed {
    topics: HashSet<Box<str>>,
    /// Filters with wildcards, by their first level.
    trees: HashMap<Box<str>, Vec<TopicFilter>>,
}

impl Closed {
    /// Whether nobody but the gateway publishes there.
    pub(super) fn has(&self, topic: &Topic) -> bool {
        let text = topic.as_str();
        let tree =
            |first: &str| self.trees.get(first).is_some_and(|all| all.iter().any(|it| it.matches(topic)));
        self.topics.contains(text) || topic.levels().next().is_some_and(tree)
    }
}

impl FromIterator<TopicFilter> for Closed {
    /// A filter that begins with a wildcard closes nothing: it would close the house.
    fn from_iter<I: IntoIterator<Item = TopicFilter>>(filters: I) -> Self {
        let mut closed = Self::default();
        for filter in filters {
            let first = filter.levels().next().unwrap_or_default();
            if !filter.as_str().contains(['+', '#']) {
                closed.topics.insert(filter.as_str().into());
            } else if !matches!(first, "+" | "#") {
                closed.trees.entry(first.into()).or_default().push(filter);
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_topics_and_trees_are_closed_and_what_is_beside_them_is_open() {
        let filters = ["home/lamp", "homie/5/lamp/+", "homie/5/lamp/+/+", "#", "+/x"];
        let closed: Closed = filters.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect();
        for (topic, expected) in [
            ("home/lamp", true),
            ("home/lamp/set", false),
            ("homie/5/lamp/$state", true),
            ("homie/5/lamp/main/state", true),
            ("homie/5/lamp/main/state/set", false),
            ("homie/5/fan/$state", false),
            ("y/x", false),
        ] {
            assert_eq!(closed.has(&Topic::parse(topic).unwrap()), expected, "{topic}");
        }
    }
}
