//! What sessions and parts of the gateway want to hear.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Attached, Delivered, House, Hub, Subscriber, fanout::delivery};
use crate::{
    broker::{
        handle::Heard,
        packet::{Reason, RetainHandling, SubscriptionOptions},
        receipt::Pledge,
        session::{Bounds, Replay, Session},
    },
    model::{QoS, TopicFilter},
};

/// How many retained messages are looked at under one lock.
const REPLAY_AT_ONCE: usize = 1_000;

impl Hub {
    /// Subscribes a session to `filter`, and queues the retained messages for it. SUBACK waits for the
    /// `pledge`: a session that outlives its connection must not forget what it was told.
    ///
    /// # Errors
    /// [`Reason::QuotaExceeded`] at the bounds on subscriptions.
    pub(in crate::broker) fn subscribe(
        &self,
        attached: &Attached,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        pledge: &mut Pledge,
    ) -> Result<QoS, Reason> {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            return Err(Reason::UnspecifiedError);
        }
        let mut state = session.lock();
        let is_new =
            state.subscribe(filter, options, &self.limits, &self.counters).ok_or(Reason::QuotaExceeded)?;
        state.replays.retain(|replay| replay.filter != *filter);
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::Never => false,
        };
        // A shared subscription is sent none (MQTT 5 section 4.8.2).
        if wants_retained && filter.share().is_none() {
            state.replays.push_back(Replay { filter: filter.clone(), after: None });
        }
        session.note_for(&mut state, Some(pledge));
        drop(state);
        house.tree.insert(filter, session.key, Subscriber::Client(session.clone(), options));
        self.send_retained(&house, session);
        Ok(options.qos)
    }

    /// Goes on with the retained messages that a session is still to be sent, as there is room now;
    /// whether it came any further.
    pub(in crate::broker) fn replay(&self, attached: &Attached) -> bool {
        let house = self.read();
        attached.session.is_owned_by(&attached.owner) && self.send_retained(&house, &attached.session)
    }

    /// Sends retained messages until the queue is half full: a new subscriber gets them all, however
    /// many there are, and no queue holds more than its bound. Whether any were looked at.
    fn send_retained(&self, house: &House, session: &Arc<Session>) -> bool {
        let half = Bounds { session: self.limits.queue_bytes_per_session / 2, ..self.bounds() };
        let mut count = 0;
        loop {
            let mut state = session.lock();
            let Some(Replay { filter, after }) = state.replays.front().cloned() else { break };
            let Some(options) = state.subscriptions.get(&filter).copied() else {
                state.replays.pop_front();
                continue;
            };
            drop(state);
            let subscriber = Subscriber::Client(session.clone(), options);
            // The publisher's session may be over, so here `no local` goes by the client id, as the
            // standard does (MQTT-3.8.3-3). From before a restart nobody is known to be the publisher.
            let without = options.no_local.then_some(&session.client);
            let mut last = None;
            let mut is_done = true;
            for (topic, publication) in house.retained.candidates(&filter, after.as_ref()) {
                is_done = count < REPLAY_AT_ONCE;
                if !is_done {
                    break;
                }
                count += 1;
                if !filter.matches(topic) || publication.left().is_err() {
                    last = Some(topic);
                    continue;
                }
                is_done = session.lock().has_room(publication.size(), half, &self.counters);
                if !is_done {
                    break;
                }
                let is_own = without.is_some() && publication.publisher.as_ref() == without;
                if !is_own && let Some(mut delivery) = delivery(&subscriber, session.key, publication, 0) {
                    delivery.retain = true;
                    self.offer(&subscriber, delivery, &mut Delivered::default());
                }
                last = Some(topic);
            }
            let mut state = session.lock();
            // Another connection of the same client may have gone on with it meanwhile.
            let index = state.replays.iter().position(|replay| replay.filter == filter);
            match index {
                Some(index) if is_done => drop(state.replays.remove(index)),
                Some(index) => {
                    state.replays[index].after = last.cloned().or(after);
                    break;
                }
                None => {}
            }
        }
        count > 0
    }

    /// Ends a subscription; whether there was one.
    pub(in crate::broker) fn unsubscribe(
        &self,
        attached: &Attached,
        filter: &TopicFilter,
        pledge: &mut Pledge,
    ) -> bool {
        let Attached { session, owner, .. } = attached;
        let mut house = self.write();
        if !session.is_owned_by(owner) {
            return false;
        }
        house.tree.remove(filter, session.key);
        let mut state = session.lock();
        let was_there = state.unsubscribe(filter, &self.counters);
        state.replays.retain(|replay| replay.filter != *filter);
        session.note_for(&mut state, Some(pledge));
        was_there
    }

    /// Subscribes a part of the gateway; the number is for [`Hub::unsubscribe_gateway`].
    pub(in crate::broker) fn subscribe_gateway(
        &self,
        filters: &[TopicFilter],
        sender: &mpsc::Sender<Heard>,
    ) -> u64 {
        let key = self.next_key();
        let subscriber = Subscriber::Gateway(sender.clone());
        let mut house = self.write();
        for (index, filter) in filters.iter().enumerate() {
            house.tree.insert(filter, key, subscriber.clone());
            if filter.share().is_none() {
                // What an earlier filter matches has been sent.
                let earlier = &filters[..index];
                for publication in house.retained.matching(filter, None) {
                    let topic = &publication.message.topic;
                    if !earlier.iter().any(|filter| filter.share().is_none() && filter.matches(topic))
                        && let Some(mut delivery) = delivery(&subscriber, 0, publication, 0)
                    {
                        delivery.retain = true;
                        self.offer(&subscriber, delivery, &mut Delivered::default());
                    }
                }
            }
        }
        key
    }

    /// Ends a subscription of the gateway.
    pub(in crate::broker) fn unsubscribe_gateway(&self, filters: &[TopicFilter], key: u64) {
        let mut house = self.write();
        for filter in filters {
            house.tree.remove(filter, key);
        }
    }
}
