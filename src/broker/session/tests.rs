//! What a session's queue holds and lets go.

use bytes::BytesMut;
use futures_util::FutureExt;

use super::*;
use crate::{
    broker::{
        delivery::{Delivery, Identifiers, Publication},
        packet::{Ack, Encoder, Version},
        receipt::Pledge,
    },
    model::{Properties, Topic},
    store::{Awaiting, AwaitingChange},
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

fn row(sequence: u64, life: Option<Duration>) -> Awaiting {
    let mut message = Message::new(Topic::parse("t").unwrap(), "x", QoS::AtLeastOnce);
    message.properties =
        life.map(|life| Arc::new(Properties { expiry: Some(life), ..Properties::default() }));
    Awaiting { sequence, message, identifiers: Vec::new(), is_released: false }
}

/// A session whose client was connected when the power went, with these rows on the disk.
fn restored(rows: Vec<Awaiting>, counters: &Counters) -> (Arc<Session>, Arc<Owner>) {
    let (session, owner) = (sessions(1).remove(0), Arc::new(Owner::default()));
    session.restore(Remembered::default(), rows, None, 64, counters);
    session.lock().take_over(&owner);
    (session, owner)
}

fn sent(session: &Session, owner: &Arc<Owner>, counters: &Counters) -> BytesMut {
    let (bounds, mut out) = (Bounds { session: 100_000, all: 150_000 }, BytesMut::new());
    let appetite = Appetite { window: 64, until: 32 << 10 };
    session.fill(owner, &mut Encoder::new(Version::V311), &mut out, appetite, bounds, counters).unwrap();
    out
}

#[test]
fn what_waited_in_an_older_session_comes_behind_what_waits_unless_it_was_another_users() {
    let (counters, bounds) = (Counters::default(), Bounds { session: 100_000, all: 150_000 });
    let session = &sessions(1)[0];
    let owner = Arc::new(Owner::default());
    session.lock().take_over(&owner);
    session.lock().user = Some("ann".into());
    assert!(offer(session, bounds, &counters, 100));
    let of = |user: &str| {
        let text = format!(r#"{{"version":2,"expiry_seconds":9,"user":"{user}","subscriptions":[]}}"#);
        Remembered::read(text.as_bytes()).unwrap()
    };
    let rows = || vec![Awaiting { is_released: true, ..row(7, None) }, row(8, None)];
    session.inherit(&of("bob"), rows(), bounds, &counters);
    assert_eq!(session.lock().last_sequence, 1);
    session.inherit(&of("ann"), rows(), bounds, &counters);
    assert_eq!(session.lock().last_sequence, 2, "the one that was not released yet");
    assert!(sent(session, &owner, &counters).ends_with(b"\0\x01t\0\x02x"), "behind, under a new id");
}

/// Found by the fuzz target `session`: after several restarts two messages had one packet id.
#[test]
fn what_is_restored_has_no_packet_id_that_another_message_has() {
    let counters = Counters::default();
    let (session, owner) = restored(vec![row(7, None), row(8, None), row(8 + 65_535, None)], &counters);
    let publish = |id: u8| [0x3A, 6, 0, 1, b't', 0, id, b'x'];
    assert_eq!(sent(&session, &owner, &counters)[..], [publish(7), publish(8)].concat());
    for id in [7, 8] {
        session.acknowledge(&owner, (Ack::Taken, id, false), &counters);
    }
    let mut once_free = publish(8);
    once_free[0] = 0x32;
    assert_eq!(sent(&session, &owner, &counters)[..], once_free);
}

#[test]
fn what_expired_while_the_power_was_off_is_not_sent() {
    let counters = Counters::default();
    let rows = vec![row(1, Some(Duration::ZERO)), row(2, Some(Duration::from_secs(60)))];
    let (session, owner) = restored(rows, &counters);
    assert_eq!(sent(&session, &owner, &counters)[..], [0x3A, 6, 0, 1, b't', 0, 2, b'x']);
    session.acknowledge(&owner, (Ack::Taken, 2, false), &counters);
    assert_eq!(Counters::read(&counters.queued_bytes), 0);
}

#[test]
fn nobody_waits_for_a_session_that_the_disk_is_to_forget() {
    let (session, owner, counters) = (sessions(1).remove(0), Arc::new(Owner::default()), Counters::default());
    session.lock().take_over(&owner);
    let mut pledge = Pledge::default();
    let publication = Publication::new(row(1, None).message);
    let identifiers = Identifiers::default();
    let delivery = Delivery { publication, qos: QoS::AtLeastOnce, retain: false, identifiers, share: None };
    session.offer(delivery, Bounds { session: 1_000, all: 1_000 }, &counters, &mut pledge);
    let settling = pledge.settling().unwrap();
    {
        let mut state = session.lock();
        session.note(&mut state);
        state.expiry = Duration::ZERO;
        session.note(&mut state);
    }
    let work = session.collect(false).unwrap();
    assert!(work.is_over && settling.clone().now_or_never().is_none());
    session.let_go(&work);
    assert!(settling.now_or_never().is_some(), "its publisher waits for ever");
}

/// Found by fuzzing: its publisher had been let go when the session was to end with its connection.
#[test]
fn a_session_that_is_to_last_again_is_written_with_all_that_waits_for_it() {
    let (session, owner, counters) = (sessions(1).remove(0), Arc::new(Owner::default()), Counters::default());
    session.lock().take_over(&owner);
    let bounds = Bounds { session: 1_000, all: 1_000 };
    offer(&session, bounds, &counters, 10);
    let lasts = |expiry: u64| {
        let mut state = session.lock();
        state.is_recorded = true;
        state.expiry = Duration::from_secs(expiry);
        session.note(&mut state);
    };
    lasts(0);
    let forgotten = session.collect(false).unwrap();
    assert!(forgotten.is_over);
    session.let_go(&forgotten);
    lasts(60);
    let work = session.collect(false).unwrap();
    assert!(work.state.is_some());
    assert!(
        matches!(work.changes[..], [AwaitingChange::Put(_)]),
        "CONNACK would promise it: {:?}",
        work.changes
    );
}
