//! A chip in memory under its guard, with a time of the test's own; then under its keeper and its adapter.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::{
    super::FromBus,
    chip::Heard,
    fake::Fake,
    guard::{Fault, Guard, Told, What},
    *,
};
use crate::model::DeviceId;

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn member(name: &str, pin: u32, role: Role) -> Member {
    let connection = Connection { chip: ChipName::Auto, line: LineName::Number(pin), is_active_low: false };
    Member { id: id(name), connection, role }
}

fn output(name: &str, pin: u32, rules: OutputRules) -> Member {
    member(name, pin, Role::Output(rules))
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// A guard on a chip in memory, and a time that only the test moves.
struct Bench {
    fake: Fake,
    guard: Guard,
    now: Instant,
    _edges: mpsc::Receiver<Heard>,
}

impl Bench {
    fn new(members: &[Member]) -> Self {
        Self::on(Fake::default(), members)
    }

    fn on(fake: Fake, members: &[Member]) -> Self {
        let (sender, edges) = mpsc::channel(64);
        let now = Instant::now();
        let chip = fake.open().unwrap();
        let mut guard = Guard::new(chip, members, sender, None, now);
        guard.claim_all(1, now).unwrap();
        Self { fake, guard, now, _edges: edges }
    }

    /// Moves the time as the keeper does: to each moment at which something is due.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(next) = self.guard.next().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.guard.tick(1, self.now).unwrap();
        }
        self.now = end;
        self.guard.tick(1, self.now).unwrap();
    }

    fn order(&mut self, post: usize, order: Order) -> Result<(), String> {
        self.guard.order(post, order, self.now).map_err(|fault| match fault {
            Fault::Refused(reason) => reason,
            other => panic!("{other:?}"),
        })
    }

    /// What was said since, of outputs, as `index ON cause`.
    fn said(&mut self) -> Vec<String> {
        let words = |Told { post, what }: Told| match what {
            What::Bus(FromBus::Frame(frame)) => format!("{post} {}", frame.text().unwrap()),
            What::Bus(other) => format!("{post} {other:?}"),
            What::Level { is_high, .. } => format!("{post} level {is_high}"),
        };
        self.guard.said().into_iter().map(words).collect()
    }
}

#[test]
fn an_output_is_safe_from_its_first_moment_on_and_before_any_input_is_claimed() {
    let fake = Fake::default();
    fake.world().pins.entry(17).or_default().is_high = true;
    let low = Connection { chip: ChipName::Auto, line: LineName::Number(4), is_active_low: true };
    let members = [
        member("in", 3, Role::Input { pull: Pull::Up, debounce: None }),
        output("a", 17, OutputRules::default()),
        Member { id: id("b"), connection: low, role: Role::Output(OutputRules::default()) },
        output("c", 5, OutputRules { is_on_safe: true, ..OutputRules::default() }),
    ];
    let mut bench = Bench::on(fake, &members);
    assert_eq!(
        [17, 4, 5].map(|pin| bench.fake.is_high(pin)),
        [false, true, true],
        "off; off by a high level; on"
    );
    assert_eq!(bench.said(), ["1 OFF start", "2 OFF start", "3 ON start", "0 level true"]);
}

#[test]
fn an_output_whose_driver_panics_keeps_no_other_from_its_safe_state() {
    let mut bench = Bench::new(
        &["a", "b", "c"].map(|name| output(name, u32::from(name.as_bytes()[0]) - 90, OutputRules::default())),
    );
    for post in 0..3 {
        bench.order(post, Order::On).unwrap();
    }
    bench.fake.world().pins.get_mut(&8).unwrap().panics = true;
    let problem = bench.guard.make_safe(Cause::Watchdog, bench.now).unwrap_err();
    assert!(problem.contains("`b`") && !problem.contains("`c`"), "{problem}");
    assert_eq!([7, 8, 9].map(|pin| bench.fake.is_high(pin)), [false, true, false]);
}

