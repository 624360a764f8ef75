//! The machine by stories told step by step; `model` has it in random order.

use super::{
    incoming::{UNACKNOWLEDGED, UNHANDLED},
    suspect::CONNECTIONS,
    up::BYTES_A_SECOND,
    *,
};
use crate::{
    link::{
        diagnose::VersionHint,
        wire::{Arrival, Verdict},
    },
    model::{MessageId, Timestamp},
    store::{Born, Part},
};

mod limits;
mod model;
mod trial;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

/// The only place there is.
const HERE: Place = Place { broker: 0, way: 0 };

pub(in crate::link) fn settings() -> Settings {
    Settings {
        ways: vec![1],
        climb_after: 600 * SECOND,
        subscriptions: vec![(TopicFilter::parse("h/g/+/set").unwrap(), QoS::AtLeastOnce)],
        hellos: Vec::new(),
        birth: Message::new(topic("h/g/bridge/state"), "online", QoS::AtLeastOnce).retained(),
        will: Message::new(topic("h/g/bridge/state"), "offline", QoS::AtLeastOnce).retained(),
        fence: topic("h/g/bridge/fence"),
        keep_alive: 45 * SECOND,
        answer_limit: 15 * SECOND,
        backoff: retry::Policy::default(),
        window: 4,
        backlog_rate: None,
        version: Versions::Any,
        limits: CloudLimits::default(),
    }
}

pub(super) fn record(sequence: u64) -> Record {
    Record {
        sequence,
        id: MessageId::new("store", sequence),
        message: Message::new(topic("h/g/toaster"), sequence.to_string(), QoS::AtLeastOnce),
        accepted_at: Timestamp::from_millis(0),
        born: Born::default(),
        is_live: false,
    }
}

pub(super) fn appended(any: u64) -> Event {
    Event::Appended(Highest { any, live: 0 })
}

/// A machine with its clock, for stories told step by step.
struct Story {
    machine: Machine,
    now: Instant,
    /// Whether the disk deletes at once what is to be deleted.
    settles: bool,
}

impl Story {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(settings, 7, now), now, settles: true }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.machine.step(event, self.now);
        if self.settles {
            let deleted = effects.iter().filter_map(|effect| match effect {
                Effect::Delete(sequence) => Some(*sequence),
                _ => None,
            });
            let deleted = deleted.collect();
            effects.retain(|effect| *effect != Effect::Hurry);
            effects.extend(self.machine.step(Event::Settled(deleted), self.now));
        }
        effects
    }

    fn wire(&mut self, wire: Wire) -> Vec<Effect> {
        self.step(Event::Wire(wire))
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.step(Event::Tick)
    }

    fn fault(&self) -> FaultKind {
        self.machine.view().fault.unwrap().kind
    }

    fn state(&self) -> LinkState {
        self.machine.view().state
    }

    fn broken(&mut self, kind: FaultKind, version: VersionHint) -> Vec<Effect> {
        self.wire(Wire::Broken(Breakage { fault: Fault::new(kind, "test"), version }))
    }

    /// Up to the granted subscriptions; the effects of the last step.
    fn subscribed(&mut self, greeting: Greeting) -> Vec<Effect> {
        self.after(Duration::ZERO);
        self.wire(Wire::Connected(greeting));
        self.wire(Wire::Subscribed(vec![None, None]))
    }

    /// The same once more, after a break.
    fn subscribed_after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.subscribed(Greeting::default())
    }

    /// Up to `Online`, birth and fence acknowledged.
    fn online(&mut self) {
        let effects = self.subscribed(Greeting::default());
        self.settled_in(&effects);
    }

    /// The cloud takes birth and fence, which are in `effects`.
    fn settled_in(&mut self, effects: &[Effect]) {
        let token = token(effects);
        for packet in [1, 2] {
            self.wire(Wire::PublishSent(packet));
            self.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
        }
        self.wire(Wire::Arrived(arrival("h/g/bridge/fence", &token, 1)));
        self.step(Event::Handled(1));
        assert_eq!(self.state(), LinkState::Online);
    }

    /// Puts records into the store and lets the machine read them; the effects of the last step.
    fn store(&mut self, sequences: std::ops::RangeInclusive<u64>) -> Vec<Effect> {
        let effects = self.step(appended(*sequences.end()));
        let [Effect::Fetch(fetch)] = effects[..] else { panic!("{effects:?}") };
        self.step(Event::Stored(fetch, sequences.map(record).collect()))
    }
}

fn arrival(name: &str, payload: &str, packet: u16) -> Arrival {
    let message = Message::new(topic(name), payload.to_owned(), QoS::AtLeastOnce);
    Arrival { message: Ok(message), packet, redelivered: false }
}

fn token(effects: &[Effect]) -> String {
    let fences = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(message, _) if message.topic == settings().fence => Some(&message.payload),
        _ => None,
    });
    String::from_utf8(fences.last().unwrap().to_vec()).unwrap()
}

fn published(effects: &[Effect]) -> Vec<String> {
    let payloads = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(message, _) => Some(String::from_utf8_lossy(&message.payload).into_owned()),
        _ => None,
    });
    payloads.collect()
}

