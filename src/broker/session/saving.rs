//! What the disk is to know of a session, for the recorder.
//!
//! Never writes: it gives out [`Work`] and is told what became of it. Invariants: messages are written
//! in the session's order, so that one number, `saving`, tells of each whether the disk has it or is
//! about to; a message that its client acknowledges before it was given out is never written at all,
//! which is how a client that keeps up costs no flash; a row is deleted only after its message is done
//! with.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Arrived, Bounds, Replay, Session, State, Waiting};
use crate::{
    broker::{
        counters::Counters,
        delivery::{Identifiers, Publication},
        packet::SubscriptionOptions,
        receipt::{Pledge, Receipt},
    },
    model::{QoS, TopicFilter},
    store::{Awaiting, AwaitingChange, SessionState},
};

/// How many sequences ahead a restart begins, so that no packet id is used again that a client may
/// still have in mind.
pub(super) const AHEAD: u64 = 1 << 14;

/// The layout of [`Remembered`] in this version.
const LAYOUT: u8 = 2;

/// A session on the disk, but for its messages.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::broker) struct Remembered {
    version: u8,
    expiry_seconds: u64,
    /// Whose it is; layout 1 knew none at first.
    #[serde(default)]
    user: Option<String>,
    subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    /// The last sequence that was sent, if the client is absent; while it is connected nobody knows.
    #[serde(default)]
    sent: u64,
    /// No sequence up to here may be used again.
    #[serde(default)]
    reserved: u64,
    /// QoS 2 packet ids of messages from the client that are kept and wait for its PUBREL.
    #[serde(default)]
    arrived: Vec<u16>,
    /// Retained messages that a subscription has still to be sent.
    #[serde(default)]
    replays: Vec<Replay>,
}

impl Remembered {
    /// Reads what some version wrote; `None`: it cannot be understood.
    pub(in crate::broker) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|known| (1..=LAYOUT).contains(&known.version))
    }

    /// Whose the session is; `None`: an anonymous client's.
    pub(in crate::broker) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// How long the session outlives its connection.
    pub(in crate::broker) fn expiry(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.expiry_seconds)
    }
}

/// What the recorder is to do for a session.
#[derive(Debug)]
pub(in crate::broker) struct Work {
    pub(in crate::broker) session: Arc<Session>,
    pub(in crate::broker) state: Option<SessionState>,
    pub(in crate::broker) changes: Vec<AwaitingChange>,
    /// The disk is to forget the session instead.
    pub(in crate::broker) is_over: bool,
    /// `saving` before and after.
    from: u64,
    up_to: u64,
    /// What of the changes is no new message.
    settled: Vec<AwaitingChange>,
    /// Of those who wait for the state to be on the disk.
    receipts: Vec<Receipt>,
}

impl Work {
    /// What holds those back who wait for the state.
    pub(in crate::broker) fn take_receipts(&mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts)
    }
}

impl Session {
    /// Puts the session on the recorder's agenda; `is_urgent`: somebody waits for it.
    pub(in crate::broker) fn list(&self, state: &mut State, is_urgent: bool) {
        if !state.is_listed
            && let Some(me) = self.me.upgrade()
        {
            state.is_listed = true;
            self.agenda.session(me);
        }
        if is_urgent {
            self.agenda.hurry();
        }
    }

    /// Puts the session's state on the agenda, if the disk knows it or is to know it.
    pub(in crate::broker) fn note(&self, state: &mut State) {
        self.note_for(state, None);
    }

    /// The same, for somebody who waits for it.
    pub(in crate::broker) fn note_for(&self, state: &mut State, pledge: Option<&mut Pledge>) {
        if state.is_recorded || !state.expiry.is_zero() {
            if !self.agenda.is_down() {
                state.receipts.extend(pledge.map(Pledge::receipt));
            }
            state.is_recorded = true;
            state.is_stale = true;
            self.list(state, true);
        }
    }

