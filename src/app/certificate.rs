//! Says when the gateway's own certificate for the cloud runs out: in the log, at home and in the cloud.
//!
//! Owns what was told. What it tells is retained, and told again only when it is another certificate, or when a
//! threshold is crossed ([`Expiry`]); at each start it is told once. Invariants: nothing is told while the clock cannot
//! be believed; the log hears of each threshold of a certificate once, whatever the clock does.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::LocalTopics;
use crate::{
    broker::BrokerHandle,
    clock::Clock,
    health::{Board, CertificateReport, CertificateStatus, Expiry},
    model::{KeyEvent, Message, QoS, Timestamp, Topic},
    store::{Entry, Store},
};

/// How often the wall clock is looked at: it can be set, and a Pi can sleep.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The same while nobody knows what time it is.
const LOOK_FOR_CLOCK_EVERY: Duration = Duration::from_secs(10);
/// The member of the message that says when it was true.
const AT: &str = "at";

/// The one who watches the certificate.
pub(super) struct CertificateWatch {
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) broker: BrokerHandle,
    pub(super) store: Store,
    pub(super) local: LocalTopics,
    /// Its topic in the cloud; `None` without a cloud, or where that has none.
    pub(super) cloud: Option<Topic>,
}

/// Which certificate, by its fingerprint, and how near its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told(String, Expiry);

/// What was told last, to whom.
#[derive(Debug, Default)]
struct Memory {
    logged: Option<Told>,
    at_home: Option<Told>,
    in_cloud: Option<Told>,
}

impl CertificateWatch {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut certificate = self.board.watch_certificate();
        let mut memory = Memory::default();
        loop {
            let report = certificate.borrow_and_update().clone();
            let now = self.clock.is_trusted().then(|| self.clock.now());
            let pause = if now.is_some() { LOOK_EVERY } else { LOOK_FOR_CLOCK_EVERY };
            // Cancel safety: what is cut short at the stop is told at the next start; what changed is read at the next
            // turn, and a pause that is cut short is begun anew.
            if stop.run_until_cancelled(self.look(report, now, &mut memory)).await.is_none() {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = certificate.changed() => if changed.is_err() { break },
                () = sleep(pause) => {}
            }
        }
    }

    /// Tells what there is to tell at this moment.
    async fn look(&self, report: Option<CertificateReport>, now: Option<Timestamp>, memory: &mut Memory) {
        let Some(report) = report else { return self.take_back(memory).await };
        let status = report.at(now);
        let (Some(now), Some(expiry)) = (now, status.expiry) else { return };
        let fresh = Told(status.certificate.fingerprint_sha256.clone(), expiry);
        log(&mut memory.logged, &fresh, &status);
        // Texts, numbers and times: serialising them cannot fail.
        let mut payload = serde_json::to_value(&status).unwrap_or_default();
        let for_cloud = payload.to_string();
        if memory.at_home.as_ref() != Some(&fresh) {
            payload[AT] = json!(now);
            self.publish(payload.to_string());
            memory.at_home = Some(fresh.clone());
        }
        // What the store did not take is tried again at the next look.
        if memory.in_cloud.as_ref() != Some(&fresh) && self.to_cloud(for_cloud).await {
            memory.in_cloud = Some(fresh);
        }
    }

    fn publish(&self, payload: String) {
        self.broker.publish(&message(self.local.certificate(), payload));
    }

    /// Whether it is kept for the cloud now, or there is none.
    async fn to_cloud(&self, payload: String) -> bool {
        let Some(topic) = &self.cloud else { return true };
        // What is empty has no members to which a stamp could be added.
        let stamp = (!payload.is_empty()).then_some(AT);
        let entry = Entry { stamp, ..Entry::new(message(topic.clone(), payload)) };
        let kept = async { self.store.append(entry).await?.await };
        match kept.await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "what the cloud is told of this gateway's certificate is not kept; tried again");
                false
            }
        }
    }

    /// There is no certificate any more: what was kept from when there was one is cleared.
    async fn take_back(&self, memory: &mut Memory) {
        let is_kept = !self.broker.retained(&[(&self.local.certificate()).into()], 1).is_empty();
        if is_kept && self.to_cloud(String::new()).await {
            self.publish(String::new());
            *memory = Memory::default();
        }
    }
}

fn message(topic: Topic, payload: String) -> Message {
    Message::new(topic, payload, QoS::AtLeastOnce).retained()
}

/// Each threshold of a certificate once, the nearest to its end only.
fn log(logged: &mut Option<Told>, fresh: &Told, status: &CertificateStatus) {
    let Told(fingerprint, expiry) = fresh;
    let is_new = logged.as_ref().is_none_or(|Told(old, reached)| old != fingerprint || reached < expiry);
    if !is_new {
        return;
    }
    let (subject, until) = (&status.certificate.subject, status.certificate.not_after);
    let days_left = status.days_left;
    match expiry {
        Expiry::Far => {
            tracing::debug!(subject, %until, days_left, "this gateway's certificate for the cloud")
        }
        Expiry::Month | Expiry::Week => {
            let event = KeyEvent::CertificateExpires;
            tracing::warn!(message_id = event.id(), subject, %until, days_left, "{}", event.says());
        }
        Expiry::Day => {
            let event = KeyEvent::CertificateExpires;
            tracing::error!(message_id = event.id(), subject, %until, days_left, "{}", event.says());
        }
        Expiry::Expired => {
            let event = KeyEvent::CertificateExpired;
            tracing::error!(message_id = event.id(), subject, %until, days_left, "{}", event.says());
        }
    }
    *logged = Some(fresh.clone());
}

#[cfg(test)]
mod tests;
