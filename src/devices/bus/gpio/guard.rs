//! All lines of an open chip, and the rules that hold for them whatever is ordered.
//!
//! Owns the chip: nothing else drives a line. Pure but for the chip; the time is handed in, so every rule is tested with
//! a chip in memory and a time of one's own. Invariants: two outputs that are locked against each other are never driven
//! on together; an output that this has not claimed counts as on for its rivals; outputs are in their safe state before
//! anything else is done with a chip.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{
    super::FromBus, Cause, Chip, ChipError, EdgeSink, Edges, InputWiring, Member, Order, PwmRules, Role,
    Said, chip::Heard, switch::Switch,
};

/// After what time a line that was not to be had is tried again, and one that does not go off.
const RETRY: Duration = Duration::from_secs(2);
/// After what time it is asked again whether a line is to be had, where the chip does not know yet.
const SOON: Duration = Duration::from_millis(20);

/// What a device is to hear.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// The place of the device among the chip's.
    pub(super) post: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Bus(FromBus),
    /// An input was claimed and had this level. Edges of the same claim know better.
    Level {
        claim: u64,
        is_high: bool,
    },
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was done.
    Refused(String),
    /// It was done, and does not show.
    Doubtful(String),
    /// The chip is gone.
    Lost(String),
}

enum Use {
    Switch(Switch),
    Pwm { rules: PwmRules, part: f64 },
    Input,
}

struct Post {
    member: Member,
    /// The outputs that it is locked against.
    rivals: Vec<usize>,
    /// The number of its line, once claimed.
    line: Option<u32>,
    /// Why it could not be claimed, as its device was told.
    problem: Option<String>,
    retry_at: Instant,
    what_for: Use,
    /// What it shall become now that the gateway has started has still to be done.
    is_to_begin: bool,
    /// It was driven off and reads on: when it is tried again.
    stuck: Option<Instant>,
    cause: Cause,
}

pub(super) struct Guard {
    chip: Box<dyn Chip>,
    posts: Vec<Post>,
    edges: mpsc::Sender<Heard>,
    said: Vec<Told>,
}

/// Which devices are locked against each other: one word is enough for both.
fn rivals(members: &[Member], index: usize) -> Vec<usize> {
    let names = |one: &Member, other: &Member| matches!(&one.role, Role::Output(rules) if rules.interlock.contains(&other.id));
    let own = &members[index];
    let others = members.iter().enumerate().filter(|(other, _)| *other != index);
    others.filter(|(_, other)| names(own, other) || names(other, own)).map(|(other, _)| other).collect()
}

impl Guard {
    /// Of a chip that was just opened. `lost`: why the devices were told that it is gone.
    pub(super) fn new(
        chip: Box<dyn Chip>,
        members: &[Member],
        edges: mpsc::Sender<Heard>,
        lost: Option<&str>,
        now: Instant,
    ) -> Self {
        let post = |(index, member): (usize, &Member)| Post {
            rivals: rivals(members, index),
            line: None,
            problem: lost.map(str::to_owned),
            retry_at: now,
            what_for: match &member.role {
                Role::Output(rules) => Use::Switch(Switch::new(rules.clone(), now)),
                Role::Pwm(rules) => Use::Pwm { rules: *rules, part: rules.safe },
                Role::Input { .. } | Role::Counter { .. } => Use::Input,
            },
            is_to_begin: false,
            stuck: None,
            cause: Cause::Start,
            member: member.clone(),
        };
        let posts = members.iter().enumerate().map(post).collect();
        Self { chip, posts, edges, said: Vec::new() }
    }

