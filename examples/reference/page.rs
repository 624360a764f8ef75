//! `docs/configuration.md`: each section of the configuration as a table, with the words of the schema for editors.
//!
//! Invariant: every setting of the schema is on the page once; one whose shape this page has no words for is a panic.

use std::fmt::Write;

use hearthlink::{config::json_schema, devices::KINDS};
use serde_json::{Map, Value};

/// The sections as a house is thought of, and not by the alphabet.
const SECTIONS: [&str; 11] = [
    "gateway",
    "broker",
    "devices",
    "commands",
    "cloud",
    "routes",
    "routes_in",
    "store",
    "home_assistant",
    "web",
    "log",
];

const HEAD: &str = "\
<!-- Made by `cargo run --example reference -- docs` from `hearthlink config schema`. What is written in here by hand is lost. -->

# Every setting

The configuration is one YAML file. Only `gateway.id` must be there; what has a default may be left out. `config.example.yaml`
of the repository shows all of it in one file with its reasons, and `hearthlink check` says what is wrong with yours, and
where. An editor completes and explains it [by its schema](cli.md#editors-and-shells), from which this page is made.

- Durations have a unit (`30s`, `5min`, `12h`, `7d`), sizes too (`512 KiB`, `4 MiB`, `1 GiB`).
- Relative file names begin where the configuration lies.
- Files in `config.d/*.yaml` beside it are laid over it, in the order of their names: sections are merged, lists and values
  are replaced. Last come environment variables: `HEARTHLINK__CLOUD__URL` sets `cloud.url`. They are for values, not for
  lists.
";

/// The whole page.
pub fn page() -> String {
    let schema = json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
    let sections = schema["properties"].as_object().expect("a configuration has sections");
    let mut page = Page { schema: &schema, text: HEAD.to_owned(), told: Vec::new() };
    let placeless: Vec<&String> = sections.keys().filter(|name| !SECTIONS.contains(&name.as_str())).collect();
    assert!(placeless.is_empty(), "{placeless:?} has no place in SECTIONS");
    for name in SECTIONS {
        page.section(2, name, &sections[name]);
    }
    page.text
}

struct Page<'a> {
    schema: &'a Value,
    text: String,
    /// What is described already: the name in the schema, and the heading.
    told: Vec<(&'a str, String)>,
}

/// A schema with sections below it: a list of them, one or several, or one.
struct Below<'a> {
    name: Option<&'a str>,
    rules: &'a Map<String, Value>,
    is_listed: bool,
}