    /// What the disk is to know now. Messages to a connected client are given a round's time to be
    /// acknowledged, unless `all` are wanted. `None`: nothing.
    pub(in crate::broker) fn collect(self: &Arc<Self>, all: bool) -> Option<Work> {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.is_listed = false;
        if state.is_over || !state.is_recorded {
            return None;
        }
        let from = state.saving;
        if state.expiry.is_zero() {
            state.is_recorded = false;
            state.saving = 0;
            // If it is to last again before it ends, all that waits goes to the disk at once: those who
            // published it were let go with this work.
            state.seen = u64::MAX;
            return Some(Work {
                session: self.clone(),
                state: None,
                changes: Vec::new(),
                is_over: true,
                from,
                // Nothing of it will be on the disk: nobody waits for any of it.
                up_to: state.last_sequence,
                settled: std::mem::take(&mut state.settled),
                receipts: std::mem::take(&mut state.receipts),
            });
        }
        let seen = if all || state.owner.is_none() { u64::MAX } else { state.seen };
        let due = seen.min(state.last_sequence);
        state.seen = state.last_sequence;
        let mut changes: Vec<_> = state
            .waiting_after(from)
            .filter(|waiting| waiting.sequence <= due)
            .map(|waiting| AwaitingChange::Put(waiting.to_row()))
            .collect();
        state.saving = from.max(due);
        let is_more = state.waiting_after(state.saving).next().is_some();
        let settled = std::mem::take(&mut state.settled);
        changes.extend(settled.iter().cloned());
        if is_more {
            self.list(state, false);
        }
        let remembered = state.is_stale.then(|| state.remembered());
        state.is_stale = false;
        if changes.is_empty() && remembered.is_none() {
            return None;
        }
        let work = Work {
            session: self.clone(),
            state: remembered,
            changes,
            is_over: false,
            from,
            up_to: state.saving,
            settled,
            receipts: std::mem::take(&mut state.receipts),
        };
        Some(work)
    }

    /// The disk has not taken the work: it is to be given out again. Nobody waits for it any longer.
    pub(in crate::broker) fn not_saved(&self, work: Work) {
        self.let_go(&work);
        let mut state = self.lock();
        if work.is_over {
            state.is_recorded = true;
        } else {
            state.saving = work.from;
            state.is_stale |= work.state.is_some();
            let later = std::mem::replace(&mut state.settled, work.settled);
            state.settled.extend(later);
        }
        if !state.is_over {
            self.list(&mut state, false);
        }
    }

    /// Publishers and QoS 2 messages wait no longer for what is in the work: it is on the disk, or the
    /// disk is in trouble, and the home goes on.
    pub(in crate::broker) fn let_go(&self, work: &Work) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for waiting in state.inflight.iter_mut().chain(&mut state.queue) {
            if waiting.sequence > work.up_to {
                break;
            }
            waiting.receipt = None;
        }
        for change in &work.settled {
            if let AwaitingChange::Released(sequence) = change {
                state.inflight.release(*sequence);
            }
        }
        if state.inflight.has_again() {
            state.wake();
        }
    }

    /// The disk is in trouble: nobody waits for it.
    pub(in crate::broker) fn let_all_go(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.receipts = Vec::new();
        for waiting in state.inflight.iter_mut().chain(&mut state.queue) {
            waiting.receipt = None;
        }
        for change in &state.settled {
            if let AwaitingChange::Released(sequence) = change {
                state.inflight.release(*sequence);
            }
        }
        if state.inflight.has_again() {
            state.wake();
        }
    }

    /// Takes over what the disk remembers to wait for an older session of the same client, behind what waits here.
    /// What that one had sent already is sent again as new: its client was told that the old session is gone.
    pub(in crate::broker) fn inherit(
        &self,
        older: &Remembered,
        rows: Vec<Awaiting>,
        bounds: Bounds,
        counters: &Counters,
    ) {
        // Under this client id it may have waited for somebody else.
        if self.lock().user.as_deref() != older.user() {
            return;
        }
        for row in rows.into_iter().filter(|row| !row.is_released) {
            self.offer(Waiting::from_row(row).delivery, bounds, counters, &mut Pledge::default());
        }
    }

    /// Fills a new session with what the disk remembers of it. `window` messages may be on their way.
    pub(in crate::broker) fn restore(
        &self,
        remembered: Remembered,
        rows: Vec<Awaiting>,
        left: Option<std::time::Duration>,
        window: usize,
        counters: &Counters,
    ) {
        let mut guard = self.lock();
        let state = &mut *guard;
        // While its client was connected, anything at the front may have been sent.
        let (was_absent, sent) = (left.is_some(), remembered.sent);
        // Also when the window is smaller now: what was sent before something that was is in it.
        let released = rows.iter().rfind(|row| row.is_released).map_or(0, |row| row.sequence);
        for row in rows {
            state.last_sequence = row.sequence;
            let has_flown = row.sequence <= released
                || if was_absent { row.sequence <= sent } else { state.inflight.len() < window };
            if row.is_released {
                state.inflight.restore(row.sequence, None);
                continue;
            }
            let waiting = Waiting::from_row(row);
            let size = waiting.delivery.size();
            state.bytes += size;
            Counters::add(&counters.queued_bytes, size);
            // Sequences leap at a restart: one whose packet id another still has cannot have been sent.
            let had_an_id = state.inflight.id_for(waiting.sequence).is_some();
            if has_flown && had_an_id && state.queue.is_empty() {
                state.inflight.restore(waiting.sequence, Some(waiting));
            } else {
                state.queue.push_back(waiting);
            }
        }
        state.user = remembered.user.map(Arc::from);
        state.saving = state.last_sequence;
        state.last_sequence = state.last_sequence.max(remembered.reserved);
        state.reserved = remembered.reserved;
        state.seen = state.last_sequence;
        state.sent = sent;
        state.arrived = remembered.arrived.into_iter().map(|id| (id, Arrived::Done)).collect();
        state.replays = remembered.replays.into();
        for (filter, options) in remembered.subscriptions {
            state.insert_subscription(filter, options, counters);
        }
        state.is_recorded = true;
        state.ends_at = Instant::now().checked_add(left.unwrap_or(state.expiry).min(state.expiry));
    }
}

