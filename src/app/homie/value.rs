//! A property's value as the payload of a message, both ways ("Payloads" of the convention).
//!
//! Pure. Outwards nothing is said that the property's datatype does not have: a value that does not fit is left out.
//! Inwards the payload becomes the request that a local command would have. What does not fit there goes on as the text
//! that it is, so that the device refuses it in its own words and the one who asked is told.

use serde_json::{Number, Value, json};

use super::property::{Property, Range, Shape};

/// What stands for a text that has no letters, since an empty payload deletes ("Empty string values").
const EMPTY: &str = "\0";
/// What is said to a property that is pressed.
pub(super) const PRESS: &str = "press";
/// Fractions of a step are rounded to so many parts of one.
const FINEST: f64 = 1e9;

/// What is said of this value; `None`: it cannot be.
pub(super) fn payload(shape: &Shape, value: &Value) -> Option<String> {
    match shape {
        Shape::Text => text(value).map(|text| if text.is_empty() { EMPTY.to_owned() } else { text }),
        // The convention has no sign in front of what is not negative, and JSON writes one into exponents (`1e+300`).
        Shape::Float(_) => value.as_number().map(|number| number.to_string().replace('+', "")),
        Shape::Integer(_) => {
            let rounded = || value.as_f64().map(f64::round).filter(|number| number.abs() < 1e15);
            value
                .as_i64()
                .map(|whole| whole.to_string())
                .or_else(|| rounded().map(|whole| format!("{whole:.0}")))
        }
        Shape::Boolean { on, off } => match value {
            value if value == on => Some("true".to_owned()),
            value if value == off => Some("false".to_owned()),
            _ => None,
        },
        Shape::Enum(words) => text(value).filter(|word| words.contains(word)),
        Shape::Press(_) => None,
        Shape::Color => {
            let part = |name: &str| value.get(name)?.as_f64().filter(|part| (0.0..=255.0).contains(part));
            Some(format!("rgb,{},{},{}", part("r")?, part("g")?, part("b")?))
        }
    }
}

/// The payload of the local command that sets `property` as it is said here.
pub(super) fn request(property: &Property, said: &[u8]) -> Vec<u8> {
    // What is no text is none there either.
    let Ok(text) = std::str::from_utf8(said) else { return said.to_vec() };
    let value = value(&property.shape, text).unwrap_or_else(|| text.into());
    json!({ &*property.field: value }).to_string().into_bytes()
}

fn value(shape: &Shape, text: &str) -> Option<Value> {
    match shape {
        Shape::Text => Some(if text == EMPTY { "".into() } else { text.into() }),
        Shape::Float(range) => stepped(plain(number(text)?)?, *range),
        Shape::Integer(range) => {
            stepped(text.parse::<i64>().ok().filter(|_| !text.starts_with('+'))?.into(), *range)
        }
        Shape::Boolean { on, off } => match text {
            "true" => Some(on.clone()),
            "false" => Some(off.clone()),
            _ => None,
        },
        Shape::Enum(words) => words.iter().any(|word| word == text).then(|| text.into()),
        Shape::Press(press) => (text == PRESS).then(|| press.clone()),
        Shape::Color => {
            let parts: Vec<f64> = text.strip_prefix("rgb,")?.split(',').map(number).collect::<Option<_>>()?;
            let &[r, g, b] = &parts[..] else { return None };
            let all = [r, g, b].map(|part| (0.0..=255.0).contains(&part).then_some(part.round() as u8));
            let [Some(r), Some(g), Some(b)] = all else { return None };
            Some(json!({"r": r, "g": g, "b": b}))
        }
    }
}

/// What has no fraction is a whole number to its device.
fn plain(number: f64) -> Option<Number> {
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
    if is_whole { Some((number as i64).into()) } else { Number::from_f64(number) }
}

/// "Only whole numbers, the negation character, the exponent character and the decimal separator".
fn number(text: &str) -> Option<f64> {
    let is_of_it = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '.' | 'e' | 'E');
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    text.chars().all(is_of_it).then_some(number)
}

/// The nearest step from the smallest number on. Whether that is in the range, the device says.
fn stepped(number: Number, range: Option<Range>) -> Option<Value> {
    let Some(Range { min, step: Some(step), .. }) = range else { return Some(number.into()) };
    let wanted = number.as_f64()?;
    let steps = (wanted - min) / step;
    if (steps - steps.round()).abs() < 1e-6 {
        return Some(number.into());
    }
    let nearest = ((min + steps.round() * step) * FINEST).round() / FINEST;
    plain(nearest).map(Value::from)
}

/// A word, a number, or whether.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
