//! What the machine makes of the limits of a cloud, told step by step.

use super::*;
use crate::health::Refused;

fn limited(limits: CloudLimits) -> Story {
    Story::with(Settings { limits, window: 100, ..settings() })
}

/// The records are in the store and read; what follows.
fn read(story: &mut Story, records: Vec<Record>) -> Vec<Effect> {
    let highest = records.last().unwrap().sequence;
    let Some(Effect::Fetch(fetch)) = story.step(appended(highest)).pop() else { panic!("nothing is read") };
    story.step(Event::Stored(fetch, records))
}

fn on(sequence: u64, name: &str) -> Record {
    let message = Message::new(topic(name), sequence.to_string(), QoS::AtLeastOnce);
    Record { message, ..record(sequence) }
}

#[test]
fn what_is_beyond_the_clouds_limits_is_dropped_before_it_is_sent_and_named_and_the_next_goes_on() {
    let limits = CloudLimits {
        max_payload: Some(100),
        topic_levels: Some(4),
        topic_length: Some(30),
        not_in_topics: vec![' '],
        ..CloudLimits::default()
    };
    for version in [Versions::V5, Versions::V311] {
        let mut story = Story::with(Settings { limits: limits.clone(), version, window: 100, ..settings() });
        story.online();
        let mut large = record(1);
        large.message.payload = vec![b'x'; 101].into();
        let records = vec![
            large,
            on(2, "h/g/a/b"),
            on(3, "h/g/a/b/c"),
            on(4, &format!("h/g/{}", "t".repeat(27))),
            on(5, "h/g/a b"),
            on(6, "h/g/fine"),
        ];
        let effects = read(&mut story, records);
        let dropped = effects.iter().filter_map(|effect| match effect {
            Effect::DiscardOversize(sequence) => Some(*sequence),
            _ => None,
        });
        assert_eq!(dropped.collect::<Vec<_>>(), [1, 3, 4, 5], "{version:?}");
        assert_eq!(published(&effects), ["2", "6"], "{version:?}");
        let refusals = story.machine.take_refusals();
        let told: Vec<_> = refusals.iter().map(|refusal| (refusal.topic.len(), &*refusal.reason)).collect();
        assert_eq!(
            told,
            [
                (11, "a payload of 101 bytes, and the cloud takes 100"),
                (9, "a topic of 5 levels, and the cloud takes 4"),
                (31, "a topic of 31 bytes, and the cloud takes 30"),
                (7, "a topic with ' ', which the cloud does not take"),
            ]
        );
        assert!(refusals.iter().all(|refusal| refusal.is_dropped && refusal.what == Refused::Publish));
        assert_eq!(story.machine.take_refusals(), []);
        assert_eq!(story.state(), LinkState::Online);
    }
}

#[test]
fn what_is_exactly_as_large_as_the_cloud_takes_goes_out() {
    let mut story = limited(CloudLimits {
        max_payload: Some(100),
        topic_levels: Some(3),
        topic_length: Some(11),
        ..CloudLimits::default()
    });
    story.online();
    let mut full = record(1);
    full.message.payload = vec![b'x'; 100].into();
    assert_eq!(published(&read(&mut story, vec![full])), ["x".repeat(100)]);
}

#[test]
fn all_publishes_together_keep_to_the_rate_and_none_is_left_behind() {
    let mut story = limited(CloudLimits { publish_rate: Some(10), ..CloudLimits::default() });
    let first = story.subscribed(Greeting::default());
    assert_eq!(published(&first), ["online"], "one token is in the bucket, and the fence waits for the next");
    let mut sent = published(&read(&mut story, (1..=30).map(record).collect()));
    let (start, mut packet) = (story.now, 0);
    while let Some(due) = story.machine.deadline().filter(|_| sent.len() < 31) {
        assert!(due > story.now, "no hot loop");
        story.now = due;
        let effects = story.step(Event::Tick);
        for _ in published(&effects) {
            packet += 1;
            story.wire(Wire::PublishSent(packet));
            story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
        }
        sent.extend(published(&effects));
    }
    assert_eq!(sent[1..], (1..=30).map(|number| number.to_string()).collect::<Vec<_>>());
    let took = story.now - start;
    assert!(took >= 3 * SECOND && took <= 4 * SECOND, "31 publishes at 10 a second took {took:?}");
}