fn staleness(effects: &[Effect]) -> Staleness {
    match effects {
        [Effect::Deliver { staleness, .. }] => *staleness,
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscriptions_come_first_then_birth_then_fence_then_records() {
    let mut story = Story::new();
    assert_eq!(story.after(Duration::ZERO), [Effect::Dial(Version::V5, HERE, Which::Proven)]);
    assert_eq!(story.state(), LinkState::Connecting);
    story.step(appended(1));
    let effects = story.wire(Wire::Connected(Greeting::default()));
    assert!(matches!(&effects[..], [Effect::Subscribe(filters)] if filters.len() == 2), "{effects:?}");
    assert_eq!(story.state(), LinkState::Subscribing);
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    assert_eq!(published(&effects)[0], "online");
    let Some(Effect::Fetch(fetch)) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(story.state(), LinkState::CatchingUp);
    let effects = story.step(Event::Stored(*fetch, vec![record(1)]));
    assert_eq!(published(&effects), ["1"]);
}

#[test]
fn many_filters_are_asked_for_eight_at_a_time() {
    let filter = |number: usize| (TopicFilter::parse(&format!("f/{number}")).unwrap(), QoS::AtLeastOnce);
    let mut story = Story::with(Settings { subscriptions: (0..9).map(filter).collect(), ..settings() });
    story.after(Duration::ZERO);
    let first = story.wire(Wire::Connected(Greeting::default()));
    assert!(matches!(&first[..], [Effect::Subscribe(filters)] if filters.len() == 8), "{first:?}");
    let second = story.wire(Wire::Subscribed(vec![None; 8]));
    assert!(matches!(&second[..], [Effect::Subscribe(filters)] if filters.len() == 2), "{second:?}");
    assert_eq!(published(&story.wire(Wire::Subscribed(vec![None; 2])))[0], "online");
}

#[test]
fn a_refused_version_is_changed_at_once_and_what_worked_is_remembered() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    let effects = story.broken(FaultKind::Protocol, VersionHint::Refused);
    assert_eq!(effects, [Effect::HangUp, Effect::Dial(Version::V4, HERE, Which::Proven)]);
    story.wire(Wire::Connected(Greeting::default()));
    story.broken(FaultKind::Closed, VersionHint::None);
    for _ in 0..5 {
        assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V4, HERE, Which::Proven)]);
        story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    }
}

#[test]
fn a_silent_hang_up_on_connect_must_happen_twice_to_change_the_version() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    assert_eq!(story.broken(FaultKind::Closed, VersionHint::PerhapsRefused), [Effect::HangUp]);
    assert_eq!(story.after(2 * SECOND), [Effect::Dial(Version::V5, HERE, Which::Proven)]);
    let effects = story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    assert_eq!(effects, [Effect::HangUp, Effect::Dial(Version::V4, HERE, Which::Proven)]);
}

#[test]
fn each_attempt_in_vain_begins_with_another_address_until_the_line_is_up() {
    let mut story = Story::new();
    for turn in 0..3 {
        assert_eq!(story.machine.turn(), turn);
        story.after(300 * SECOND);
        story.broken(FaultKind::NoAnswer, VersionHint::None);
    }
    // Connected, and then nothing is answered: as bad.
    story.after(300 * SECOND);
    story.wire(Wire::Connected(Greeting::default()));
    story.after(15 * SECOND);
    assert_eq!(story.machine.turn(), 4);
    story.subscribed_after(300 * SECOND);
    story.broken(FaultKind::Closed, VersionHint::None);
    assert_eq!(story.machine.turn(), 0);
}

#[test]
fn a_hang_up_that_may_be_about_the_version_takes_no_broker_its_turn() {
    // A cluster that speaks 3.1.1 only: every server hangs up on MQTT 5, and the first one is as good as the others.
    let mut story = Story::with(Settings { ways: vec![1, 1, 1], ..settings() });
    assert_eq!(story.after(Duration::ZERO), [Effect::Dial(Version::V5, HERE, Which::Proven)]);
    story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V5, HERE, Which::Proven)]);
    let effects = story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    assert_eq!(effects, [Effect::HangUp, Effect::Dial(Version::V4, HERE, Which::Proven)]);
    // One that hangs up on both is ill, and the next one has its turn.
    story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    let next = |broker| Place { broker, way: 0 };
    assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V5, next(1), Which::Proven)]);
    // What one of them speaks is the first guess for the others.
    let mut story = Story::with(Settings { ways: vec![1, 1], ..settings() });
    story.after(Duration::ZERO);
    story.broken(FaultKind::Protocol, VersionHint::Refused);
    story.wire(Wire::Connected(Greeting::default()));
    story.wire(Wire::Subscribed(vec![None, None]));
    story.broken(FaultKind::Closed, VersionHint::None);
    assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V4, HERE, Which::Proven)]);
    story.broken(FaultKind::Tcp, VersionHint::None);
    assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V4, next(1), Which::Proven)]);

    // Nor does a hang-up excuse what is not one.
    let mut story = Story::with(Settings { ways: vec![1, 1, 1], ..settings() });
    story.after(Duration::ZERO);
    story.broken(FaultKind::Closed, VersionHint::PerhapsRefused);
    for broker in [0, 1, 2] {
        assert_eq!(story.after(300 * SECOND), [Effect::Dial(Version::V5, next(broker), Which::Proven)]);
        story.broken(FaultKind::Tcp, VersionHint::None);
    }
}

