//! The judge is judged, where commands and the work done are concerned: each rule finds what breaks it in a made-up
//! history and lets the nearest thing that keeps it pass.

use std::time::Duration;

use crate::history::{
    Command, Entry, Event, Outcome,
    verdict::{Kind, Rules, Verdict, judge},
    work::{Work, demand},
};

pub const RULES: Rules =
    Rules { window: 2, tolerance: Duration::from_millis(500), has_id_in_payload: true, is_bounded: false };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Over after 1 s, on the list, for a device that confirms; it lives 5 s once it is handed over.
fn command(id: &str) -> Command {
    let expires = Some(ms(1000));
    let (id, device, lives) = (id.into(), "lamp".into(), ms(5000));
    Command { id, device, expires, lives, is_listed: true, is_confirmed: true }
}

pub fn asked(id: &str) -> Event {
    Event::Asked(command(id))
}

pub fn handed(id: &str) -> Event {
    handed_on(id, 1, 0)
}

fn handed_on(id: &str, connection: u64, asked: u64) -> Event {
    Event::Handed { id: id.into(), connection, asked: ms(asked) }
}

pub fn acted(id: &str) -> Event {
    Event::Acted { id: id.into() }
}

/// `what` is the status and, if there is one, the reason. Decided when it is told.
pub fn told(id: &str, what: &str) -> Event {
    let (status, reason) = what.split_once(' ').unwrap_or((what, ""));
    let (status, reason) = (status.into(), reason.into());
    Event::Told(Outcome { id: id.into(), status, reason, decided: Duration::ZERO, is_duplicate: false })
}

pub fn told_again(id: &str, what: &str) -> Event {
    match told(id, what) {
        Event::Told(outcome) => Event::Told(Outcome { is_duplicate: true, ..outcome }),
        other => other,
    }
}

/// A history from what happened when, in milliseconds.
fn history(story: Vec<(u64, Event)>) -> Vec<Entry> {
    let decide = |at, event| match event {
        Event::Told(outcome) if outcome.decided.is_zero() => Event::Told(Outcome { decided: at, ..outcome }),
        other => other,
    };
    story.into_iter().map(|(at, event)| Entry { at: ms(at), event: decide(ms(at), event) }).collect()
}

#[track_caller]
fn finds(expected: &[Kind], story: Vec<(u64, Event)>) {
    let verdict = judge(&history(story), RULES);
    assert_eq!(verdict.kinds(), expected, "{verdict}");
}

/// One command, asked and handed over at once, and what happened then.
fn story(command: Command, rest: Vec<(u64, Event)>) -> Vec<(u64, Event)> {
    let hand = handed_on(&command.id.clone(), 1, 10);
    [(5, Event::Fence { connection: 1 }), (10, Event::Asked(command)), (10, hand)]
        .into_iter()
        .chain(rest)
        .collect()
}

fn undated(lives: u64) -> Command {
    Command { expires: None, lives: ms(lives), ..command("c-1") }
}

#[test]
fn an_act_after_the_expiry_is_late_unless_the_rig_itself_stood_still() {
    let acts = |act, stutter: Option<u64>| {
        let mut rest: Vec<_> =
            stutter.map(|length| (act - 1, Event::Stutter(ms(length)))).into_iter().collect();
        rest.extend([(act, acted("c-1")), (act + 10, told("c-1", "applied"))]);
        story(command("c-1"), rest)
    };
    finds(&[], acts(1499, None));
    finds(&[Kind::Late], acts(1501, None));
    finds(&[], acts(1501, Some(100)));
    finds(&[Kind::Late], acts(1601, Some(100)));
}

#[test]
fn an_undated_command_lives_from_when_it_is_handed_over_to_the_gateway() {
    let acts = |act| story(undated(300), vec![(act, acted("c-1")), (act + 1, told("c-1", "applied"))]);
    finds(&[], acts(809));
    finds(&[Kind::Late], acts(811));
    // Handed over once more, because it was asked for once more: that counts anew.
    let again = vec![(700, handed_on("c-1", 1, 650)), (1400, acted("c-1")), (1401, told("c-1", "applied"))];
    finds(&[], story(undated(300), again));
}

#[test]
fn whatever_life_it_asks_for_a_command_is_over_at_the_greatest_age() {
    let long = Command { expires: Some(ms(60_000)), ..command("c-1") };
    let acts = |act| story(long.clone(), vec![(act, acted("c-1")), (act + 1, told("c-1", "applied"))]);
    finds(&[], acts(5500));
    finds(&[Kind::Late], acts(5511));
}