#[test]
fn a_backlog_counts_with_the_rest_and_has_its_own_pace_too() {
    let limits = CloudLimits { publish_rate: Some(100), ..CloudLimits::default() };
    let mut story = Story::with(Settings { limits, backlog_rate: Some(10), window: 100, ..settings() });
    story.step(appended(50));
    let effects = story.subscribed(Greeting::default());
    let fetch = effects.iter().find_map(|effect| match effect {
        Effect::Fetch(fetch) => Some(*fetch),
        _ => None,
    });
    story.step(Event::Stored(fetch.unwrap(), (1..=50).map(record).collect()));
    let (end, mut count) = (story.now + SECOND, 0);
    while let Some(due) = story.machine.deadline().filter(|due| *due <= end) {
        story.now = due;
        count += published(&story.step(Event::Tick)).len();
    }
    // The fence, and ten a second of what waited.
    assert!((10..=12).contains(&count), "{count}");
}

#[test]
fn as_many_filters_as_the_cloud_takes_are_asked_for_at_a_time() {
    for (most, expected) in [(1, [1, 1]), (3, [3, 1]), (10, [4, 0])] {
        let filter = |number: usize| (TopicFilter::parse(&format!("f/{number}")).unwrap(), QoS::AtLeastOnce);
        let subscriptions = (0..3).map(filter).collect();
        let limits = CloudLimits { filters_per_subscribe: most, ..CloudLimits::default() };
        let mut story = Story::with(Settings { subscriptions, limits, ..settings() });
        story.after(Duration::ZERO);
        let count = |effects: &[Effect]| match effects {
            [Effect::Subscribe(filters), ..] => filters.len(),
            _ => 0,
        };
        let first = count(&story.wire(Wire::Connected(Greeting::default())));
        let second = count(&story.wire(Wire::Subscribed(vec![None; first])));
        assert_eq!([first, second], expected, "{most}");
    }
}

#[test]
fn a_version_that_somebody_chose_is_kept_whatever_the_cloud_says() {
    for (version, wanted) in [(Versions::V5, Version::V5), (Versions::V311, Version::V4)] {
        let mut story = Story::with(Settings { version, ..settings() });
        assert_eq!(story.after(Duration::ZERO), [Effect::Dial(wanted, HERE, Which::Proven)]);
        for hint in [VersionHint::Refused, VersionHint::PerhapsRefused, VersionHint::PerhapsRefused] {
            assert_eq!(story.broken(FaultKind::Protocol, hint), [Effect::HangUp]);
            assert_eq!(story.after(300 * SECOND), [Effect::Dial(wanted, HERE, Which::Proven)]);
        }
    }
}

#[test]
fn a_cloud_that_keeps_nothing_is_sent_nothing_to_be_kept() {
    let mut story = limited(CloudLimits { retain: false, ..CloudLimits::default() });
    let effects = story.subscribed(Greeting::default());
    let flags: Vec<bool> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Publish(message, _) => Some(message.retain),
            _ => None,
        })
        .collect();
    assert_eq!(flags, [false, false]);
}

#[test]
fn each_refusal_is_told_with_its_topic_and_whether_it_cost_a_message() {
    let mut story = Story::new();
    story.online();
    story.store(1..=2);
    story.wire(Wire::PublishSent(3));
    story.wire(Wire::PublishSent(4));
    story.wire(Wire::PublishAnswered(
        3,
        Verdict::Refused(Refusal::new(FaultKind::NotAuthorized, "not authorized")),
    ));
    story.wire(Wire::PublishAnswered(
        4,
        Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded")),
    ));
    let told: Vec<_> = story
        .machine
        .take_refusals()
        .into_iter()
        .map(|refusal| (refusal.topic, refusal.reason, refusal.is_dropped))
        .collect();
    let toaster = || "h/g/toaster".to_owned();
    assert_eq!(
        told,
        [(toaster(), "not authorized".into(), true), (toaster(), "quota exceeded".into(), false)]
    );
    story.broken(FaultKind::Closed, VersionHint::None);
    story.after(300 * SECOND);
    story.wire(Wire::Connected(Greeting::default()));
    story.wire(Wire::Subscribed(vec![
        None,
        Some(Refusal::new(FaultKind::SubscriptionRefused, "not authorized")),
    ]));
    let told = story.machine.take_refusals();
    assert_eq!((told[0].what, &*told[0].topic, told.len()), (Refused::Subscribe, "h/g/+/set", 1));
}
