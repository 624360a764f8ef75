//! Who wants which topics: a tree by levels, so that a publish costs its topic's depth and its
//! receivers, not the number of subscriptions.
//!
//! Generic over the subscriber's key, and pure. Shared subscriptions (`$share/<name>/…`) sit at the
//! same nodes, a ring each.

use std::collections::{BTreeMap, HashMap};

use crate::model::{ShareName, Topic, TopicFilter};

/// The tree of subscriptions of subscribers `K` with options `V`.
#[derive(Debug)]
pub(super) struct Subscriptions<K, V> {
    root: Node<K, V>,
    count: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    below: HashMap<Box<str>, Node<K, V>>,
    any: Option<Box<Node<K, V>>>,
    here: Leaf<K, V>,
    rest: Leaf<K, V>,
}

#[derive(Debug)]
struct Leaf<K, V> {
    alone: Vec<(K, V)>,
    shared: BTreeMap<ShareName, Ring<K, V>>,
}

/// The members of a share group, and whose turn it is.
#[derive(Debug)]
struct Ring<K, V> {
    members: Vec<(K, V)>,
    turn: usize,
}

impl<K, V> Default for Leaf<K, V> {
    fn default() -> Self {
        Self { alone: Vec::new(), shared: BTreeMap::new() }
    }
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { below: HashMap::new(), any: None, here: Leaf::default(), rest: Leaf::default() }
    }
}

impl<K, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        self.below.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

fn put<K: PartialEq, V>(members: &mut Vec<(K, V)>, key: K, value: V) -> bool {
    match members.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => {
            *old = value;
            false
        }
        None => {
            members.push((key, value));
            true
        }
    }
}

fn take<K: PartialEq, V>(members: &mut Vec<(K, V)>, key: &K) -> bool {
    match members.iter().position(|(known, _)| known == key) {
        Some(at) => {
            members.remove(at);
            true
        }
        None => false,
    }
}

impl<K: PartialEq, V> Leaf<K, V> {
    fn insert(&mut self, share: Option<&ShareName>, key: K, value: V) -> bool {
        match share {
            None => put(&mut self.alone, key, value),
            Some(name) => {
                let ring =
                    self.shared.entry(name.clone()).or_insert_with(|| Ring { members: Vec::new(), turn: 0 });
                put(&mut ring.members, key, value)
            }
        }
    }

    fn remove(&mut self, share: Option<&ShareName>, key: &K) -> bool {
        let Some(name) = share else { return take(&mut self.alone, key) };
        let Some(ring) = self.shared.get_mut(name) else { return false };
        let was_there = take(&mut ring.members, key);
        if ring.members.is_empty() {
            self.shared.remove(name);
        }
        was_there
    }
}

impl<K, V> Leaf<K, V> {
    fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.shared.is_empty()
    }
}

impl<K: PartialEq + Clone, V: Copy> Subscriptions<K, V> {
    pub(super) fn new() -> Self {
        Self { root: Node::default(), count: 0 }
    }

    /// Adds or replaces a subscription; whether it is new.
    pub(super) fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> bool {
        let mut node = &mut self.root;
        let mut is_rest = false;
        for level in filter.levels() {
            node = match level {
                "#" => {
                    is_rest = true;
                    break;
                }
                "+" => node.any.get_or_insert_default(),
                name => {
                    if !node.below.contains_key(name) {
                        node.below.insert(name.into(), Node::default());
                    }
                    node.below.get_mut(name).expect("it was put there just now")
                }
            };
        }
        let leaf = if is_rest { &mut node.rest } else { &mut node.here };
        let is_new = leaf.insert(filter.share(), key, value);
        self.count += usize::from(is_new);
        is_new
    }

    /// Removes a subscription; whether there was one.
    pub(super) fn remove(&mut self, filter: &TopicFilter, key: &K) -> bool {
        let levels: Vec<&str> = filter.levels().collect();
        let was_there = Self::remove_below(&mut self.root, &levels, filter.share(), key);
        self.count -= usize::from(was_there);
        was_there
    }

    fn remove_below(node: &mut Node<K, V>, levels: &[&str], share: Option<&ShareName>, key: &K) -> bool {
        match levels {
            [] => node.here.remove(share, key),
            ["#"] => node.rest.remove(share, key),
            ["+", rest @ ..] => {
                let Some(next) = &mut node.any else { return false };
                let was_there = Self::remove_below(next, rest, share, key);
                if next.is_empty() {
                    node.any = None;
                }
                was_there
            }
            [name, rest @ ..] => {
                let Some(next) = node.below.get_mut(*name) else { return false };
                let was_there = Self::remove_below(next, rest, share, key);
                if next.is_empty() {
                    node.below.remove(*name);
                }
                was_there
            }
        }
    }

