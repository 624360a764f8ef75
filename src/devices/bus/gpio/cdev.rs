//! A chip by the kernel's character device: every board, and `gpio-sim`.
//!
//! A request of its own for each line, so that one that is not to be had leaves the others alone. Edges are read by a task
//! of the runtime; while that is stuck they wait in the kernel. When the program ends, however it ends, the kernel lets
//! go of the lines; what level they have then is the chip driver's affair.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use gpiocdev::{
    Request,
    chip::chips,
    line::{Bias, EdgeDetection, EdgeKind, Value},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    task::JoinHandle,
};

use super::{
    super::super::survey::FoundChip, Chip, ChipError, ChipName, Edge, EdgeSink, Edges, InputWiring, LineName,
    OpenChip, Pull, settings::PI_LABELS, wave::Wave,
};

/// What other programs see as the owner of our lines.
const CONSUMER: &str = "hearthlink";
/// Edges of a line that the kernel keeps for us; more than it allows (16 times 64) it would cut down.
const KERNEL_BUFFER: u32 = 1024;
/// Edges that are read by one call.
const EDGES_AT_ONCE: usize = 16;

/// Opens a character device.
pub(super) struct CharacterDevice {
    name: ChipName,
    /// Where edges are read.
    runtime: Handle,
}

impl CharacterDevice {
    pub(super) fn new(name: ChipName, runtime: Handle) -> Self {
        Self { name, runtime }
    }

    /// The path of the chip.
    fn find(&self) -> Result<PathBuf, String> {
        let label = match &self.name {
            ChipName::Path(path) => return Ok(path.clone()),
            ChipName::Label(label) => label.as_str(),
            ChipName::Auto => return Err("the chip has no name".to_owned()),
        };
        let all = chips().map_err(|error| format!("the GPIO chips cannot be listed: {error}"))?;
        let mut labels = Vec::new();
        let mut found = Vec::new();
        for path in all {
            let info = gpiocdev::Chip::from_path(&path).and_then(|chip| chip.info());
            match info {
                Ok(info) if info.label == label => found.push(path),
                Ok(info) => labels.push(format!("`{}`", info.label)),
                Err(_) => labels.push(format!("one that may not be opened ({})", path.display())),
            }
        }
        match found.as_slice() {
            [path] => Ok(path.clone()),
            [] if labels.is_empty() => Err(format!("there is no GPIO chip, neither `{label}` nor another")),
            [] => Err(format!("no GPIO chip has the label `{label}`; there are {}", labels.join(", "))),
            [one, other, ..] => Err(format!(
                "two GPIO chips have the label `{label}`, {} and {}; name one by its path",
                one.display(),
                other.display()
            )),
        }
    }
}

impl OpenChip for CharacterDevice {
    fn open(&self) -> Result<Box<dyn Chip>, String> {
        let path = self.find()?;
        let chip = gpiocdev::Chip::from_path(&path).map_err(|error| {
            format!(
                "the GPIO chip {} cannot be opened: {error}; is it there, and is the user of Hearthlink in the group \
                 `gpio`?",
                path.display()
            )
        })?;
        let info = chip
            .info()
            .map_err(|error| format!("the GPIO chip {} does not answer: {error}", path.display()))?;
        Ok(Box::new(Open {
            chip,
            path,
            lines: info.num_lines,
            claims: HashMap::new(),
            runtime: self.runtime.clone(),
        }))
    }
}

/// The chips of this machine that may be looked at, in the order of their paths.
pub(in crate::devices) fn chips_found() -> Vec<FoundChip> {
    let paths = chips().unwrap_or_default().into_iter();
    paths
        .filter_map(|path| {
            let info = gpiocdev::Chip::from_path(&path).and_then(|chip| chip.info()).ok()?;
            let is_of_pi = PI_LABELS.contains(&info.label.as_str());
            Some(FoundChip { path, label: info.label, lines: info.num_lines, is_of_pi })
        })
        .collect()
}

