//! The judge is judged: every kind of fault is found in a made-up history, and a clean one passes. Here messages;
//! commands and work are in [`super::command_claims`].

use std::time::Duration;

use super::command_claims::{RULES, acted, asked, handed, told, told_again};
use crate::history::{
    Entry, Event, Receipt,
    verdict::{Kind, Rules, judge},
};

/// A history with an entry every 10 ms.
fn history(events: Vec<Event>) -> Vec<Entry> {
    let moments = (1..).map(|tick| Duration::from_millis(10 * tick));
    let own = Entry { at: Duration::ZERO, event: Event::Own("lamp".into()) };
    std::iter::once(own).chain(moments.zip(events).map(|(at, event)| Entry { at, event })).collect()
}

fn published(payload: &str) -> Event {
    Event::Published { topic: "sensors/a".into(), payload: payload.into() }
}

fn accepted(payload: &str) -> Event {
    Event::Accepted { topic: "sensors/a".into(), payload: payload.into() }
}

fn received(payload: &str, id: &str, connection: u64) -> Event {
    Event::Received(Receipt {
        connection,
        topic: "sensors/a".into(),
        payload: payload.into(),
        id: (!id.is_empty()).then(|| id.into()),
        is_ours: false,
    })
}

fn state(payload: &str, id: &str) -> Event {
    Event::Received(Receipt {
        connection: 1,
        topic: "lamp".into(),
        payload: payload.into(),
        id: Some(id.into()),
        is_ours: true,
    })
}

#[track_caller]
fn finds(expected: &[Kind], events: Vec<Event>) {
    let verdict = judge(&history(events), RULES);
    assert_eq!(verdict.kinds(), expected, "{verdict}");
}

#[test]
fn a_clean_history_passes_with_all_that_is_allowed() {
    let verdict = judge(
        &history(vec![
            published("1"),
            published("2"),
            accepted("1"),
            received("1", "s-1", 1),
            received("2", "s-2", 1),
            Event::Mark("the gateway is killed".into()),
            // The device never saw the PUBACK of 2, the gateway never that of either.
            published("2"),
            accepted("2"),
            received("1", "s-1", 2),
            received("2", "s-2", 2),
            received("2", "s-3", 2),
            // Not accepted, and never to be seen again.
            published("3"),
            state(r#"{"state":"ON","message_id":"s-4"}"#, "s-4"),
            asked("c-1"),
            handed("c-1"),
            Event::AskedAgain,
            acted("c-1"),
            Event::Taken { id: "c-1".into() },
            told("c-1", "applied"),
            told_again("c-1", "applied"),
        ]),
        RULES,
    );
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.figure("accepted by the gateway"), 2);
    assert_eq!(verdict.figure("received again, marked by its id"), 2);
}

#[test]
fn an_accepted_message_that_never_arrived_is_lost() {
    let mut events = vec![published("1"), accepted("1"), published("2"), accepted("2")];
    events.push(received("2", "s-2", 1));
    finds(&[Kind::Lost], events);
}

#[test]
fn a_message_that_nobody_sent_is_foreign() {
    finds(&[Kind::Foreign], vec![published("1"), received("1", "s-1", 1), received("7", "s-2", 1)]);
}

#[test]
fn more_repetitions_than_the_window_on_a_connection_are_too_many() {
    let first =
        (1..=3).flat_map(|n| [published(&n.to_string()), received(&n.to_string(), &format!("s-{n}"), 1)]);
    let again = |connection, count: u32| {
        (1..=count).map(move |n| received(&n.to_string(), &format!("s-{n}"), connection))
    };
    finds(&[], first.clone().chain(again(2, 2)).chain(again(3, 2)).collect());
    finds(&[Kind::Duplicated], first.chain(again(2, 3)).collect());
}

#[test]
fn the_same_message_twice_on_one_connection_is_once_too_often() {
    finds(&[Kind::Duplicated], vec![published("1"), received("1", "s-1", 1), received("1", "s-1", 1)]);
}

