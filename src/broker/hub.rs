//! Where publishers and subscribers meet: subscriptions, sessions and retained messages behind one
//! short lock.
//!
//! One lock and no router task: a publish takes it for the time of a walk through the tree and a push
//! a receiver, no I/O and no await under it, and the order of retained messages and deliveries is the
//! same for everybody. A task in the middle would add two queues, each with a bound and a policy of
//! its own. What must reach the disk is only marked here, and written by [`super::keeper`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    session::{Delivery, Session, Subscription},
    subscriptions::Subscriptions,
};
use crate::{
    health::BrokerReport,
    model::{ClientId, Message, QoS, Topic, TopicFilter},
};

/// A message with who published it; nobody is the gateway itself.
type Told = (Message, Option<ClientId>);

/// Names a receiver in the tree.
type Key = u64;

/// A session as its connection and the hub share it.
pub(super) struct Seat {
    pub(super) key: Key,
    pub(super) client: ClientId,
    /// Wakes the connection when there is something to send.
    pub(super) wake: Notify,
    state: Mutex<Session>,
}

impl Seat {
    pub(super) fn state(&self) -> MutexGuard<'_, Session> {
        // A panic under this lock leaves a session that is at worst short of one message's bookkeeping.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place in the hub.
struct Place {
    seat: Arc<Seat>,
    /// How long the session outlives its connection; zero: not at all.
    expiry: Duration,
    attached: Option<CancellationToken>,
    left: Instant,
}

enum Receiver {
    Session(Arc<Seat>, bool),
    InProcess(mpsc::Sender<Told>),
}

struct Retained {
    message: Message,
    since: Instant,
}

struct State {
    subscriptions: Subscriptions<Key, Subscription>,
    receivers: HashMap<Key, Receiver>,
    places: HashMap<ClientId, Place>,
    retained: BTreeMap<Topic, Retained>,
    retained_bytes: usize,
    next_key: Key,
    unsaved_topics: HashSet<Topic>,
    unsaved_sessions: HashSet<ClientId>,
    found: Vec<(Key, Subscription)>,
}

/// What a CONNECT asks of the hub.
pub(super) struct Attach {
    pub(super) client: ClientId,
    pub(super) is_clean: bool,
    pub(super) expiry: Duration,
    pub(super) window: u16,
}

/// What a CONNECT got.
pub(super) struct Attached {
    pub(super) seat: Arc<Seat>,
    pub(super) session_present: bool,
    /// Cancelled when another connection takes the session over.
    pub(super) taken_over: CancellationToken,
}

/// A session as it is kept on the disk.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    pub(super) expiry_seconds: u64,
    pub(super) subscriptions: Vec<(TopicFilter, Subscription)>,
}

/// What is to be written to the disk; `None` is to be deleted there.
#[derive(Default)]
pub(super) struct Unsaved {
    pub(super) retained: Vec<(Topic, Option<Message>)>,
    pub(super) sessions: Vec<(ClientId, Option<Kept>)>,
}

