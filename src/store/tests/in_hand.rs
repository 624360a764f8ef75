//! What the link has in its hands is not dropped under it, so that nothing is delivered and counted as dropped.

use proptest::prelude::*;

use super::*;
use crate::store::StoreStats;

fn ordinary(after: u64, max_count: usize) -> Selection {
    Selection { after, part: Part::Ordinary { backlog: u64::MAX }, max_count, max_bytes: 1 << 20 }
}

async fn sequences(store: &Store) -> Vec<u64> {
    store.pending(0, 1000, 1 << 20).await.unwrap().iter().map(|record| record.sequence).collect()
}

async fn acknowledge(store: &Store, sequences: impl IntoIterator<Item = u64>) -> StoreStats {
    store.acknowledge(sequences.into_iter().collect()).await.unwrap().await.unwrap();
    store.stats().borrow().clone()
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_that_is_not_being_sent_and_counts_what_is_sent_as_sent() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_bytes: 1010, ..StoreOptions::default() };
    let store = open(&directory, &options, &Clock::manual(noon()));
    for number in 1..=10 {
        append(&store, entry(number, 100)).await.unwrap();
    }
    assert_eq!(store.select(ordinary(0, 3)).await.unwrap().len(), 3);
    for number in 11..=15 {
        append(&store, entry(number, 100)).await.unwrap();
    }
    assert_eq!(sequences(&store).await, [1, 2, 3, 9, 10, 11, 12, 13, 14, 15]);
    let stats = acknowledge(&store, 1..=3).await;
    assert_eq!((stats.acknowledged, stats.dropped_full, stats.waiting), (3, 5, 7));
}

#[tokio::test]
async fn what_is_being_sent_does_not_grow_too_old_meanwhile() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(60), ..StoreOptions::default() };
    let clock = Clock::manual(noon());
    let store = open(&directory, &options, &clock);
    append(&store, entry(1, 1)).await.unwrap();
    append(&store, Entry { life: Some(seconds(5)), ..entry(2, 1) }).await.unwrap();
    append(&store, Entry { life: Some(seconds(5)), ..entry(3, 1) }).await.unwrap();
    append(&store, entry(4, 1)).await.unwrap();
    store.select(ordinary(0, 2)).await.unwrap();
    clock.advance(seconds(61));
    append(&store, entry(5, 1)).await.unwrap();
    assert_eq!(sequences(&store).await, [1, 2, 5]);
    let stats = acknowledge(&store, 1..=2).await;
    assert_eq!((stats.acknowledged, stats.dropped_expired, stats.waiting), (2, 2, 1));
}

/// A store for two messages, with two that are being sent.
async fn full_and_in_hand(directory: &TempDir) -> Store {
    let options = StoreOptions { max_bytes: 202, ..StoreOptions::default() };
    let store = open(directory, &options, &Clock::manual(noon()));
    append(&store, entry(1, 100)).await.unwrap();
    append(&store, entry(2, 100)).await.unwrap();
    store.select(ordinary(0, 10)).await.unwrap();
    store
}

#[tokio::test]
async fn when_all_of_it_is_being_sent_the_queue_holds_that_and_one_message_more() {
    let directory = TempDir::new().unwrap();
    let store = full_and_in_hand(&directory).await;
    for number in 3..=9 {
        append(&store, entry(number, 100)).await.unwrap();
    }
    assert_eq!(sequences(&store).await, [1, 2, 9]);
    let stats = acknowledge(&store, 1..=2).await;
    assert_eq!((stats.acknowledged, stats.dropped_full, stats.waiting), (2, 6, 1));
}