impl<'a> Page<'a> {
    /// `path` is that of the schema's own place, without the brackets of a list.
    fn section(&mut self, depth: usize, path: &str, schema: &'a Value) {
        let Some(Below { name, rules, is_listed }) = self.below(schema) else { return };
        let heading = if is_listed { format!("{path}[]") } else { path.to_owned() };
        if let Some(name) = name {
            if self.told.iter().any(|(other, _)| *other == name) {
                return;
            }
            self.told.push((name, heading.clone()));
        }
        let about = schema["description"].as_str().or(rules.get("description").and_then(Value::as_str));
        let level = "#".repeat(depth.min(4));
        writeln!(self.text, "\n{level} `{heading}`\n\n{}\n", line(about.unwrap_or_default()))
            .expect("a string");
        self.text.push_str("| setting | takes | what it is |\n| --- | --- | --- |\n");
        let settings = rules["properties"].as_object().expect("a section has settings");
        let required = rules.get("required").and_then(Value::as_array);
        for (setting, schema) in settings {
            let is_required = required.is_some_and(|all| all.contains(&setting.as_str().into()));
            let inner = format!("{heading}.{setting}");
            let mut takes = if setting == "kind" {
                "one [of these](#kinds)".to_owned()
            } else {
                self.takes(schema, &inner)
            };
            if is_required {
                takes.push_str("; must be there");
            } else if let Some(default) = default(schema) {
                write!(takes, "; default {default}").expect("a string");
            }
            let about = schema["description"].as_str().map(line).unwrap_or_default();
            let (takes, about) = (takes.replace('|', "\\|"), about.replace('|', "\\|"));
            writeln!(self.text, "| `{setting}` | {takes} | {about} |").expect("a string");
        }
        if let Some(kinds) = settings.get("kind").and_then(|kind| kind["oneOf"].as_array()) {
            self.text.push_str(
                "\n### Kinds\n\nTheir options: [devices](devices.md).\n\n| kind | what |\n| --- | --- |\n",
            );
            for kind in kinds {
                let (name, about) = (kind["const"].as_str(), kind["description"].as_str());
                let (name, about) = name.zip(about).expect("a kind has a name and says what it is");
                writeln!(self.text, "| `{name}` | {about} |").expect("a string");
            }
        }
        for (setting, schema) in settings {
            self.section(depth + 1, &format!("{heading}.{setting}"), schema);
        }
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

    /// What may stand there, in words; `path` is where a section of its own about it is.
    fn takes(&self, schema: &'a Value, path: &str) -> String {
        let (name, meant) = self.resolve(schema);
        if meant["properties"].is_object() {
            let told = name.and_then(|name| self.told.iter().find(|(other, _)| *other == name));
            return match (name, told) {
                (_, Some((_, heading))) => format!("as [`{heading}`](#{})", anchor(heading)),
                (Some(_), None) => format!("[a section](#{})", anchor(path)),
                (None, None) => {
                    let names = meant["properties"].as_object().into_iter().flatten();
                    let names: Vec<String> = names.map(|(name, _)| format!("`{name}`")).collect();
                    format!("an object with {}", names.join(", "))
                }
            };
        }
        if let Some(choices) = meant["anyOf"].as_array() {
            let choices = choices.iter().filter(|choice| choice["type"] != "null");
            let mut all: Vec<String> = choices.map(|choice| self.takes(choice, path)).collect();
            all.dedup();
            return all.join(", or ");
        }
        if let Some(choices) = meant["oneOf"].as_array() {
            let each = choices.iter().map(|choice| {
                let (word, about) =
                    (choice["const"].as_str().expect("a word"), choice["description"].as_str());
                format!("`{word}` ({})", line(about.unwrap_or_default()).trim_end_matches('.'))
            });
            return each.collect::<Vec<_>>().join(", ");
        }
        if let Some(choices) = meant["enum"].as_array() {
            let words: Vec<String> = choices.iter().filter(|choice| !choice.is_null()).map(code).collect();
            return words.join(", ");
        }
        if !meant["const"].is_null() {
            return code(&meant["const"]);
        }
        let types: Vec<&str> = match &meant["type"] {
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            name => name.as_str().into_iter().collect(),
        };
        let of = |inner: &'a Value| match self.below(inner) {
            Some(_) => format!(" of [sections](#{})", anchor(&format!("{path}[]"))),
            None => format!(", each {}", self.takes(inner, path)),
        };
        match types[..] {
            ["array"] if meant["items"].is_object() => match self.below(&meant["items"]) {
                Some(Below { name: Some(name), .. }) if self.told.iter().any(|(other, _)| *other == name) => {
                    format!("a list, each {}", self.takes(&meant["items"], path))
                }
                _ => format!("a list{}", of(&meant["items"])),
            },
            ["array"] => "a list".to_owned(),
            ["object"] if meant["additionalProperties"].is_object() => {
                format!("an object{}", of(&meant["additionalProperties"]))
            }
            ["object"] => "an object".to_owned(),
            ["boolean"] => "`true` or `false`".to_owned(),
            ["integer"] => "a whole number".to_owned(),
            ["number"] => "a number".to_owned(),
            ["string"] | ["string", "integer"] => match meant["examples"].as_array() {
                Some(examples) => {
                    format!("such as {}", examples.iter().map(code).collect::<Vec<_>>().join(", "))
                }
                None => "a text".to_owned(),
            },
            _ => panic!("no words for {meant}"),
        }
    }
}

/// The default, where it says something and the description does not: an empty list is what is not there.
fn default(schema: &Value) -> Option<String> {
    if schema["description"].as_str().is_some_and(|about| about.to_lowercase().contains("default")) {
        return None;
    }
    match &schema["default"] {
        Value::Null => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(_) => None,
        value => Some(code(value)),
    }
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A description, which the source breaks into lines.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As GitHub and mdBook make it of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}
