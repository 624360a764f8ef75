//! A command's line with places for the values of fields: `SET {level}`.
//!
//! Invariant: a value never brings a control character into a line, nor any character of what ends one, so a command
//! cannot smuggle in a second one.

use std::collections::BTreeSet;

use super::super::values;
use crate::model::Fields;

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template. An error is a sentence without a full stop.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                return Err("a `{` is not closed; fields stand as `{state}`".to_owned());
            };
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("`{{{name}}}` is no field; fields stand as `{{state}}`"));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        if template.fields().is_empty() {
            return Err("it has no field; write one of the request's fields as `{state}`".to_owned());
        }
        Ok(template)
    }

    fn fields(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .filter_map(|part| if let Part::Field(name) = part { Some(name.as_str()) } else { None })
            .collect()
    }

    /// Whether it uses exactly the fields of a request.
    pub(super) fn is_for(&self, request: &Fields) -> bool {
        self.fields() == request.keys().map(String::as_str).collect()
    }

    /// A regular expression of its lines, with a group for each field: what the device at the other end reads.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = "^".to_owned();
        let mut seen = BTreeSet::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => pattern.push_str(&regex_lite::escape(text)),
                Part::Field(name) if seen.insert(name) => pattern.push_str(&format!("(?P<{name}>.*)")),
                Part::Field(_) => pattern.push_str(".*"),
            }
        }
        pattern + "$"
    }

    /// The line, without the `delimiter` that ends it. An error names the field that has no place in a line, and why.
    pub(super) fn fill(&self, request: &Fields, delimiter: &str) -> Result<String, (String, &'static str)> {
        const ENDS: &str = "it would bring in what ends a line, the `delimiter`";
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(name) => {
                    let word = request.get(name).and_then(values::word);
                    let word = word.ok_or((name.clone(), "it must be a word or a number"))?;
                    if word.chars().any(char::is_control) || word.chars().count() > 256 {
                        return Err((name.clone(), "it must be printable, up to 256 characters"));
                    }
                    if word.contains(|c| delimiter.contains(c)) {
                        return Err((name.clone(), ENDS));
                    }
                    line.push_str(&word);
                }
            }
        }
        // An empty value can join two halves of the template.
        if line.contains(delimiter) {
            return Err((self.fields().first().map_or_else(String::new, |name| (*name).to_owned()), ENDS));
        }
        Ok(line)
    }
}
