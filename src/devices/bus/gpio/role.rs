//! What lines are used for, and what is wrong with the devices of a chip together.
//!
//! Pure: a configuration is checked by this without a chip. What only the chip knows (names, numbers beyond a Pi's header,
//! other programs) is found when a line is claimed.

use std::time::Duration;

use super::{
    super::super::DeviceError,
    LineName, Pull,
    settings::{ChipName, Connection},
};
use crate::model::DeviceId;

/// What holds for an output whatever is ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputRules {
    /// What it is when nobody may decide: at the start, at the stop, after a fault.
    pub is_on_safe: bool,
    /// What it becomes once the gateway has started.
    pub is_on_at_first: bool,
    /// The longest time that it is on at a stretch.
    pub max_on: Option<Duration>,
    /// The shortest time that it is off.
    pub min_off: Option<Duration>,
    /// It is never on for longer than this, and this long each time.
    pub pulse: Option<Duration>,
    /// The outputs that must not be on when this one is, and the other way round.
    pub interlock: Vec<DeviceId>,
}

/// What holds for an output that is on for a part of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PwmRules {
    /// How long on and off take together.
    pub period: Duration,
    /// The part of it that it is on when nobody may decide, 0 to 1.
    pub safe: f64,
    /// The part of it that it is on once the gateway has started.
    pub at_first: f64,
}

/// What a line is used for.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// It is switched.
    Output(OutputRules),
    /// It is switched on and off fast.
    Pwm(PwmRules),
    /// It is looked at.
    Input {
        /// The resistor.
        pull: Pull,
        /// How long a level must hold to count.
        debounce: Option<Duration>,
    },
    /// Its changes to on are counted.
    Counter {
        /// The resistor.
        pull: Pull,
        /// How long a level must hold to count.
        debounce: Option<Duration>,
        /// How often it tells.
        every: Duration,
    },
}

/// A device on a chip.
#[derive(Debug, Clone, PartialEq)]
pub struct GpioWiring {
    /// Its line.
    pub connection: Connection,
    /// What it is used for.
    pub role: Role,
}

/// A device on a chip, with its name.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::devices) struct Member {
    pub(in crate::devices) id: DeviceId,
    pub(in crate::devices) connection: Connection,
    pub(in crate::devices) role: Role,
}

impl Member {
    /// Whether it may come to `others`, which are on `chip`, or on another.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when its line has an owner, or its chip another name.
    pub(in crate::devices) fn joins(&self, chip: &ChipName, others: &[Self]) -> Result<(), DeviceError> {
        let Connection { chip: own, line, .. } = &self.connection;
        if own.is_hidden_in(chip) {
            let first = others.first().map_or("another device", |first| first.id.as_str());
            let problem = format!(
                "it may be the chip that `{first}` has as {chip}; name it the same way for both, and one beside the Pi's \
                 own by its label: `chip: {{label: …}}`"
            );
            return Err(DeviceError::bad_option(&self.id, "chip", problem));
        }
        let owner = others.iter().find(|other| other.connection.line == *line).filter(|_| own == chip);
        let Some(owner) = owner else { return Ok(()) };
        let option = match line {
            LineName::Number(_) => "pin",
            LineName::Name(_) => "line",
        };
        let problem = format!("`{}` has {line} already; a pin has one owner", owner.id);
        Err(DeviceError::bad_option(&self.id, option, problem))
    }
}

/// What is wrong with the interlocks of a chip's devices: a name that is no output of this chip, two that cannot both be
/// what they are to be at first.
pub(in crate::devices) fn complaints(members: &[Member]) -> Vec<DeviceError> {
    let mut complaints = Vec::new();
    for member in members {
        let Role::Output(rules) = &member.role else { continue };
        for (index, id) in rules.interlock.iter().enumerate() {
            let other = members.iter().find(|other| other.id == *id);
            let problem = match other.map(|other| &other.role) {
                _ if *id == member.id => "it cannot be locked against itself".to_owned(),
                None => format!("there is no `gpio_output` called `{id}` on this chip"),
                Some(Role::Output(others)) if rules.is_on_at_first && others.is_on_at_first => {
                    format!("both it and `{id}` are on at first")
                }
                Some(Role::Output(others)) if others.is_on_safe => {
                    format!("`{id}` is on when it is safe, and could not be kept off")
                }
                Some(Role::Output(_)) => continue,
                Some(_) => format!("`{id}` is no `gpio_output`"),
            };
            complaints.push(DeviceError::bad_option(&member.id, &format!("interlock[{index}]"), problem));
        }
    }
    complaints
}
