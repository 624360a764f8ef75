//! Serde over a [`Node`], with errors that keep their parts and know their place.
//!
//! serde_json or serde_path_to_error would do the reading, but their errors are sentences; "did you mean"
//! would then have to take a sentence apart.

use std::fmt::Display;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::tree::{Node, Place, Value};

/// What is wrong with a value's shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wrong {
    /// A key that the section does not have.
    Key { name: String, known: &'static [&'static str] },
    /// A word that is none of those possible.
    Word { name: String, known: &'static [&'static str] },
    /// A key that must be there.
    Missing(&'static str),
    /// Another type of value, both in words.
    Type { found: &'static str, expected: String },
    /// Whatever a value's own parser says; a remedy may follow behind a line break.
    Other(String),
}

/// What is wrong, and with which value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{wrong:?}")]
pub(super) struct Fault {
    /// The number of the value; `None` only before it passed the innermost value.
    pub node: Option<usize>,
    pub wrong: Wrong,
}

impl Fault {
    fn new(wrong: Wrong) -> Self {
        Self { node: None, wrong }
    }

    fn at(mut self, node: &Node) -> Self {
        self.node.get_or_insert(node.id);
        self
    }
}

fn words(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a section with keys",
        _ => "something else",
    }
}

fn expectation(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") || other == "a map" => "a section with keys".to_owned(),
        other if other.starts_with("enum ") => "one word".to_owned(),
        other => other.to_owned(),
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Wrong::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Wrong::Type { found: words(&found), expected: expectation(expected) })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "one outside of that",
            other => words(&other),
        };
        Self::new(Wrong::Type { found, expected: expectation(expected) })
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Word { name: name.to_owned(), known })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Wrong::Key { name: name.to_owned(), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Wrong::Missing(name))
    }
}

/// Reads a type from a tree.
///
/// # Errors
/// The first fault, with the number of its value.
pub(super) fn decode<'de, T: Deserialize<'de>>(tree: &'de Node) -> Result<T, Fault> {
    T::deserialize(Reader(tree))
}

#[derive(Clone, Copy)]
struct Reader<'de>(&'de Node);

impl<'de> Reader<'de> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
    }

    /// An environment variable is a text; where a number or a boolean is wanted, it is read as one.
    fn variable(&self) -> Option<&'de str> {
        match (&self.0.place, &self.0.value) {
            (Place::Variable(_), Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

macro_rules! from_variable {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.variable().and_then(|text| text.trim().parse::<$type>().ok()) {
                Some(value) => visitor.$visit(value),
                None => self.visit(visitor),
            }
            .map_err(|fault| fault.at(self.0))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor).map_err(|fault| fault.at(self.0))
    }

    from_variable!(
        deserialize_bool visit_bool bool,
        deserialize_u8 visit_u64 u64, deserialize_u16 visit_u64 u64, deserialize_u32 visit_u64 u64,
        deserialize_u64 visit_u64 u64, deserialize_i64 visit_i64 i64, deserialize_f64 visit_f64 f64
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|fault| fault.at(self.0))
    }

    // A key whose content is commented out (`devices:`) is an empty list, as people expect.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_seq(Items([].iter())),
            _ => self.visit(visitor),
        }
        .map_err(|fault| fault.at(self.0))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_map(Entries { rest: [].iter(), value: None }),
            _ => self.visit(visitor),
        }
        .map_err(|fault| fault.at(self.0))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0.value {
            // Serde would read a list as the fields in their order.
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a map")),
            _ => return self.deserialize_map(visitor),
        }
        .map_err(|fault: Fault| fault.at(self.0))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|fault| fault.at(self.0))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Text(word) => {
                visitor.visit_enum(IntoDeserializer::<Fault>::into_deserializer(word.as_str()))
            }
            _ => self.visit(visitor),
        }
        .map_err(|fault| fault.at(self.0))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|node| seed.deserialize(Reader(node)).map_err(|fault| fault.at(node))).transpose()
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de Node>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        seed.deserialize(StrDeserializer::new(key)).map(Some).map_err(|fault: Fault| fault.at(node))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let node =
            self.value.take().ok_or_else(|| Fault::new(Wrong::Other("a value without a key".into())))?;
        seed.deserialize(Reader(node)).map_err(|fault| fault.at(node))
    }
}