impl State {
    /// The QoS 1 and 2 messages behind a sequence, in order.
    fn waiting_after(&mut self, sequence: u64) -> impl Iterator<Item = &Waiting> {
        let queued = self.queue.partition_point(|waiting| waiting.sequence <= sequence);
        self.inflight
            .iter_mut()
            .map(|waiting| &*waiting)
            .chain(self.queue.range(queued..))
            .filter(move |waiting| waiting.sequence > sequence && waiting.delivery.qos != QoS::AtMostOnce)
    }

    fn remembered(&mut self) -> SessionState {
        self.reserved = self.last_sequence + AHEAD;
        let remembered = Remembered {
            version: LAYOUT,
            expiry_seconds: self.expiry.as_secs(),
            user: self.user.as_deref().map(str::to_owned),
            subscriptions: self
                .subscriptions
                .iter()
                .map(|(filter, options)| (filter.clone(), *options))
                .collect(),
            sent: self.sent,
            reserved: self.reserved,
            // An id that is remembered before its message is kept would swallow the message when the
            // client sends it again after a crash.
            arrived: self
                .arrived
                .iter()
                .filter(|(_, arrived)| matches!(arrived, Arrived::Done))
                .map(|(id, _)| *id)
                .collect(),
            replays: self.replays.iter().cloned().collect(),
        };
        let left = self.ends_at.map(|end| end.saturating_duration_since(Instant::now()));
        // Texts and numbers can always be serialised.
        SessionState { bytes: serde_json::to_vec(&remembered).unwrap_or_default(), left }
    }
}

impl Waiting {
    fn to_row(&self) -> Awaiting {
        let mut message = self.delivery.publication.to_message();
        message.qos = self.delivery.qos;
        message.retain = self.delivery.retain;
        Awaiting {
            sequence: self.sequence,
            message,
            identifiers: self.delivery.identifiers.as_slice().to_vec(),
            is_released: false,
        }
    }

    fn from_row(row: Awaiting) -> Self {
        let mut identifiers = Identifiers::default();
        for identifier in row.identifiers {
            identifiers.add(Some(identifier));
        }
        let (qos, retain) = (row.message.qos, row.message.retain);
        let delivery = super::Delivery {
            publication: Publication::new(row.message),
            qos,
            retain,
            identifiers,
            share: None,
        };
        Self { delivery, sequence: row.sequence, receipt: None }
    }
}
