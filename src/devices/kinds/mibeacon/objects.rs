//! The objects of MiBeacon that sensors, buttons and remote controls send, and what they are called.
//!
//! Numbers below 0x4800 are Xiaomi's own list (iot.mi.com, BLE object definition); the rest are the properties and
//! events of single products (miot-spec.org), as `xiaomi-ble` 1.21 has collected them. Locks and scales are left out: a
//! lock's state from the air is nothing to act upon, and a scale's is about a person.

use serde_json::Value;

use super::super::{
    advertiser::{binary, rounded},
    values,
};
use crate::model::{Entity, Fields};

/// A product's number. Only where one says a thing in another way than the rest.
pub(super) type Product = u16;

const MJYD02YL: Product = 0x07f6;
const RTCGQ02LM: Product = 0x0a8d;
const MCCGQ02HL: Product = 0x098b;
const CGPR1: Product = 0x0a83;
const XMMF01JQD: Product = 0x04e1;
const YLYK01YL: Product = 0x0153;
const K9B: [Product; 3] = [0x1568, 0x1569, 0x0dfd];
const XMWXKG01YL: Product = 0x1949;
const K9BB: Product = 0x1c10;
const XMWS01XS: Product = 0x5968;
const KS1: [Product; 2] = [0x3a61, 0x3e17];
const KS2BB: Product = 0x520b;
const SJWS02LM: Product = 0x6375;
const XMOSB01XS: Product = 0x4683;

/// What an advertisement says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) fields: Fields,
    /// What happened; it does not stay in the state.
    pub(super) events: Vec<String>,
    /// The first object that is not known here.
    pub(super) unknown: Option<u16>,
}

impl Said {
    fn number(&mut self, field: &str, number: impl Into<f64>) {
        if let Some(value) = values::number(number.into()) {
            self.fields.insert(field.to_owned(), value);
        }
    }

    fn flag(&mut self, field: &str, is_on: bool) {
        self.fields.insert(field.to_owned(), binary(is_on));
    }

    fn word(&mut self, field: &str, word: &str) {
        self.fields.insert(field.to_owned(), Value::from(word));
    }

    fn event(&mut self, field: &str, word: &str) {
        self.word(field, word);
        self.events.push(field.to_owned());
    }

    /// A 32-bit float with so many decimals.
    fn float(&mut self, field: &str, bytes: [u8; 4], decimals: usize) {
        let number = f64::from(f32::from_le_bytes(bytes));
        // What is infinite or no number becomes no field.
        self.number(field, rounded(number, decimals));
    }

    /// A door that opened or closed: then it was neither left open nor torn off.
    fn opening(&mut self, is_open: bool) {
        self.flag("opening", is_open);
        if !is_open {
            self.flag("door_left_open", false);
            self.flag("device_forcibly_removed", false);
        }
    }
}