    /// What is to be told, in this order.
    pub(super) fn said(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.said)
    }

    /// Claims what is not claimed yet and not to be tried later: outputs first, for they must be safe.
    ///
    /// `claim` marks the inputs' edges. An error: the chip is gone.
    pub(super) fn claim_all(&mut self, claim: u64, now: Instant) -> Result<(), String> {
        let mut order: Vec<usize> = (0..self.posts.len()).collect();
        order.sort_by_key(|&index| matches!(self.posts[index].what_for, Use::Input));
        for index in order {
            let post = &self.posts[index];
            if post.line.is_some() || post.retry_at > now {
                continue;
            }
            match self.claim(index, claim, now) {
                Ok(()) => {}
                Err(ChipError::Lost(reason)) => return Err(reason),
                Err(ChipError::Pending) => self.posts[index].retry_at = now + SOON,
                Err(ChipError::Line(problem)) => {
                    let post = &mut self.posts[index];
                    post.retry_at = now + RETRY;
                    if post.problem.as_ref() != Some(&problem) {
                        warn!(device = %post.member.id, problem, "a GPIO line is not to be had");
                        post.problem = Some(problem.clone());
                        self.tell(index, What::Bus(FromBus::Lost(problem)));
                    }
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, index: usize, claim: u64, now: Instant) -> Result<(), ChipError> {
        let connection = self.posts[index].member.connection.clone();
        let line = self.chip.resolve(&connection.line)?;
        // By a name and by its number, nobody could see it before.
        if let Some(owner) = self.posts.iter().find(|post| post.line == Some(line)) {
            return Err(ChipError::Line(format!(
                "it is line {line} of the chip, which `{}` has",
                owner.member.id
            )));
        }
        let mut first_level = None;
        match &self.posts[index].member.role {
            Role::Output(rules) => {
                let rules = rules.clone();
                self.chip.claim_output(line, connection.level(rules.is_on_safe))?;
                self.posts[index].what_for = Use::Switch(Switch::new(rules, now));
            }
            Role::Pwm(rules) => self.chip.claim_output(line, connection.level(rules.safe >= 1.0))?,
            Role::Input { pull, debounce } | Role::Counter { pull, debounce, .. } => {
                let edges = match (&self.posts[index].member.role, connection.is_active_low) {
                    (Role::Counter { .. }, false) => Edges::Rising,
                    (Role::Counter { .. }, true) => Edges::Falling,
                    _ => Edges::Both,
                };
                let input = InputWiring { pull: *pull, debounce: *debounce, edges };
                let sink = EdgeSink { post: index, claim, channel: self.edges.clone() };
                self.chip.claim_input(line, input, sink)?;
                first_level = Some(self.chip.is_high(line)?);
            }
        }
        let post = &mut self.posts[index];
        (post.line, post.cause) = (Some(line), Cause::Start);
        if post.problem.take().is_some() {
            self.tell(index, What::Bus(FromBus::Found));
        }
        match first_level {
            Some(is_high) => self.tell(index, What::Level { claim, is_high }),
            None => self.be_safe(index, Cause::Start, now)?,
        }
        Ok(())
    }

    /// The gateway has started: outputs become what they shall be at first, those whose line or whose rival's line is
    /// not to be had yet as soon as it is. An error: the chip is gone.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), String> {
        for post in &mut self.posts {
            post.is_to_begin = true;
        }
        self.go_on_beginning(now)
    }

    fn go_on_beginning(&mut self, now: Instant) -> Result<(), String> {
        for index in 0..self.posts.len() {
            let post = &self.posts[index];
            let waits = post.rivals.iter().any(|&rival| self.posts[rival].line.is_none());
            let Some(line) = post.line.filter(|_| post.is_to_begin) else { continue };
            let done = match &post.what_for {
                Use::Switch(switch) if switch.rules.is_on_at_first && waits => continue,
                Use::Switch(switch) if switch.rules.is_on_at_first != switch.is_on => {
                    let is_on = switch.rules.is_on_at_first;
                    match if is_on { self.may_go_on(index, now) } else { Ok(()) } {
                        Ok(()) => self.drive(index, line, is_on, Cause::Start, now),
                        Err(Fault::Refused(reason) | Fault::Doubtful(reason)) => {
                            warn!(device = %self.posts[index].member.id, reason, "an output stays off at first");
                            Ok(false)
                        }
                        Err(Fault::Lost(reason)) => return Err(reason),
                    }
                }
                Use::Pwm { rules, .. } if rules.at_first != rules.safe => {
                    self.drive_part(index, line, rules.at_first, Cause::Start)
                }
                _ => Ok(true),
            };
            self.posts[index].is_to_begin = false;
            done.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// When something is to be done by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        let moment = |post: &Post| match (&post.what_for, post.line) {
            (_, None) => Some(post.retry_at),
            (Use::Switch(switch), Some(_)) => switch.next().or(post.stuck),
            _ => None,
        };
        self.posts.iter().filter_map(moment).min()
    }

    /// Does what is due. An error: the chip is gone.
    pub(super) fn tick(&mut self, claim: u64, now: Instant) -> Result<(), String> {
        for index in 0..self.posts.len() {
            let post = &self.posts[index];
            let stuck = post.stuck.filter(|at| *at <= now).map(|_| post.cause);
            if let (Use::Switch(switch), Some(line)) = (&post.what_for, post.line)
                && let Some(cause) = switch.due(now).or(stuck)
            {
                self.drive(index, line, false, cause, now).map_err(|error| error.to_string())?;
            }
        }
        self.claim_all(claim, now)?;
        self.go_on_beginning(now)
    }

    /// Drives every output to its safe state, the rest of them even where one fails or its driver panics. An error: which
    /// may not be in it, and why.
    pub(super) fn make_safe(&mut self, cause: Cause, now: Instant) -> Result<(), String> {
        let mut problems = Vec::new();
        for index in 0..self.posts.len() {
            self.posts[index].is_to_begin = false;
            let done = catch_unwind(AssertUnwindSafe(|| self.be_safe(index, cause, now)));
            let problem = match done {
                Ok(Ok(())) => continue,
                Ok(Err(problem)) => problem.to_string(),
                Err(_) => "its driver panicked".to_owned(),
            };
            problems.push(format!("`{}`: {problem}", self.posts[index].member.id));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    fn be_safe(&mut self, index: usize, cause: Cause, now: Instant) -> Result<(), ChipError> {
        let post = &self.posts[index];
        match (&post.what_for, post.line) {
            (Use::Switch(switch), Some(line)) => {
                let is_on = switch.rules.is_on_safe;
                // What is safe already keeps its reason.
                let cause = if switch.is_on == is_on && cause != Cause::Start { post.cause } else { cause };
                self.drive(index, line, is_on, cause, now).map(drop)
            }
            (Use::Pwm { rules, part }, Some(line)) => {
                let cause = if *part == rules.safe && cause != Cause::Start { post.cause } else { cause };
                self.drive_part(index, line, rules.safe, cause).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Carries out an order.
    pub(super) fn order(&mut self, index: usize, order: Order, now: Instant) -> Result<(), Fault> {
        let refused = |reason: String| Err(Fault::Refused(reason));
        let post = &self.posts[index];
        let Some(line) = post.line else {
            return refused(post.problem.clone().unwrap_or_else(|| "its line is not claimed yet".to_owned()));
        };
        if order != Order::Tell {
            self.posts[index].is_to_begin = false;
        }
        let post = &self.posts[index];
        let is_shown = match (&post.what_for, order) {
            (Use::Switch(switch), Order::Tell) => {
                let is_on = switch.is_on;
                self.read(index, line).map(|reads| reads == is_on)
            }
            (Use::Switch(switch), Order::On | Order::Pulse) => {
                if order == Order::Pulse && switch.rules.pulse.is_none() {
                    return refused("it has no `pulse`".to_owned());
                }
                if let Some(left) = switch.pulse_left(now) {
                    return refused(format!("pulse: one is under way, {left} left"));
                }
                if !switch.is_on {
                    self.may_go_on(index, now)?;
                }
                self.drive(index, line, true, Cause::Command, now)
            }
            (Use::Switch(_), Order::Off) => self.drive(index, line, false, Cause::Command, now),
            (Use::Pwm { .. }, Order::On) => self.drive_part(index, line, 1.0, Cause::Command),
            (Use::Pwm { .. }, Order::Off) => self.drive_part(index, line, 0.0, Cause::Command),
            (Use::Pwm { .. }, Order::Duty(part)) => self.drive_part(index, line, part, Cause::Command),
            (Use::Pwm { part, .. }, Order::Tell) => {
                let said = Said::Duty(*part, post.cause);
                self.tell(index, What::Bus(FromBus::Frame(said.frame())));
                Ok(true)
            }
            (Use::Switch(_), Order::Duty(_)) => {
                return refused("it is on or off and nothing between".to_owned());
            }
            (Use::Pwm { .. }, Order::Pulse) => return refused("it has no `pulse`".to_owned()),
            (Use::Input, _) => return refused("it is an input".to_owned()),
        };
        match is_shown {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::Doubtful(
                "the line was driven, but reads otherwise; something else drives it, or it is shorted"
                    .to_owned(),
            )),
            Err(error) => Err(Fault::Lost(error.to_string())),
        }
    }

    /// Whether a switch that is off may go on. Its rivals are looked at, not remembered: others may drive them, too.
    fn may_go_on(&mut self, index: usize, now: Instant) -> Result<(), Fault> {
        let refused = |reason: String| Err(Fault::Refused(reason));
        for place in 0..self.posts[index].rivals.len() {
            let rival = &self.posts[self.posts[index].rivals[place]];
            let Use::Switch(other) = &rival.what_for else { continue };
            let id = &rival.member.id;
            let Some(line) = rival.line else {
                return refused(format!("interlock: it is not known whether {id} is off"));
            };
            let reads = self.chip.is_high(line).map_err(|error| Fault::Lost(error.to_string()))?;
            if other.is_on || rival.member.connection.is_on(reads) {
                return refused(format!("interlock: {id} is on"));
            }
        }
        match &self.posts[index].what_for {
            Use::Switch(switch) => switch.may_go_on(now).map_err(Fault::Refused),
            Use::Pwm { .. } | Use::Input => Ok(()),
        }
    }

    /// Drives a switch and reads it back: whether it shows.
    fn drive(
        &mut self,
        index: usize,
        line: u32,
        is_on: bool,
        cause: Cause,
        now: Instant,
    ) -> Result<bool, ChipError> {
        let level = self.posts[index].member.connection.level(is_on);
        self.chip.set(line, level)?;
        let post = &mut self.posts[index];
        if let Use::Switch(switch) = &mut post.what_for {
            switch.went(is_on, now);
        }
        post.cause = cause;
        let reads_on = self.read(index, line)?;
        self.mind_stuck(index, (!is_on && reads_on).then_some(now + RETRY));
        Ok(reads_on == is_on)
    }

    /// A switch was driven: it shows, or did not go off and is to be tried again.
    fn mind_stuck(&mut self, index: usize, stuck: Option<Instant>) {
        let was_stuck = std::mem::replace(&mut self.posts[index].stuck, stuck).is_some();
        match (was_stuck, stuck) {
            (false, Some(_)) => {
                let problem =
                    "its line was switched off, but reads on; something else drives it, or it is shorted";
                error!(device = %self.posts[index].member.id, problem, "an output does not go off");
                self.tell(index, What::Bus(FromBus::Lost(problem.to_owned())));
            }
            (true, None) => self.tell(index, What::Bus(FromBus::Found)),
            _ => {}
        }
    }

    /// Reads a switch and tells it.
    fn read(&mut self, index: usize, line: u32) -> Result<bool, ChipError> {
        let is_high = self.chip.is_high(line)?;
        let post = &self.posts[index];
        let reads_on = post.member.connection.is_on(is_high);
        let said = Said::Output(reads_on, post.cause);
        self.tell(index, What::Bus(FromBus::Frame(said.frame())));
        Ok(reads_on)
    }

    /// Has an output on for a part of the time. A level that changes so fast is not read back.
    fn drive_part(&mut self, index: usize, line: u32, part: f64, cause: Cause) -> Result<bool, ChipError> {
        let post = &mut self.posts[index];
        let Use::Pwm { rules, part: own } = &mut post.what_for else { return Ok(false) };
        let is_active_low = post.member.connection.is_active_low;
        let high = rules.period.mul_f64(if is_active_low { 1.0 - part } else { part });
        if high.is_zero() || high >= rules.period {
            self.chip.set(line, !high.is_zero())?;
        } else {
            self.chip.wave(line, rules.period, high)?;
        }
        (*own, post.cause) = (part, cause);
        self.tell(index, What::Bus(FromBus::Frame(Said::Duty(part, cause).frame())));
        Ok(true)
    }

    fn tell(&mut self, post: usize, what: What) {
        self.said.push(Told { post, what });
    }
}