#[test]
fn two_refused_versions_do_not_make_a_hot_loop() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    let effects = story.broken(FaultKind::Protocol, VersionHint::Refused);
    assert_eq!(effects, [Effect::HangUp, Effect::Dial(Version::V4, HERE, Which::Proven)]);
    assert_eq!(story.broken(FaultKind::Protocol, VersionHint::Refused), [Effect::HangUp]);
    assert_eq!(story.state(), LinkState::Waiting);
    assert_eq!(story.after(2 * SECOND), [Effect::Dial(Version::V5, HERE, Which::Proven)]);
}

#[test]
fn a_ping_without_anything_after_it_means_a_dead_line() {
    let mut story = Story::new();
    story.online();
    story.now += 45 * SECOND;
    story.wire(Wire::PingSent);
    assert_eq!(story.after(14 * SECOND), []);
    assert_eq!(story.after(SECOND), [Effect::HangUp]);
    assert_eq!((story.state(), story.fault()), (LinkState::Waiting, FaultKind::HalfOpen));
}

#[test]
fn anything_that_comes_in_answers_a_ping() {
    let mut story = Story::new();
    story.online();
    for _ in 0..10 {
        story.now += 45 * SECOND;
        story.wire(Wire::PingSent);
        story.now += 14 * SECOND;
        story.wire(Wire::Heard);
    }
    assert_eq!(story.state(), LinkState::Online);
}

#[test]
fn a_round_trip_is_from_subscribe_to_suback_and_from_ping_to_its_own_answer() {
    let millis = Duration::from_millis;
    let mut story = Story::new();
    story.after(Duration::ZERO);
    story.wire(Wire::Connected(Greeting::default()));
    story.now += millis(31);
    story.wire(Wire::Subscribed(vec![None, None]));
    assert_eq!(story.machine.take_round_trip(), Some(millis(31)));
    assert_eq!(story.machine.take_round_trip(), None);
    story.now += SECOND;
    story.wire(Wire::PingSent);
    story.now += millis(5);
    story.wire(Wire::Heard);
    assert_eq!(story.machine.take_round_trip(), None, "it answered something else");
    story.now += millis(15);
    story.wire(Wire::PingAnswered);
    assert_eq!(story.machine.take_round_trip(), Some(millis(20)));
    story.now += SECOND;
    story.wire(Wire::PingAnswered);
    assert_eq!(story.machine.take_round_trip(), None, "nobody had asked");
}

#[test]
fn a_line_that_cannot_even_ping_is_dead() {
    let mut story = Story::new();
    story.online();
    assert_eq!(story.after(59 * SECOND), []);
    assert_eq!(story.after(SECOND), [Effect::HangUp]);
    assert_eq!(story.fault(), FaultKind::HalfOpen);
}

#[test]
fn a_cloud_that_wants_pings_seldom_is_tested_by_other_means() {
    let mut story = Story::new();
    let greeting = Greeting { keep_alive: Some(1200 * SECOND), ..Greeting::default() };
    let token = token(&story.subscribed(greeting));
    for packet in [1, 2] {
        story.wire(Wire::PublishSent(packet));
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    story.wire(Wire::Arrived(arrival("h/g/bridge/fence", &token, 1)));
    assert!(matches!(&story.after(45 * SECOND)[..], [Effect::Subscribe(filters)] if filters.len() == 1));
    story.wire(Wire::Subscribed(vec![None]));
    assert!(matches!(&story.after(45 * SECOND)[..], [Effect::Subscribe(_)]));
    assert_eq!(story.after(15 * SECOND), [Effect::HangUp]);
    assert_eq!(story.fault(), FaultKind::HalfOpen);
}

#[test]
fn a_missing_suback_or_puback_means_a_dead_line() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    story.wire(Wire::Connected(Greeting::default()));
    assert_eq!(story.after(15 * SECOND), [Effect::HangUp]);
    assert_eq!(story.fault(), FaultKind::NoAnswer);

    let mut story = Story::new();
    story.online();
    story.store(1..=1);
    story.wire(Wire::PublishSent(3));
    for _ in 0..14 {
        story.now += SECOND;
        story.wire(Wire::Heard);
    }
    assert_eq!(story.after(SECOND), [Effect::HangUp]);
    assert_eq!(story.fault(), FaultKind::NoAnswer);
}

#[test]
fn a_large_message_gets_the_time_that_a_slow_uplink_needs() {
    let mut story = Story::new();
    story.online();
    let Effect::Fetch(fetch) = story.step(appended(1))[0] else { panic!() };
    let mut large = record(1);
    large.message.payload = vec![0; 20 * BYTES_A_SECOND].into();
    story.step(Event::Stored(fetch, vec![large]));
    assert_eq!(story.after(34 * SECOND), []);
    assert_eq!(story.after(SECOND), [Effect::HangUp]);
}

#[test]
fn a_refused_subscription_names_the_filter() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    story.wire(Wire::Connected(Greeting::default()));
    assert_eq!(
        story.wire(Wire::Subscribed(vec![
            None,
            Some(Refusal::new(FaultKind::SubscriptionRefused, "not authorized"))
        ])),
        [Effect::HangUp]
    );
    let fault = story.machine.view().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::SubscriptionRefused);
    assert_eq!(fault.detail, "subscribing to `h/g/+/set`: not authorized");
}