    /// Every subscription that wants this topic; of a share group the next member in turn, one that
    /// `is_present` before one that is not.
    pub(super) fn matching(
        &mut self,
        topic: &Topic,
        is_present: impl Fn(&K) -> bool,
        found: &mut Vec<(K, V)>,
    ) {
        let levels: Vec<&str> = topic.levels().collect();
        Self::collect(&mut self.root, &levels, topic.is_reserved(), &is_present, found);
    }

    fn collect(
        node: &mut Node<K, V>,
        levels: &[&str],
        is_reserved_here: bool,
        is_present: &impl Fn(&K) -> bool,
        found: &mut Vec<(K, V)>,
    ) {
        if !is_reserved_here {
            // `a/#` also matches `a` itself.
            node.rest.give(is_present, found);
        }
        let Some((level, rest)) = levels.split_first() else {
            node.here.give(is_present, found);
            return;
        };
        if let Some(next) = node.below.get_mut(*level) {
            Self::collect(next, rest, false, is_present, found);
        }
        if let Some(next) = node.any.as_mut().filter(|_| !is_reserved_here) {
            Self::collect(next, rest, false, is_present, found);
        }
    }

    /// How many subscriptions there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl<K: Clone, V: Copy> Leaf<K, V> {
    fn give(&mut self, is_present: &impl Fn(&K) -> bool, found: &mut Vec<(K, V)>) {
        found.extend(self.alone.iter().cloned());
        for ring in self.shared.values_mut() {
            let count = ring.members.len();
            let turns = (0..count).map(|step| (ring.turn + step) % count);
            let chosen = turns.clone().find(|at| is_present(&ring.members[*at].0)).or(turns.clone().next());
            if let Some(at) = chosen {
                found.push(ring.members[at].clone());
                ring.turn = (at + 1) % count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matching(tree: &mut Subscriptions<usize, u8>, topic: &str, present: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        tree.matching(&Topic::parse(topic).unwrap(), |key| present.contains(key), &mut found);
        let mut keys: Vec<usize> = found.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_share_group_takes_turns_among_those_who_are_present() {
        let mut tree = Subscriptions::new();
        let filter = TopicFilter::parse("$share/g/a/+").unwrap();
        for key in 1..=3 {
            tree.insert(&filter, key, 0u8);
        }
        tree.insert(&TopicFilter::parse("a/b").unwrap(), 9, 0);
        let seen: Vec<Vec<usize>> = (0..4).map(|_| matching(&mut tree, "a/b", &[1, 3])).collect();
        assert_eq!(seen, [vec![1, 9], vec![3, 9], vec![1, 9], vec![3, 9]]);
        assert_eq!(matching(&mut tree, "a/b", &[]).len(), 2, "somebody absent keeps it");
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("ö")].prop_map(str::to_owned)
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 1 => Just("+".to_owned())];
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_map(|(mut levels, ends_open)| {
            if ends_open || levels.is_empty() {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_matching_one_by_one(
            filters in prop::collection::vec(filter(), 1..20),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topics in prop::collection::vec(prop::collection::vec(level(), 1..5), 1..10),
        ) {
            let mut filters: Vec<Option<TopicFilter>> =
                filters.iter().map(|text| TopicFilter::parse(text).ok()).collect();
            let mut tree = Subscriptions::new();
            for (key, filter) in filters.iter().enumerate() {
                if let Some(filter) = filter {
                    prop_assert!(tree.insert(filter, key, 0u8));
                }
            }
            for index in gone {
                let key = index.index(filters.len());
                if let Some(filter) = filters[key].take() {
                    prop_assert!(tree.remove(&filter, &key));
                    prop_assert!(!tree.remove(&filter, &key));
                }
            }
            prop_assert_eq!(tree.len(), filters.iter().flatten().count());
            for topic in topics {
                let Ok(topic) = Topic::parse(&topic.join("/")) else { continue };
                let expected: Vec<usize> = filters
                    .iter()
                    .enumerate()
                    .filter(|(_, filter)| filter.as_ref().is_some_and(|filter| filter.matches(&topic)))
                    .map(|(key, _)| key)
                    .collect();
                prop_assert_eq!(matching(&mut tree, topic.as_str(), &[]), expected);
            }
            for (key, filter) in filters.iter().enumerate() {
                if let Some(filter) = filter {
                    tree.remove(filter, &key);
                }
            }
            prop_assert!(tree.root.is_empty(), "nothing is left behind");
        }
    }
}
