//! The Pi's own GPIO by its registers: Pi 0 to 5, lines by their BCM number.
//!
//! `rppal` sets levels and resistors in the registers, and has edges from the kernel, each line's by a thread of its own.
//! Quirks (rppal 0.22.1, `gpio/interrupt.rs`): that thread says nobody why it could not begin, so the kernel is asked whether
//! it has given the line away; not by a wait here, which would hold up every output of the chip. Outputs stay as they are
//! when the program ends: nothing resets them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rppal::gpio::{Error, Gpio, InputPin, Level, OutputPin, Trigger};

use super::{
    Chip, ChipError, Edge, EdgeSink, Edges, InputWiring, LineName, OpenChip, Pull, settings::PI_LABELS,
    wave::Wave,
};

/// How long the thread for a line's edges may take to get the line from the kernel.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// Opens the GPIO of the Pi that this is.
pub(super) struct Pi;

impl OpenChip for Pi {
    fn open(&self) -> Result<Box<dyn Chip>, String> {
        let gpio = Gpio::new().map_err(|error| match error {
            Error::UnknownModel => "this is no Raspberry Pi that is known; on other boards name the chip: \
                                    `chip: {label: …}`"
                .to_owned(),
            Error::PermissionDenied(path) => {
                format!("{path} may not be opened; let the user of Hearthlink be in the group `gpio`")
            }
            other => format!("the Pi's GPIO cannot be opened: {other}"),
        })?;
        Ok(Box::new(Open { gpio, kernel: kernel_chip(), outputs: HashMap::new(), inputs: HashMap::new() }))
    }
}

/// The same chip as the kernel has it.
fn kernel_chip() -> Option<gpiocdev::Chip> {
    let chips = gpiocdev::chip::chips().ok()?;
    let mut chips = chips.into_iter().filter_map(|path| gpiocdev::Chip::from_path(path).ok());
    chips.find(|chip| chip.info().is_ok_and(|info| PI_LABELS.contains(&info.label.as_str())))
}

struct Input {
    pin: InputPin,
    /// When its thread was started.
    begun: Instant,
    /// Its edges are not wanted any more: their thread must not wait for room.
    is_over: Arc<AtomicBool>,
}

impl Drop for Input {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Waits for the thread.
        let _ = self.pin.clear_async_interrupt();
    }
}

/// Locked for one access to a register.
type SharedPin = Arc<Mutex<OutputPin>>;

fn locked(pin: &SharedPin) -> MutexGuard<'_, OutputPin> {
    // A register is never half written.
    pin.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Output {
    pin: SharedPin,
    wave: Option<Wave>,
}

struct Open {
    gpio: Gpio,
    kernel: Option<gpiocdev::Chip>,
    outputs: HashMap<u32, Output>,
    inputs: HashMap<u32, Input>,
}

impl Open {
    fn pin(&self, line: u32) -> Result<rppal::gpio::Pin, ChipError> {
        if let Some(info) = self.kernel.as_ref().and_then(|chip| chip.line_info(line).ok())
            && info.used
        {
            let owner = if info.consumer.is_empty() { "the kernel" } else { &info.consumer };
            return Err(ChipError::Line(format!(
                "GPIO {line} is in use by {owner}; end that, or use another"
            )));
        }
        let number = u8::try_from(line).map_err(|_| ChipError::Line(format!("there is no GPIO {line}")))?;
        self.gpio
            .get(number)
            .map_err(|error| ChipError::Line(format!("GPIO {line} is not to be had: {error}")))
    }

    /// Whether the thread for a line's edges has begun, as far as the kernel is asked.
    fn is_watched(&self, line: u32) -> bool {
        let Some(kernel) = &self.kernel else { return true };
        kernel.line_info(line).is_ok_and(|info| info.used)
    }

    /// Has a thread begin to watch a line; when that was.
    fn begin_input(&mut self, line: u32, input: InputWiring, sink: EdgeSink) -> Result<Instant, ChipError> {
        let pin = self.pin(line)?;
        let pin = match input.pull {
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
            Pull::None => pin.into_input(),
        };
        let trigger = match input.edges {
            Edges::Both => Trigger::Both,
            Edges::Rising => Trigger::RisingEdge,
            Edges::Falling => Trigger::FallingEdge,
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let hand = move |event: rppal::gpio::Event| {
            let edge = Edge {
                is_high: event.trigger == Trigger::RisingEdge,
                at: u64::try_from(event.timestamp.as_nanos()).unwrap_or(u64::MAX),
                sequence: event.seqno,
            };
            sink.hand_blocking(Ok(edge), || over.load(Ordering::Relaxed));
        };
        // Before anything that may fail, so that its drop ends the thread.
        let mut begun = Input { pin, begun: Instant::now(), is_over };
        begun
            .pin
            .set_async_interrupt(trigger, input.debounce, hand)
            .map_err(|error| ChipError::Line(format!("GPIO {line} tells no edges: {error}")))?;
        let since = begun.begun;
        self.inputs.insert(line, begun);
        Ok(since)
    }

    fn output(&mut self, line: u32) -> Result<&mut Output, ChipError> {
        self.outputs.get_mut(&line).ok_or_else(|| ChipError::Lost(format!("GPIO {line} was never claimed")))
    }
}

fn level(is_high: bool) -> Level {
    if is_high { Level::High } else { Level::Low }
}

impl Chip for Open {
    fn resolve(&self, line: &LineName) -> Result<u32, ChipError> {
        match line {
            LineName::Number(number) => Ok(*number),
            LineName::Name(name) => {
                Err(ChipError::Line(format!("on a Pi lines go by their BCM number, not by `{name}`")))
            }
        }
    }

    fn claim_output(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let pin = self.pin(line)?;
        // The level first, then the direction: no glitch.
        let mut pin = if is_high { pin.into_output_high() } else { pin.into_output_low() };
        // A stop leaves it driven to its safe state, instead of letting it float.
        pin.set_reset_on_drop(false);
        self.outputs.insert(line, Output { pin: Arc::new(Mutex::new(pin)), wave: None });
        Ok(())
    }

    fn claim_input(&mut self, line: u32, input: InputWiring, sink: EdgeSink) -> Result<(), ChipError> {
        let begun = match self.inputs.get(&line) {
            Some(input) => input.begun,
            None => self.begin_input(line, input, sink)?,
        };
        if self.is_watched(line) {
            return Ok(());
        }
        if begun.elapsed() < BEGINS_WITHIN {
            return Err(ChipError::Pending);
        }
        self.inputs.remove(&line);
        Err(ChipError::Line(format!("GPIO {line} tells no edges: the kernel did not give it away")))
    }

    fn set(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let output = self.output(line)?;
        // Its end is waited for: the level below is the last.
        output.wave = None;
        locked(&output.pin).write(level(is_high));
        Ok(())
    }

    fn is_high(&mut self, line: u32) -> Result<bool, ChipError> {
        if let Some(input) = self.inputs.get(&line) {
            return Ok(input.pin.is_high());
        }
        Ok(locked(&self.output(line)?.pin).is_set_high())
    }

    fn wave(&mut self, line: u32, period: Duration, high: Duration) -> Result<(), ChipError> {
        let output = self.output(line)?;
        let pin = output.pin.clone();
        let drive = move |is_high| {
            locked(&pin).write(level(is_high));
            Ok(())
        };
        Wave::run(&mut output.wave, drive, period, high).map_err(ChipError::Lost)
    }
}
