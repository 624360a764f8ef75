//! Lines under `--simulate`: the rules are the real ones.

use tokio::time::Instant as TokioInstant;

use super::{super::super::super::device::Frame, *};
use crate::devices::Appliance;

fn stand_in(role: Role) -> Box<dyn Appliance> {
    let Member { connection, .. } = member("x", 4, role.clone());
    simulated(&id("x"), GpioWiring { connection, role })
}

fn words(frames: Vec<Frame>) -> Vec<Said> {
    frames.iter().map(|frame| Said::read(frame).unwrap()).collect()
}

#[test]
fn an_output_obeys_its_rules() {
    let mut lamp = stand_in(Role::Output(OutputRules { max_on: seconds(60), ..OutputRules::default() }));
    let start = TokioInstant::now();
    assert_eq!(words(lamp.start(start)), [Said::Output(false, Cause::Start)]);
    assert_eq!(lamp.next(), None);
    let on = words(lamp.touch(&Order::On.frame(), start).unwrap());
    assert_eq!(on, [Said::Output(true, Cause::Command)]);
    assert_eq!(lamp.next(), Some(start + Duration::from_secs(60)));
    assert_eq!(words(lamp.tick(start + Duration::from_secs(60))), [Said::Output(false, Cause::MaxOn)]);
    assert_eq!(lamp.touch(&Order::Pulse.frame(), start).unwrap_err(), "it has no `pulse`");
    assert_eq!(lamp.runs(), 1);
}

#[test]
fn an_input_changes_and_a_counter_counts() {
    let mut now = TokioInstant::now();
    let mut door = stand_in(Role::Input { pull: Pull::Up, debounce: None });
    let mut said = words(door.start(now));
    for _ in 0..3 {
        now = door.next().unwrap();
        said.extend(words(door.tick(now)));
    }
    assert_eq!(said, [false, true, false, true].map(Said::Input));
    let every = Duration::from_secs(10);
    let mut meter = stand_in(Role::Counter { pull: Pull::Up, debounce: None, every });
    let mut pulses = 0;
    let mut said = words(meter.start(now));
    for _ in 0..6 {
        now = meter.next().unwrap();
        said.extend(words(meter.tick(now)));
    }
    for said in said {
        let Said::Pulses { count, .. } = said else { panic!("{said:?}") };
        pulses += count;
    }
    assert_eq!(pulses, 30, "a pulse each two seconds of a minute");
}

#[test]
fn a_dimmed_lamp_is_on_for_its_part() {
    let rules = PwmRules { period: Duration::from_millis(10), safe: 0.0, at_first: 0.2 };
    let mut lamp = stand_in(Role::Pwm(rules));
    let now = TokioInstant::now();
    assert_eq!(words(lamp.start(now)), [Said::Duty(0.0, Cause::Start), Said::Duty(0.2, Cause::Start)]);
    let said = words(lamp.touch(&Order::Duty(0.5).frame(), now).unwrap());
    assert_eq!(said, [Said::Duty(0.5, Cause::Command)]);
}
