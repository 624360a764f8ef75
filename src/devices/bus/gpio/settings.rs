//! Which line of which chip a device has, and what stands of it in the options.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor},
};

use super::super::super::{DeviceError, DeviceSpec};

/// The BCM numbers on the header of every Pi with 40 pins.
const HEADER: std::ops::RangeInclusive<u32> = 0..=27;
/// What the kernel calls the chip behind the Pi's header: Pi 0 to 3, Pi 4, Pi 5.
pub(super) const PI_LABELS: [&str; 3] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"];

/// A chip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ChipName {
    /// That of the Raspberry Pi that this is.
    #[default]
    Auto,
    /// A character device, such as `/dev/gpiochip0`.
    Path(PathBuf),
    /// Whichever has this label.
    Label(String),
}

impl fmt::Display for ChipName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("the GPIO of the Raspberry Pi"),
            Self::Path(path) => write!(f, "the GPIO chip {}", path.display()),
            Self::Label(label) => write!(f, "the GPIO chip `{label}`"),
        }
    }
}

impl<'de> Deserialize<'de> for ChipName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = ChipName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto` for a Raspberry Pi, a path such as `/dev/gpiochip0`, or `{label: …}`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ChipName, E> {
                match text {
                    "auto" => Ok(ChipName::Auto),
                    _ if text.starts_with('/') => Ok(ChipName::Path(text.into())),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChipName, A::Error> {
                let Some((key, value)) = map.next_entry::<String, String>()? else {
                    return Err(A::Error::invalid_value(Unexpected::Map, &self));
                };
                if let Some(other) = map.next_key::<String>()? {
                    return Err(A::Error::unknown_field(&other, &[]));
                }
                match key.as_str() {
                    "label" => Ok(ChipName::Label(value)),
                    "path" if value.starts_with('/') => Ok(ChipName::Path(value.into())),
                    "path" => Err(A::Error::invalid_value(Unexpected::Str(&value), &self)),
                    _ => Err(A::Error::unknown_field(&key, &["label", "path"])),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// A line of a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineName {
    /// Its number: on a Pi the BCM number.
    Number(u32),
    /// Its name, as the board's description gives it.
    Name(String),
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "GPIO {number}"),
            Self::Name(name) => write!(f, "the line `{name}`"),
        }
    }
}

/// On or off in an option: `on`, `off`, also as YAML 1.1 reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::devices) struct OnOff(pub(in crate::devices) bool);

impl<'de> Deserialize<'de> for OnOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = OnOff;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`on` or `off`")
            }
            fn visit_bool<E: Error>(self, is_on: bool) -> Result<OnOff, E> {
                Ok(OnOff(is_on))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OnOff, E> {
                match text.to_ascii_lowercase().as_str() {
                    "on" => Ok(OnOff(true)),
                    "off" => Ok(OnOff(false)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// The options of every kind on a GPIO line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::devices) struct LineOptions {
    #[serde(default)]
    chip: ChipName,
    /// The line's number: on a Pi the BCM number.
    #[serde(default)]
    pin: Option<u32>,
    /// The line's name, instead.
    #[serde(default)]
    line: Option<String>,
    /// It is on when it is low.
    #[serde(default)]
    active_low: bool,
}

/// A line, and which of its levels means *on*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its chip.
    pub chip: ChipName,
    /// Which of the chip's.
    pub line: LineName,
    /// It is on when it is low.
    pub is_active_low: bool,
}

impl Connection {
    /// What the options say.
    pub(in crate::devices) fn new(spec: &DeviceSpec, options: LineOptions) -> Result<Self, DeviceError> {
        let bad = |option: &str, problem: String| Err(DeviceError::bad_option(&spec.id, option, problem));
        let LineOptions { chip, pin, line, active_low } = options;
        let line = match (pin, line) {
            (Some(number), None) => LineName::Number(number),
            (None, Some(name)) => LineName::Name(name),
            (None, None) => {
                return bad(
                    "pin",
                    "it is missing; write the line's number, on a Pi its BCM number".to_owned(),
                );
            }
            (Some(_), Some(_)) => {
                return bad(
                    "line",
                    "the line has its number already; write one of `pin` and `line`".to_owned(),
                );
            }
        };
        match (&chip, &line) {
            (ChipName::Auto, LineName::Number(number)) if !HEADER.contains(number) => {
                let numbers: Vec<_> = HEADER.map(|number| number.to_string()).collect();
                bad(
                    "pin",
                    format!(
                        "{number} is not the BCM number of a pin on a Pi's header; these are {} (not the places on the \
                     header, which go from 1 to 40)",
                        numbers.join(", ")
                    ),
                )
            }
            (ChipName::Auto, LineName::Name(_)) => bad(
                "line",
                "on a Pi's own GPIO lines go by their BCM number, `pin`; for a name, name the chip, too: \
                 `chip: {label: …}`"
                    .to_owned(),
            ),
            _ => Ok(Self { chip, line, is_active_low: active_low }),
        }
    }

    /// Whether a level means on.
    pub(super) fn is_on(&self, is_high: bool) -> bool {
        is_high != self.is_active_low
    }

    /// The level that means this.
    pub(super) fn level(&self, is_on: bool) -> bool {
        is_on != self.is_active_low
    }
}

impl ChipName {
    /// Whether `other` may be this chip by another name, in which nobody would see that two devices have one line.
    pub(in crate::devices) fn is_hidden_in(&self, other: &Self) -> bool {
        // What is behind a path, only the machine knows.
        let may_be_pi = |chip: &Self| match chip {
            Self::Label(label) => PI_LABELS.contains(&label.as_str()),
            Self::Path(_) => true,
            Self::Auto => false,
        };
        (*self == Self::Auto && may_be_pi(other)) || (may_be_pi(self) && *other == Self::Auto)
    }
}

/// What a person should know of a chip before the start. Looks at the disk.
pub(in crate::devices) fn doubts(chip: &ChipName) -> Option<String> {
    match chip {
        ChipName::Auto => rppal::system::DeviceInfo::new().is_err().then(|| {
            "this is no Raspberry Pi that is known; on other boards name the chip: `chip: {label: …}`"
                .to_owned()
        }),
        ChipName::Path(path) => (!path.exists()).then(|| format!("there is no {}", path.display())),
        ChipName::Label(_) => None,
    }
}
