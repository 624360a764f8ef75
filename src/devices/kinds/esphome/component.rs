//! One component of a node: its topics, its words, and the fields that they are.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{describe, values};
use crate::model::{ColorMode, Entity, Fields, Platform};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Noun {
    Switch,
    BinarySensor,
    Sensor,
    TextSensor,
    Number,
    Select,
    Button,
    Cover,
    Light,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Onoff,
    Brightness,
    ColorTemp,
    Rgb,
    Rgbw,
    Rgbww,
}

/// A component as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    component: Noun,
    /// Its object id: its name in small letters with `_` for blanks.
    id: String,
    /// Our name for it; default: its id.
    #[serde(default)]
    field: Option<String>,
    /// Of a sensor or a number.
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    device_class: Option<String>,
    /// Of a number.
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    step: Option<f64>,
    /// Of a select.
    #[serde(default)]
    options: Vec<String>,
    /// Of a light; default `brightness`.
    #[serde(default)]
    modes: Vec<Mode>,
    /// Of a light.
    #[serde(default)]
    effects: Vec<String>,
    /// Whether a cover knows where it is.
    #[serde(default)]
    position: bool,
}

/// What a component is, with what that needs.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Switch,
    BinarySensor { class: Option<String> },
    Sensor { unit: Option<String>, class: Option<String> },
    TextSensor,
    Number { min: f64, max: f64, step: f64, unit: Option<String>, class: Option<String> },
    Select { options: Vec<String> },
    Button,
    Cover { has_position: bool, class: Option<String> },
    Light { modes: Vec<ColorMode>, effects: Vec<String> },
}

/// A component.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub(super) kind: Kind,
    id: String,
    field: String,
}

/// What a request comes to.
pub(super) struct Told {
    /// Topics below the prefix, with their words.
    pub(super) commands: Vec<(String, String)>,
    /// The fields that will show it.
    pub(super) shows: Fields,
}

/// What a light's JSON has for us. `color_mode` says which of the others counts.
const OF_LIGHT: [&str; 6] = ["state", "brightness", "color_mode", "color", "color_temp", "effect"];
/// What can be set of it, beside how it gets there.
const SET_OF_LIGHT: [&str; 7] =
    ["state", "brightness", "color", "color_temp", "effect", "transition", "flash"];

