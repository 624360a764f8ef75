//! The properties of a device: what each of its entities is in the words of the Homie convention.
//!
//! Pure. An entity of several fields (a light, a cover) comes to several properties. Invariants: ids of one device differ; a
//! field keeps its id for as long as the gateway runs; what the convention cannot say exactly (a word with a comma) is a
//! text.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{Category, ColorMode, Entity, HomieId, Platform};

/// The id of a field whose name has neither a letter nor a digit.
const NAMELESS: &str = "field";

/// One property.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Property {
    /// The node that it is in.
    pub(super) node: &'static str,
    pub(super) id: HomieId,
    pub(super) name: String,
    /// The field of the state that it shows and, if it can be set, of the request that sets it.
    pub(super) field: String,
    pub(super) shape: Shape,
    pub(super) unit: Option<String>,
    pub(super) is_settable: bool,
    /// Whether it has a value; else it is something that happens.
    pub(super) is_retained: bool,
}

/// What its values look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A number.
    Float(Option<Range>),
    /// A whole number.
    Integer(Option<Range>),
    /// One of two values of the field.
    Boolean { on: Value, off: Value },
    /// One of several words: at least one, all different, none of them empty or with a comma.
    Enum(Vec<String>),
    /// Something to press, which sets the field to this.
    Press(Value),
    /// Red, green and blue, each from 0 to 255; the field is an object of `r`, `g` and `b`.
    Color,
}

/// The numbers that can be set, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
    /// From one to the next; `None`: any.
    pub(super) step: Option<f64>,
}

/// The ids that the fields of one device have.
#[derive(Debug, Default)]
pub(super) struct Ids {
    of_fields: BTreeMap<String, HomieId>,
    taken: BTreeSet<HomieId>,
}

impl Ids {
    /// The id of a field, or of what else `name` stands for: the same as the last time, and nobody else's.
    fn of(&mut self, name: &str) -> HomieId {
        if let Some(id) = self.of_fields.get(name) {
            return id.clone();
        }
        let plain = HomieId::of(name).or_else(|| HomieId::of(NAMELESS)).expect("a plain word");
        let mut numbered = (2..).map(|number| plain.numbered(number));
        let mut id = plain.clone();
        while !self.taken.insert(id.clone()) {
            id = numbered.next().expect("numbers do not end");
        }
        self.of_fields.insert(name.to_owned(), id.clone());
        id
    }
}

/// The properties of a device that has these entities.
pub(super) fn properties(entities: &[Entity], ids: &mut Ids) -> Vec<Property> {
    let mut all: Vec<Property> =
        entities.iter().take(Entity::MOST).flat_map(|entity| of(entity, ids)).collect();
    // A light's brightness may be an entity of its own, too; the first of a field counts.
    let mut seen = BTreeSet::new();
    all.retain(|property| seen.insert(property.id.clone()));
    all
}

fn of(entity: &Entity, ids: &mut Ids) -> Vec<Property> {
    let Entity { field, unit, category, .. } = entity;
    let main = Property {
        node: match category {
            None => "main",
            Some(Category::Config) => "config",
            Some(Category::Diagnostic) => "diagnostic",
        },
        id: ids.of(field),
        name: entity.title(),
        field: field.clone(),
        shape: Shape::Text,
        unit: unit.as_deref().map(unit_of),
        is_settable: false,
        is_retained: !entity.is_assumed,
    };
    let settable = Property { is_settable: true, ..main.clone() };
    match &entity.platform {
        Platform::Sensor { options } => vec![Property { shape: sensor(entity, options), ..main }],
        Platform::BinarySensor { on, off } => vec![Property { shape: boolean(on, off), ..main }],
        Platform::DeviceTracker { home, not_home } => {
            vec![Property { shape: boolean(home, not_home), ..main }]
        }
        Platform::Switch { on, off } => vec![Property { shape: boolean(on, off), ..settable }],
        Platform::Select { options } => vec![Property { shape: words(options), ..settable }],
        Platform::Number { min, max, step } => {
            vec![Property { shape: number(*min, *max, *step), ..settable }]
        }
        Platform::Button { press } => {
            vec![Property { shape: Shape::Press(press.clone()), is_retained: false, ..settable }]
        }
        Platform::Event { types } => vec![Property { shape: words(types), is_retained: false, ..main }],
        Platform::Light { modes, brightness_scale, effects } => {
            light(settable, modes, *brightness_scale, effects, ids)
        }
        Platform::Cover { position, can_stop } => cover(&main, position.as_deref(), *can_stop, ids),
    }
}