#[test]
fn an_output_that_does_not_go_off_is_told_and_driven_again_until_it_does() {
    let rules = OutputRules { max_on: seconds(5), ..OutputRules::default() };
    let mut bench = Bench::new(&[output("a", 17, rules)]);
    bench.order(0, Order::On).unwrap();
    bench.said();
    bench.fake.world().pins.get_mut(&17).unwrap().held = Some(true);
    bench.pass(5_000);
    let said = bench.said();
    assert_eq!(said[0], "0 ON max_on");
    assert!(said[1].contains("Lost") && said[1].contains("reads on"), "{said:?}");
    bench.fake.world().driven.clear();
    bench.pass(6_000);
    assert_eq!(bench.fake.world().driven, [(17, false); 3], "every two seconds");
    assert!(bench.said().iter().all(|said| said == "0 ON max_on"), "told as lost once");
    bench.fake.world().pins.get_mut(&17).unwrap().held = None;
    bench.pass(2_000);
    assert_eq!(bench.said(), ["0 OFF max_on", "0 Found"]);
    bench.pass(60_000);
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn what_an_output_is_at_first_may_be_off_although_it_is_safe_when_on() {
    let rules = OutputRules { is_on_safe: true, ..OutputRules::default() };
    let mut bench = Bench::new(&[output("a", 17, rules)]);
    bench.guard.begin(bench.now).unwrap();
    assert_eq!(bench.said(), ["0 ON start", "0 OFF start"]);
}

#[test]
fn what_an_output_is_at_first_waits_for_its_line_and_for_that_of_its_rival() {
    let first = OutputRules { is_on_at_first: true, ..OutputRules::default() };
    let locked = OutputRules { interlock: vec![id("c")], ..first.clone() };
    let fake = Fake::default();
    for pin in [4, 6] {
        fake.world().pins.entry(pin).or_default().is_taken = true;
    }
    let members = [output("a", 4, first), output("b", 5, locked), output("c", 6, OutputRules::default())];
    let mut bench = Bench::on(fake, &members);
    bench.guard.begin(bench.now).unwrap();
    assert_eq!([4, 5].map(|pin| bench.fake.is_high(pin)), [false, false]);
    for pin in [4, 6] {
        bench.fake.world().pins.get_mut(&pin).unwrap().is_taken = false;
    }
    bench.pass(2_000);
    assert_eq!([4, 5, 6].map(|pin| bench.fake.is_high(pin)), [true, true, false]);
    // After a fault it stays safe.
    bench.guard.make_safe(Cause::Watchdog, bench.now).unwrap();
    bench.pass(10_000);
    assert_eq!([4, 5].map(|pin| bench.fake.is_high(pin)), [false, false]);
}

#[test]
fn an_interlock_looks_at_the_line_and_not_at_what_was_read_once() {
    let locked = OutputRules { interlock: vec![id("b")], ..OutputRules::default() };
    let mut bench = Bench::new(&[output("a", 4, locked), output("b", 5, OutputRules::default())]);
    bench.fake.world().pins.get_mut(&5).unwrap().held = Some(true);
    assert_eq!(bench.order(0, Order::On), Err("interlock: b is on".to_owned()));
    bench.fake.world().pins.get_mut(&5).unwrap().held = None;
    assert_eq!(bench.order(0, Order::On), Ok(()));
}

#[test]
fn an_order_is_driven_and_read_back() {
    let mut bench = Bench::new(&[output("a", 17, OutputRules::default())]);
    bench.said();
    assert_eq!(bench.order(0, Order::On), Ok(()));
    assert!(bench.fake.is_high(17));
    assert_eq!(bench.order(0, Order::Off), Ok(()));
    assert_eq!(bench.said(), ["0 ON command", "0 OFF command"]);
    bench.fake.world().pins.get_mut(&17).unwrap().held = Some(false);
    let fault = bench.guard.order(0, Order::On, bench.now).unwrap_err();
    assert!(matches!(&fault, Fault::Doubtful(reason) if reason.contains("reads otherwise")), "{fault:?}");
    assert_eq!(bench.said(), ["0 OFF command"], "what is told is what is read");
    assert_eq!(bench.order(0, Order::Pulse), Err("it has no `pulse`".to_owned()));
}

#[test]
fn an_output_goes_off_after_its_longest_time_however_often_it_is_ordered_on() {
    let mut bench =
        Bench::new(&[output("a", 17, OutputRules { max_on: seconds(60), ..OutputRules::default() })]);
    bench.said();
    for _ in 0..4 {
        assert_eq!(bench.order(0, Order::On), Ok(()));
        bench.pass(14_999);
        assert!(bench.fake.is_high(17));
    }
    bench.pass(4);
    assert!(!bench.fake.is_high(17));
    assert_eq!(bench.said().last().unwrap(), "0 OFF max_on");
    assert_eq!(bench.order(0, Order::On), Ok(()), "a new order is a new time");
    bench.pass(59_999);
    assert!(bench.fake.is_high(17));
    bench.pass(1);
    assert!(!bench.fake.is_high(17));
}

#[test]
fn an_output_stays_off_for_its_shortest_time_also_after_a_start() {
    let mut bench =
        Bench::new(&[output("a", 17, OutputRules { min_off: seconds(3), ..OutputRules::default() })]);
    assert_eq!(bench.order(0, Order::On), Err("min_off: 3 s left".to_owned()));
    bench.pass(2_950);
    assert_eq!(bench.order(0, Order::On), Err("min_off: 0.1 s left".to_owned()));
    bench.pass(50);
    assert_eq!(bench.order(0, Order::On), Ok(()));
    assert_eq!(bench.order(0, Order::Off), Ok(()));
    bench.pass(1_000);
    assert_eq!(bench.order(0, Order::On), Err("min_off: 2 s left".to_owned()));
    assert_eq!(bench.order(0, Order::Off), Ok(()), "off is never refused, and begins no new time");
    bench.pass(2_000);
    assert_eq!(bench.order(0, Order::On), Ok(()));
}

#[test]
fn a_pulse_lasts_its_length_and_a_second_one_waits_for_its_end() {
    let pulse = Some(Duration::from_millis(500));
    let mut bench = Bench::new(&[output("door", 17, OutputRules { pulse, ..OutputRules::default() })]);
    bench.said();
    assert_eq!(bench.order(0, Order::Pulse), Ok(()));
    bench.pass(200);
    for order in [Order::Pulse, Order::On] {
        assert_eq!(bench.order(0, order), Err("pulse: one is under way, 0.3 s left".to_owned()));
    }
    bench.pass(299);
    assert!(bench.fake.is_high(17));
    bench.pass(1);
    assert!(!bench.fake.is_high(17));
    assert_eq!(bench.order(0, Order::On), Ok(()), "on is a pulse, too");
    assert_eq!(bench.order(0, Order::Off), Ok(()), "and ends early");
    assert_eq!(bench.said(), ["0 ON command", "0 OFF pulse", "0 ON command", "0 OFF command"]);
}

fn blinds() -> [Member; 2] {
    let interlock = vec![id("blind_up")];
    [
        output("blind_up", 5, OutputRules::default()),
        output("blind_down", 6, OutputRules { interlock, ..OutputRules::default() }),
    ]
}

#[test]
fn locked_outputs_are_never_on_together_whichever_of_them_says_so() {
    let mut bench = Bench::new(&blinds());
    assert_eq!(bench.order(0, Order::On), Ok(()));
    assert_eq!(bench.order(1, Order::On), Err("interlock: blind_up is on".to_owned()));
    assert_eq!(bench.order(0, Order::Off), Ok(()));
    assert_eq!(bench.order(1, Order::On), Ok(()));
    assert_eq!(bench.order(0, Order::On), Err("interlock: blind_down is on".to_owned()));
    // A relay that sticks.
    assert_eq!(bench.order(1, Order::Off), Ok(()));
    bench.fake.world().pins.get_mut(&6).unwrap().held = Some(true);
    let _ = bench.guard.order(1, Order::Tell, bench.now);
    assert_eq!(bench.order(0, Order::On), Err("interlock: blind_down is on".to_owned()));
}

#[test]
fn a_line_that_somebody_else_has_is_tried_again_and_locks_its_rivals_meanwhile() {
    let fake = Fake::default();
    fake.world().pins.entry(6).or_default().is_taken = true;
    let mut bench = Bench::on(fake, &blinds());
    let said = bench.said();
    assert!(said[1].contains("Lost") && said[1].contains("line 6 is in use by another"), "{said:?}");
    assert_eq!(bench.order(1, Order::On), Err("line 6 is in use by another".to_owned()));
    let unknown = "interlock: it is not known whether blind_down is off";
    assert_eq!(bench.order(0, Order::On), Err(unknown.to_owned()));
    bench.pass(10_000);
    assert_eq!(bench.said(), Vec::<String>::new(), "once is enough");
    bench.fake.world().pins.get_mut(&6).unwrap().is_taken = false;
    bench.pass(2_000);
    assert_eq!(bench.said(), ["1 Found", "1 OFF start"]);
    assert_eq!(bench.order(0, Order::On), Ok(()));
}

#[test]
fn an_input_whose_source_is_slow_to_begin_is_asked_again_and_holds_nobody_up() {
    let door = member("door", 4, Role::Input { pull: Pull::Up, debounce: None });
    let rules = OutputRules { max_on: Some(Duration::from_millis(30)), ..OutputRules::default() };
    let fake = Fake::default();
    fake.world().pins.entry(4).or_default().pending = 10;
    let mut bench = Bench::on(fake, &[door, output("a", 17, rules)]);
    assert_eq!(bench.said(), ["1 OFF start"], "no fault is told, and no level");
    assert_eq!(bench.order(1, Order::On), Ok(()));
    bench.pass(30);
    assert_eq!(bench.said(), ["1 ON command", "1 OFF max_on"]);
    assert!(bench.fake.world().pins[&4].pending > 0);
    bench.pass(1_000);
    assert_eq!(bench.said(), ["0 level true"]);
}

#[test]
fn one_line_by_its_number_and_by_its_name_has_one_owner() {
    let mut named = output("b", 0, OutputRules::default());
    named.connection.line = LineName::Name("LINE17".to_owned());
    let mut bench = Bench::new(&[output("a", 17, OutputRules::default()), named]);
    let said = bench.said();
    assert!(said[1].contains("it is line 17 of the chip, which `a` has"), "{said:?}");
}

#[test]
fn outputs_become_what_they_shall_be_at_first_only_when_the_gateway_has_started() {
    let rules = OutputRules { is_on_at_first: true, max_on: seconds(5), ..OutputRules::default() };
    let mut bench = Bench::new(&[output("a", 17, rules)]);
    assert!(!bench.fake.is_high(17));
    bench.guard.begin(bench.now).unwrap();
    assert!(bench.fake.is_high(17));
    bench.pass(5_000);
    assert!(!bench.fake.is_high(17));
}

#[test]
fn an_output_that_shall_be_on_at_first_waits_for_its_rival() {
    let [mut up, down] = blinds();
    up.role = Role::Output(OutputRules { is_on_at_first: true, ..OutputRules::default() });
    let fake = Fake::default();
    fake.world().pins.entry(6).or_default().held = Some(true);
    let mut bench = Bench::on(fake, &[up, down]);
    bench.guard.begin(bench.now).unwrap();
    assert!(!bench.fake.is_high(5));
}

#[test]
fn a_part_of_the_time_is_a_waveform_and_its_ends_are_levels() {
    let rules = PwmRules { period: Duration::from_millis(10), safe: 0.0, at_first: 0.0 };
    let mut low = member("b", 4, Role::Pwm(rules));
    low.connection.is_active_low = true;
    let mut bench = Bench::new(&[member("a", 17, Role::Pwm(rules)), low]);
    assert_eq!((bench.fake.is_high(17), bench.fake.is_high(4)), (false, true));
    let wave = |bench: &Bench, pin: u32| bench.fake.world().pins[&pin].wave.map(|(_, high)| high.as_micros());
    for (part, high, inverted) in [(0.25, 2_500, 7_500), (0.5, 5_000, 5_000)] {
        assert_eq!(bench.order(0, Order::Duty(part)), Ok(()));
        assert_eq!(bench.order(1, Order::Duty(part)), Ok(()));
        assert_eq!((wave(&bench, 17), wave(&bench, 4)), (Some(high), Some(inverted)));
    }
    assert_eq!(bench.order(0, Order::On), Ok(()));
    assert_eq!((bench.fake.is_high(17), wave(&bench, 17)), (true, None));
    bench.order(0, Order::Duty(0.3)).unwrap();
    bench.guard.make_safe(Cause::Watchdog, bench.now).unwrap();
    assert_eq!((bench.fake.is_high(17), wave(&bench, 17)), (false, None));
    assert_eq!((bench.fake.is_high(4), wave(&bench, 4)), (true, None));
    assert!(bench.said().contains(&"0 0 watchdog".to_owned()));
}

#[test]
fn safe_is_safe_for_all_of_them_and_what_was_safe_keeps_its_reason() {
    let mut bench = Bench::new(&blinds());
    bench.order(0, Order::On).unwrap();
    bench.said();
    bench.guard.make_safe(Cause::Watchdog, bench.now).unwrap();
    assert_eq!(bench.said(), ["0 OFF watchdog", "1 OFF start"]);
    assert!(!bench.fake.is_high(5));
}

#[derive(Debug, Clone)]
enum Act {
    Order(usize, Order),
    Pass(u64),
    Safe,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let order = prop_oneof![Just(Order::On), Just(Order::Off), Just(Order::Pulse), Just(Order::Tell)];
    let act = prop_oneof![
        6 => (0_usize..4, order).prop_map(|(post, order)| Act::Order(post, order)),
        6 => (0_u64..4_000).prop_map(Act::Pass),
        1 => Just(Act::Safe),
    ];
    prop::collection::vec(act, 1..120)
}

proptest! {
    /// Four outputs: two locked against each other and against a third, with every rule among them. The levels of the
    /// chip are looked at after each act and each moment at which something was due.
    #[test]
    fn no_orders_and_no_times_break_a_rule(acts in acts(), low in prop::array::uniform4(any::<bool>())) {
        const MAX_ON: u64 = 5_000;
        const PULSE: u64 = 700;
        const MIN_OFF: u64 = 2_000;
        let rules = [
            OutputRules { max_on: Some(Duration::from_millis(MAX_ON)), interlock: vec![id("c")], ..OutputRules::default() },
            OutputRules { min_off: Some(Duration::from_millis(MIN_OFF)), interlock: vec![id("a")], ..OutputRules::default() },
            OutputRules {
                max_on: Some(Duration::from_millis(MAX_ON)),
                min_off: Some(Duration::from_millis(MIN_OFF)),
                interlock: vec![id("b")],
                ..OutputRules::default()
            },
            OutputRules { pulse: Some(Duration::from_millis(PULSE)), ..OutputRules::default() },
        ];
        let longest = [MAX_ON, u64::MAX, MAX_ON, PULSE];
        let shortest = [0, MIN_OFF, MIN_OFF, 0];
        let names = ["a", "b", "c", "d"];
        let members: Vec<Member> = (0_u32..).zip(names).zip(rules).zip(low).map(|(((pin, name), rules), low)| {
            let mut member = output(name, pin, rules);
            member.connection.is_active_low = low;
            member
        }).collect();
        let mut bench = Bench::new(&members);
        let start = bench.now;
        // The times since when each is what it is, by the chip's levels alone.
        let mut is_on = [false; 4];
        let mut since = [start; 4];
        let look = |bench: &Bench, is_on: &mut [bool; 4], since: &mut [Instant; 4]| {
            for pin in 0..4 {
                let level = bench.fake.is_high(pin as u32) != low[pin];
                let held = u64::try_from((bench.now - since[pin]).as_millis()).unwrap();
                if level != is_on[pin] {
                    if level {
                        prop_assert!(held >= shortest[pin], "{pin} was off for {held} ms");
                    } else {
                        prop_assert!(held <= longest[pin], "{pin} was on for {held} ms");
                    }
                    (is_on[pin], since[pin]) = (level, bench.now);
                } else if level {
                    prop_assert!(held <= longest[pin], "{pin} is on for {held} ms");
                }
            }
            prop_assert!(is_on[..3].iter().filter(|is_on| **is_on).count() <= 1, "{is_on:?}");
            Ok(())
        };
        for act in acts {
            match act {
                Act::Order(post, order) => {
                    let _ = bench.order(post, order);
                }
                Act::Pass(millis) => {
                    let end = bench.now + Duration::from_millis(millis);
                    while let Some(next) = bench.guard.next().filter(|next| *next <= end) {
                        bench.now = next.max(bench.now);
                        bench.guard.tick(1, bench.now).unwrap();
                        look(&bench, &mut is_on, &mut since)?;
                    }
                    bench.now = end;
                }
                Act::Safe => bench.guard.make_safe(Cause::Watchdog, bench.now).unwrap(),
            }
            look(&bench, &mut is_on, &mut since)?;
        }
    }

    #[test]
    fn words_are_read_as_they_were_said(part in 0.0_f64..=1.0, count: u64, span: Option<f64>, is_on: bool) {
        let span = span.filter(|span| span.is_finite());
        for order in [Order::On, Order::Off, Order::Pulse, Order::Tell, Order::Duty(part)] {
            prop_assert_eq!(Order::read(&order.frame()), Some(order));
        }
        for said in [
            Said::Output(is_on, Cause::MaxOn),
            Said::Duty(part, Cause::Watchdog),
            Said::Input(is_on),
            Said::Missed(count),
            Said::Pulses { count, span, silence: Some(part) },
        ] {
            prop_assert_eq!(Said::read(&said.frame()), Some(said));
        }
    }
}

mod house;
mod stand_ins;