#[test]
fn a_repetition_that_a_consumer_cannot_know_is_found() {
    finds(&[Kind::Unmarked], vec![published("1"), received("1", "", 1), received("1", "s-1", 1)]);
    let two = vec![published("1"), published("2"), received("1", "s-1", 1), received("2", "s-1", 2)];
    finds(&[Kind::Unmarked], two);
    // Sent once and kept twice.
    finds(&[Kind::Unmarked], vec![published("1"), received("1", "s-1", 1), received("1", "s-2", 2)]);
}

#[test]
fn what_the_gateway_wrote_itself_carries_its_id_in_the_payload() {
    finds(&[Kind::Unmarked], vec![state(r#"{"state":"ON"}"#, "s-1")]);
    finds(&[Kind::Unmarked], vec![state(r#"{"state":"ON","message_id":"s-2"}"#, "s-1")]);
    finds(&[Kind::Unmarked], vec![state("ON", "s-1")]);
    let lenient = Rules { has_id_in_payload: false, ..RULES };
    assert!(judge(&history(vec![state(r#"{"state":"ON"}"#, "s-1")]), lenient).is_clean());
}

#[test]
fn first_receipts_out_of_the_order_of_publishing_are_found_and_repetitions_are_not() {
    let sent = [published("1"), published("2"), published("3")];
    let arrive = |order: &[(&str, u64)]| {
        let arrivals = order.iter().map(|(n, connection)| received(n, &format!("s-{n}"), *connection));
        sent.iter().cloned().chain(arrivals).collect()
    };
    finds(&[], arrive(&[("1", 1), ("2", 1), ("1", 2), ("2", 2), ("3", 2)]));
    finds(&[Kind::Reordered], arrive(&[("1", 1), ("3", 1), ("2", 1)]));
}

#[test]
fn what_a_bounded_queue_loses_and_overtakes_is_for_its_sums_and_nothing_else_is() {
    let bounded = Rules { is_bounded: true, ..RULES };
    let mut events = vec![published("1"), accepted("1"), published("2"), published("3")];
    events.extend([received("3", "s-3", 1), received("2", "s-2", 1)]);
    finds(&[Kind::Lost, Kind::Reordered], events.clone());
    assert!(judge(&history(events.clone()), bounded).is_clean());
    events.push(received("7", "s-4", 1));
    assert_eq!(judge(&history(events), bounded).kinds(), [Kind::Foreign]);
}

#[test]
fn a_message_on_a_topic_that_is_nobodys_is_foreign() {
    finds(&[], vec![state(r#"{"state":"ON","message_id":"s-1"}"#, "s-1")]);
    let elsewhere = |topic: &str| {
        let (topic, id) = (topic.into(), Some("s-1".into()));
        Event::Received(Receipt { connection: 1, topic, payload: "online".into(), id, is_ours: false })
    };
    finds(&[], vec![Event::Own("lamp/availability".into()), elsewhere("lamp/availability")]);
    finds(&[Kind::Foreign], vec![elsewhere("lamp/availability")]);
    finds(&[Kind::Foreign], vec![published("1"), elsewhere("sensors/b")]);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_a_stray() {
    finds(&[Kind::Stray], vec![Event::Stray { connection: 1, packet: 7 }]);
    finds(
        &[],
        vec![
            asked("c-1"),
            handed("c-1"),
            Event::Taken { id: "c-1".into() },
            told("c-1", "applied"),
            acted("c-1"),
        ],
    );
}

#[test]
fn the_first_offenders_are_shown_with_what_was_going_on() {
    let mut events = vec![Event::Mark("the cloud is killed".into())];
    for number in 0..9 {
        events.extend([published(&number.to_string()), accepted(&number.to_string())]);
    }
    let text = judge(&history(events), RULES).to_string();
    assert!(text.contains("9  lost\n"), "{text}");
    assert_eq!(text.matches("after: the cloud is killed").count(), 5, "{text}");
}