struct Claim {
    request: Arc<Request>,
    wave: Option<Wave>,
    /// Reads its edges.
    reader: Option<JoinHandle<()>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(reader) = &self.reader else { return };
        reader.abort();
        // It holds the line, too. A runtime that is stuck is not waited for.
        for _ in 0..50 {
            if reader.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

struct Open {
    chip: gpiocdev::Chip,
    path: PathBuf,
    lines: u32,
    claims: HashMap<u32, Claim>,
    runtime: Handle,
}

fn lost(error: gpiocdev::Error) -> ChipError {
    ChipError::Lost(format!("the GPIO chip does not answer: {error}"))
}

fn value(is_high: bool) -> Value {
    if is_high { Value::Active } else { Value::Inactive }
}

impl Open {
    fn claim(
        &mut self,
        line: u32,
        mut builder: gpiocdev::request::Builder,
    ) -> Result<Arc<Request>, ChipError> {
        let info = self.chip.line_info(line).map_err(lost)?;
        if info.used {
            let owner = if info.consumer.is_empty() { "the kernel" } else { &info.consumer };
            return Err(ChipError::Line(format!(
                "line {line} of the chip is in use by {owner}; end that, or use another"
            )));
        }
        builder.on_chip(&self.path).with_consumer(CONSUMER);
        let request = builder.request().map_err(|error| {
            ChipError::Line(format!("line {line} of the chip cannot be used so: {error}"))
        })?;
        let request = Arc::new(request);
        self.claims.insert(line, Claim { request: request.clone(), wave: None, reader: None });
        Ok(request)
    }

    fn claimed(&mut self, line: u32) -> Result<&mut Claim, ChipError> {
        self.claims.get_mut(&line).ok_or_else(|| ChipError::Lost(format!("line {line} was never claimed")))
    }
}

impl Chip for Open {
    fn resolve(&self, line: &LineName) -> Result<u32, ChipError> {
        match line {
            LineName::Number(number) if *number < self.lines => Ok(*number),
            LineName::Number(number) => Err(ChipError::Line(format!(
                "the chip has no line {number}; it has {}, from 0 to {}",
                self.lines,
                self.lines.saturating_sub(1)
            ))),
            LineName::Name(name) => match self.chip.find_line_info(name) {
                Some(info) => Ok(info.offset),
                None => Err(ChipError::Line(format!("the chip has no line that is called `{name}`"))),
            },
        }
    }

    fn claim_output(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let mut builder = Request::builder();
        builder.with_line(line).as_output(value(is_high));
        self.claim(line, builder).map(drop)
    }

    fn claim_input(&mut self, line: u32, input: InputWiring, sink: EdgeSink) -> Result<(), ChipError> {
        let mut builder = Request::builder();
        builder
            .with_line(line)
            .as_input()
            .with_bias(match input.pull {
                Pull::Up => Bias::PullUp,
                Pull::Down => Bias::PullDown,
                Pull::None => Bias::Disabled,
            })
            .with_edge_detection(match input.edges {
                Edges::Both => EdgeDetection::BothEdges,
                Edges::Rising => EdgeDetection::RisingEdge,
                Edges::Falling => EdgeDetection::FallingEdge,
            })
            .with_kernel_event_buffer_size(KERNEL_BUFFER);
        if let Some(period) = input.debounce {
            builder.with_debounce_period(period);
        }
        let request = self.claim(line, builder)?;
        let reader = self.runtime.spawn(read(request, sink));
        self.claimed(line)?.reader = Some(reader);
        Ok(())
    }

    fn set(&mut self, line: u32, is_high: bool) -> Result<(), ChipError> {
        let claim = self.claimed(line)?;
        // Its end is waited for: the level below is the last.
        claim.wave = None;
        claim.request.set_value(line, value(is_high)).map(drop).map_err(lost)
    }

    fn is_high(&mut self, line: u32) -> Result<bool, ChipError> {
        self.claimed(line)?.request.value(line).map(bool::from).map_err(lost)
    }

    fn wave(&mut self, line: u32, period: Duration, high: Duration) -> Result<(), ChipError> {
        let claim = self.claimed(line)?;
        let request = claim.request.clone();
        let drive =
            move |is_high| request.set_value(line, value(is_high)).map(drop).map_err(|e| e.to_string());
        Wave::run(&mut claim.wave, drive, period, high).map_err(ChipError::Lost)
    }
}

/// Reads a line's edges until it is let go of.
async fn read(request: Arc<Request>, sink: EdgeSink) {
    if let Err(problem) = try_read(request, &sink).await {
        sink.hand(Err(format!("the edges of a line cannot be read: {problem}"))).await;
    }
}

async fn try_read(request: Arc<Request>, sink: &EdgeSink) -> Result<(), String> {
    let words = |error: gpiocdev::Error| error.to_string();
    // Unsound only for a file that does not keep its descriptor; a request keeps it. The new one would need `unsafe`.
    #[expect(deprecated, reason = "the replacement is an unsafe function, and a request owns its descriptor")]
    let events = AsyncFd::with_interest(request, Interest::READABLE).map_err(|error| error.to_string())?;
    loop {
        let mut ready = events.readable().await.map_err(|error| error.to_string())?;
        let request = events.get_ref();
        // Looked at first, for reading would block. Room is waited for in between: the kernel keeps the rest.
        // Not by `read_edge_event`: in gpiocdev 0.8.0 that reads up to eight edges and gives the first.
        let mut buffer = request.new_edge_event_buffer(EDGES_AT_ONCE);
        while buffer.has_event().map_err(words)? {
            let event = buffer.read_event().map_err(words)?;
            let edge = Edge {
                is_high: event.kind == EdgeKind::Rising,
                at: event.timestamp_ns,
                sequence: event.line_seqno,
            };
            if !sink.hand(Ok(edge)).await {
                return Ok(());
            }
        }
        ready.clear_ready();
    }
}
