//! The keeper's thread and the adapter, in real time: nothing here depends on how fast the machine is, only on how long
//! one is willing to wait.

use std::{collections::HashMap, sync::Arc, thread};

use tokio::{
    task::JoinHandle,
    time::{Instant as TokioInstant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::super::{Ports, Write, WriteError},
    *,
};
use crate::devices::supervisor;

/// How long anything may take on a bad day.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);

/// A supervised adapter on a chip in memory.
struct House {
    fake: Fake,
    writes: mpsc::Sender<Write>,
    inbox: mpsc::Receiver<FromBus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl House {
    /// The devices of `members`; what the first of them hears is kept.
    fn new(members: &[Member], watchdog: Duration) -> Self {
        Self::on(Fake::default(), members, watchdog)
    }

    fn on(fake: Fake, members: &[Member], watchdog: Duration) -> Self {
        let adapter = GpioAdapter::with(members.to_vec(), Arc::new(fake.clone()), watchdog);
        let (writes, receiver) = mpsc::channel(8);
        let (to_device, inbox) = mpsc::channel(64);
        let inboxes = HashMap::from([(members[0].id.clone(), to_device)]);
        let (ports, stop) = (Ports::new(receiver, inboxes), CancellationToken::new());
        let task = tokio::spawn(supervisor::adapter(Box::new(adapter), ports, stop.clone()));
        Self { fake, writes, inbox, stop, task }
    }

    async fn order(&self, device: &str, order: Order) -> Result<(), WriteError> {
        let (write, ticket) = Write::new(id(device), order.frame(), TokioInstant::now() + PATIENCE);
        self.writes.send(write).await.unwrap();
        ticket.wait().await
    }

    async fn hears(&mut self) -> FromBus {
        timeout(PATIENCE, self.inbox.recv()).await.expect("in time").unwrap()
    }

    /// Hears until it is this.
    async fn hears_at_last(&mut self, said: Said) {
        while self.hears().await != FromBus::Frame(said.frame()) {}
    }

    async fn becomes(&self, line: u32, is_high: bool) {
        let wait = async {
            while self.fake.is_high(line) != is_high {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("in time");
    }
}

/// Holds the runtime's only thread until the line is low.
fn hold_up_until_low(fake: &Fake, line: u32) {
    let since = Instant::now();
    while fake.is_high(line) {
        assert!(since.elapsed() < PATIENCE, "the line stayed high");
        thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn an_order_goes_to_the_chip_and_a_refusal_says_why() {
    let mut house = House::new(&blinds(), LONG);
    house.hears_at_last(Said::Output(false, Cause::Start)).await;
    assert_eq!(house.order("blind_up", Order::On).await, Ok(()));
    assert!(house.fake.is_high(5));
    house.hears_at_last(Said::Output(true, Cause::Command)).await;
    let refused = house.order("blind_down", Order::On).await;
    assert_eq!(refused, Err(WriteError::NotSent("interlock: blind_up is on".to_owned())));
    assert!(!house.fake.is_high(6));
    house.stop.cancel();
    house.task.await.unwrap();
    assert!(!house.fake.is_high(5), "a stop makes it safe");
    assert!(house.fake.is_output(5), "and does not let it float");
}

#[tokio::test]
async fn a_gateway_that_is_stuck_keeps_no_output_on_beyond_its_longest_time() {
    let max_on = Some(Duration::from_millis(200));
    let mut house = House::new(&[output("a", 17, OutputRules { max_on, ..OutputRules::default() })], LONG);
    assert_eq!(house.order("a", Order::On).await, Ok(()));
    hold_up_until_low(&house.fake, 17);
    house.hears_at_last(Said::Output(false, Cause::MaxOn)).await;
}

#[tokio::test]
async fn a_gateway_that_is_stuck_loses_its_outputs_to_the_watchdog_and_hears_so() {
    let mut house = House::new(&[output("a", 17, OutputRules::default())], Duration::from_millis(500));
    // A machine that is slow itself may starve the keeper first; then it is ordered again.
    while !house.fake.is_high(17) {
        house.order("a", Order::On).await.unwrap();
    }
    hold_up_until_low(&house.fake, 17);
    house.hears_at_last(Said::Output(false, Cause::Watchdog)).await;
    assert_eq!(house.order("a", Order::On).await, Ok(()), "it obeys a gateway that goes on");
}

#[tokio::test]
async fn a_driver_that_panics_leaves_outputs_safe_and_its_bus_starts_again() {
    let rules = OutputRules { is_on_at_first: true, ..OutputRules::default() };
    let mut house = House::new(&[output("a", 17, rules), output("b", 18, OutputRules::default())], LONG);
    house.becomes(17, true).await;
    house.fake.world().panics = true;
    let answer = house.order("b", Order::On).await;
    assert!(matches!(answer, Err(WriteError::Uncertain(_))), "{answer:?}");
    house.becomes(17, false).await;
    let failed = loop {
        if let FromBus::BusFailed(reason) = house.hears().await {
            break reason;
        }
    };
    assert!(failed.contains("the driver's fault"), "{failed}");
    while house.hears().await != FromBus::Found {}
    house.hears_at_last(Said::Output(false, Cause::Start)).await;
    assert_eq!(house.fake.world().openings, 2);
    assert_eq!(house.order("b", Order::On).await, Ok(()));
    assert!(!house.fake.is_high(17), "after a fault it stays safe");
}

#[tokio::test]
async fn an_adapter_that_is_cut_off_leaves_its_outputs_safe() {
    let house = House::new(&[output("a", 17, OutputRules::default())], LONG);
    house.order("a", Order::On).await.unwrap();
    house.task.abort();
    house.becomes(17, false).await;
}

#[tokio::test]
async fn a_chip_that_goes_and_comes_back_is_found_with_its_outputs_safe() {
    let mut house = House::new(&[output("a", 17, OutputRules::default())], LONG);
    house.order("a", Order::On).await.unwrap();
    house.hears_at_last(Said::Output(true, Cause::Command)).await;
    house.fake.world().is_gone = true;
    let answer = house.order("a", Order::Off).await;
    assert!(matches!(answer, Err(WriteError::Uncertain(_))), "{answer:?}");
    assert_eq!(house.hears().await, FromBus::Lost("the chip is gone".to_owned()));
    assert_eq!(house.hears().await, FromBus::Lost("there is no such chip".to_owned()));
    let refused = Err(WriteError::NotSent("there is no such chip".to_owned()));
    assert_eq!(house.order("a", Order::On).await, refused);
    assert!(house.fake.is_high(17), "nobody can reach it");
    house.fake.world().is_gone = false;
    assert_eq!(house.hears().await, FromBus::Found);
    assert_eq!(house.hears().await, FromBus::Frame(Said::Output(false, Cause::Start).frame()));
    assert!(!house.fake.is_high(17));
}

#[tokio::test]
async fn edges_are_told_in_their_order_and_what_the_kernel_dropped_is_counted() {
    let role = Role::Input { pull: Pull::Up, debounce: None };
    let mut house = House::new(&[member("door", 4, role)], LONG);
    assert_eq!(house.hears().await, FromBus::Frame(Said::Input(true).frame()));
    for (is_high, dropped, missed) in
        [(false, 0, None), (true, 0, None), (true, 3, Some(3)), (false, 2, Some(5))]
    {
        house.fake.turn(4, is_high, 0, dropped);
        assert_eq!(house.hears().await, FromBus::Frame(Said::Input(is_high).frame()));
        if let Some(missed) = missed {
            assert_eq!(house.hears().await, FromBus::Frame(Said::Missed(missed).frame()));
        }
    }
    // More than any channel holds, from a thread of its own as the kernel's are.
    let fake = house.fake.clone();
    let flood = thread::spawn(move || (0..2_000).for_each(|turn| fake.turn(4, turn % 2 == 0, turn, 0)));
    for turn in 0..2_000 {
        assert_eq!(house.hears().await, FromBus::Frame(Said::Input(turn % 2 == 0).frame()), "{turn}");
    }
    flood.join().unwrap();
}

#[tokio::test]
async fn a_counter_tells_at_its_interval_and_counts_what_the_kernel_dropped() {
    let every = Duration::from_millis(20);
    let mut house =
        House::new(&[member("meter", 4, Role::Counter { pull: Pull::Down, debounce: None, every })], LONG);
    let pulses = |said: FromBus| match said {
        FromBus::Frame(frame) => match Said::read(&frame) {
            Some(Said::Pulses { count, span, .. }) => (count, span),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(pulses(house.hears().await), (0, None));
    let second = 1_000_000_000;
    for (at, dropped) in [(second, 0), (3 * second, 0), (7 * second, 5)] {
        house.fake.turn(4, true, at, dropped);
        house.fake.turn(4, false, at, 0);
    }
    let (mut count, mut seconds) = (0, 0.0);
    while count < 8 {
        let (more, span) = pulses(house.hears().await);
        count += more;
        seconds += span.unwrap_or(0.0);
    }
    assert_eq!(count, 8, "three came, and five were dropped");
    assert!(seconds <= 6.0, "{seconds} s from the first that was told to the last");
    house.fake.turn(4, true, 9 * second, 0);
    loop {
        let (count, span) = pulses(house.hears().await);
        if count > 0 {
            assert_eq!((count, span), (1, Some(2.0)));
            break;
        }
    }
}

/// Real drivers, where there is no such chip; where there is one, `tests/vm` has them.
#[tokio::test]
async fn a_chip_that_is_not_there_is_named_with_what_to_do() {
    let mut house = Machine::new("/dev/gpiochip97");
    let FromBus::Lost(reason) = house.hears().await else { panic!("it was lost") };
    assert!(
        reason.contains("/dev/gpiochip97 cannot be opened") && reason.contains("group `gpio`"),
        "{reason}"
    );
    let mut house = Machine::new("no such label");
    let FromBus::Lost(reason) = house.hears().await else { panic!("it was lost") };
    assert!(reason.contains("`no such label`"), "{reason}");
}

/// An adapter on the kernel's chips.
struct Machine {
    inbox: mpsc::Receiver<FromBus>,
    _stop: tokio_util::sync::DropGuard,
    _writes: mpsc::Sender<Write>,
}

impl Machine {
    fn new(chip: &str) -> Self {
        let name = if chip.starts_with('/') {
            ChipName::Path(chip.into())
        } else {
            ChipName::Label(chip.to_owned())
        };
        let adapter = GpioAdapter::new(name, vec![output("a", 17, OutputRules::default())]);
        let (writes, receiver) = mpsc::channel(8);
        let (to_device, inbox) = mpsc::channel(64);
        let ports = Ports::new(receiver, HashMap::from([(id("a"), to_device)]));
        let stop = CancellationToken::new();
        tokio::spawn(supervisor::adapter(Box::new(adapter), ports, stop.clone()));
        Self { inbox, _stop: stop.drop_guard(), _writes: writes }
    }

    async fn hears(&mut self) -> FromBus {
        timeout(PATIENCE, self.inbox.recv()).await.expect("in time").unwrap()
    }
}
