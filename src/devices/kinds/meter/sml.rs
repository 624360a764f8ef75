//! An SML file: nested lists of values; the entries of its `GetList` responses are what a meter tells.
//!
//! Source: BSI TR-03109-1, annex IV. Nothing is reserved for what a length claims, and nothing goes deeper than a
//! meter's telegrams do.

use serde_json::Value;

use super::{
    super::values,
    obis::{Code, Item},
};

/// Messages, their bodies, lists, entries, times: a meter needs seven.
const DEEPEST: usize = 10;
const GET_LIST_RESPONSE: u64 = 0x0701;

#[derive(Debug, PartialEq)]
enum Node<'a> {
    Bytes(&'a [u8]),
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    List(Vec<Node<'a>>),
    /// Between two messages.
    End,
}

/// What the lists of a file say. A file that breaks off in the middle of a value says nothing.
pub(super) fn items(mut file: &[u8]) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while !file.is_empty() {
        let message;
        (message, file) = node(file, 0).ok_or("a telegram's checksum is right, but it is no SML")?;
        let Node::List(parts) = &message else { continue };
        if let Some(Node::List(body)) = parts.get(3)
            && let [Node::Unsigned(GET_LIST_RESPONSE), Node::List(response)] = &body[..]
            && let Some(Node::List(entries)) = response.get(4)
        {
            items.extend(entries.iter().filter_map(item));
        }
    }
    Ok(items)
}

fn item(entry: &Node) -> Option<Item> {
    let Node::List(parts) = entry else { return None };
    let [Node::Bytes(code), _status, _time, unit, scaler, value, ..] = &parts[..] else { return None };
    let power = match scaler {
        Node::Signed(power) => i32::from(i8::try_from(*power).ok()?),
        _ => 0,
    };
    // Divided by a whole number, a decimal fraction stays as near as it can be.
    let scaled = |number: f64| match power {
        0.. => number * 10_f64.powi(power),
        ..0 => number / 10_f64.powi(-power),
    };
    let value = match value {
        Node::Signed(number) => values::number(scaled(*number as f64))?,
        Node::Unsigned(number) => values::number(scaled(*number as f64))?,
        Node::Bool(value) => Value::from(*value),
        Node::Bytes(bytes) => Value::from(readable(bytes)),
        Node::List(_) | Node::End => return None,
    };
    let unit = if let Node::Unsigned(unit) = unit { name(*unit) } else { "" };
    Some(Item { code: Code::from_bytes(code)?, value, unit: unit.to_owned() })
}

/// The DLMS unit's name, as text telegrams have it (IEC 62056-62, table 4).
fn name(unit: u64) -> &'static str {
    match unit {
        13 => "m3",
        27 => "W",
        28 => "VA",
        29 => "var",
        30 => "Wh",
        31 => "VAh",
        32 => "varh",
        33 => "A",
        35 => "V",
        44 => "Hz",
        _ => "",
    }
}

fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The first value of `bytes`, and what follows it.
fn node(bytes: &[u8], depth: usize) -> Option<(Node<'_>, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    if *first == 0 {
        return Some((Node::End, rest));
    }
    let (kind, mut length, mut head) = (first >> 4 & 0b111, usize::from(first & 0xf), 1);
    let mut has_more = first & 0x80 != 0;
    while has_more {
        let next;
        (next, rest) = rest.split_first()?;
        length = length << 4 | usize::from(next & 0xf);
        head += 1;
        // Four of them are 64 KiB.
        if head > 4 {
            return None;
        }
        has_more = next & 0x80 != 0;
    }
    if kind == 0b111 {
        if depth == DEEPEST {
            return None;
        }
        let mut nodes = Vec::new();
        for _ in 0..length {
            let node;
            (node, rest) = self::node(rest, depth + 1)?;
            nodes.push(node);
        }
        return Some((Node::List(nodes), rest));
    }
    // The length of a value counts its head, that of a list does not.
    let (value, rest) = rest.split_at_checked(length.checked_sub(head)?)?;
    let number =
        || (1..=8).contains(&value.len()).then(|| value.iter().fold(0, |n: u64, b| n << 8 | u64::from(*b)));
    let node = match kind {
        0b000 => Node::Bytes(value),
        0b100 => Node::Bool(*value.first()? != 0),
        0b101 => {
            let number = number()?;
            // The sign is the highest bit that is there.
            let unused = 64 - 8 * value.len();
            Node::Signed(((number << unused) as i64) >> unused)
        }
        0b110 => Node::Unsigned(number()?),
        _ => return None,
    };
    Some((node, rest))
}