#[test]
fn an_undated_command_runs_only_if_it_cannot_have_waited() {
    let acts = |command: Command, fence: u64| {
        let hand = handed_on("c-1", 1, 100);
        let (fence, asked) = ((fence, Event::Fence { connection: 1 }), (100, Event::Asked(command)));
        let mut all = vec![fence, asked, (200, hand), (210, acted("c-1")), (220, told("c-1", "applied"))];
        all.sort_by_key(|(at, _)| *at);
        all
    };
    finds(&[], acts(undated(5000), 90));
    finds(&[Kind::Forbidden], acts(undated(5000), 150));
    finds(&[], acts(command("c-1"), 150));
    // The fence of another connection says nothing about this one.
    let other = vec![(300, handed_on("c-1", 2, 10)), (310, acted("c-1")), (320, told("c-1", "applied"))];
    let mut all = story(undated(5000), other);
    all.retain(|(_, event)| !matches!(event, Event::Handed { connection: 1, .. }));
    finds(&[Kind::Forbidden], all);
}

#[test]
fn a_command_runs_only_in_the_life_that_was_asked_for_it() {
    let acts = |act| vec![(100, Event::Killed), (act, acted("c-1")), (act + 1, told("c-1", "applied"))];
    // The device reads it a moment after the kill.
    finds(&[], story(command("c-1"), acts(500)));
    finds(&[Kind::Forbidden], story(command("c-1"), acts(700)));
    let mut again = acts(700);
    again.insert(1, (650, handed_on("c-1", 2, 10)));
    finds(&[], story(command("c-1"), again));
}

#[test]
fn a_command_that_reached_the_bus_twice_ran_twice() {
    let rest = vec![(20, acted("c-1")), (30, acted("c-1")), (40, told("c-1", "applied"))];
    finds(&[Kind::RanTwice], story(command("c-1"), rest));
}

#[test]
fn what_nobody_may_do_and_what_nobody_asked_for_is_forbidden() {
    let ran = vec![(20, acted("c-1")), (30, told("c-1", "applied"))];
    finds(&[], story(command("c-1"), ran.clone()));
    finds(&[Kind::Forbidden], story(Command { is_listed: false, ..command("c-1") }, ran.clone()));
    // Over when it was sent.
    finds(&[Kind::Forbidden], story(Command { expires: Some(ms(5)), ..command("c-1") }, ran));
    finds(&[Kind::Forbidden], vec![(10, acted("c-2"))]);
}

#[test]
fn a_command_without_an_outcome_or_with_a_repeated_one_only_is_found() {
    finds(&[Kind::WithoutOutcome], story(command("c-1"), vec![(20, Event::Taken { id: "c-1".into() })]));
    finds(
        &[Kind::WithoutOutcome],
        story(command("c-1"), vec![(2000, told_again("c-1", "expired too_late"))]),
    );
    finds(&[], story(command("c-1"), vec![(2000, told("c-1", "expired too_late"))]));
}

#[test]
fn outcomes_that_differ_contradict_each_other() {
    let rest =
        |second| vec![(20, acted("c-1")), (30, told("c-1", "applied")), (40, told_again("c-1", second))];
    finds(&[], story(command("c-1"), rest("applied")));
    finds(&[Kind::Contradicted], story(command("c-1"), rest("unknown interrupted")));
}

#[test]
fn an_outcome_that_says_what_did_not_happen_is_untrue() {
    finds(&[Kind::Untrue], story(command("c-1"), vec![(20, told("c-1", "applied"))]));
    // A device that does not confirm: `applied` only says that it was handed over.
    let unconfirmed = Command { is_confirmed: false, ..command("c-1") };
    finds(&[], story(unconfirmed, vec![(20, told("c-1", "applied"))]));
    for outcome in ["refused busy", "expired too_late", "failed device_error"] {
        let rest = vec![(1100, acted("c-1")), (1200, told("c-1", outcome))];
        finds(&[Kind::Untrue], story(command("c-1"), rest));
    }
}

#[test]
fn expired_is_true_only_once_a_life_is_over() {
    let expired = |command, at| story(command, vec![(at, told("c-1", "expired too_late"))]);
    finds(&[], expired(command("c-1"), 1000));
    finds(&[Kind::Untrue], expired(command("c-1"), 900));
    finds(&[], expired(undated(300), 310));
    finds(&[Kind::Untrue], expired(undated(300), 250));
    // Told late, but decided early.
    let mut early = expired(command("c-1"), 1200);
    if let Some((_, Event::Told(outcome))) = early.last_mut() {
        outcome.decided = ms(500);
    }
    finds(&[Kind::Untrue], early);
}

#[test]
fn refused_is_true_only_for_a_reason_that_the_command_had() {
    let refused =
        |command, reason: &str| story(command, vec![(50, told("c-1", &format!("refused {reason}")))]);
    let unlisted = Command { is_listed: false, ..command("c-1") };
    finds(&[], refused(unlisted, "not_allowed"));
    for reason in ["not_allowed", "undated", "busy", "malformed", "clock_unknown", ""] {
        finds(&[Kind::Untrue], refused(command("c-1"), reason));
    }
    // Undated: only what may have waited. Asked for before the fence came, it may.
    finds(&[Kind::Untrue], refused(undated(300), "undated"));
    let mut waited = refused(undated(300), "undated");
    waited.remove(0);
    finds(&[], waited);
}

