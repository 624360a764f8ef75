//! Stories of second connections.

use super::*;

const BETTER: Place = Place { broker: 0, way: 0 };
const LOWER: Place = Place { broker: 0, way: 1 };

fn refused() -> Wire {
    Wire::Broken(Fault::new(FaultKind::ClientCertificateRefused, "test").into())
}

#[test]
fn new_credentials_are_tried_beside_the_line_and_what_is_in_flight_goes_again_on_the_new_one() {
    let mut story = Story::new();
    story.online();
    assert_eq!(published(&story.store(1..=1)), ["1"]);
    assert_eq!(story.step(Event::Fresh(1)), []);
    assert_eq!(
        story.after(Duration::ZERO),
        [Effect::Try(Version::V5, HERE, Which::Fresh(1), Purpose::Renew)]
    );
    assert_eq!(story.state(), LinkState::Online, "the line stays");
    let effects = story.step(Event::Trial(Wire::Connected(Greeting::default())));
    let [Effect::Leave, Effect::ChangeOver, Effect::Subscribe(_)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(story.state(), LinkState::Subscribing);
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    assert_eq!(effects[0], Effect::Adopt, "a line with them is up");
    let fetch = fetches(&effects)[0];
    assert_eq!(published(&story.step(Event::Stored(fetch, vec![record(1)]))), ["1"]);
    assert_eq!(story.machine.view().fault, None);
}

#[test]
fn refused_credentials_are_kept_out_with_the_reason_and_tried_again_more_and_more_seldom() {
    let mut story = Story::new();
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    for wait in [60, 120, 240] {
        assert_eq!(story.step(Event::Trial(refused())), [Effect::EndTrial]);
        let view = story.machine.view();
        assert_eq!((view.state, view.fault), (LinkState::Online, None));
        assert_eq!(view.refusal.unwrap().kind, FaultKind::ClientCertificateRefused);
        assert_eq!(until_tried(&mut story), wait * SECOND);
    }
    // Others are there: at once.
    story.step(Event::Trial(refused()));
    story.step(Event::Fresh(1));
    assert_eq!(story.machine.view().refusal, None);
    assert_eq!(
        story.after(Duration::ZERO),
        [Effect::Try(Version::V5, HERE, Which::Fresh(1), Purpose::Renew)]
    );
}

#[test]
fn a_cloud_that_throws_the_line_out_before_it_lets_the_second_one_in_makes_no_fault() {
    let mut story = Story::new();
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    let effects = story.broken(FaultKind::DuplicateClientId, VersionHint::None);
    assert_eq!(effects, [Effect::HangUp, Effect::ChangeOver]);
    assert_eq!((story.state(), story.machine.view().fault), (LinkState::Connecting, None));
    let effects = story.wire(Wire::Connected(Greeting::default()));
    assert!(matches!(effects[..], [Effect::Subscribe(_)]), "{effects:?}");
    assert_eq!(story.machine.changed_counters().unwrap().failures, 0);
}

#[test]
fn credentials_that_come_while_the_line_is_down_are_tried_at_once() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    for _ in 0..6 {
        story.broken(FaultKind::ClientCertificateExpired, VersionHint::None);
        story.after(300 * SECOND);
    }
    story.broken(FaultKind::ClientCertificateExpired, VersionHint::None);
    story.step(Event::Fresh(1));
    assert_eq!(story.after(Duration::ZERO), [Effect::Dial(Version::V5, HERE, Which::Fresh(1))]);
}

/// Online by the second way, since the first is blocked.
fn low() -> Story {
    let mut story = Story::with(Settings { ways: vec![2], ..settings() });
    story.after(Duration::ZERO);
    story.broken(FaultKind::Tcp, VersionHint::None);
    assert_eq!(
        story.after(SECOND),
        [Effect::Dial(Version::V5, LOWER, Which::Proven)],
        "the next way follows soon"
    );
    story.wire(Wire::Connected(Greeting::default()));
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    story.settled_in(&effects);
    story
}

/// Lets time pass on a living line until a second connection is made; how long it took.
fn until_tried(story: &mut Story) -> Duration {
    let begin = story.now;
    while !story.after(SECOND).iter().any(|effect| matches!(effect, Effect::Try(..))) {
        assert_eq!(story.state(), LinkState::Online, "{:?}", story.machine.view());
        story.wire(Wire::Heard);
    }
    story.now - begin
}

