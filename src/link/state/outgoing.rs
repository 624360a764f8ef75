//! What goes out: publishes within the window, and what the cloud answers to them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Effect, Machine, Phase, Settings,
    incoming::FENCE_LIMIT,
    suspect::may_be_meant,
    up::{Fence, Pause},
};
use crate::{
    health::Refused,
    link::{
        CloudLimits,
        origin::Origin,
        window::Parcel,
        wire::{self, Refusal, Verdict},
    },
    model::{Fault, FaultKind, Message, Properties, QoS, Topic},
    store::Record,
};

/// From here on, in bytes, a message that no cloud acknowledges is probably too large: AWS IoT takes 128 KiB.
const LARGE: usize = 100 << 10;

impl Machine {
    pub(super) fn on_answered(&mut self, parcel: Parcel, verdict: Verdict, now: Instant) {
        let Phase::Up(up) = &self.phase else { return };
        if matches!(parcel, Parcel::Record(_)) && self.suspect.clear() {
            self.window.widen(self.window_limit(&up.greeting));
        }
        let Phase::Up(up) = &mut self.phase else { return };
        if !matches!(verdict, Verdict::Later(_)) {
            up.held_up = None;
        }
        match (parcel, verdict) {
            (Parcel::Record(record), Verdict::Accepted) => {
                self.counters.acknowledged += 1;
                let is_urgent = self.window.delete(record.sequence);
                self.effects.push(Effect::Delete(record.sequence));
                self.effects.extend(is_urgent.then_some(Effect::Hurry));
            }
            (Parcel::Record(record), Verdict::Refused(refusal)) => self.refuse(&record, refusal, now),
            (Parcel::Record(record), Verdict::Later(refusal)) => {
                let topic = record.message.topic.clone();
                self.window.put_back(record);
                self.pause(&topic, refusal, now);
            }
            (Parcel::Farewell, _) => self.disconnect(now),
            (_, Verdict::Accepted) => {}
            (own, Verdict::Refused(refusal)) => {
                // The limit of a refused fence runs on: what waited in the cloud may be coming in right now.
                let Some(topic) = topic_of(&own, &self.settings) else { return };
                if let Parcel::Birth = own {
                    tracing::warn!(%topic, reason = refusal.reason, "the cloud refuses the gateway's own state");
                }
                up.refusal = Some((publish_refused(&topic, refusal), now));
                self.note(Refused::Publish, topic.as_str(), refusal.reason, false);
            }
            (own, Verdict::Later(refusal)) => {
                let Some(topic) = topic_of(&own, &self.settings) else { return };
                match own {
                    // Without it nothing that comes in counts as live, however long the connection lasts.
                    Parcel::Fence => up.urgent.push_back(own),
                    _ => up.urgent.push_front(own),
                }
                self.pause(&topic, refusal, now);
            }
        }
    }

    pub(super) fn refuse(&mut self, record: &Record, refusal: Refusal, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let (topic, reason) = (&record.message.topic, refusal.reason);
        if up.refusal.is_none() {
            // Once a connection: the store counts every one.
            tracing::warn!(%topic, reason, policy = "refused by the cloud", "dropped a message");
        }
        up.refusal = Some((publish_refused(topic, refusal), now));
        self.note(Refused::Publish, topic.as_str(), reason, true);
        self.effects.push(Effect::Discard(record.sequence));
    }

    /// The line broke: if the cloud may have ended it because of the oldest unanswered record, this counts.
    pub(super) fn suspect_the_oldest(&mut self, kind: FaultKind, now: Instant) {
        let Phase::Up(up) = &self.phase else { return };
        let is_prompt = now.saturating_duration_since(up.progress) <= self.settings.answer_limit;
        if up.drain.is_some() || !is_prompt || !may_be_meant(kind) {
            return;
        }
        let Some(record) = self.window.oldest_sent() else { return };
        if !self.suspect.broke(record.sequence) {
            return;
        }
        let (topic, bytes) = (&record.message.topic, record.message.size());
        tracing::error!(
            %topic,
            bytes,
            policy = "refused by the cloud",
            "dropped a message: the cloud ended every connection on which it was sent, at last alone"
        );
        // Where 3.1.1 has no word for it, only the size says which limit it was.
        let kind = if bytes >= LARGE { FaultKind::TooLarge } else { FaultKind::NotAuthorized };
        let detail = format!(
            "publishing to `{topic}`, {bytes} bytes: the cloud ended every connection on which it was sent"
        );
        self.given_up = Some(Fault::new(kind, detail));
        let (topic, sequence) = (topic.clone(), record.sequence);
        let reason = "the cloud ended every connection on which it was sent";
        self.note(Refused::Publish, topic.as_str(), reason, true);
        self.effects.push(Effect::Discard(sequence));
    }

    pub(super) fn pause(&mut self, topic: &Topic, refusal: Refusal, now: Instant) {
        self.note(Refused::Publish, topic.as_str(), refusal.reason, false);
        let Phase::Up(up) = &mut self.phase else { return };
        if up.pause.is_some() {
            return;
        }
        let quiet = self.last_pause.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        let wait = self.pauses.after_failure(quiet, self.random.f64());
        self.last_pause = Some(now);
        up.pause = Some(Pause { until: now + wait, fault: publish_refused(topic, refusal) });
    }