#[test]
fn what_comes_before_the_fences_echo_may_have_waited_and_what_comes_after_is_live() {
    let mut story = Story::new();
    let token = token(&story.subscribed(Greeting::default()));
    let set = |packet| Wire::Arrived(arrival("h/g/toaster/set", "ON", packet));
    assert_eq!(staleness(&story.wire(set(1))), Staleness::MayHaveWaited);
    story.wire(Wire::Arrived(arrival("h/g/bridge/fence", "an old token", 2)));
    assert_eq!(staleness(&story.wire(set(3))), Staleness::MayHaveWaited);
    let mut kept = arrival("h/g/bridge/fence", &token, 4);
    kept.message.as_mut().unwrap().retain = true;
    story.wire(Wire::Arrived(kept));
    assert_eq!(story.state(), LinkState::CatchingUp);
    let echo = story.wire(Wire::Arrived(arrival("h/g/bridge/fence", &token, 5)));
    assert_eq!(echo, [Effect::AcknowledgeInTurn(5)]);
    assert_eq!(story.state(), LinkState::Online);
    assert_eq!(staleness(&story.wire(set(6))), Staleness::Live);
    let mut again = arrival("h/g/toaster/set", "ON", 7);
    again.redelivered = true;
    assert_eq!(staleness(&story.wire(Wire::Arrived(again))), Staleness::MayHaveWaited);
}

#[test]
fn without_an_echo_the_line_is_online_after_ten_seconds_but_what_comes_in_never_counts_as_live() {
    let set = |packet| Wire::Arrived(arrival("h/g/toaster/set", "ON", packet));
    let mut story = Story::new();
    let token = token(&story.subscribed(Greeting::default()));
    for packet in [1, 2] {
        story.wire(Wire::PublishSent(packet));
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    story.wire(set(1));
    story.after(10 * SECOND);
    assert_eq!(story.state(), LinkState::CatchingUp, "the echo may wait behind what is unacknowledged");
    story.step(Event::Handled(1));
    story.after(9 * SECOND);
    assert_eq!(story.state(), LinkState::CatchingUp);
    story.after(SECOND);
    assert_eq!(story.state(), LinkState::Online);
    for packet in 2..=10 {
        assert_eq!(staleness(&story.wire(set(packet))), Staleness::MayHaveWaited);
        story.step(Event::Handled(packet));
        story.after(20 * SECOND);
        assert_eq!(story.state(), LinkState::Online);
    }
    story.wire(Wire::Arrived(arrival("h/g/bridge/fence", &token, 11)));
    assert_eq!(staleness(&story.wire(set(12))), Staleness::Live, "an echo that comes late still counts");
}

#[test]
fn a_cloud_that_forbids_the_fence_is_named_and_the_line_is_up_but_no_command_counts_as_live() {
    let mut story = Story::new();
    story.subscribed(Greeting::default());
    story.wire(Wire::PublishSent(1));
    story.wire(Wire::PublishSent(2));
    story.wire(Wire::PublishAnswered(1, Verdict::Accepted));
    story.wire(Wire::PublishAnswered(
        2,
        Verdict::Refused(Refusal::new(FaultKind::NotAuthorized, "not authorized")),
    ));
    assert_eq!(story.state(), LinkState::CatchingUp);
    story.after(10 * SECOND);
    assert_eq!(story.state(), LinkState::Online);
    assert_eq!(
        story.machine.view().fault.unwrap().detail,
        "publishing to `h/g/bridge/fence`: not authorized"
    );
    assert_eq!(published(&story.store(1..=1)), ["1"]);
    let command = story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 1)));
    assert_eq!(staleness(&command), Staleness::MayHaveWaited);
}

#[test]
fn a_fence_that_could_not_be_sent_in_time_makes_nothing_live() {
    let mut story = Story::new();
    // A window of one, and the birth before the fence is never answered.
    story.subscribed(Greeting { receive_maximum: 2, ..Greeting::default() });
    story.after(10 * SECOND);
    assert_eq!(story.state(), LinkState::Online);
    let command = story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 1)));
    assert_eq!(staleness(&command), Staleness::MayHaveWaited);
}

#[test]
fn a_fence_that_the_cloud_does_not_take_now_is_sent_again_and_its_echo_counts() {
    let mut story = Story::new();
    let token = token(&story.subscribed(Greeting::default()));
    story.wire(Wire::PublishSent(1));
    story.wire(Wire::PublishSent(2));
    story.wire(Wire::PublishAnswered(1, Verdict::Accepted));
    assert_eq!(
        story.wire(Wire::PublishAnswered(
            2,
            Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded"))
        )),
        []
    );
    story.now += 9 * SECOND;
    assert_eq!(published(&story.after(SECOND)), std::slice::from_ref(&token));
    assert_eq!(story.fault(), FaultKind::QuotaExceeded);
    story.wire(Wire::PublishSent(3));
    story.wire(Wire::PublishAnswered(3, Verdict::Accepted));
    assert_eq!(story.machine.view().fault, None);
    story.wire(Wire::Arrived(arrival("h/g/bridge/fence", &token, 1)));
    let command = story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 2)));
    assert_eq!(staleness(&command), Staleness::Live);
}

#[test]
fn only_an_accepting_puback_deletes() {
    let mut story = Story::new();
    story.online();
    assert_eq!(published(&story.store(1..=2)), ["1", "2"]);
    story.wire(Wire::PublishSent(3));
    story.wire(Wire::PublishSent(4));
    assert_eq!(story.wire(Wire::PublishAnswered(4, Verdict::Accepted)), [Effect::Delete(2)]);
    assert_eq!(story.wire(Wire::PublishAnswered(3, Verdict::Accepted)), [Effect::Delete(1)]);
    assert_eq!(story.wire(Wire::PublishAnswered(9, Verdict::Accepted)), [Effect::HangUp]);
}