#[test]
fn the_line_climbs_back_to_the_better_way_when_that_is_free_again() {
    let mut story = low();
    assert_eq!(until_tried(&mut story), 600 * SECOND);
    story.step(Event::Trial(refused()));
    assert_eq!(story.state(), LinkState::Online);
    assert_eq!(until_tried(&mut story), 1200 * SECOND, "less often while it is in vain");
    story.step(Event::Trial(Wire::Connected(Greeting::default())));
    assert_eq!(story.machine.view().place, BETTER);
}

#[test]
fn a_better_way_that_is_lost_soon_is_climbed_to_less_and_less_often() {
    let mut story = low();
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(until_tried(&mut story).as_secs());
        story.step(Event::Trial(Wire::Connected(Greeting::default())));
        story.wire(Wire::Subscribed(vec![None, None]));
        story.now += 5 * SECOND;
        story.broken(FaultKind::Closed, VersionHint::None);
        while story.state() != LinkState::Connecting {
            story.after(SECOND);
        }
        story.broken(FaultKind::Tcp, VersionHint::None);
        story.after(SECOND);
        story.wire(Wire::Connected(Greeting::default()));
        let effects = story.wire(Wire::Subscribed(vec![None, None]));
        story.settled_in(&effects);
    }
    assert_eq!(waits, [600, 1200, 2400]);
}

#[test]
fn a_stop_ends_the_second_connection_too() {
    let mut story = Story::new();
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    assert!(story.step(Event::Stop).contains(&Effect::EndTrial));
    assert_eq!(story.step(Event::Trial(Wire::Connected(Greeting::default()))), []);
}

#[test]
fn credentials_that_are_not_proved_and_old_ones_take_turns_and_each_place_sees_both() {
    let mut story = Story::with(Settings { ways: vec![1, 1], ..settings() });
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    // The network goes in the middle of the trial: nothing is proved.
    story.broken(FaultKind::NoAnswer, VersionHint::None);
    let mut dialled = Vec::new();
    for _ in 0..4 {
        story.broken(FaultKind::Tcp, VersionHint::None);
        let effects = story.after(300 * SECOND);
        let [Effect::Dial(_, place, which)] = effects[..] else { panic!("{effects:?}") };
        dialled.push((place.broker, which));
    }
    dialled.sort_by_key(|(broker, which)| (*broker, *which == Which::Proven));
    let both = |broker| [(broker, Which::Fresh(1)), (broker, Which::Proven)];
    for pair in [both(0), both(1)].concat() {
        assert!(dialled.contains(&pair), "{pair:?} in {dialled:?}");
    }
}

#[test]
fn only_the_set_that_came_up_is_adopted_and_a_newer_one_is_tried_after_it() {
    let mut story = Story::new();
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    story.step(Event::Fresh(2));
    story.step(Event::Trial(Wire::Connected(Greeting::default())));
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    assert!(effects.contains(&Effect::Adopt));
    let effects = story.after(Duration::ZERO);
    assert!(
        effects.contains(&Effect::Try(Version::V5, HERE, Which::Fresh(2), Purpose::Renew)),
        "{effects:?}"
    );
}

#[test]
fn credentials_that_come_while_the_line_is_dialled_with_the_old_ones_are_tried_once_it_is_up() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    story.step(Event::Fresh(1));
    story.wire(Wire::Connected(Greeting::default()));
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    assert!(!effects.contains(&Effect::Adopt), "it came up with the old ones");
    let effects = story.after(Duration::ZERO);
    assert!(
        effects.contains(&Effect::Try(Version::V5, HERE, Which::Fresh(1), Purpose::Renew)),
        "{effects:?}"
    );
}

#[test]
fn what_runs_out_is_renewed_with_the_lines_own_credentials_whatever_was_refused() {
    let mut story = Story::new();
    story.online();
    story.step(Event::Fresh(1));
    story.after(Duration::ZERO);
    story.step(Event::Trial(refused()));
    story.step(Event::Due);
    assert_eq!(
        story.after(Duration::ZERO),
        [Effect::Try(Version::V5, HERE, Which::Proven, Purpose::Refresh)]
    );
    story.step(Event::Trial(Wire::Connected(Greeting::default())));
    assert_eq!(story.machine.view().refusal.unwrap().kind, FaultKind::ClientCertificateRefused);
}

#[test]
fn a_broker_that_acknowledges_nothing_takes_no_good_lines_place() {
    let mut story = low();
    until_tried(&mut story);
    let greeting = Greeting { takes_qos_1: false, ..Greeting::default() };
    assert_eq!(story.step(Event::Trial(Wire::Connected(greeting))), [Effect::EndTrial]);
    assert_eq!(story.state(), LinkState::Online);
}
