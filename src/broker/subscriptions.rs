//! The tree of subscriptions: which subscribers a topic has.
//!
//! Owns filters and who holds them, one node a level. Never knows sessions: a subscriber is anything
//! with a key. Invariants: it finds exactly those filters for which `TopicFilter::matches` is true
//! (proptest below); a node without subscribers and children does not stay. The cost of a publish
//! grows with the topic's levels and its matches, never with the number of sessions.
//!
//! Rejected: one hash map of filters and a scan a publish (O(filters)), and a cache of topics to
//! subscribers (every SUBSCRIBE empties it, a hostile publisher fills it).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::model::{Topic, TopicFilter};

/// The tree; `S` is a subscriber with its options.
#[derive(Debug)]
pub(super) struct Tree<S> {
    root: Node<S>,
}

#[derive(Debug)]
struct Node<S> {
    children: HashMap<Box<str>, Node<S>>,
    any: Option<Box<Node<S>>>,
    /// Of the filter that ends here.
    here: Leaf<S>,
    /// Of the filter that ends here with `/#`.
    below: Leaf<S>,
}

/// The subscribers of one filter.
#[derive(Debug)]
struct Leaf<S> {
    direct: Vec<(u64, S)>,
    groups: Vec<Group<S>>,
}

/// The members of one `$share` group on one filter.
#[derive(Debug)]
pub(super) struct Group<S> {
    /// What its members have subscribed to, `$share/…` and all.
    pub(super) filter: Arc<TopicFilter>,
    members: Vec<(u64, S)>,
    turn: AtomicUsize,
}

/// What a topic meets in the tree.
#[derive(Debug)]
pub(super) enum Match<'a, S> {
    /// Everybody in here.
    All(&'a [(u64, S)]),
    /// One of these.
    One(&'a Group<S>),
}

impl<S> Group<S> {
    /// The members, each time beginning with the next one.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &(u64, S)> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        self.members[start..].iter().chain(&self.members[..start])
    }
}

impl<S> Default for Leaf<S> {
    fn default() -> Self {
        Self { direct: Vec::new(), groups: Vec::new() }
    }
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { children: HashMap::new(), any: None, here: Leaf::default(), below: Leaf::default() }
    }
}

impl<S> Default for Tree<S> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

fn put<S>(list: &mut Vec<(u64, S)>, key: u64, subscriber: S) -> bool {
    match list.iter_mut().find(|(other, _)| *other == key) {
        Some((_, old)) => {
            *old = subscriber;
            false
        }
        None => {
            list.push((key, subscriber));
            true
        }
    }
}

fn take<S>(list: &mut Vec<(u64, S)>, key: u64) -> bool {
    let found = list.iter().position(|(other, _)| *other == key);
    if let Some(index) = found {
        list.swap_remove(index);
    }
    found.is_some()
}