#[test]
fn what_the_cloud_refuses_for_good_is_dropped_and_named_and_the_next_goes_on() {
    let mut story = Story::new();
    story.online();
    story.store(1..=2);
    story.wire(Wire::PublishSent(3));
    story.wire(Wire::PublishSent(4));
    let effects = story.wire(Wire::PublishAnswered(
        3,
        Verdict::Refused(Refusal::new(FaultKind::NotAuthorized, "not authorized")),
    ));
    assert_eq!(effects, [Effect::Discard(1)]);
    assert_eq!(story.fault(), FaultKind::NotAuthorized);
    assert_eq!(story.state(), LinkState::Online);
    assert_eq!(story.wire(Wire::PublishAnswered(4, Verdict::Accepted)), [Effect::Delete(2)]);
}

#[test]
fn what_is_larger_than_the_cloud_takes_is_dropped_and_never_sent() {
    let mut story = Story::new();
    let greeting = Greeting { max_packet: Some(200), ..Greeting::default() };
    story.subscribed(greeting);
    let Effect::Fetch(fetch) = story.step(appended(2))[0] else { panic!() };
    let mut large = record(1);
    large.message.payload = vec![b'x'; 200].into();
    let effects = story.step(Event::Stored(fetch, vec![large, record(2)]));
    assert!(effects.contains(&Effect::DiscardOversize(1)), "{effects:?}");
    assert_eq!(published(&effects), ["2"]);
}

#[test]
fn what_the_cloud_does_not_take_now_is_sent_again_later() {
    let mut story = Story::new();
    story.online();
    story.store(1..=3);
    for packet in 3..=5 {
        story.wire(Wire::PublishSent(packet));
    }
    assert_eq!(
        story.wire(Wire::PublishAnswered(
            3,
            Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded"))
        )),
        []
    );
    assert_eq!(story.fault(), FaultKind::QuotaExceeded);
    assert_eq!(story.wire(Wire::PublishAnswered(4, Verdict::Accepted)), [Effect::Delete(2)]);
    assert_eq!(
        story.wire(Wire::PublishAnswered(
            5,
            Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded"))
        )),
        []
    );
    assert_eq!(published(&story.after(SECOND)), ["1", "3"]);
    assert_eq!(story.fault(), FaultKind::QuotaExceeded, "it has taken nothing since");
    story.wire(Wire::PublishSent(6));
    story.wire(Wire::PublishAnswered(6, Verdict::Accepted));
    assert_eq!(story.machine.view().fault, None);
}