#[test]
fn busy_is_true_only_of_a_device_with_a_full_mailbox() {
    let crowd = |size: usize| {
        let ids = (0..size).map(|number| format!("o-{number}"));
        let others = ids.flat_map(|id| {
            let told = told(&id, "expired too_late");
            [(12, asked(&id)), (13, handed(&id)), (2000, told)]
        });
        let mut all = story(command("c-1"), vec![(50, told("c-1", "refused busy"))]);
        all.extend(others);
        all.sort_by_key(|(at, _)| *at);
        all
    };
    finds(&[], crowd(8));
    finds(&[Kind::Untrue], crowd(7));
}

#[test]
fn failed_is_true_only_of_a_device_that_did_not_listen() {
    let failed = |since: Vec<(u64, bool)>| {
        let listens = |is_on| Event::Listens { device: "lamp".into(), is_on };
        let mut rest: Vec<_> = since.into_iter().map(|(at, is_on)| (at, listens(is_on))).collect();
        rest.push((900, told("c-1", "failed device_error")));
        story(command("c-1"), rest)
    };
    finds(&[], failed(vec![]));
    finds(&[], failed(vec![(500, true)]));
    finds(&[], failed(vec![(20, true), (300, false)]));
    finds(&[Kind::Untrue], failed(vec![(20, true)]));
    // In the life before; in this one it has not come back yet.
    let mut killed = failed(vec![(20, true)]);
    killed.insert(killed.len() - 1, (700, Event::Killed));
    finds(&[], killed);
}

#[test]
fn unknown_is_true_only_after_a_kill_or_of_a_device_that_did_not_show_it() {
    let rest = |what, mut before: Vec<(u64, Event)>| {
        before.push((900, told("c-1", what)));
        story(command("c-1"), before)
    };
    finds(&[], rest("unknown interrupted", vec![(500, Event::Killed)]));
    finds(&[Kind::Untrue], rest("unknown interrupted", vec![]));
    let mut early = rest("unknown interrupted", vec![]);
    early.insert(0, (1, Event::Killed));
    finds(&[Kind::Untrue], early);
    let shown = |at| (at, Event::Shown { id: "c-1".into() });
    finds(&[], rest("unknown not_confirmed", vec![(20, acted("c-1"))]));
    finds(&[], rest("unknown not_confirmed", vec![(20, acted("c-1")), shown(600)]));
    finds(&[Kind::Untrue], rest("unknown not_confirmed", vec![(20, acted("c-1")), shown(300)]));
    let unconfirmed = Command { is_confirmed: false, ..command("c-1") };
    let silent = vec![(20, acted("c-1")), (900, told("c-1", "unknown not_confirmed"))];
    finds(&[Kind::Untrue], story(unconfirmed, silent));
}

/// A gateway that lived for 3 s, of which 2 count, and accepted and applied so much.
fn working(accepted: u64, applied: u64, end: Option<Event>) -> Verdict {
    const LEAST: Work = Work { start: Duration::from_secs(1), accepted: 10.0, applied: 1.0 };
    let mut all = vec![(0, Event::Started)];
    let taken = Event::Accepted { topic: "sensors/a".into(), payload: "1".into() };
    all.extend((0..accepted).map(|_| (100, taken.clone())));
    all.extend((0..applied).map(|number| (200, told(&format!("c-{number}"), "applied"))));
    all.push((210, told_again("c-0", "applied")));
    all.push((220, told("c-9", "refused not_allowed")));
    all.extend(end.map(|end| (2900, end)));
    all.push((3000, Event::Killed));
    let mut verdict = Verdict::default();
    demand(&history(all), LEAST, &mut verdict);
    verdict
}

#[test]
fn a_gateway_that_does_nothing_is_idle() {
    let healed = || Some(Event::AtTheEnd { is_online: true, waiting: Some(0) });
    assert_eq!(working(20, 2, healed()).kinds(), []);
    assert_eq!(working(19, 2, healed()).kinds(), [Kind::Idle]);
    assert_eq!(working(20, 1, healed()).kinds(), [Kind::Idle]);
    let mut nothing = Verdict::default();
    let least = Work { start: Duration::ZERO, accepted: 10.0, applied: 1.0 };
    demand(&[], least, &mut nothing);
    assert_eq!(nothing.kinds(), [Kind::Unhealed, Kind::Idle]);
}

#[test]
fn a_gateway_that_does_not_come_back_or_keeps_something_has_not_healed() {
    let at_the_end =
        |is_online, waiting| working(20, 2, Some(Event::AtTheEnd { is_online, waiting })).kinds();
    assert_eq!(at_the_end(true, Some(0)), []);
    assert_eq!(at_the_end(false, Some(0)), [Kind::Unhealed]);
    assert_eq!(at_the_end(true, Some(1)), [Kind::Unhealed]);
    assert_eq!(at_the_end(true, None), [Kind::Unhealed]);
    assert_eq!(working(20, 2, None).kinds(), [Kind::Unhealed]);
}
