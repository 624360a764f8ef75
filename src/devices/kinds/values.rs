//! Values of states: words, numbers out of bytes, and whether two of them mean the same.

use serde::Deserialize;
use serde_json::{Number, Value};

use super::super::serial::framing::Order;
use crate::model::Fields;

/// A value as the plain word that a device reads; `None` for what is no single value.
pub(super) fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a device that says `seen` did what `wanted` asked: case and a number's spelling do not count.
pub(super) fn same(seen: &Value, wanted: &Value) -> bool {
    if seen == wanted {
        return true;
    }
    let (Some(seen), Some(wanted)) = (word(seen), word(wanted)) else { return false };
    seen.eq_ignore_ascii_case(&wanted)
        || matches!((seen.parse::<f64>(), wanted.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether the fields that a device says show all of `wanted`.
pub(super) fn shows(wanted: Fields) -> impl Fn(&Fields) -> bool {
    move |seen| wanted.iter().all(|(name, value)| seen.get(name).is_some_and(|seen| same(seen, value)))
}

/// Whether a value means on; `None` when it means neither.
pub(super) fn bit(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_on) => Some(*is_on),
        Value::Number(number) => number.as_u64().filter(|number| *number < 2).map(|number| number == 1),
        Value::String(word) if word.eq_ignore_ascii_case("on") => Some(true),
        Value::String(word) if word.eq_ignore_ascii_case("off") => Some(false),
        _ => None,
    }
}

/// A number without the dust of binary fractions (`0.1 * 3`), whole where it is; `None` when it is not finite.
pub(super) fn number(value: f64) -> Option<Value> {
    let tidy = if value.abs() < 1e6 { (value * 1e9).round() / 1e9 } else { (value * 1e6).round() / 1e6 };
    let tidy = if tidy.is_finite() { tidy } else { value };
    if tidy.fract() == 0.0 && tidy.abs() < 9e15 {
        // Below 2^53: exact.
        return Some(Value::from(tidy as i64));
    }
    Number::from_f64(tidy).map(Value::Number)
}

/// What a word says: a number where it is one and loses nothing by it, else itself. Names that are made of digits
/// stay as they are: more than 15 digits, `00339226` (counters with leading zeros have up to five digits), `12E4`.
pub(super) fn said(word: &str) -> Value {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let is_name = match word.as_bytes().get(digits) {
        None => digits > 15 || (digits > 5 && word.starts_with('0')),
        // A measure with an exponent has a point.
        Some(b'e' | b'E') => true,
        Some(_) => false,
    };
    let value = if is_name { None } else { measured(word) };
    value.unwrap_or_else(|| Value::from(word))
}

/// The number that a word is known to be, with whatever zeros; `None` when it is none.
pub(super) fn measured(word: &str) -> Option<Value> {
    let looks_like_a_number = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    word.parse().ok().filter(|_| looks_like_a_number).and_then(number)
}

/// How a number stands in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
}

impl Type {
    /// Its bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Type::U8 | Type::I8 => 1,
            Type::U16 | Type::I16 => 2,
            Type::U32 | Type::I32 | Type::F32 => 4,
        }
    }

    /// The number that `bytes` say, which must be as many as [`Type::size`].
    pub(super) fn read(self, bytes: &[u8], order: Order) -> f64 {
        let bits = order.number(bytes) & u64::MAX >> (64 - 8 * self.size());
        // Cuts nothing off: the mask has left no more than the type has.
        match self {
            Type::U8 | Type::U16 | Type::U32 => bits as u32 as f64,
            Type::I8 => f64::from(bits as u8 as i8),
            Type::I16 => f64::from(bits as u16 as i16),
            Type::I32 => f64::from(bits as u32 as i32),
            Type::F32 => f64::from(f32::from_bits(bits as u32)),
        }
    }

    /// The smallest and the largest number. Of a float, what a person may set.
    pub(super) fn range(self) -> (f64, f64) {
        match self {
            Type::U8 => (0.0, 255.0),
            Type::I8 => (-128.0, 127.0),
            Type::U16 => (0.0, 65535.0),
            Type::I16 => (-32768.0, 32767.0),
            Type::U32 => (0.0, f64::from(u32::MAX)),
            Type::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Type::F32 => (-1e6, 1e6),
        }
    }

    /// The bytes, the highest first, that say `number`; `None` when the type has no such number.
    pub(super) fn write(self, number: f64) -> Option<Vec<u8>> {
        if self == Type::F32 {
            let near = number as f32;
            return near.is_finite().then(|| near.to_be_bytes().to_vec());
        }
        let (whole, (least, most)) = (number.round(), self.range());
        let fits = (number - whole).abs() < 1e-6 && (least..=most).contains(&whole);
        fits.then(|| (whole as i64).to_be_bytes()[8 - self.size()..].to_vec())
    }
}