#[test]
fn what_the_cloud_did_not_take_goes_before_what_was_never_sent() {
    let mut story = Story::new();
    story.online();
    story.store(1..=8);
    for packet in 3..=6 {
        story.wire(Wire::PublishSent(packet));
    }
    story.wire(Wire::PublishAnswered(
        3,
        Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded")),
    ));
    for packet in 4..=6 {
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    assert_eq!(published(&story.after(SECOND)), ["1", "5", "6", "7"]);
}

/// One more connection whose birth and fence are answered and on which the records 1 to 3 are ready; what
/// is sent of them.
fn again_with_three_records(story: &mut Story) -> Vec<String> {
    story.after(300 * SECOND);
    story.step(appended(3));
    story.wire(Wire::Connected(Greeting::default()));
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    let Some(&Effect::Fetch(fetch)) = effects.last() else { panic!("{effects:?}") };
    let mut sent = Vec::new();
    for packet in [1, 2] {
        story.wire(Wire::PublishSent(packet));
        sent.extend(published(&story.wire(Wire::PublishAnswered(packet, Verdict::Accepted))));
    }
    sent.extend(published(&story.step(Event::Stored(fetch, (1..=3).map(record).collect()))));
    sent.retain(|payload| payload.len() == 1);
    for (_, packet) in sent.iter().zip(3..) {
        story.wire(Wire::PublishSent(packet));
    }
    sent
}

#[test]
fn a_record_that_the_cloud_answers_with_a_hang_up_is_at_last_sent_alone_and_then_given_up() {
    let mut story = Story::new();
    for _ in 0..CONNECTIONS {
        assert_eq!(again_with_three_records(&mut story), ["1", "2", "3"]);
        assert_eq!(story.broken(FaultKind::Closed, VersionHint::None), [Effect::HangUp]);
    }
    assert_eq!(again_with_three_records(&mut story), ["1"]);
    let effects = story.broken(FaultKind::Closed, VersionHint::None);
    assert_eq!(effects, [Effect::Discard(1), Effect::HangUp]);
    assert_eq!(again_with_three_records(&mut story), ["1", "2", "3"], "the next connection is a usual one");
}

#[test]
fn a_suspect_that_is_answered_alone_is_innocent_and_the_window_is_wide_again() {
    let mut story = Story::new();
    for _ in 0..CONNECTIONS {
        again_with_three_records(&mut story);
        story.broken(FaultKind::Protocol, VersionHint::None);
    }
    assert_eq!(again_with_three_records(&mut story), ["1"]);
    let effects = story.wire(Wire::PublishAnswered(3, Verdict::Accepted));
    assert_eq!(published(&effects), ["2", "3"]);
    assert_eq!(story.broken(FaultKind::Closed, VersionHint::None), [Effect::HangUp]);
}

#[test]
fn a_break_that_no_message_causes_gives_no_record_up() {
    for kind in [FaultKind::NoAnswer, FaultKind::ServerUnavailable, FaultKind::DuplicateClientId] {
        let mut story = Story::new();
        for _ in 0..3 * CONNECTIONS {
            assert_eq!(again_with_three_records(&mut story), ["1", "2", "3"]);
            assert_eq!(story.broken(kind, VersionHint::None), [Effect::HangUp], "{kind:?}");
        }
    }
    // Nor one before a record is sent.
    let mut story = Story::new();
    for _ in 0..CONNECTIONS {
        again_with_three_records(&mut story);
        story.broken(FaultKind::Closed, VersionHint::None);
    }
    for _ in 0..3 * CONNECTIONS {
        story.after(300 * SECOND);
        story.wire(Wire::Connected(Greeting::default()));
        story.wire(Wire::Subscribed(vec![None, None]));
        story.wire(Wire::PublishSent(1));
        assert_eq!(story.broken(FaultKind::Closed, VersionHint::None), [Effect::HangUp]);
    }
}

#[test]
fn a_line_that_breaks_while_the_link_stops_is_not_dialled_again() {
    let mut story = Story::new();
    story.online();
    story.store(1..=1);
    story.step(Event::Stop);
    assert_eq!(story.broken(FaultKind::Closed, VersionHint::None), [Effect::Finish]);
    assert_eq!(story.after(600 * SECOND), []);
}

#[test]
fn nothing_passes_the_window_beyond_the_oldest_unanswered() {
    let mut story = Story::new();
    story.online();
    assert_eq!(published(&story.store(1..=8)), ["1", "2", "3", "4"]);
    for packet in 3..=6 {
        story.wire(Wire::PublishSent(packet));
    }
    for (packet, sequence) in [(4, 2), (5, 3), (6, 4)] {
        assert_eq!(story.wire(Wire::PublishAnswered(packet, Verdict::Accepted)), [Effect::Delete(sequence)]);
    }
    let effects = story.wire(Wire::PublishAnswered(3, Verdict::Accepted));
    assert_eq!(published(&effects), ["5", "6", "7", "8"]);
}

#[test]
fn what_the_cloud_has_takes_room_until_it_is_gone_from_the_disk() {
    let mut story = Story::new();
    story.online();
    assert_eq!(published(&story.store(1..=8)), ["1", "2", "3", "4"]);
    for packet in 3..=6 {
        story.wire(Wire::PublishSent(packet));
    }
    story.settles = false;
    let acknowledge =
        |story: &mut Story, packet| story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    assert_eq!(acknowledge(&mut story, 3), [Effect::Delete(1)]);
    // Half of the room: the line would soon have to wait.
    assert_eq!(acknowledge(&mut story, 4), [Effect::Delete(2), Effect::Hurry]);
    assert_eq!(published(&story.step(Event::Settled(vec![1]))), ["5"]);
    // A new connection sends no more beyond what the disk still has.
    story.broken(FaultKind::Closed, VersionHint::None);
    let effects = story.subscribed_after(2 * SECOND);
    assert_eq!(published(&effects)[0], "online");
    let Some(&Effect::Fetch(fetch)) = effects.last() else { panic!("{effects:?}") };
    for packet in 1..=2 {
        story.wire(Wire::PublishSent(packet));
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    let effects = story.step(Event::Stored(fetch, (3..=8).map(record).collect()));
    assert_eq!(published(&effects), ["3", "4", "5"]);
    assert_eq!(published(&story.step(Event::Settled(vec![2]))), ["6"]);
}

#[test]
fn a_disk_that_deletes_nothing_keeps_back_records_but_not_the_gateways_own_word_and_nothing_goes_twice() {
    let mut story = Story::new();
    story.online();
    story.store(1..=4);
    story.settles = false;
    for packet in 3..=6 {
        story.wire(Wire::PublishSent(packet));
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    story.broken(FaultKind::Closed, VersionHint::None);
    story.step(appended(6));
    let effects = story.subscribed_after(2 * SECOND);
    assert_eq!(published(&effects).len(), 2, "birth and fence: {effects:?}");
    let Some(&Effect::Fetch(fetch)) = effects.last() else { panic!("{effects:?}") };
    // The disk still has them.
    assert_eq!(story.step(Event::Stored(fetch, (1..=6).map(record).collect())), []);
    for packet in 1..=2 {
        story.wire(Wire::PublishSent(packet));
        assert_eq!(story.wire(Wire::PublishAnswered(packet, Verdict::Accepted)), []);
    }
    assert_eq!(published(&story.step(Event::Settled(vec![1, 2, 3, 4]))), ["5", "6"]);
}

#[test]
fn the_line_counts_as_up_from_the_last_subscription_on_though_nothing_waits() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    let is_up = |effects: &[Effect]| effects.iter().filter(|effect| **effect == Effect::LineUp).count();
    assert_eq!(is_up(&story.wire(Wire::Connected(Greeting::default()))), 0);
    assert_eq!(is_up(&story.wire(Wire::Subscribed(vec![None, None]))), 1);
    assert_eq!(story.broken(FaultKind::Closed, VersionHint::None), [Effect::HangUp]);
    assert_eq!(is_up(&story.subscribed_after(2 * SECOND)), 1);
}

#[test]
fn the_clouds_receive_maximum_narrows_the_window_but_not_what_may_wait_for_the_disk() {
    let mut story = Story::new();
    let effects = story.subscribed(Greeting { receive_maximum: 3, ..Greeting::default() });
    assert_eq!(published(&effects).len(), 2, "online and the token: one place is left for the farewell");
    for packet in 1..=2 {
        story.wire(Wire::PublishSent(packet));
        story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
    }
    story.settles = false;
    assert_eq!(published(&story.store(1..=8)), ["1", "2"]);
    let mut sent = Vec::new();
    for packet in 3..=6 {
        story.wire(Wire::PublishSent(packet));
        let effects = story.wire(Wire::PublishAnswered(packet, Verdict::Accepted));
        sent.extend(published(&effects));
    }
    assert_eq!(sent, ["3", "4"], "four on the disk that the cloud has: the window as it is configured");
}

#[test]
fn an_acknowledgement_of_what_is_not_on_its_way_ends_the_connection() {
    let mut story = Story::new();
    story.online();
    story.store(1..=2);
    story.wire(Wire::PublishSent(3));
    assert!(story.wire(Wire::PublishAnswered(3, Verdict::Accepted)).contains(&Effect::Delete(1)));
    story.wire(Wire::PublishAnswered(3, Verdict::Accepted));
    assert_eq!((story.state(), story.fault()), (LinkState::Waiting, FaultKind::Protocol));
}

#[test]
fn what_is_in_flight_is_bounded_in_bytes_too_but_for_one_message() {
    let mut story = Story::new();
    story.online();
    let Some(Effect::Fetch(fetch)) = story.step(appended(3)).pop() else { panic!("no read") };
    let mut records: Vec<_> = (1..=3).map(record).collect();
    records[0].message.payload = vec![b'x'; 1 << 20].into();
    let effects = story.step(Event::Stored(fetch, records));
    assert_eq!(published(&effects).len(), 1, "however large");
    story.wire(Wire::PublishSent(3));
    assert_eq!(published(&story.wire(Wire::PublishAnswered(3, Verdict::Accepted))), ["2", "3"]);
}

#[test]
fn a_message_that_nobody_could_keep_is_not_acknowledged_and_asked_for_again() {
    let mut story = Story::new();
    story.online();
    for number in 0..UNHANDLED {
        assert_eq!(story.state(), LinkState::Online);
        story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 2 + number as u16)));
        story.step(Event::Unhandled);
    }
    assert_eq!(story.state(), LinkState::Waiting);
}

