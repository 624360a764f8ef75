//! How a port is opened: what stands in a device's options, and what it means.
//!
//! Several devices may share a port; then they must mean the same.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    super::super::{DeviceError, DeviceSpec},
    Member,
};

/// Whether a bit is added that makes the number of ones even or odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// No such bit.
    None,
    /// An even number of ones.
    Even,
    /// An odd number of ones.
    Odd,
}

/// The options of every kind on a serial port. What is left out is the kind's own habit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::devices) struct PortOptions {
    /// The port's path, best one below `/dev/serial/by-id`.
    port: PathBuf,
    /// Bits a second, 50 to 4000000.
    #[serde(default)]
    baud: Option<u32>,
    /// 5 to 8.
    #[serde(default)]
    data_bits: Option<u8>,
    #[serde(default)]
    parity: Option<Parity>,
    /// 1 or 2.
    #[serde(default)]
    stop_bits: Option<u8>,
}

/// A port and how it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSettings {
    /// Its path.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// The parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

impl PortSettings {
    /// What the options say, and for the rest `baud`, `data_bits` and `parity`, with one stop bit.
    pub(in crate::devices) fn new(
        spec: &DeviceSpec,
        options: PortOptions,
        (baud, data_bits, parity): (u32, u8, Parity),
    ) -> Result<Self, DeviceError> {
        let settings = Self {
            path: options.port,
            baud: options.baud.unwrap_or(baud),
            data_bits: options.data_bits.unwrap_or(data_bits),
            parity: options.parity.unwrap_or(parity),
            stop_bits: options.stop_bits.unwrap_or(1),
        };
        let bad = |option: &str, problem: &str| Err(DeviceError::bad_option(&spec.id, option, problem));
        if !settings.path.is_absolute() {
            return bad("port", "write the whole path, best one below `/dev/serial/by-id`");
        }
        if !(50..=4_000_000).contains(&settings.baud) {
            return bad(
                "baud",
                "a port has from 50 to 4000000 bits a second; most devices have 9600 or 115200",
            );
        }
        if !(5..=8).contains(&settings.data_bits) {
            return bad("data_bits", "a character has from 5 to 8 bits; almost always 8, or 7 with a parity");
        }
        if !(1..=2).contains(&settings.stop_bits) {
            return bad("stop_bits", "there are 1 or 2 of them");
        }
        Ok(settings)
    }

    /// Whether `other` is this port, by this name or, as far as both are there, by another (a link below
    /// `/dev/serial/by-id`).
    fn is_same_port(&self, other: &Self) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        self.path == other.path || real(&self.path).is_some_and(|own| real(&other.path) == Some(own))
    }

    /// Why `other` cannot be the same port: the option in which they contradict each other, and what it has here.
    fn contradicts(&self, other: &Self) -> Option<(&'static str, String)> {
        let pairs = [
            ("baud", self.baud.to_string(), other.baud.to_string()),
            ("data_bits", self.data_bits.to_string(), other.data_bits.to_string()),
            (
                "parity",
                format!("{:?}", self.parity).to_lowercase(),
                format!("{:?}", other.parity).to_lowercase(),
            ),
            ("stop_bits", self.stop_bits.to_string(), other.stop_bits.to_string()),
        ];
        pairs.into_iter().find(|(_, own, theirs)| own != theirs).map(|(option, own, _)| (option, own))
    }

    /// How long `bytes` take at `baud`.
    pub(super) fn time_for(&self, bytes: usize, baud: u32) -> Duration {
        let bits = 1
            + u32::from(self.data_bits)
            + u32::from(self.parity != Parity::None)
            + u32::from(self.stop_bits);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Duration::from_secs(1) * bits / baud.max(1) * bytes
    }
}

impl fmt::Display for PortSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Member {
    /// Whether its `port` is that of `others`, which is `theirs`.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when they open it in different ways.
    pub(in crate::devices) fn joins(
        &self,
        port: &PortSettings,
        theirs: &mut PortSettings,
        others: &[Self],
    ) -> Result<bool, DeviceError> {
        if !theirs.is_same_port(port) {
            return Ok(false);
        }
        if let Some((option, value)) = theirs.contradicts(port) {
            let first = others.first().map_or("another device", |first| first.id.as_str());
            let problem = format!("`{first}` shares this port and has {value}; write the same for both");
            return Err(DeviceError::bad_option(&self.id, option, problem));
        }
        if is_bare_name(&theirs.path) {
            // The other name may last longer.
            port.path.clone_into(&mut theirs.path);
        }
        Ok(true)
    }
}

/// Whether this is the name that the kernel gives in the order of plugging in, so that it may be another device
/// after the next start.
pub fn is_bare_name(port: &Path) -> bool {
    let number = ["/dev/ttyUSB", "/dev/ttyACM"].iter().find_map(|bare| port.to_str()?.strip_prefix(bare));
    number.is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}
