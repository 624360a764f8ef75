//! What a session wants to hear, and what that takes of the house's memory.
//!
//! Invariant: what all sessions together are charged is in [`Counters::subscription_bytes`], and each gives
//! its part back with the subscription or with itself.

use super::State;
use crate::{
    broker::{counters::Counters, options::Limits, packet::SubscriptionOptions},
    model::TopicFilter,
};

/// What a session may have of subscriptions also when all together have too much, in bytes.
const SHARE: usize = 64 << 10;

/// What a subscription takes, in bytes: an entry in the session with its filter, one in the tree, and a node
/// for each level that it is the first to need.
fn cost(filter: &TopicFilter) -> usize {
    let share = filter.share().map_or(0, |share| share.as_str().len());
    200 + 2 * (share + filter.as_str().len()) + 160 * filter.levels().count()
}

impl State {
    /// Adds a subscription or changes its options; whether it is new. `None`: there is no room for it.
    pub(in crate::broker) fn subscribe(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        limits: &Limits,
        counters: &Counters,
    ) -> Option<bool> {
        if let Some(old) = self.subscriptions.get_mut(filter) {
            *old = options;
            return Some(false);
        }
        let cost = cost(filter);
        let own = self.subscription_bytes + cost;
        let all = Counters::read(&counters.subscription_bytes) + cost;
        if self.subscriptions.len() >= limits.subscriptions_per_client
            || (own > SHARE && all > limits.subscription_bytes)
        {
            return None;
        }
        self.insert_subscription(filter.clone(), options, counters);
        Some(true)
    }

    /// Adds one that has had room before.
    pub(super) fn insert_subscription(
        &mut self,
        filter: TopicFilter,
        options: SubscriptionOptions,
        counters: &Counters,
    ) {
        let cost = cost(&filter);
        self.subscription_bytes += cost;
        Counters::add(&counters.subscription_bytes, cost);
        self.subscriptions.insert(filter, options);
    }

    /// Ends a subscription; whether there was one.
    pub(in crate::broker) fn unsubscribe(&mut self, filter: &TopicFilter, counters: &Counters) -> bool {
        let was_there = self.subscriptions.remove(filter).is_some();
        if was_there {
            let cost = cost(filter);
            self.subscription_bytes -= cost;
            Counters::subtract(&counters.subscription_bytes, cost);
        }
        was_there
    }

    /// Ends them all.
    pub(super) fn end_subscriptions(&mut self, counters: &Counters) {
        self.subscriptions.clear();
        Counters::subtract(&counters.subscription_bytes, std::mem::take(&mut self.subscription_bytes));
    }
}
