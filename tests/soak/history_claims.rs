//! The judge is judged: every kind of fault is found in a made-up history, and a clean one passes.

use std::time::Duration;

use crate::history::{
    Command, Entry, Event, Receipt,
    verdict::{Kind, Rules, judge},
};

const RULES: Rules = Rules { window: 2, tolerance: Duration::from_millis(500), has_id_in_payload: true };

/// A history with an entry every 10 ms.
fn history(events: Vec<Event>) -> Vec<Entry> {
    let moments = (1..).map(|tick| Duration::from_millis(10 * tick));
    moments.zip(events).map(|(at, event)| Entry { at, event }).collect()
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

fn asked(id: &str) -> Command {
    Command { id: id.into(), expires: Some(Duration::from_secs(1)), is_allowed: true, is_confirmed: true }
}

fn acted(id: &str) -> Event {
    Event::Acted { id: id.into() }
}

fn told(id: &str, status: &str) -> Event {
    Event::Told { id: id.into(), status: status.into(), is_duplicate: false }
}

fn told_again(id: &str, status: &str) -> Event {
    Event::Told { id: id.into(), status: status.into(), is_duplicate: true }
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
            Event::Asked(asked("c-1")),
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
fn an_act_after_the_expiry_is_late_unless_the_rig_itself_stood_still() {
    let mut command = asked("c-1");
    command.expires = Some(Duration::from_millis(20));
    let at = |millis, event| Entry { at: Duration::from_millis(millis), event };
    let story = |act, stutter: Option<u64>| {
        let mut entries = vec![at(10, Event::Asked(command.clone()))];
        entries.extend(stutter.map(|length| at(act - 1, Event::Stutter(Duration::from_millis(length)))));
        entries.extend([at(act, acted("c-1")), at(act + 10, told("c-1", "applied"))]);
        judge(&entries, RULES).kinds()
    };
    assert_eq!(story(519, None), []);
    assert_eq!(story(521, None), [Kind::Late]);
    assert_eq!(story(521, Some(100)), []);
    assert_eq!(story(621, Some(100)), [Kind::Late]);
}

#[test]
fn a_command_that_reached_the_bus_twice_ran_twice() {
    let events = vec![Event::Asked(asked("c-1")), acted("c-1"), acted("c-1"), told("c-1", "applied")];
    finds(&[Kind::RanTwice], events);
}

#[test]
fn what_nobody_may_do_and_what_nobody_asked_for_is_forbidden() {
    let command = Command { is_allowed: false, ..asked("c-1") };
    let ran = vec![Event::Asked(command), acted("c-1"), told("c-1", "unknown")];
    finds(&[Kind::Forbidden], ran);
    finds(&[Kind::Forbidden], vec![acted("c-2")]);
}

#[test]
fn a_command_without_an_outcome_or_with_a_repeated_one_only_is_found() {
    finds(&[Kind::WithoutOutcome], vec![Event::Asked(asked("c-1")), Event::Taken { id: "c-1".into() }]);
    finds(&[Kind::WithoutOutcome], vec![Event::Asked(asked("c-1")), told_again("c-1", "unknown")]);
}

#[test]
fn outcomes_that_differ_contradict_each_other() {
    let events =
        vec![Event::Asked(asked("c-1")), acted("c-1"), told("c-1", "unknown"), told_again("c-1", "applied")];
    finds(&[Kind::Contradicted], events);
}

#[test]
fn an_outcome_that_says_what_did_not_happen_is_untrue() {
    finds(&[Kind::Untrue], vec![Event::Asked(asked("c-1")), told("c-1", "applied")]);
    // A device that does not confirm: `applied` only says that it was handed over.
    let unconfirmed = Command { is_confirmed: false, ..asked("c-1") };
    finds(&[], vec![Event::Asked(unconfirmed), told("c-1", "applied")]);
    for status in ["refused", "expired", "failed"] {
        finds(&[Kind::Untrue], vec![Event::Asked(asked("c-1")), acted("c-1"), told("c-1", status)]);
    }
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
