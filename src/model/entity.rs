//! What a field of a device's state is for people: a switch, a temperature in °C, a button.
//!
//! Owns the words in which a kind describes its device, in the shape that Home Assistant made a habit, so that the
//! device needs no configuration there. Never knows a topic or a payload: those are the announcement's.
//!
//! Invariant: an [`Entity`] has one field of the state as its own. A light and a cover also use the fields that
//! their variants name.

use std::borrow::Cow;

use serde_json::Value;

/// A text that mostly stands in the program.
pub type Text = Cow<'static, str>;

/// One thing of a device that people see or touch.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// The field of the state that it shows and, if it can be set, of the request that sets it.
    pub field: String,
    /// What people call it; `None`: as the field is called.
    pub name: Option<String>,
    /// What kind of thing it is.
    pub platform: Platform,
    /// What is measured, in Home Assistant's words: `temperature`, `power`, `motion`.
    pub device_class: Option<Text>,
    /// Of a sensor or a number: `°C`, `W`.
    pub unit: Option<Text>,
    /// Of a sensor: how it goes into statistics.
    pub state_class: Option<StateClass>,
    /// Of a sensor: digits behind the point that are shown.
    pub precision: Option<u8>,
    /// Whether it is about the device rather than what the device is for.
    pub category: Option<Category>,
    /// The device never shows it: what was last set counts.
    pub is_assumed: bool,
}

/// What kind of thing an entity is, with what that kind needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Platform {
    /// It is read: a number or a word.
    Sensor {
        /// All words that it can be; empty: anything.
        options: Vec<String>,
    },
    /// It is read, and one of two values.
    BinarySensor {
        /// The value that means on.
        on: Value,
        /// The value that means off.
        off: Value,
    },
    /// It is set to one of two values, which it shows.
    Switch {
        /// The value that means on.
        on: Value,
        /// The value that means off.
        off: Value,
    },
    /// It is set to one of several words.
    Select {
        /// The words.
        options: Vec<String>,
    },
    /// It is set to a number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// From one to the next.
        step: f64,
    },
    /// It is pressed: the field is set to a value, and shows nothing.
    Button {
        /// The value that a press sets.
        press: Value,
    },
    /// Something that happens, such as a press that was felt. The field has the word for it in the one reading that
    /// brings it, and is not a part of the state afterwards.
    Event {
        /// All words that it can be.
        types: Vec<String>,
    },
    /// Whether somebody, or something that they carry, is at home.
    DeviceTracker {
        /// The value that means at home.
        home: Value,
        /// The value that means away.
        not_home: Value,
    },
    /// A light: `state` (`ON`, `OFF`) as its field and, by its modes, `brightness`, `color_temp`, `color`,
    /// `color_mode` and `effect`, as in Home Assistant's JSON schema. One a device.
    Light {
        /// What it can do, `OnOff` or `Brightness` only alone.
        modes: Vec<ColorMode>,
        /// The `brightness` that is full.
        brightness_scale: u32,
        /// The effects that it knows.
        effects: Vec<String>,
    },
    /// A cover: its field is set to `OPEN`, `CLOSE` or `STOP` and shows `open`, `opening`, `closed`, `closing` or
    /// `stopped`.
    Cover {
        /// The field that shows where it is and can be set, from 0 (closed) to 100; `None`: it has none.
        position: Option<String>,
        /// Whether it can be stopped on its way.
        can_stop: bool,
    },
}

impl Platform {
    /// The values that people choose from when they set it; none where it is only read, or is a number.
    pub fn choices(&self) -> Vec<Value> {
        let words = |words: &[&str]| words.iter().map(|word| Value::from(*word)).collect();
        match self {
            Self::Switch { on, off } => vec![on.clone(), off.clone()],
            Self::Select { options } => options.iter().map(|word| Value::from(word.as_str())).collect(),
            Self::Button { press } => vec![press.clone()],
            Self::Light { .. } => words(&["ON", "OFF"]),
            Self::Cover { can_stop: true, .. } => words(&["OPEN", "STOP", "CLOSE"]),
            Self::Cover { can_stop: false, .. } => words(&["OPEN", "CLOSE"]),
            Self::Number { .. }
            | Self::Sensor { .. }
            | Self::BinarySensor { .. }
            | Self::Event { .. }
            | Self::DeviceTracker { .. } => Vec::new(),
        }
    }
}

/// How a light's colour is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorMode {
    /// On and off only.
    OnOff,
    /// Brighter and darker only.
    Brightness,
    /// A colour temperature, in mired.
    ColorTemp,
    /// Red, green and blue.
    Rgb,
    /// With a white of its own.
    Rgbw,
    /// With a cold and a warm white.
    Rgbww,
}

