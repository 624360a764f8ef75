//! What the devices of an adapter are told: a queue with an end for each, and the one word that is for all.
//!
//! Owns the policy: a device that is slow holds up neither the scan nor another device. What is in the air does not fit
//! any more when a queue is full: it is left out and counted, for it is said again. A connected peripheral's task waits
//! for its own queue, and for no other. Whether the radio hears at all is a state of which only the last counts, so it
//! needs no place in a queue.

use std::future::pending;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use super::{
    super::{super::device::Frame, FromBus, ToDevices},
    BleMember,
};

/// What one device is told and has not yet taken.
const QUEUE: usize = 64;

/// The near end of the queues.
pub(super) struct Voices {
    queues: Vec<mpsc::Sender<FromBus>>,
    /// Why nothing is heard of anyone.
    deaf: watch::Sender<Option<String>>,
}

/// The far end of the queues.
pub(super) struct Heralds {
    queues: Vec<mpsc::Receiver<FromBus>>,
    deaf: watch::Receiver<Option<String>>,
}

impl Voices {
    /// For as many devices as this.
    pub(super) fn new(count: usize) -> (Self, Heralds) {
        let (queues, ends) = (0..count).map(|_| mpsc::channel(QUEUE)).unzip();
        let (deaf, heard) = watch::channel(None);
        (Self { queues, deaf }, Heralds { queues: ends, deaf: heard })
    }

    /// The queue of the device at `place`.
    pub(super) fn of(&self, place: usize) -> mpsc::Sender<FromBus> {
        self.queues[place].clone()
    }

    /// Why nothing is heard of anyone, while that is so.
    pub(super) fn deafness(&self) -> watch::Receiver<Option<String>> {
        self.deaf.subscribe()
    }

    /// Nothing is heard of anyone, and why; `None`: that is over.
    pub(super) fn set_deaf(&self, fault: Option<String>) {
        self.deaf.send_if_modified(|deaf| {
            let is_new = *deaf != fault;
            *deaf = fault;
            is_new
        });
    }

    /// Tells a device what was in the air; false: its queue is full.
    pub(super) fn pass(&self, place: usize, frame: Frame) -> bool {
        self.queues[place].try_send(FromBus::Frame(frame)).is_ok()
    }
}

impl Heralds {
    /// Carries everything to the devices; never ends.
    pub(super) async fn carry<T>(self, devices: &ToDevices, members: &[BleMember]) -> T {
        let Self { queues, deaf } = self;
        let all = members.iter().zip(queues).map(|(member, queue)| one(devices, member, queue, deaf.clone()));
        join_all(all).await;
        pending().await
    }
}

async fn one(
    devices: &ToDevices,
    member: &BleMember,
    mut queue: mpsc::Receiver<FromBus>,
    mut deaf: watch::Receiver<Option<String>>,
) {
    // A peripheral's task tells it, and only while it has no connection.
    let is_told = !member.peer.is_connected();
    loop {
        // Cancel safe: channels. Both ends last as long as the session.
        let what = tokio::select! {
            biased;
            Ok(()) = deaf.changed(), if is_told => deaf.borrow_and_update().clone().map_or(FromBus::Found, FromBus::Lost),
            Some(what) = queue.recv() => what,
            else => return,
        };
        devices.tell(&member.id, what).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tokio::time::timeout;

    use super::{
        super::{super::Ports, BleAddress, BlePeer},
        *,
    };
    use crate::model::DeviceId;

    fn said(number: u8) -> Frame {
        Frame::new("name", vec![number])
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_takes_nothing_holds_up_no_other_and_hears_at_last_what_is_so() {
        let id = |text: &str| DeviceId::parse(text).unwrap();
        let member = |text: &str, last: u8| {
            let peer = BlePeer::Advertiser { address: BleAddress([last; 6]), hears: Vec::new() };
            BleMember { id: id(text), peer }
        };
        let members = [member("slow", 1), member("quick", 2)];
        let ((slow, mut slow_inbox), (quick, mut inbox)) = (mpsc::channel(1), mpsc::channel(1));
        let inboxes = HashMap::from([(id("slow"), slow), (id("quick"), quick)]);
        let ports = Ports::new(mpsc::channel(1).1, inboxes);
        let (voices, heralds) = Voices::new(members.len());
        tokio::spawn(async move { heralds.carry::<()>(&ports.devices, &members).await });

        let taken = (0..200).filter(|number| voices.pass(0, said(*number))).count();
        assert!((QUEUE..200).contains(&taken), "its queue has an end: {taken}");
        assert!(voices.pass(1, said(7)));
        let mut next = async || timeout(Duration::from_secs(1), inbox.recv()).await.unwrap().unwrap();
        assert_eq!(next().await, FromBus::Frame(said(7)));
        voices.set_deaf(Some("it is silent".to_owned()));
        voices.set_deaf(Some("it is silent".to_owned()));
        assert_eq!(next().await, FromBus::Lost("it is silent".to_owned()));
        voices.set_deaf(None);
        assert_eq!(next().await, FromBus::Found);

        let mut words = Vec::new();
        while let Ok(Some(what)) = timeout(Duration::from_secs(1), slow_inbox.recv()).await {
            words.push(what);
        }
        assert_eq!(words.len(), taken + 1, "nothing that was taken is lost");
        let others: Vec<_> = words.iter().filter(|what| !matches!(what, FromBus::Frame(_))).collect();
        assert_eq!(others, [&FromBus::Found], "only the last word about the radio counts");
    }
}