#[test]
fn a_cloud_that_never_waits_for_acknowledgements_is_cut_off() {
    let mut story = Story::new();
    story.online();
    for packet in 1..=UNACKNOWLEDGED {
        story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", packet as u16)));
    }
    assert_eq!(story.state(), LinkState::Online);
    story.wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 999)));
    assert_eq!((story.state(), story.fault()), (LinkState::Waiting, FaultKind::Protocol));
}

#[test]
fn waits_grow_and_start_small_again_only_after_a_stable_minute() {
    let mut story = Story::new();
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        story.after(300 * SECOND);
        story.broken(FaultKind::Tcp, VersionHint::None);
        longest = longest.max(story.machine.view().wait.unwrap());
    }
    assert!(longest > 60 * SECOND, "{longest:?}");
    story.after(300 * SECOND);
    story.wire(Wire::Connected(Greeting::default()));
    story.wire(Wire::Subscribed(vec![None, None]));
    story.now += 60 * SECOND;
    story.broken(FaultKind::Closed, VersionHint::None);
    assert!(story.machine.view().wait.unwrap() <= SECOND);
}

#[test]
fn a_stop_waits_for_what_is_in_flight_says_farewell_and_disconnects() {
    let mut story = Story::new();
    story.online();
    story.store(1..=2);
    story.wire(Wire::PublishSent(3));
    story.wire(Wire::PublishSent(4));
    assert_eq!(story.step(Event::Stop), []);
    assert_eq!(story.wire(Wire::PublishAnswered(3, Verdict::Accepted)), [Effect::Delete(1)]);
    assert_eq!(published(&story.after(2 * SECOND)), ["offline"]);
    story.wire(Wire::PublishSent(5));
    assert_eq!(story.wire(Wire::PublishAnswered(5, Verdict::Accepted)), [Effect::Disconnect]);
    assert_eq!(story.wire(Wire::DisconnectSent), [Effect::Finish]);
    assert_eq!(story.state(), LinkState::Off);
}

#[test]
fn a_stop_ends_within_four_seconds_whatever_the_cloud_does() {
    let mut story = Story::new();
    story.online();
    story.store(1..=8);
    story.step(Event::Stop);
    let mut effects = Vec::new();
    for _ in 0..4 {
        effects.extend(story.after(SECOND));
    }
    assert_eq!(published(&effects), ["offline"]);
    assert_eq!(effects.last(), Some(&Effect::Finish));
}

#[test]
fn a_stop_without_a_connection_ends_at_once() {
    let mut story = Story::new();
    story.after(Duration::ZERO);
    assert_eq!(story.step(Event::Stop), [Effect::HangUp, Effect::Finish]);
}

