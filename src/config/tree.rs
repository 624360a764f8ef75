//! A YAML file as a tree that knows where each of its values stands.
//!
//! Booleans are YAML 1.2's `true` and `false` only, so that `ON`, `off` and `yes` stay the words that
//! devices speak. serde-saphyr's `Spanned` gives the places; nobody outside this file sees that crate.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file.
    File(Spot),
    /// In an environment variable, by its name.
    Variable(String),
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Which file, counted from 0 in the order of reading.
    pub file: usize,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// Byte offset in the file.
    pub offset: usize,
    /// Length in bytes; 0 when it is not known.
    pub length: usize,
}

impl Spot {
    /// The place that serde-saphyr names, in file number `file`.
    pub fn new(file: usize, location: Location) -> Self {
        let number = |value: Option<u64>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
        let span = location.span();
        Self {
            file,
            line: location.line().max(1),
            column: location.column().max(1),
            offset: number(span.byte_offset()),
            length: number(span.byte_len()),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its number in the merged tree, see [`Node::number`].
    pub id: usize,
    /// Where its key stands, when it has one.
    pub key: Option<Place>,
    /// Where it stands itself.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Whether it is a map without anything in it.
    pub fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Map(entries) if entries.is_empty())
    }

    /// Reads one file.
    pub fn parse(file: usize, text: &str) -> Result<Self, serde_saphyr::Error> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options)?;
        Ok(raw.value.into_node(file, None, raw.referenced))
    }

    /// The value below a key, if this is a map that has it.
    pub fn child(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The value at `devices[2].id`, or the nearest one around it that exists.
    pub fn nearest(&self, path: &str) -> &Node {
        let mut node = self;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| items.get(index))
                }
                _ => node.child(step),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// Gives every value in the tree its own number.
    pub fn number(&mut self, next: &mut usize) {
        self.id = *next;
        *next += 1;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|node| node.number(next)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.number(next)),
            _ => {}
        }
    }

    /// The value with this number.
    pub fn by_id(&self, id: usize) -> Option<&Node> {
        if self.id == id {
            return Some(self);
        }
        match &self.value {
            Value::List(items) => items.iter().find_map(|node| node.by_id(id)),
            Value::Map(entries) => entries.iter().find_map(|(_, node)| node.by_id(id)),
            _ => None,
        }
    }

    /// The path of the value with this number, as [`Node::nearest`] takes it; empty for the tree itself.
    pub fn path_of(&self, id: usize) -> Option<String> {
        if self.id == id {
            return Some(String::new());
        }
        let below = |step: String, node: &Node| {
            let rest = node.path_of(id)?;
            let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
            Some(format!("{step}{dot}{rest}"))
        };
        match &self.value {
            Value::List(items) => {
                items.iter().enumerate().find_map(|(index, node)| below(format!("[{index}]"), node))
            }
            Value::Map(entries) => entries.iter().find_map(|(name, node)| below(name.clone(), node)),
            _ => None,
        }
    }

    /// The top-level key under which the value with this number stands; `None` for the tree itself.
    pub fn section_of(&self, id: usize) -> Option<String> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(_, node)| node.by_id(id).is_some()).map(|(name, _)| name.clone())
    }

    /// Puts `text` at `section.key`, in the place of whatever is there.
    pub fn stand_in(&mut self, section: &str, key: &str, text: &str) {
        let place = self.place.clone();
        let node = |value| Node { id: usize::MAX, key: None, place: place.clone(), value };
        let Value::Map(sections) = &mut self.value else { return };
        if !sections.iter().any(|(name, _)| name == section) {
            sections.push((section.to_owned(), node(Value::Map(Vec::new()))));
        }
        for (_, found) in sections.iter_mut().filter(|(name, _)| name == section) {
            match &mut found.value {
                Value::Map(entries) => {
                    entries.retain(|(name, _)| name != key);
                    entries.push((key.to_owned(), node(Value::Text(text.to_owned()))));
                }
                other => *other = Value::Map(vec![(key.to_owned(), node(Value::Text(text.to_owned())))]),
            }
        }
    }

    /// Takes the value with this number out of its map or list. Returns the number of that map or list and
    /// the key, if any; `None` when it is not below this value.
    pub fn prune(&mut self, id: usize) -> Option<(usize, Option<String>)> {
        match &mut self.value {
            Value::List(items) => match items.iter().position(|node| node.id == id) {
                Some(at) => {
                    items.remove(at);
                    Some((self.id, None))
                }
                None => items.iter_mut().find_map(|node| node.prune(id)),
            },
            Value::Map(entries) => match entries.iter().position(|(_, node)| node.id == id) {
                Some(at) => Some((self.id, Some(entries.remove(at).0))),
                None => entries.iter_mut().find_map(|(_, node)| node.prune(id)),
            },
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn into_node(self, file: usize, key: Option<Place>, at: Location) -> Node {
        let child = |key, raw: Spanned<Raw>| raw.value.into_node(file, key, raw.referenced);
        let value = match self {
            Raw::Scalar(value) => value,
            Raw::List(items) => Value::List(items.into_iter().map(|raw| child(None, raw)).collect()),
            Raw::Map(entries) => {
                let entry = |(key, raw): (Spanned<String>, _)| {
                    let place = Place::File(Spot::new(file, key.referenced));
                    (key.value, child(Some(place), raw))
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Node { id: 0, key, place: Place::File(Spot::new(file, at)), value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Unsigned(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Signed(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