    pub(super) fn send_what_fits(&mut self, now: Instant) {
        loop {
            let Phase::Up(up) = &mut self.phase else { return };
            up.paced = None;
            if up.fence == Fence::NotSent || up.pause.is_some() || up.drain.is_some() {
                break;
            }
            if !self.window.has_room_for_own() {
                break;
            }
            if let Err(until) = self.rate.look(now) {
                up.paced = Some(until);
                break;
            }
            if let Some(parcel) = up.urgent.pop_front() {
                self.publish(parcel, now);
                continue;
            }
            if !self.window.has_room() {
                break;
            }
            let Some((record, has_waited)) = self.next_record(now) else { break };
            if self.send_record(record, now) && has_waited {
                self.pacer.spend();
            }
        }
        if let Phase::Up(up) = &self.phase
            && up.fence != Fence::NotSent
            && up.drain.is_none()
        {
            self.effects.extend(self.window.fetch(self.highest).map(Effect::Fetch));
        }
    }

    /// Live ones first; then the oldest, if it waited, which is said beside it, only as fast as the backlog may go.
    fn next_record(&mut self, now: Instant) -> Option<(Record, bool)> {
        if let Some(record) = self.window.take_live() {
            return Some((record, false));
        }
        let has_waited = self.window.is_backlog_next()?;
        if has_waited && let Err(until) = self.pacer.look(now) {
            if let Phase::Up(up) = &mut self.phase {
                up.paced = Some(until);
            }
            return None;
        }
        self.window.take_ordinary().map(|record| (record, has_waited))
    }

    /// Whether it was sent: one that the cloud cannot take is dropped instead.
    fn send_record(&mut self, record: Record, now: Instant) -> bool {
        let Phase::Up(up) = &self.phase else { return false };
        let max_packet = up.greeting.max_packet.map(|max| max as usize);
        let size = || wire::packet_size(up.version, &record.message, Some(&record.id));
        let beyond = beyond(&record.message, &self.settings.limits);
        let beyond = beyond.or_else(|| {
            let max = max_packet.filter(|max| size() > *max)?;
            Some(format!("a packet of {} bytes, and the cloud takes {max}", size()))
        });
        if let Some(reason) = beyond {
            self.discard_oversize(&record, reason, now);
            return false;
        }
        if self.window.was_sent_before(&record) {
            self.counters.resent += 1;
        }
        self.publish(Parcel::Record(record), now);
        true
    }

    fn discard_oversize(&mut self, record: &Record, reason: String, now: Instant) {
        let topic = &record.message.topic;
        let Phase::Up(up) = &mut self.phase else { return };
        if !std::mem::replace(&mut up.has_told_of_oversize, true) {
            // Once a connection: the store counts every one.
            tracing::error!(%topic, reason, policy = "beyond_limits", "dropped a message that the cloud cannot take");
        }
        up.refusal =
            Some((Fault::new(FaultKind::TooLarge, format!("publishing to `{topic}`: {reason}")), now));
        self.note(Refused::Publish, topic.as_str(), reason, true);
        self.effects.push(Effect::DiscardOversize(record.sequence));
    }

    pub(super) fn publish(&mut self, parcel: Parcel, now: Instant) {
        let Phase::Up(up) = &mut self.phase else { return };
        let (mut message, origin) = match &parcel {
            Parcel::Record(record) => {
                let origin = Origin { id: record.id.clone(), born: record.born };
                (record.message.clone(), Some(origin))
            }
            Parcel::Hello(place) => match self.settings.hellos.get(*place) {
                Some(hello) => (hello.clone(), None),
                None => return,
            },
            Parcel::Birth => (self.settings.birth.clone(), None),
            Parcel::Farewell => (self.settings.will.clone(), None),
            Parcel::Fence => {
                if let Fence::Waiting { until } = &mut up.fence {
                    *until = now + FENCE_LIMIT;
                }
                let mut token = Message::new(self.settings.fence.clone(), up.token.clone(), QoS::AtLeastOnce);
                // An old token helps nobody: the cloud need not keep it while we are away.
                let expiry = Some(Duration::from_secs(60));
                token.properties = Some(Arc::new(Properties { expiry, ..Properties::default() }));
                (token, None)
            }
        };
        message.retain &= up.greeting.retain_available && self.settings.limits.retain;
        if self.window.is_empty() {
            up.progress = now;
        }
        up.ask(now);
        self.counters.published += 1;
        self.rate.spend();
        self.window.send(parcel, message.size());
        self.effects.push(Effect::Publish(message, origin));
    }
}

/// What of a message the cloud is known not to take, if anything; before it is sent, since some clouds answer such a
/// message by ending the connection.
fn beyond(message: &Message, limits: &CloudLimits) -> Option<String> {
    let (topic, payload) = (message.topic.as_str(), message.payload.len());
    if let Some(max) = limits.max_payload.filter(|max| payload > *max) {
        return Some(format!("a payload of {payload} bytes, and the cloud takes {max}"));
    }
    if let Some(max) = limits.topic_levels {
        let levels = message.topic.levels().count();
        if levels > max {
            return Some(format!("a topic of {levels} levels, and the cloud takes {max}"));
        }
    }
    if let Some(max) = limits.topic_length.filter(|max| topic.len() > *max) {
        return Some(format!("a topic of {} bytes, and the cloud takes {max}", topic.len()));
    }
    let character = topic.chars().find(|character| limits.not_in_topics.contains(character))?;
    Some(format!("a topic with {character:?}, which the cloud does not take"))
}

/// Where it goes; `None`: there is no such hello.
fn topic_of(parcel: &Parcel, settings: &Settings) -> Option<Topic> {
    match parcel {
        Parcel::Record(record) => Some(record.message.topic.clone()),
        Parcel::Hello(place) => Some(settings.hellos.get(*place)?.topic.clone()),
        Parcel::Birth => Some(settings.birth.topic.clone()),
        Parcel::Fence => Some(settings.fence.clone()),
        Parcel::Farewell => Some(settings.will.topic.clone()),
    }
}

fn publish_refused(topic: &Topic, Refusal { kind, reason }: Refusal) -> Fault {
    Fault::new(kind, format!("publishing to `{topic}`: {reason}"))
}
