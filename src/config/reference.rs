//! Every setting of the configuration, in the order of a house: what the pages about them print.
//!
//! Owns the walk through the schema, and what a page of settings says beside them. Knows nothing of Markdown or roff:
//! docs/configuration.md and hearthlink(5) are two prints of this one reading (`examples/reference`, `cli/manual`).
//! Texts carry the marks that the schema's descriptions have: names in backticks.
//!
//! Invariant: every setting of the schema is in it once.
//!
//! Rejected: a walk in each of the two, which would come to tell different things.

use serde_json::{Map, Value};

/// The sections as a house is thought of, and not by the alphabet. One that is not named comes last.
const ORDER: [&str; 12] = [
    "gateway",
    "broker",
    "devices",
    "commands",
    "cloud",
    "routes",
    "routes_in",
    "store",
    "home_assistant",
    "homie",
    "web",
    "log",
];

/// How the file is written, whatever stands in it; in lines of Markdown.
pub const RULES: [&str; 3] = [
    "Durations have a unit (`30s`, `5min`, `12h`, `7d`), sizes too (`512 KiB`, `4 MiB`, `1 GiB`).",
    "Relative file names begin where the configuration lies.",
    "Files in `config.d/*.yaml` beside it are laid over it, in the order of their names: sections are merged, lists and values\n\
     are replaced. Last come environment variables: `HEARTHLINK__CLOUD__URL` sets `cloud.url`. They are for values, not for\n\
     lists.",
];

/// A section: `broker`, or `broker.listeners[]` for each of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its path; `[]` stands behind each list.
    pub heading: String,
    /// 0 for a section of the file, 1 for one in such a section, and so on.
    pub depth: usize,
    /// What it is for.
    pub about: String,
    /// In the schema's order.
    pub settings: Vec<Setting>,
    /// The names of a setting `kind`, each with what it is; empty in sections that have none.
    pub kinds: Vec<(String, String)>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name in its section.
    pub name: String,
    /// What may stand there.
    pub takes: Takes,
    /// Whether its section cannot do without it.
    pub is_required: bool,
    /// What counts when it is left out, where that says something and the description does not: an empty list is what
    /// is not there.
    pub default: Option<String>,
    /// What it is, in one line.
    pub about: String,
}

/// What may stand behind a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Takes {
    /// The section with this path.
    Section(String),
    /// A list of the section with this path.
    Sections(String),
    /// What the section with this path is, which is told already.
    Like(String),
    /// An object with these members.
    Members(Vec<String>),
    /// One of several.
    Either(Vec<Takes>),
    /// One of these words, each with what it means.
    Words(Vec<(String, String)>),
    /// One of these values.
    Values(Vec<String>),
    /// A text like these.
    Examples(Vec<String>),
    /// A list, and of what, where that is told.
    List(Option<Box<Takes>>),
    /// An object, and of what, where that is told.
    Object(Option<Box<Takes>>),
    /// The name of a kind of device.
    Kind,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Any text.
    Text,
}

impl Takes {
    /// The same in words, with names as Markdown has code. `own` has those of one manual for what leads to another place in
    /// it, and is asked first.
    pub fn words(&self, own: &dyn Fn(&Self) -> Option<String>) -> String {
        if let Some(words) = own(self) {
            return words;
        }
        let code =
            |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Section(path) => format!("the settings of `{path}`"),
            Self::Sections(path) => format!("a list of `{path}`"),
            Self::Like(path) => format!("what `{path}` does"),
            Self::Members(names) => format!("an object with {}", code(names)),
            Self::Either(all) => all.iter().map(|takes| takes.words(own)).collect::<Vec<_>>().join(", or "),
            Self::Words(all) => {
                let each =
                    all.iter().map(|(word, about)| format!("`{word}` ({})", about.trim_end_matches('.')));
                each.collect::<Vec<_>>().join(", ")
            }
            Self::Values(values) => code(values),
            Self::Examples(examples) => format!("such as {}", code(examples)),
            Self::List(None) => "a list".to_owned(),
            Self::List(Some(takes)) => format!("a list, each {}", takes.words(own)),
            Self::Object(None) => "an object".to_owned(),
            Self::Object(Some(takes)) => format!("an object, each {}", takes.words(own)),
            Self::Kind => "the name of a kind".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Text => "a text".to_owned(),
        }
    }
}

/// Reads the schema that [`json_schema`](super::json_schema) made.
pub fn reference(schema: &Value) -> Vec<Section> {
    let mut walk = Walk { schema, sections: Vec::new(), told: Vec::new() };
    let mut sections: Vec<(&String, &Value)> =
        schema["properties"].as_object().into_iter().flatten().collect();
    sections.sort_by_key(|(name, _)| ORDER.iter().position(|other| other == name).unwrap_or(ORDER.len()));
    for (name, section) in sections {
        walk.section(0, name, section);
    }
    walk.sections
}

struct Walk<'a> {
    schema: &'a Value,
    sections: Vec<Section>,
    /// What is described already: the name in the schema, and the heading.
    told: Vec<(&'a str, String)>,
}

/// A schema with settings below it: a list of them, one or several, or one.
struct Below<'a> {
    name: Option<&'a str>,
    rules: &'a Map<String, Value>,
    is_listed: bool,
}