fn light(
    state: Property,
    modes: &[ColorMode],
    scale: u32,
    effects: &[String],
    ids: &mut Ids,
) -> Vec<Property> {
    let mut more = |field: &str, name: &str, shape: Shape, unit: Option<&str>| Property {
        id: ids.of(field),
        name: name.to_owned(),
        field: field.to_owned(),
        shape,
        unit: unit.map(unit_of),
        ..state.clone()
    };
    let has = |wanted: &[ColorMode]| modes.iter().any(|mode| wanted.contains(mode));
    let mut all = Vec::new();
    if modes != [ColorMode::OnOff] {
        let range = Range { min: 0.0, max: scale.into(), step: None };
        all.push(more("brightness", "Brightness", Shape::Integer(Some(range)), None));
    }
    if has(&[ColorMode::ColorTemp]) {
        all.push(more("color_temp", "Colour temperature", Shape::Integer(None), Some("mired")));
    }
    if has(&[ColorMode::Rgb, ColorMode::Rgbw, ColorMode::Rgbww]) {
        all.push(more("color", "Colour", Shape::Color, None));
    }
    if !effects.is_empty() {
        all.push(more("effect", "Effect", words(effects), None));
    }
    let state = Property { shape: boolean(&"ON".into(), &"OFF".into()), ..state };
    [state].into_iter().chain(all).collect()
}

fn cover(state: &Property, position: Option<&str>, can_stop: bool, ids: &mut Ids) -> Vec<Property> {
    let list = |all: &[&str]| words(&all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let orders: &[&str] = if can_stop { &["OPEN", "CLOSE", "STOP"] } else { &["OPEN", "CLOSE"] };
    // What it is told is not what it shows.
    let order = Property {
        id: ids.of(&format!("{} order", state.field)),
        name: format!("{} order", state.name),
        shape: list(orders),
        is_settable: true,
        is_retained: false,
        ..state.clone()
    };
    let shown = ["open", "opening", "closed", "closing", "stopped"];
    let mut all = vec![order];
    if state.is_retained {
        all.push(Property { shape: list(&shown), ..state.clone() });
    }
    if let Some(position) = position {
        all.push(Property {
            id: ids.of(position),
            name: Entity::sensor(position).title(),
            field: position.to_owned(),
            shape: Shape::Integer(Some(Range { min: 0.0, max: 100.0, step: None })),
            unit: Some("%".to_owned()),
            is_settable: true,
            ..state.clone()
        });
    }
    all
}

fn sensor(entity: &Entity, options: &[String]) -> Shape {
    if !options.is_empty() {
        return words(options);
    }
    let is_number = entity.unit.is_some() || entity.state_class.is_some() || entity.precision.is_some();
    if is_number { Shape::Float(None) } else { Shape::Text }
}

fn boolean(on: &Value, off: &Value) -> Shape {
    Shape::Boolean { on: on.clone(), off: off.clone() }
}

fn words(options: &[String]) -> Shape {
    let mut all: Vec<String> = Vec::new();
    for word in options {
        if word.is_empty() || word.contains([',', '\0']) {
            return Shape::Text;
        }
        if !all.contains(word) {
            all.push(word.clone());
        }
    }
    if all.is_empty() { Shape::Text } else { Shape::Enum(all) }
}

fn number(min: f64, max: f64, step: f64) -> Shape {
    let range = Range { min, max, step: (step > 0.0).then_some(step) };
    let is_whole = [min, max, step].iter().all(|number| number.is_finite() && number.fract() == 0.0);
    if is_whole { Shape::Integer(Some(range)) } else { Shape::Float(Some(range)) }
}

/// In the letters that the convention recommends ("Units"); others are its own.
fn unit_of(unit: &str) -> String {
    match unit {
        "mired" | "mireds" => "MK⁻¹",
        "m3" => "m³",
        "l" => "L",
        other => other,
    }
    .to_owned()
}