impl Component {
    /// An error names the option and says what is possible.
    pub(super) fn new(settings: Settings) -> Result<Self, (&'static str, String)> {
        let Settings {
            component,
            id,
            field,
            unit,
            device_class,
            min,
            max,
            step,
            options,
            modes,
            effects,
            position,
        } = settings;
        let is_id = !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if !is_id {
            return Err((
                "id",
                "an object id has small letters, digits, `_` and `-`: `living_room_lamp`".to_owned(),
            ));
        }
        let is_measure = matches!(component, Noun::Sensor | Noun::Number);
        if unit.is_some() && !is_measure {
            return Err(("unit", "only a `sensor` or a `number` has one".to_owned()));
        }
        if is_measure {
            describe::check(unit.as_deref(), device_class.as_deref())?;
        } else if device_class.is_some() && !matches!(component, Noun::BinarySensor | Noun::Cover) {
            return Err(("device_class", "this component has none; leave it out".to_owned()));
        }
        let only = |option: &'static str, is_there: bool, noun: Noun, whose: &str| {
            (is_there && component != noun)
                .then(|| Err((option, format!("only a `{whose}` has it; leave it out"))))
        };
        let has_range = min.is_some() || max.is_some() || step.is_some();
        for misplaced in [
            only("min", has_range, Noun::Number, "number"),
            only("options", !options.is_empty(), Noun::Select, "select"),
            only("modes", !modes.is_empty(), Noun::Light, "light"),
            only("effects", !effects.is_empty(), Noun::Light, "light"),
            only("position", position, Noun::Cover, "cover"),
        ] {
            misplaced.unwrap_or(Ok(()))?;
        }
        let field =
            field.unwrap_or_else(|| if component == Noun::Light { "state".to_owned() } else { id.clone() });
        if component == Noun::Light && field != "state" {
            return Err(("field", "a light is `state`, `brightness` and so on; leave it out".to_owned()));
        }
        let kind = match component {
            Noun::Switch => Kind::Switch,
            Noun::BinarySensor => Kind::BinarySensor { class: device_class },
            Noun::Sensor => Kind::Sensor { unit, class: device_class },
            Noun::TextSensor => Kind::TextSensor,
            Noun::Number => {
                let (min, max, step) = (min.unwrap_or(0.0), max.unwrap_or(100.0), step.unwrap_or(1.0));
                if !(min < max && step > 0.0 && min.is_finite() && max.is_finite()) {
                    return Err(("min", "it must be below `max` (100), and `step` (1) above 0".to_owned()));
                }
                Kind::Number { min, max, step, unit, class: device_class }
            }
            Noun::Select if options.is_empty() => {
                return Err(("options", "name what can be chosen, as the node has it".to_owned()));
            }
            Noun::Select => Kind::Select { options },
            Noun::Button => Kind::Button,
            Noun::Cover => Kind::Cover { has_position: position, class: device_class },
            Noun::Light => {
                let alone = |mode: &Mode| matches!(mode, Mode::Onoff | Mode::Brightness);
                if modes.len() > 1 && modes.iter().any(alone) {
                    return Err((
                        "modes",
                        "`onoff` and `brightness` stand alone: the others have both".to_owned(),
                    ));
                }
                let mut modes: Vec<ColorMode> = modes.into_iter().map(color_mode).collect();
                if modes.is_empty() {
                    modes.push(ColorMode::Brightness);
                }
                Kind::Light { modes, effects }
            }
        };
        Ok(Self { kind, id, field })
    }

    /// `switch/relay`
    pub(super) fn point(&self) -> String {
        let noun = match self.kind {
            Kind::Switch => "switch",
            Kind::BinarySensor { .. } => "binary_sensor",
            // A text sensor says itself to be a sensor.
            Kind::Sensor { .. } | Kind::TextSensor => "sensor",
            Kind::Number { .. } => "number",
            Kind::Select { .. } => "select",
            Kind::Button => "button",
            Kind::Cover { .. } => "cover",
            Kind::Light { .. } => "light",
        };
        format!("{noun}/{}", self.id)
    }

    /// The topics below the prefix on which it says how it is.
    pub(super) fn states(&self) -> Vec<String> {
        let state = format!("{}/state", self.point());
        match self.kind {
            Kind::Button => Vec::new(),
            Kind::Cover { has_position: true, .. } => vec![state, format!("{}/position/state", self.point())],
            _ => vec![state],
        }
    }

    fn position(&self) -> String {
        format!("{}_position", self.field)
    }

    /// The fields that are its own.
    pub(super) fn fields(&self) -> Vec<String> {
        match self.kind {
            Kind::Light { .. } => OF_LIGHT.iter().map(|field| (*field).to_owned()).collect(),
            Kind::Cover { .. } => vec![self.field.clone(), self.position()],
            _ => vec![self.field.clone()],
        }
    }

    /// Whether a request for this field is for it.
    pub(super) fn takes(&self, field: &str) -> bool {
        match self.kind {
            Kind::Switch | Kind::Number { .. } | Kind::Select { .. } | Kind::Button => field == self.field,
            Kind::Cover { has_position, .. } => {
                field == self.field || (has_position && field == self.position())
            }
            Kind::Light { .. } => SET_OF_LIGHT.contains(&field),
            Kind::BinarySensor { .. } | Kind::Sensor { .. } | Kind::TextSensor => false,
        }
    }

    /// The fields that a message says. An error says what is wrong with it.
    pub(super) fn decode(&self, below: &str, text: &str) -> Result<Fields, String> {
        let one = |field: &str, value: Value| Fields::from_iter([(field.to_owned(), value)]);
        let number = || values::measured(text).ok_or("it is not a number".to_owned());
        Ok(match &self.kind {
            Kind::Switch | Kind::BinarySensor { .. } => match text {
                "ON" | "OFF" => one(&self.field, text.into()),
                _ => return Err("it is neither `ON` nor `OFF`".to_owned()),
            },
            // A sensor that has measured nothing yet.
            Kind::Sensor { .. } | Kind::Number { .. }
                if text.eq_ignore_ascii_case("nan") || text == "None" =>
            {
                Fields::new()
            }
            Kind::Sensor { .. } | Kind::Number { .. } => one(&self.field, number()?),
            Kind::TextSensor | Kind::Select { .. } => one(&self.field, text.into()),
            Kind::Button => Fields::new(),
            Kind::Cover { .. } if below.ends_with("/position/state") => {
                let position = number()?;
                // One that knows where it is says nothing else.
                let word = if position.as_f64() == Some(0.0) { "closed" } else { "open" };
                Fields::from_iter([(self.field.clone(), word.into()), (self.position(), position)])
            }
            Kind::Cover { .. } => match text {
                "open" | "closed" | "opening" | "closing" | "stopped" => one(&self.field, text.into()),
                // Neither of its ends.
                "unknown" => Fields::new(),
                _ => return Err("it is neither `open` nor `closed`".to_owned()),
            },
            Kind::Light { .. } => {
                let light: Fields =
                    serde_json::from_str(text).map_err(|_| "it is not a JSON object".to_owned())?;
                light.into_iter().filter(|(name, _)| OF_LIGHT.contains(&name.as_str())).collect()
            }
        })
    }

    /// What a part of a request comes to. An error names the field and says what is possible.
    pub(super) fn tell(&self, part: &Fields) -> Result<Told, (String, String)> {
        let fail = |field: &str, problem: &str| Err((field.to_owned(), problem.to_owned()));
        let command = format!("{}/command", self.point());
        let shown = |field: &str, value: Value| Fields::from_iter([(field.to_owned(), value)]);
        let wanted = part.get(&self.field);
        let word = wanted.and_then(values::word).unwrap_or_default();
        let told = |word: String, shows: Fields| Ok(Told { commands: vec![(command.clone(), word)], shows });
        match &self.kind {
            Kind::Switch => match word.to_ascii_uppercase().as_str() {
                word @ ("ON" | "OFF") => told(word.to_owned(), shown(&self.field, word.into())),
                _ => fail(&self.field, "a switch takes `ON` or `OFF`"),
            },
            Kind::Number { min, max, .. } => match word.parse::<f64>() {
                Ok(number) if (*min..=*max).contains(&number) => {
                    told(word, shown(&self.field, json!(number)))
                }
                _ => fail(&self.field, &format!("it takes a number from {min} to {max}")),
            },
            Kind::Select { options } if options.contains(&word) => {
                told(word.clone(), shown(&self.field, word.into()))
            }
            Kind::Select { options } => {
                fail(&self.field, &format!("it takes one of: {}", options.join(", ")))
            }
            Kind::Button if word.eq_ignore_ascii_case("press") => told("PRESS".to_owned(), Fields::new()),
            Kind::Button => fail(&self.field, "a button takes `PRESS`"),
            Kind::Cover { .. } => self.move_cover(part, command),
            Kind::Light { .. } => {
                // How it gets there, it does not show; and without a state ESPHome changes only what is shown.
                let mut shows = part.clone();
                shows.retain(|field, _| !matches!(field.as_str(), "transition" | "flash"));
                told(Value::Object(part.clone()).to_string(), shows)
            }
            Kind::BinarySensor { .. } | Kind::Sensor { .. } | Kind::TextSensor => {
                fail(&self.field, "it can only be read")
            }
        }
    }

    fn move_cover(&self, part: &Fields, command: String) -> Result<Told, (String, String)> {
        let takes = |field: &str, problem: &str| Err((field.to_owned(), problem.to_owned()));
        if part.len() > 1 {
            return takes(&self.field, "write a word or a position, not both");
        }
        if let Some(position) = part.get(&self.position()) {
            let Some(number) = position.as_f64().filter(|number| (0.0..=100.0).contains(number)) else {
                return takes(&self.position(), "a position is from 0 (closed) to 100");
            };
            let commands = vec![(format!("{}/position/command", self.point()), number.to_string())];
            return Ok(Told { commands, shows: Fields::new() });
        }
        let word = part.get(&self.field).and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
        if !matches!(word.as_str(), "OPEN" | "CLOSE" | "STOP") {
            return takes(&self.field, "a cover takes `OPEN`, `CLOSE` or `STOP`");
        }
        // It is on its way for half a minute, and says nothing of that.
        Ok(Told { commands: vec![(command, word)], shows: Fields::new() })
    }

    /// What it is for people.
    pub(super) fn entity(&self) -> Entity {
        let field = self.field.as_str();
        let classed = |entity: Entity, class: &Option<String>| match class {
            Some(class) => entity.class(class.clone()),
            None => entity,
        };
        match &self.kind {
            Kind::Switch => Entity::switch(field),
            Kind::BinarySensor { class } => classed(Entity::binary_sensor(field), class),
            Kind::Sensor { unit, class } => describe::number(field, unit.as_deref(), class.as_deref()),
            Kind::TextSensor => Entity::sensor(field),
            Kind::Number { min, max, step, unit, class } => {
                let read = describe::number(field, unit.as_deref(), class.as_deref());
                let number = Entity::number(field, *min, *max, *step);
                Entity { device_class: read.device_class, unit: read.unit, ..number }
            }
            Kind::Select { options } => Entity::select(field, options.clone()),
            Kind::Button => Entity::new(field, Platform::Button { press: "PRESS".into() }),
            Kind::Cover { has_position, class } => {
                let position = has_position.then(|| self.position());
                classed(Entity::new(field, Platform::Cover { position, can_stop: true }), class)
            }
            Kind::Light { modes, effects } => {
                let (modes, effects) = (modes.clone(), effects.clone());
                Entity::new(field, Platform::Light { modes, brightness_scale: 255, effects })
            }
        }
    }
}

fn color_mode(mode: Mode) -> ColorMode {
    match mode {
        Mode::Onoff => ColorMode::OnOff,
        Mode::Brightness => ColorMode::Brightness,
        Mode::ColorTemp => ColorMode::ColorTemp,
        Mode::Rgb => ColorMode::Rgb,
        Mode::Rgbw => ColorMode::Rgbw,
        Mode::Rgbww => ColorMode::Rgbww,
    }
}

/// Whether all of `wanted` is shown; of a colour, all of its parts that were asked for.
pub(super) fn shows(mut wanted: Fields) -> impl Fn(&Fields) -> bool {
    let color = wanted.remove("color");
    let others = values::shows(wanted);
    move |seen| {
        let of_color = match (&color, seen.get("color")) {
            (None, _) => true,
            (Some(Value::Object(wanted)), Some(Value::Object(seen))) => values::shows(wanted.clone())(seen),
            (Some(wanted), Some(seen)) => wanted == seen,
            (Some(_), None) => false,
        };
        of_color && others(seen)
    }
}