#[tokio::test]
async fn once_the_line_is_down_what_was_being_sent_waits_again_and_can_be_dropped() {
    let directory = TempDir::new().unwrap();
    let store = full_and_in_hand(&directory).await;
    store.take_back().await.unwrap();
    append(&store, entry(3, 100)).await.unwrap();
    append(&store, entry(4, 100)).await.unwrap();
    assert_eq!(sequences(&store).await, [3, 4]);
    assert_eq!(store.stats().borrow().dropped_full, 2);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append { size: usize, is_live: bool, has_life: bool },
    Read { max_count: usize, is_live: bool },
    Acknowledge { at: usize },
    Pass,
    LineDown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_usize..200, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(size, is_live, has_life)| Step::Append { size, is_live, has_life }),
        3 => (1_usize..5, any::<bool>()).prop_map(|(max_count, is_live)| Step::Read { max_count, is_live }),
        4 => (0_usize..8).prop_map(|at| Step::Acknowledge { at }),
        1 => Just(Step::Pass),
        1 => Just(Step::LineDown),
    ]
}

/// A link as `link::window` is one: it reads both parts in order and acknowledges what it has, in any order.
#[derive(Default)]
struct Sender {
    backlog: u64,
    read_up_to: (u64, u64),
    held: Vec<(u64, usize)>,
    acknowledged: u64,
}

impl Sender {
    async fn read(&mut self, store: &Store, max_count: usize, is_live: bool) {
        let (after, part) = if is_live {
            (self.read_up_to.1.max(self.backlog), Part::Live)
        } else {
            (self.read_up_to.0, Part::Ordinary { backlog: self.backlog })
        };
        let records = store.select(Selection { after, part, max_count, max_bytes: 1 << 20 }).await.unwrap();
        let mark = if is_live { &mut self.read_up_to.1 } else { &mut self.read_up_to.0 };
        *mark = records.last().map_or(*mark, |record| record.sequence);
        self.held.extend(records.iter().map(|record| (record.sequence, record.message.size())));
    }
}

async fn what_is_sent_is_in_one_sum(steps: Vec<Step>) {
    let directory = TempDir::new().unwrap();
    let clock = Clock::manual(noon());
    let lanes = vec![LaneOptions { is_live_first: true, max_bytes: Some(500), ..lane("live", Keep::All) }];
    let options = StoreOptions { max_bytes: 1000, max_age: seconds(60), lanes, ..StoreOptions::default() };
    let store = open(&directory, &options, &clock);
    let mut sender = Sender::default();
    // What the line had in its hands when it went down may be too much, until something new needs the room.
    let mut was_in_hand = 0;
    for step in steps {
        match step {
            Step::Append { size, is_live, has_life } => {
                was_in_hand = 0;
                let lane = is_live.then_some(0);
                let life = has_life.then_some(seconds(10));
                append(&store, Entry { lane, life, ..entry(0, size) }).await.unwrap();
            }
            Step::Read { max_count, is_live } => sender.read(&store, max_count, is_live).await,
            Step::Acknowledge { at } if at < sender.held.len() => {
                let (sequence, _) = sender.held.swap_remove(at);
                sender.acknowledged += 1;
                acknowledge(&store, [sequence]).await;
            }
            Step::Acknowledge { .. } => {}
            Step::Pass => clock.advance(seconds(31)),
            Step::LineDown => {
                store.take_back().await.unwrap();
                was_in_hand = store.stats().borrow().waiting_bytes;
                let (acknowledged, backlog) = (sender.acknowledged, store.appended().borrow().any);
                sender = Sender { acknowledged, backlog, ..Sender::default() };
            }
        }
        let left = sequences(&store).await;
        assert!(sender.held.iter().all(|(sequence, _)| left.contains(sequence)), "{step:?}: {left:?}");
        let stats = store.stats().borrow().clone();
        assert_eq!(stats.acknowledged, sender.acknowledged, "{step:?}");
        let dropped = stats.dropped_full + stats.dropped_expired;
        assert_eq!(stats.accepted, stats.waiting + stats.acknowledged + dropped, "{step:?}");
        assert_eq!(stats.waiting, left.len() as u64);
        let held: usize = sender.held.iter().map(|(_, size)| size).sum();
        assert!(stats.waiting_bytes <= 1000.max(held as u64 + 201).max(was_in_hand), "{step:?}: {stats:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_sent_is_acknowledged_or_dropped_and_never_both(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(what_is_sent_is_in_one_sum(steps));
    }
}
