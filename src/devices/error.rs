//! What can be wrong with a device's description, with what it says and with what is asked of it.
//!
//! Every variant carries the device's id and the option, field or channel that it is about.

use std::fmt;

use crate::model::DeviceId;

/// A list of names for a sentence: `a`, `b`, `c`.
pub(super) struct Names<'a>(pub(super) &'a [&'static str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Why a device cannot be built, understood or asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Two devices have one id.
    #[error("device `{device}`: another device has this id already")]
    DuplicateId {
        /// The id.
        device: DeviceId,
    },
    /// No kind has this name.
    #[error("device `{device}`: `{kind}` is not a kind{}; kinds are {}", hint(.nearest), Names(.known))]
    UnknownKind {
        /// The device.
        device: DeviceId,
        /// What was written.
        kind: String,
        /// The kind that was probably meant.
        nearest: Option<&'static str>,
        /// Every kind there is.
        known: Vec<&'static str>,
    },
    /// The kind has no such option.
    #[error(
        "device `{device}`: kind `{kind}` has no option `{option}`{}; its options are {}",
        hint(.nearest),
        Names(.allowed)
    )]
    UnknownOption {
        /// The device.
        device: DeviceId,
        /// Its kind.
        kind: String,
        /// What was written.
        option: String,
        /// The option that was probably meant.
        nearest: Option<&'static str>,
        /// Every option of the kind.
        allowed: Vec<&'static str>,
    },
    /// An option has a value that it cannot have, or is missing.
    #[error("device `{device}`: option `{option}`: {problem}")]
    BadOption {
        /// The device.
        device: DeviceId,
        /// The option, `.` when it is about all of them.
        option: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The bus brought something that the device does not say.
    #[error("device `{device}`: cannot read `{field}`: {problem}")]
    Unreadable {
        /// The device.
        device: DeviceId,
        /// The field or channel.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The device does not tell one of its fields, while others may be well. True until that field is read.
    #[error("device `{device}`: cannot read `{field}`: {problem}")]
    Unread {
        /// The device.
        device: DeviceId,
        /// The field.
        field: String,
        /// Why not.
        problem: String,
    },
    /// The request asks for what the device cannot do. Nothing was sent.
    #[error("device `{device}`: cannot set `{field}`: {problem}")]
    Impossible {
        /// The device.
        device: DeviceId,
        /// The field of the request.
        field: String,
        /// Why not, and what is possible.
        problem: String,
    },
}

impl DeviceError {
    /// A [`DeviceError::BadOption`].
    pub fn bad_option(device: &DeviceId, option: &str, problem: impl Into<String>) -> Self {
        Self::BadOption { device: device.clone(), option: option.to_owned(), problem: problem.into() }
    }

    /// A [`DeviceError::Unreadable`].
    pub fn unreadable(device: &DeviceId, field: &str, problem: impl Into<String>) -> Self {
        Self::Unreadable { device: device.clone(), field: field.to_owned(), problem: problem.into() }
    }

    /// A [`DeviceError::Unread`].
    pub fn unread(device: &DeviceId, field: &str, problem: impl Into<String>) -> Self {
        Self::Unread { device: device.clone(), field: field.to_owned(), problem: problem.into() }
    }

    /// A [`DeviceError::Impossible`].
    pub fn impossible(device: &DeviceId, field: &str, problem: impl Into<String>) -> Self {
        Self::Impossible { device: device.clone(), field: field.to_owned(), problem: problem.into() }
    }
}