impl<S> Leaf<S> {
    fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_empty()
    }

    fn insert(&mut self, filter: &TopicFilter, key: u64, subscriber: S) -> bool {
        if filter.share().is_none() {
            return put(&mut self.direct, key, subscriber);
        }
        match self.groups.iter_mut().find(|group| *group.filter == *filter) {
            Some(group) => put(&mut group.members, key, subscriber),
            None => {
                let members = vec![(key, subscriber)];
                let filter = Arc::new(filter.clone());
                self.groups.push(Group { filter, members, turn: AtomicUsize::new(0) });
                true
            }
        }
    }

    fn remove(&mut self, filter: &TopicFilter, key: u64) -> bool {
        if filter.share().is_none() {
            return take(&mut self.direct, key);
        }
        let Some(index) = self.groups.iter().position(|group| *group.filter == *filter) else {
            return false;
        };
        let was_there = take(&mut self.groups[index].members, key);
        if self.groups[index].members.is_empty() {
            self.groups.swap_remove(index);
        }
        was_there
    }

    fn visit<'a>(&'a self, visit: &mut impl FnMut(Match<'a, S>)) {
        if !self.direct.is_empty() {
            visit(Match::All(&self.direct));
        }
        for group in &self.groups {
            visit(Match::One(group));
        }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    fn leaf(&mut self, filter: &str) -> &mut Leaf<S> {
        let mut node = self;
        for level in filter.split('/') {
            match level {
                "#" => return &mut node.below,
                "+" => node = node.any.get_or_insert_default(),
                name => {
                    // Not `entry`: it would allocate the name at every visit.
                    if !node.children.contains_key(name) {
                        node.children.insert(name.into(), Node::default());
                    }
                    node = node.children.get_mut(name).expect("it was inserted just now");
                }
            }
        }
        &mut node.here
    }

    fn remove(&mut self, rest: Option<&str>, filter: &TopicFilter, key: u64) -> bool {
        let Some(rest) = rest else { return self.here.remove(filter, key) };
        let (level, rest) = split(rest);
        match level {
            "#" => self.below.remove(filter, key),
            "+" => {
                let Some(any) = &mut self.any else { return false };
                let was_there = any.remove(rest, filter, key);
                if any.is_empty() {
                    self.any = None;
                }
                was_there
            }
            name => {
                let Some(child) = self.children.get_mut(name) else { return false };
                let was_there = child.remove(rest, filter, key);
                if child.is_empty() {
                    self.children.remove(name);
                    if self.children.is_empty() {
                        self.children = HashMap::new();
                    }
                }
                was_there
            }
        }
    }

    /// `wild` is false on the first level of a `$` topic (MQTT-4.7.2-1).
    fn visit<'a>(&'a self, rest: Option<&str>, wild: bool, visit: &mut impl FnMut(Match<'a, S>)) {
        if wild {
            self.below.visit(visit);
        }
        let Some(rest) = rest else { return self.here.visit(visit) };
        let (level, rest) = split(rest);
        if let Some(child) = self.children.get(level) {
            child.visit(rest, true, visit);
        }
        if let Some(any) = self.any.as_ref().filter(|_| wild) {
            any.visit(rest, true, visit);
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

impl<S> Tree<S> {
    /// Puts `key`'s subscription there, in place of its last one; whether there was none before.
    pub(super) fn insert(&mut self, filter: &TopicFilter, key: u64, subscriber: S) -> bool {
        self.root.leaf(filter.as_str()).insert(filter, key, subscriber)
    }

    /// Takes `key`'s subscription away; whether it was there.
    pub(super) fn remove(&mut self, filter: &TopicFilter, key: u64) -> bool {
        self.root.remove(Some(filter.as_str()), filter, key)
    }

    /// Calls `visit` for every filter that matches `topic` and has subscribers.
    pub(super) fn visit<'a>(&'a self, topic: &Topic, mut visit: impl FnMut(Match<'a, S>)) {
        self.root.visit(Some(topic.as_str()), !topic.is_reserved(), &mut visit);
    }

    /// Whether nobody is subscribed to anything.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "$x", "ö"])
    }

    fn topic() -> impl Strategy<Value = Topic> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter_map("not a topic", |text| Topic::parse(&text).ok())
    }

    fn filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop_oneof![3 => level().boxed(), 1 => Just("+").boxed()];
        (prop::collection::vec(level, 1..5), any::<bool>(), prop::sample::select(vec!["", "$share/g/"]))
            .prop_map(|(levels, all_below, share)| {
                format!("{share}{}{}", levels.join("/"), if all_below { "/#" } else { "" })
            })
            .prop_filter_map("not a filter", |text| TopicFilter::parse(&text).ok())
    }

    fn matches(tree: &Tree<TopicFilter>, topic: &Topic) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        tree.visit(topic, |hit| match hit {
            Match::All(all) => found.extend(all.iter().map(|(key, filter)| format!("{key} {filter}"))),
            Match::One(group) => {
                found.extend(group.in_turn().map(|(key, filter)| format!("{key} {filter}")));
            }
        });
        found
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_the_filters_match(
            filters in prop::collection::vec((filter(), 0_u64..3), 0..12),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            topics in prop::collection::vec(topic(), 1..6),
        ) {
            let mut tree = Tree::default();
            let mut model: BTreeSet<(TopicFilter, u64)> = BTreeSet::new();
            for (filter, key) in &filters {
                prop_assert_eq!(tree.insert(filter, *key, filter.clone()), model.insert((filter.clone(), *key)));
            }
            for index in removed {
                if !filters.is_empty() {
                    let (filter, key) = index.get(&filters);
                    prop_assert_eq!(tree.remove(filter, *key), model.remove(&(filter.clone(), *key)));
                }
            }
            for topic in &topics {
                let expected: BTreeSet<String> = model
                    .iter()
                    .filter(|(filter, _)| filter.matches(topic))
                    .map(|(filter, key)| format!("{key} {filter}"))
                    .collect();
                prop_assert_eq!(matches(&tree, topic), expected);
            }
            for (filter, key) in std::mem::take(&mut model) {
                prop_assert!(tree.remove(&filter, key));
            }
            prop_assert!(tree.is_empty(), "nodes stayed behind");
        }
    }

    #[test]
    fn the_members_of_a_group_take_turns() {
        let mut tree = Tree::default();
        let filter = TopicFilter::parse("$share/g/a").unwrap();
        for key in 0..3 {
            tree.insert(&filter, key, ());
        }
        let mut first = Vec::new();
        for _ in 0..6 {
            tree.visit(&Topic::parse("a").unwrap(), |hit| match hit {
                Match::One(group) => first.extend(group.in_turn().next().map(|(key, ())| *key)),
                Match::All(_) => panic!("a shared subscription is not a direct one"),
            });
        }
        assert_eq!(first, [0, 1, 2, 0, 1, 2]);
    }
}