impl<'a> Walk<'a> {
    /// `path` is that of the schema's own place, without the brackets of a list.
    fn section(&mut self, depth: usize, path: &str, schema: &'a Value) {
        let Some(Below { name, rules, is_listed }) = self.below(schema) else { return };
        let heading = if is_listed { format!("{path}[]") } else { path.to_owned() };
        if let Some(name) = name {
            if self.heading_of(name).is_some() {
                return;
            }
            self.told.push((name, heading.clone()));
        }
        let about = schema["description"].as_str().or(rules.get("description").and_then(Value::as_str));
        let members: Vec<(&String, &Value)> = rules["properties"].as_object().into_iter().flatten().collect();
        let required = rules.get("required").and_then(Value::as_array);
        let setting = |(name, schema): &(&String, &'a Value)| Setting {
            name: (*name).clone(),
            takes: match name.as_str() {
                "kind" => Takes::Kind,
                _ => self.takes(schema, &format!("{heading}.{name}")),
            },
            is_required: required.is_some_and(|all| all.contains(&name.as_str().into())),
            default: default(schema),
            about: line(schema["description"].as_str().unwrap_or_default()),
        };
        let settings = members.iter().map(setting).collect();
        let kinds = members.iter().find(|(name, _)| *name == "kind").map(|(_, kind)| words(&kind["oneOf"]));
        let (about, kinds) = (line(about.unwrap_or_default()), kinds.unwrap_or_default());
        self.sections.push(Section { heading: heading.clone(), depth, about, settings, kinds });
        for (name, schema) in members {
            self.section(depth + 1, &format!("{heading}.{name}"), schema);
        }
    }

    fn heading_of(&self, name: &str) -> Option<&str> {
        self.told.iter().find(|(other, _)| *other == name).map(|(_, heading)| heading.as_str())
    }

    /// What a name in the schema stands for.
    fn resolve(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        match schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            Some(name) => (Some(name), &self.schema["$defs"][name]),
            None => (None, schema),
        }
    }

    fn below(&self, schema: &'a Value) -> Option<Below<'a>> {
        let (name, meant) = self.resolve(schema);
        if meant["properties"].is_object() {
            return Some(Below { name, rules: meant.as_object()?, is_listed: false });
        }
        if meant["items"].is_object() {
            return self.below(&meant["items"]).map(|below| Below { is_listed: true, ..below });
        }
        // One that may be null, or one or a list of them.
        let choices = meant["anyOf"].as_array()?;
        choices.iter().find_map(|choice| self.below(choice).filter(|below| below.name.is_some()))
    }

    /// What may stand there; `path` is where a section of its own about it is.
    fn takes(&self, schema: &'a Value, path: &str) -> Takes {
        let (name, meant) = self.resolve(schema);
        if let Some(members) = meant["properties"].as_object() {
            return match (name, name.and_then(|name| self.heading_of(name))) {
                (_, Some(heading)) => Takes::Like(heading.to_owned()),
                (Some(_), None) => Takes::Section(path.to_owned()),
                (None, None) => Takes::Members(members.keys().cloned().collect()),
            };
        }
        if let Some(choices) = meant["anyOf"].as_array() {
            let choices = choices.iter().filter(|choice| choice["type"] != "null");
            let mut all: Vec<Takes> = choices.map(|choice| self.takes(choice, path)).collect();
            all.dedup();
            return if all.len() == 1 { all.remove(0) } else { Takes::Either(all) };
        }
        if meant["oneOf"].is_array() {
            return Takes::Words(words(&meant["oneOf"]));
        }
        if let Some(choices) = meant["enum"].as_array() {
            return Takes::Values(choices.iter().filter(|choice| !choice.is_null()).map(written).collect());
        }
        if !meant["const"].is_null() {
            return Takes::Values(vec![written(&meant["const"])]);
        }
        let names = match &meant["type"] {
            Value::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        };
        let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
        match names.collect::<Vec<_>>()[..] {
            ["array"] => self.list(&meant["items"], path),
            ["object"] => {
                let each = &meant["additionalProperties"];
                Takes::Object(each.is_object().then(|| Box::new(self.takes(each, path))))
            }
            ["boolean"] => Takes::Boolean,
            ["integer"] => Takes::Integer,
            ["number"] => Takes::Number,
            ["string"] | ["string", "integer"] => match meant["examples"].as_array() {
                Some(examples) => Takes::Examples(examples.iter().map(written).collect()),
                None => Takes::Text,
            },
            // The schema is made of our own types: another shape is met by the next `cargo test`.
            _ => unreachable!("no words for {meant}"),
        }
    }

    fn list(&self, items: &'a Value, path: &str) -> Takes {
        if !items.is_object() {
            return Takes::List(None);
        }
        match self.below(items) {
            Some(Below { name, .. }) if name.and_then(|name| self.heading_of(name)).is_none() => {
                Takes::Sections(format!("{path}[]"))
            }
            _ => Takes::List(Some(Box::new(self.takes(items, path)))),
        }
    }
}

fn default(schema: &Value) -> Option<String> {
    if schema["description"].as_str().is_some_and(|about| about.to_lowercase().contains("default")) {
        return None;
    }
    match &schema["default"] {
        Value::Null | Value::Object(_) => None,
        Value::Array(list) if list.is_empty() => None,
        value => Some(written(value)),
    }
}

/// The words of a `oneOf`, each with its description.
fn words(choices: &Value) -> Vec<(String, String)> {
    let choices = choices.as_array().into_iter().flatten();
    let word = |choice: &Value| {
        (written(&choice["const"]), line(choice["description"].as_str().unwrap_or_default()))
    };
    choices.map(word).collect()
}

/// A value as one writes it into the file.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A description, which the source breaks into lines.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
