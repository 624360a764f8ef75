//! What a session's queue holds and lets go.

use super::*;
use crate::{
    broker::{
        delivery::{Delivery, Identifiers, Publication},
        receipt::Pledge,
    },
    model::Topic,
};

fn offer(session: &Session, bounds: Bounds, counters: &Counters, size: usize) -> bool {
    let message = Message::new(Topic::parse("t").unwrap(), vec![0; size], QoS::AtLeastOnce);
    let publication = Publication::new(message);
    let delivery = Delivery {
        publication,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Identifiers::default(),
        share: None,
    };
    session.offer(delivery, bounds, counters, &mut Pledge::default()) != Offered::NotQueued
}

fn sessions(count: u64) -> Vec<Arc<Session>> {
    (0..count)
        .map(|key| Session::new(key, ClientId::new("x"), Duration::from_secs(60), Arc::default()))
        .collect()
}

#[test]
fn a_queue_stays_within_its_bound_and_counts_what_it_drops() {
    let (counters, bounds) = (Counters::default(), Bounds { session: 10_000, all: usize::MAX });
    let session = &sessions(1)[0];
    let taken = (0..50).filter(|_| offer(session, bounds, &counters, 1_000)).count();
    let state = session.lock();
    assert!(state.bytes <= 10_000 && taken == state.queue.len() && taken > 5, "{taken}");
    assert_eq!(counters.dropped.load(std::sync::atomic::Ordering::Relaxed), 50 - taken as u64);
    drop(state);
    session.lock().clear(&counters);
    assert_eq!(Counters::read(&counters.queued_bytes), 0);
    assert!(offer(session, bounds, &counters, 20_000), "an empty queue takes any message");
}

#[test]
fn who_fills_the_house_leaves_the_others_their_share() {
    let (counters, bounds) = (Counters::default(), Bounds { session: 100_000, all: 150_000 });
    let sessions = sessions(3);
    for hog in &sessions[..2] {
        while offer(hog, bounds, &counters, 1_000) {}
    }
    let taken = (0..50).filter(|_| offer(&sessions[2], bounds, &counters, 1_000)).count();
    assert!((10..=16).contains(&taken), "{taken}");
}

/// Found by the fuzz target `session`: the message was swallowed when the client sent it again.
#[test]
fn a_qos_2_id_is_not_on_the_disk_before_its_message_is() {
    let session = &sessions(1)[0];
    let owner = Arc::new(Owner::default());
    let mut pledge = Pledge::default();
    let receipt = pledge.receipt();
    {
        let mut state = session.lock();
        state.take_over(&owner);
        session.note(&mut state);
    }
    let remembers = |id: &str| {
        let work = session.collect(true).expect("something changed");
        let text = String::from_utf8(work.state.expect("the state changed").bytes).unwrap();
        text.contains(&format!("\"arrived\":[{id}]"))
    };
    session.set_arrived(&owner, 5, pledge.settling().map(Arrived::Settling));
    assert!(remembers(""));
    drop(receipt);
    session.set_arrived(&owner, 5, Some(Arrived::Done));
    assert!(remembers("5"));
}