/// Reads objects: a number, a length, so many bytes. What is cut off is not there.
pub(super) fn read(mut payload: &[u8], product: Product) -> Said {
    let mut said = Said::default();
    while let [low, high, length, rest @ ..] = payload {
        let Some((data, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        let id = u16::from_le_bytes([*low, *high]);
        if !put(id, data, product, &mut said) && !press(id, data, product, &mut said) {
            said.unknown.get_or_insert(id);
        }
        payload = rest;
    }
    said
}

/// Takes what is measured or felt; false where the object, or its length, is not known.
fn put(id: u16, data: &[u8], product: Product, said: &mut Said) -> bool {
    let tenths = |low: u8, high: u8| f64::from(i16::from_le_bytes([low, high])) / 10.0;
    let word = |low: u8, high: u8| u16::from_le_bytes([low, high]);
    match (id, data) {
        (0x0003, _) => said.event("motion_event", "motion_detected"),
        (0x000a, [a, b]) => said.number("temperature", f64::from(word(*a, *b).cast_signed()) / 100.0),
        (0x000f, [a, b, c]) => {
            let light = u32::from_le_bytes([*a, *b, *c, 0]);
            said.flag("motion", true);
            match product {
                MJYD02YL | RTCGQ02LM => said.flag("light", light >= 100),
                CGPR1 => said.number("illuminance", light),
                _ => {}
            }
        }
        (0x0010, [on, rest @ ..]) => {
            said.flag("toothbrush", *on == 0);
            if let Some(number) = rest.first() {
                said.number(if *on == 0 { "counter" } else { "score" }, *number);
            }
        }
        // With the time at which it began or ended.
        (0x3003, [on @ 0..=1, _, _, _, _, rest @ ..]) => {
            said.flag("toothbrush", *on == 0);
            if let [score] = rest {
                said.number("score", *score);
            }
        }
        (0x1004, [a, b]) => said.number("temperature", tenths(*a, *b)),
        (0x1005, [on, degrees]) => {
            said.flag("power_on", *on != 0);
            said.number("temperature", *degrees);
        }
        (0x1006, [a, b]) => said.number("humidity", f64::from(word(*a, *b)) / 10.0),
        (0x1007, [a, b, c]) => {
            let light = u32::from_le_bytes([*a, *b, *c, 0]);
            match product {
                MJYD02YL | MCCGQ02HL => said.flag("light", light == 100),
                _ => said.number("illuminance", light),
            }
        }
        (0x1008, [percent]) => said.number("moisture", *percent),
        (0x1009, [a, b]) => said.number("conductivity", word(*a, *b)),
        (0x100a | 0x4803 | 0x4c03 | 0x5003, [percent]) => said.number("battery", *percent),
        (0x100d, [a, b, c, d]) => {
            said.number("temperature", tenths(*a, *b));
            said.number("humidity", f64::from(word(*c, *d)) / 10.0);
        }
        (0x1010, [a, b]) => said.number("formaldehyde", f64::from(word(*a, *b)) / 100.0),
        (0x1012, [on]) => said.flag("power_on", *on != 0),
        (0x1013, [percent]) => said.number("consumable", *percent),
        (0x4806, [wet]) if product == SJWS02LM => said.flag("bottom_submersion", *wet != 0),
        (0x1014 | 0x4806, [wet]) => said.flag("moisture_detected", *wet != 0),
        (0x487b, [wet]) if product == SJWS02LM => said.flag("top_splash", *wet != 0),
        (0x4a68, [what @ 0..=3]) if product == SJWS02LM => {
            let field = if *what < 2 { "bottom_submersion" } else { "top_splash" };
            said.flag(field, what % 2 == 0);
        }
        (0x1015, [smoke]) => said.flag("smoke", *smoke != 0),
        // For how many seconds nothing has moved. Up to 30 of them still count as movement, as in Xiaomi's app.
        (0x1017, [a, b, c, d]) => said.flag("motion", u32::from_le_bytes([*a, *b, *c, *d]) <= 30),
        (0x4818, [a, b]) => said.flag("motion", word(*a, *b) <= 30),
        (0x101b, _) => said.flag("motion", false),
        (0x1018, [light]) => said.flag("light", *light != 0),
        (0x1019, [0]) => said.flag("opening", true),
        (0x1019, [1]) => {
            said.flag("opening", false);
            said.flag("door_left_open", false);
        }
        (0x1019, [2]) | (0x4a1a, [1]) => {
            said.flag("opening", true);
            said.flag("door_left_open", true);
        }
        (0x480c, [state @ 0..=1]) => said.flag("opening", *state == 0),
        (0x4804 | 0x4a12, [state @ 1..=2]) => said.opening(*state == 1),
        (0x4a0f, [1]) => {
            said.flag("opening", true);
            said.flag("device_forcibly_removed", true);
        }
        (0x4801, [a, b, c, d]) => said.float("temperature", [*a, *b, *c, *d], 1),
        (0x4c01, [a, b, c, d]) => said.float("temperature", [*a, *b, *c, *d], 2),
        (0x4802 | 0x4c02, [percent]) => said.number("humidity", *percent),
        (0x4808, [a, b, c, d]) => said.float("humidity", [*a, *b, *c, *d], 1),
        (0x4c08, [a, b, c, d]) => said.float("humidity", [*a, *b, *c, *d], 2),
        (0x4805, [a, b, c, d]) => said.float("illuminance", [*a, *b, *c, *d], 2),
        (0x4a08, [a, b, c, d]) => {
            said.flag("motion", true);
            said.float("illuminance", [*a, *b, *c, *d], 2);
        }
        (0x4a01 | 0x4e01, [low]) => said.flag("battery_low", *low != 0),
        (0x483c, [pressed]) => said.flag("occupancy", *pressed != 0),
        (0x483d, [a, b, c, d]) => {
            said.number("pressure_present_duration", u32::from_le_bytes([*a, *b, *c, *d]));
        }
        (0x483e, [a, b, c, d]) => {
            said.number("pressure_not_present_duration", u32::from_le_bytes([*a, *b, *c, *d]));
        }
        // Of this one product, 2 is nobody, too.
        (0x484e, [who]) => said.flag("occupancy", *who == 1 || (*who > 0 && product != XMOSB01XS)),
        (0x4851, [minutes]) => said.number("duration_detected", *minutes),
        (0x4852, [minutes]) => said.number("duration_cleared", *minutes),
        (0x5413, [who]) => said.flag("occupancy_close_range", *who != 0),
        (0x5422, [state]) => {
            let word = ["charging", "not_charging", "full"].get(usize::from(*state));
            said.word("charging_state", word.unwrap_or(&"unknown"));
        }
        (0x5810, [awake]) => said.flag("asleep", *awake == 0),
        (0x6461, [off]) => said.flag("wearing", *off == 0),
        _ => return false,
    }
    true
}

const PRESSES: [&str; 3] = ["press", "double_press", "long_press"];
const REMOTE: [&str; 6] = ["on", "off", "brightness", "plus", "m", "min"];
const CUBE: [&str; 2] = ["rotate_right", "rotate_left"];
const QUAD: [&str; 4] = ["left", "mid_left", "mid_right", "right"];

/// Takes a press of a button.
fn press(id: u16, data: &[u8], product: Product, said: &mut Said) -> bool {
    match (id, data) {
        (0x1001, [button, _, press]) => first_buttons(usize::from(*button), *press, product, said),
        (0x4a13, [1]) => {
            said.event("button", "press");
            true
        }
        (0x4a0c..=0x4a0e | 0x4e0c..=0x4e0e | 0x560c..=0x560e, _) => {
            let press = PRESSES[usize::from((id & 0xff) - 0x0c)];
            let button = data.first().copied();
            let sides: &[&str] = match (product, id >> 8, button) {
                (XMWS01XS, 0x4a, Some(0)) | (XMWXKG01YL, 0x4e, Some(1)) => &["left"],
                (XMWS01XS, 0x4a, Some(1)) | (XMWXKG01YL, 0x4e, Some(2)) => &["right"],
                (XMWXKG01YL, 0x4e, Some(3)) => &["left", "right"],
                (product, 0x56, Some(number @ 1..=4)) if KS1.contains(&product) => {
                    let place = usize::from(number) - 1;
                    &QUAD[place..=place]
                }
                // Which way it was pressed stands in the object, not in its number.
                (K9BB, 0x4e, Some(way)) => {
                    let way = [(1, "press"), (8, "long_press"), (15, "double_press")]
                        .iter()
                        .find(|(known, _)| *known == way);
                    way.iter().for_each(|(_, press)| said.event("button", press));
                    return way.is_some();
                }
                // Of others it means something else.
                (product, 0x56, _) if product != KS2BB => return false,
                _ => {
                    said.event("button", press);
                    return true;
                }
            };
            for side in sides {
                said.event(&format!("button_{side}"), press);
            }
            true
        }
        _ => false,
    }
}

/// The buttons of the first products: which, and how it was pressed.
fn first_buttons(button: usize, press: u8, product: Product, said: &mut Said) -> bool {
    if product == XMMF01JQD {
        let turn = CUBE.get(button);
        turn.iter().for_each(|turn| said.event("cube", turn));
        return turn.is_some();
    }
    let Some(word) = PRESSES.get(usize::from(press)) else { return false };
    if product == YLYK01YL {
        let name = REMOTE.get(button);
        name.iter().for_each(|name| said.event(&format!("button_{name}"), word));
        return name.is_some();
    }
    if let Some(place) = K9B.iter().position(|known| *known == product) {
        // Two ways of pressing are the other way round here, and two buttons may be pressed at once.
        let word = ["press", "long_press", "double_press"][usize::from(press)];
        let together: &[&[&str]] = match place {
            0 => &[&["button"]],
            1 => &[&["button_left"], &["button_right"], &["button_left", "button_right"]],
            _ => &[
                &["button_left"],
                &["button_middle"],
                &["button_right"],
                &["button_left", "button_middle"],
                &["button_middle", "button_right"],
                &["button_left", "button_right"],
                &["button_left", "button_middle", "button_right"],
            ],
        };
        let buttons = together.get(button);
        buttons.iter().flat_map(|buttons| buttons.iter()).for_each(|button| said.event(button, word));
        return buttons.is_some();
    }
    said.event("button", word);
    true
}

/// What a field is for people.
pub(super) fn entity(field: &str) -> Option<Entity> {
    let measurement =
        |class: &'static str, unit: &'static str| Entity::measurement(field.to_owned(), class, unit);
    let flag = |class: &'static str| Entity::binary_sensor(field.to_owned()).class(class);
    Some(match field {
        "temperature" => measurement("temperature", "°C").precision(1),
        "humidity" => measurement("humidity", "%").precision(1),
        "illuminance" => measurement("illuminance", "lx"),
        "moisture" => measurement("moisture", "%"),
        "conductivity" => measurement("conductivity", "µS/cm"),
        "formaldehyde" => Entity::sensor(field.to_owned()).unit("mg/m³"),
        "battery" => measurement("battery", "%").diagnostic(),
        "consumable" => Entity::sensor(field.to_owned()).unit("%"),
        "pressure_present_duration" | "pressure_not_present_duration" => measurement("duration", "s"),
        "duration_detected" | "duration_cleared" => measurement("duration", "min"),
        "power_on" => flag("power"),
        "motion" => flag("motion"),
        "light" => flag("light"),
        "smoke" => flag("smoke"),
        "opening" => flag("opening"),
        "door_left_open" | "device_forcibly_removed" => flag("problem"),
        "moisture_detected" | "bottom_submersion" | "top_splash" => flag("moisture"),
        "occupancy" | "occupancy_close_range" => flag("occupancy"),
        "battery_low" => flag("battery").diagnostic(),
        "toothbrush" | "asleep" | "wearing" => Entity::binary_sensor(field.to_owned()),
        "counter" | "score" | "charging_state" => Entity::sensor(field.to_owned()),
        "cube" => Entity::event(field.to_owned(), CUBE),
        "motion_event" => Entity::event(field.to_owned(), ["motion_detected"]),
        _ if field == "button" || field.starts_with("button_") => {
            Entity::event(field.to_owned(), PRESSES).class("button")
        }
        _ => return None,
    })
}
