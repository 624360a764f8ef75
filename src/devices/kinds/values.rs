//! Values of states: words, numbers out of bytes, and whether two of them mean the same.

use serde_json::{Number, Value};

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

/// What a word says: a number where it is one, else itself.
pub(super) fn said(word: &str) -> Value {
    let looks_like_a_number = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let parsed = word.parse::<f64>().ok().filter(|_| looks_like_a_number);
    parsed.and_then(number).unwrap_or_else(|| Value::from(word))
}