/// The hub.
pub(super) struct Hub {
    state: Mutex<State>,
    pub(super) limits: Limits,
    /// Wakes the keeper.
    pub(super) unsaved: Notify,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Hub {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                subscriptions: Subscriptions::new(),
                receivers: HashMap::new(),
                places: HashMap::new(),
                retained: BTreeMap::new(),
                retained_bytes: 0,
                next_key: 1,
                unsaved_topics: HashSet::new(),
                unsaved_sessions: HashSet::new(),
                found: Vec::new(),
            }),
            limits,
            unsaved: Notify::new(),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what the disk has kept, before anybody is served.
    pub(super) fn restore(&self, retained: Vec<Message>, sessions: Vec<(ClientId, Kept)>) {
        let mut state = self.state();
        for message in retained {
            state.retained_bytes += message.size();
            state.retained.insert(message.topic.clone(), Retained { message, since: Instant::now() });
        }
        for (client, kept) in sessions {
            let seat = state.seat(&client);
            state.receivers.insert(seat.key, Receiver::Session(seat.clone(), false));
            for (filter, subscription) in kept.subscriptions {
                state.subscriptions.insert(&filter, seat.key, subscription);
                seat.state().subscriptions.insert(filter, subscription);
            }
            let expiry = Duration::from_secs(kept.expiry_seconds);
            state.places.insert(client, Place { seat, expiry, attached: None, left: Instant::now() });
        }
    }

    /// A client has connected: takes over its session, or makes one.
    pub(super) fn attach(&self, wish: Attach) -> Attached {
        let mut state = self.state();
        let old = state.places.remove(&wish.client);
        if let Some(token) = old.as_ref().and_then(|place| place.attached.as_ref()) {
            token.cancel();
        }
        let kept = match old {
            Some(place) if wish.is_clean || place.is_over() => {
                state.forget(&wish.client, &place.seat);
                None
            }
            other => other,
        };
        let session_present = kept.is_some();
        let seat = kept.map_or_else(|| state.seat(&wish.client), |place| place.seat);
        seat.state().resume(wish.window);
        state.receivers.insert(seat.key, Receiver::Session(seat.clone(), true));
        let taken_over = CancellationToken::new();
        let place = Place {
            seat: seat.clone(),
            expiry: wish.expiry,
            attached: Some(taken_over.clone()),
            left: Instant::now(),
        };
        state.places.insert(wish.client.clone(), place);
        // Also when nothing of it is to outlive the connection: an older one on the disk must go.
        state.unsaved_sessions.insert(wish.client);
        drop(state);
        self.unsaved.notify_one();
        Attached { seat, session_present, taken_over }
    }

    /// A connection has ended. Does nothing when another one has taken its session over.
    pub(super) fn detach(&self, seat: &Seat, expiry: Option<Duration>) {
        let mut state = self.state();
        let Some(place) = state.places.get_mut(&seat.client).filter(|place| place.seat.key == seat.key)
        else {
            return;
        };
        if place.attached.as_ref().is_none_or(CancellationToken::is_cancelled) {
            return;
        }
        place.attached = None;
        place.left = Instant::now();
        place.expiry = expiry.unwrap_or(place.expiry);
        if place.expiry.is_zero() {
            if let Some(place) = state.places.remove(&seat.client) {
                state.forget(&seat.client, &place.seat);
            }
        } else if let Some(Receiver::Session(_, is_present)) = state.receivers.get_mut(&seat.key) {
            *is_present = false;
        }
        state.unsaved_sessions.insert(seat.client.clone());
        drop(state);
        self.unsaved.notify_one();
    }

    /// Drops the sessions whose time is over.
    pub(super) fn expire_sessions(&self) {
        let mut state = self.state();
        let over: Vec<ClientId> = state
            .places
            .iter()
            .filter(|(_, place)| place.attached.is_none() && place.is_over())
            .map(|(client, _)| client.clone())
            .collect();
        for client in over {
            if let Some(place) = state.places.remove(&client) {
                state.forget(&client, &place.seat);
            }
        }
        drop(state);
        self.unsaved.notify_one();
    }

    /// Subscribes a session; the retained messages follow unless `wants_retained` says no for this
    /// case (it is asked whether the subscription is new). `false` when the client has too many.
    pub(super) fn subscribe(
        &self,
        seat: &Arc<Seat>,
        filter: &TopicFilter,
        subscription: Subscription,
        wants_retained: impl Fn(bool) -> bool,
    ) -> bool {
        let mut state = self.state();
        {
            let mut session = seat.state();
            let is_known = session.subscriptions.contains_key(filter);
            if !is_known && session.subscriptions.len() >= self.limits.subscriptions_per_client {
                return false;
            }
            session.subscriptions.insert(filter.clone(), subscription);
        }
        let is_new = state.subscriptions.insert(filter, seat.key, subscription);
        state.unsaved_sessions.insert(seat.client.clone());
        // A shared subscription gets no retained messages (MQTT 5 section 4.8.2).
        if filter.share().is_none() && wants_retained(is_new) {
            for (message, since) in state.retained_for(filter) {
                let qos = message.qos.min(subscription.qos);
                let delivery = Delivery {
                    message: Message { qos, ..message },
                    subscription_ids: subscription.id.into_iter().collect(),
                    since,
                };
                self.offer(seat, delivery);
            }
            seat.wake.notify_one();
        }
        drop(state);
        self.unsaved.notify_one();
        true
    }

    /// Ends a subscription; whether there was one.
    pub(super) fn unsubscribe(&self, seat: &Seat, filter: &TopicFilter) -> bool {
        let mut state = self.state();
        seat.state().subscriptions.remove(filter);
        let was_there = state.subscriptions.remove(filter, &seat.key);
        state.unsaved_sessions.insert(seat.client.clone());
        drop(state);
        self.unsaved.notify_one();
        was_there
    }

    /// A subscriber inside the gateway. Full channel: the newest message is dropped and counted.
    pub(super) fn subscribe_in_process(
        &self,
        filters: &[TopicFilter],
        capacity: usize,
    ) -> mpsc::Receiver<Told> {
        let (sender, receiver) = mpsc::channel(capacity);
        let mut state = self.state();
        let key = state.key();
        let subscription =
            Subscription { qos: QoS::ExactlyOnce, no_local: false, retain_as_published: false, id: None };
        for filter in filters {
            state.subscriptions.insert(filter, key, subscription);
            for (message, _) in state.retained_for(filter) {
                self.tell(&sender, (message, None));
            }
        }
        state.receivers.insert(key, Receiver::InProcess(sender));
        receiver
    }

    /// Keeps and hands out a message; to how many receivers.
    pub(super) fn publish(&self, message: &Message, publisher: Option<&Seat>) -> usize {
        let mut guard = self.state();
        let state = &mut *guard;
        let is_unsaved = message.retain && state.retain(message, &self.limits);
        let mut found = std::mem::take(&mut state.found);
        let receivers = &state.receivers;
        let is_present = |key: &Key| matches!(receivers.get(key), Some(Receiver::Session(_, true)));
        state.subscriptions.matching(&message.topic, is_present, &mut found);
        found.sort_unstable_by_key(|(key, _)| *key);
        let now = Instant::now();
        let mut count = 0;
        for same in found.chunk_by(|(a, _), (b, _)| a == b) {
            let key = same[0].0;
            match receivers.get(&key) {
                Some(Receiver::Session(seat, is_present)) => {
                    let Some(delivery) = merge(message, same, publisher.map(|seat| seat.key), now) else {
                        continue;
                    };
                    // QoS 0 is not kept for who is away (MQTT 3.1.1 section 4.1.2 leaves it open).
                    if (*is_present || delivery.message.qos != QoS::AtMostOnce) && self.offer(seat, delivery)
                    {
                        seat.wake.notify_one();
                        count += 1;
                    }
                }
                Some(Receiver::InProcess(sender)) => {
                    let told = Message { retain: false, ..message.clone() };
                    count +=
                        usize::from(self.tell(sender, (told, publisher.map(|seat| seat.client.clone()))));
                }
                None => {}
            }
        }
        found.clear();
        state.found = found;
        drop(guard);
        if is_unsaved {
            self.unsaved.notify_one();
        }
        count
    }

    fn offer(&self, seat: &Seat, delivery: Delivery) -> bool {
        let was_taken = seat.state().offer(delivery, self.limits.queue_bytes_per_session);
        if !was_taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        was_taken
    }

    fn tell(&self, sender: &mpsc::Sender<Told>, told: Told) -> bool {
        match sender.try_send(told) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full((message, _))) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(topic = %message.topic, "the gateway is behind; a local message was dropped");
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Counts a connection that was refused.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What changed since the last call, to be written to the disk.
    pub(super) fn take_unsaved(&self) -> Unsaved {
        let mut state = self.state();
        let topics = std::mem::take(&mut state.unsaved_topics);
        let clients = std::mem::take(&mut state.unsaved_sessions);
        Unsaved {
            retained: topics
                .into_iter()
                .map(|topic| {
                    let message = state.retained.get(&topic).map(|retained| retained.message.clone());
                    (topic, message)
                })
                .collect(),
            sessions: clients
                .into_iter()
                .map(|client| {
                    let kept =
                        state.places.get(&client).filter(|place| !place.expiry.is_zero()).map(|place| Kept {
                            expiry_seconds: place.expiry.as_secs(),
                            subscriptions: place
                                .seat
                                .state()
                                .subscriptions
                                .iter()
                                .map(|(filter, subscription)| (filter.clone(), *subscription))
                                .collect(),
                        });
                    (client, kept)
                })
                .collect(),
        }
    }

    /// The sums for the board.
    pub(super) fn report(&self, listeners: Vec<String>) -> BrokerReport {
        let state = self.state();
        BrokerReport {
            listeners,
            clients: state.places.values().filter(|place| place.attached.is_some()).count(),
            sessions: state.places.len(),
            retained: state.retained.len(),
            queued_bytes: state.places.values().map(|place| place.seat.state().bytes()).sum(),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether another client may connect.
    pub(super) fn has_room(&self, client: &ClientId) -> bool {
        let state = self.state();
        state.places.contains_key(client) || state.places.len() < self.limits.max_sessions
    }
}

impl Place {
    fn is_over(&self) -> bool {
        self.attached.is_none() && self.left.elapsed() >= self.expiry
    }
}

impl State {
    fn key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    fn seat(&mut self, client: &ClientId) -> Arc<Seat> {
        Arc::new(Seat {
            key: self.key(),
            client: client.clone(),
            wake: Notify::new(),
            state: Mutex::new(Session::new()),
        })
    }

    fn forget(&mut self, client: &ClientId, seat: &Seat) {
        for filter in std::mem::take(&mut seat.state().subscriptions).into_keys() {
            self.subscriptions.remove(&filter, &seat.key);
        }
        self.receivers.remove(&seat.key);
        self.unsaved_sessions.insert(client.clone());
    }

    /// Keeps a retained message, or forgets one; whether the disk must hear of it. Policy at the
    /// bounds: the new message is delivered but not retained.
    fn retain(&mut self, message: &Message, limits: &Limits) -> bool {
        let old = self.retained.remove(&message.topic);
        self.retained_bytes -= old.as_ref().map_or(0, |old| old.message.size());
        let is_known = old.is_some();
        let keeps = !message.payload.is_empty()
            && self.retained.len() < limits.retained_count
            && self.retained_bytes + message.size() <= limits.retained_bytes;
        if keeps {
            self.retained_bytes += message.size();
            let retained = Retained { message: message.clone(), since: Instant::now() };
            self.retained.insert(message.topic.clone(), retained);
        } else if !message.payload.is_empty() {
            tracing::warn!(topic = %message.topic, "the bound of retained messages is reached; this one is not kept");
        }
        let is_unsaved = keeps || is_known;
        if is_unsaved {
            self.unsaved_topics.insert(message.topic.clone());
        }
        is_unsaved
    }

    fn retained_for(&self, filter: &TopicFilter) -> Vec<(Message, Instant)> {
        // What stands before the first wildcard bounds the search.
        let text = filter.as_str();
        let fixed = &text[..text.find(['+', '#']).unwrap_or(text.len())];
        let fixed = fixed.strip_suffix('/').unwrap_or(fixed);
        let all = match Topic::parse(fixed) {
            Ok(first) => self.retained.range(first..),
            Err(_) => self.retained.range::<Topic, _>(..),
        };
        all.take_while(|(topic, _)| topic.as_str().starts_with(fixed))
            .filter(|(topic, _)| filter.matches(topic))
            .map(|(_, retained)| (retained.message.clone(), retained.since))
            .collect()
    }
}

/// One delivery for all subscriptions of a session that match: the highest QoS (MQTT 3.1.1 section
/// 3.3.5), every subscription's id. `None` when all of them want nothing of their own.
fn merge(
    message: &Message,
    same: &[(Key, Subscription)],
    publisher: Option<Key>,
    since: Instant,
) -> Option<Delivery> {
    let wanted =
        same.iter().filter(|(key, subscription)| !(subscription.no_local && publisher == Some(*key)));
    let mut best: Option<QoS> = None;
    let mut retain = false;
    let mut subscription_ids = Vec::new();
    for (_, subscription) in wanted {
        best = best.max(Some(subscription.qos));
        retain |= message.retain && subscription.retain_as_published;
        subscription_ids.extend(subscription.id);
    }
    let qos = best?.min(message.qos);
    Some(Delivery { message: Message { qos, retain, ..message.clone() }, subscription_ids, since })
}