#[test]
fn an_answer_of_the_store_to_an_earlier_connection_is_not_used() {
    let mut story = Story::new();
    story.online();
    let Effect::Fetch(stale) = story.step(appended(3))[0] else { panic!() };
    story.broken(FaultKind::Closed, VersionHint::None);
    story.after(2 * SECOND);
    story.wire(Wire::Connected(Greeting::default()));
    let effects = story.wire(Wire::Subscribed(vec![None, None]));
    let Some(&Effect::Fetch(fetch)) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(published(&story.step(Event::Stored(stale, vec![record(1)]))), [""; 0]);
    assert_eq!(published(&story.step(Event::Stored(fetch, vec![record(1), record(3)]))), ["1", "3"]);
}

/// A record that may go before what waited.
fn live(sequence: u64) -> Record {
    Record { is_live: true, ..record(sequence) }
}

fn fetches(effects: &[Effect]) -> Vec<Fetch> {
    let fetches = effects.iter().filter_map(|effect| match effect {
        Effect::Fetch(fetch) => Some(*fetch),
        _ => None,
    });
    fetches.collect()
}

#[test]
fn live_records_go_before_what_waited_and_each_part_is_read_by_itself() {
    let mut story = Story::new();
    story.step(appended(6));
    let backlog = fetches(&story.subscribed(Greeting { receive_maximum: 4, ..Greeting::default() }));
    assert!(
        matches!(backlog[..], [Fetch { selection, .. }] if selection.part == Part::Ordinary { backlog: 6 })
    );
    // A window of three: birth and fence take two.
    let sent = published(&story.step(Event::Stored(backlog[0], (1..=6).map(record).collect())));
    assert_eq!(sent, ["1"]);
    let reads = fetches(&story.step(Event::Appended(Highest { any: 8, live: 7 })));
    let part = |fetch: &&Fetch| fetch.selection.part == Part::Live;
    let read = *reads.iter().find(part).expect("what is live is read at once, however long the backlog is");
    assert_eq!(read.selection.after, 6);
    story.step(Event::Stored(read, vec![live(7)]));
    let mut sent = Vec::new();
    for packet in 1..=3 {
        story.wire(Wire::PublishSent(packet));
        sent.extend(published(&story.wire(Wire::PublishAnswered(packet, Verdict::Accepted))));
    }
    assert_eq!(sent, ["7", "2", "3"]);
}

#[test]
fn a_backlog_goes_at_its_pace_and_what_is_new_does_not_wait_for_it() {
    let mut story = Story::with(Settings { backlog_rate: Some(10), window: 100, ..settings() });
    story.step(appended(50));
    let backlog = fetches(&story.subscribed(Greeting::default()));
    let sent = published(&story.step(Event::Stored(backlog[0], (1..=50).map(record).collect())));
    assert_eq!(sent, ["1"], "one token is in the bucket");
    let read = fetches(&story.step(Event::Appended(Highest { any: 51, live: 51 })));
    let sent = published(&story.step(Event::Stored(read[0], vec![live(51)])));
    assert_eq!(sent, ["51"]);
    let mut count = 0;
    let end = story.now + SECOND;
    while let Some(due) = story.machine.deadline().filter(|due| *due <= end) {
        story.now = due;
        count += published(&story.step(Event::Tick)).len();
    }
    assert!((9..=10).contains(&count), "{count} in a second at ten a second");
}

#[test]
fn a_line_that_is_cut_after_the_same_silence_again_and_again_is_named_until_a_longer_silence_refutes_it() {
    let mut story = Story::new();
    for count in 1..=3 {
        story.now += Duration::from_secs(10);
        story.online();
        story.now += Duration::from_secs(30);
        story.broken(FaultKind::Closed, VersionHint::None);
        let name = if count < 3 { FaultKind::Closed } else { FaultKind::IdleCut };
        assert_eq!(story.fault(), name, "{count}");
    }
    story.now += Duration::from_secs(10);
    story.online();
    assert_eq!(story.fault(), FaultKind::IdleCut, "it is shown while the line is up, too");
    story.now += Duration::from_secs(40);
    story.wire(Wire::Heard);
    assert_eq!(story.machine.view().fault, None);
}

#[test]
fn two_clients_with_one_id_are_named_where_the_cloud_has_no_word_for_it() {
    let mut story = Story::new();
    for (count, life) in [300, 1_900, 4_400, 9_000].into_iter().enumerate() {
        story.now += Duration::from_secs(10);
        story.online();
        story.now += Duration::from_millis(life);
        story.broken(FaultKind::Closed, VersionHint::None);
        let name = if count < 3 { FaultKind::Closed } else { FaultKind::DuplicateClientId };
        assert_eq!(story.fault(), name, "{count}");
    }
}

#[test]
fn a_cloud_that_did_not_hear_what_was_said_has_a_line_that_is_half_open() {
    let mut story = Story::new();
    story.online();
    story.now += 45 * SECOND;
    story.broken(FaultKind::KeepAlive, VersionHint::None);
    assert_eq!(story.fault(), FaultKind::KeepAlive, "we had not spoken");
    story.now += 10 * SECOND;
    story.online();
    story.wire(Wire::PingSent);
    story.now += 14 * SECOND;
    story.broken(FaultKind::KeepAlive, VersionHint::None);
    assert_eq!(story.fault(), FaultKind::HalfOpen);
}