/// How a sensor goes into statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateClass {
    /// A value of this moment: mean, least, most.
    Measurement,
    /// A sum that grows and may begin anew at 0, such as a meter's.
    TotalIncreasing,
}

/// What an entity is about, if not what its device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// How the device fares: signal, battery.
    Diagnostic,
    /// How the device is set.
    Config,
}

impl Entity {
    /// The most that one device has. What is beyond it is not announced.
    pub const MOST: usize = 128;

    /// An entity with nothing but its field.
    pub fn new(field: impl Into<String>, platform: Platform) -> Self {
        Self {
            field: field.into(),
            name: None,
            platform,
            device_class: None,
            unit: None,
            state_class: None,
            precision: None,
            category: None,
            is_assumed: false,
        }
    }

    /// A word or a number that is read.
    pub fn sensor(field: impl Into<String>) -> Self {
        Self::new(field, Platform::Sensor { options: Vec::new() })
    }

    /// One of several words that is read.
    pub fn one_of<T: Into<String>>(field: impl Into<String>, options: impl IntoIterator<Item = T>) -> Self {
        Self::new(field, Platform::Sensor { options: options.into_iter().map(Into::into).collect() })
    }

    /// A number of this moment that is measured: `("temperature", "°C")`.
    pub fn measurement(field: impl Into<String>, class: impl Into<Text>, unit: impl Into<Text>) -> Self {
        Self::sensor(field).class(class).unit(unit).stated(StateClass::Measurement)
    }

    /// A sum that grows: `("energy", "kWh")`.
    pub fn total(field: impl Into<String>, class: impl Into<Text>, unit: impl Into<Text>) -> Self {
        Self::sensor(field).class(class).unit(unit).stated(StateClass::TotalIncreasing)
    }

    /// `ON` or `OFF`, read.
    pub fn binary_sensor(field: impl Into<String>) -> Self {
        Self::new(field, Platform::BinarySensor { on: "ON".into(), off: "OFF".into() })
    }

    /// `ON` or `OFF`, to be set.
    pub fn switch(field: impl Into<String>) -> Self {
        Self::new(field, Platform::Switch { on: "ON".into(), off: "OFF".into() })
    }

    /// A number that can be set.
    pub fn number(field: impl Into<String>, min: f64, max: f64, step: f64) -> Self {
        Self::new(field, Platform::Number { min, max, step })
    }

    /// One of several words, to be set.
    pub fn select<T: Into<String>>(field: impl Into<String>, options: impl IntoIterator<Item = T>) -> Self {
        Self::new(field, Platform::Select { options: options.into_iter().map(Into::into).collect() })
    }

    /// Something that happens.
    pub fn event<T: Into<String>>(field: impl Into<String>, types: impl IntoIterator<Item = T>) -> Self {
        Self::new(field, Platform::Event { types: types.into_iter().map(Into::into).collect() })
    }

    /// What a value that nobody has described looks like: a number or a word to be read, true or false. `None` for
    /// a list, an object and null.
    pub fn of_value(field: &str, value: &Value) -> Option<Self> {
        match value {
            Value::Number(_) => Some(Self::sensor(field).stated(StateClass::Measurement)),
            Value::String(_) => Some(Self::sensor(field)),
            Value::Bool(_) => {
                let platform = Platform::BinarySensor { on: true.into(), off: false.into() };
                Some(Self::new(field, platform))
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Its name for people; without one, the field's: `energy_total` as `Energy total`.
    pub fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let words = self.field.replace('_', " ");
        let mut letters = words.chars();
        match letters.next() {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => words,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What is measured.
    #[must_use]
    pub fn class(mut self, class: impl Into<Text>) -> Self {
        self.device_class = Some(class.into());
        self
    }

    /// In what it is measured.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<Text>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// How it goes into statistics.
    #[must_use]
    pub fn stated(mut self, class: StateClass) -> Self {
        self.state_class = Some(class);
        self
    }

    /// Digits behind the point that are shown.
    #[must_use]
    pub fn precision(mut self, digits: u8) -> Self {
        self.precision = Some(digits);
        self
    }

    /// The device never shows it.
    #[must_use]
    pub fn assumed(mut self) -> Self {
        self.is_assumed = true;
        self
    }

    /// It tells how the device fares.
    #[must_use]
    pub fn diagnostic(mut self) -> Self {
        self.category = Some(Category::Diagnostic);
        self
    }

    /// It sets how the device works.
    #[must_use]
    pub fn config(mut self) -> Self {
        self.category = Some(Category::Config);
        self
    }
}
