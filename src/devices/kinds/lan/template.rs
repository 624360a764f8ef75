//! Value and command templates, in the Jinja that Home Assistant's users know.
//!
//! `value` is the payload (of a command: the value that is asked for), `value_json` the same as JSON (of a command: all
//! that is asked for), `topic` where it came from. Invariant: rendering is bounded in time and memory, whatever a device
//! sends. What is undefined never becomes a value: `undefined | float` is 0 to minijinja, and would be a temperature.

use minijinja::{
    Environment, Error, ErrorKind, State, UndefinedBehavior, Value as Jinja, context, filters,
    value::{Kwargs, Serde},
};
use serde_json::{Value, json};

use super::super::values;
use crate::model::Fields;

/// The only template of its environment.
const NAME: &str = "template";
/// The longest template, in bytes.
const LONGEST: usize = 4096;
/// The longest payload that is read by a template, in bytes.
const LONGEST_PAYLOAD: usize = 65_536;
/// The longest word that a template may make for a state, in characters.
const LONGEST_WORD: usize = 256;
/// What one rendering may cost: about so many instructions, or 64 times as many bytes of memory.
const FUEL: u64 = 20_000;

/// A template that was compiled.
#[derive(Clone)]
pub(super) struct Template(Environment<'static>);

impl Template {
    /// Compiles a template. An error is a sentence without a full stop, with the line where there are several.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("a template has up to {LONGEST} bytes"));
        }
        let mut environment = Environment::new();
        extend(&mut environment);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| {
            let hint = if text.contains("{{") || text.contains("{%") { "" } else { NO_TEMPLATE };
            format!("{}{hint}", sentence(&error, text))
        })?;
        let template = Self(environment);
        if !template.uses("value") && !template.uses("value_json") && !template.uses("topic") {
            return Err(format!("it uses nothing of what is said{NO_TEMPLATE}"));
        }
        template.try_out(text)?;
        Ok(template)
    }

    /// Whether it looks at this variable.
    pub(super) fn uses(&self, variable: &str) -> bool {
        self.0
            .get_template(NAME)
            .is_ok_and(|template| template.undeclared_variables(false).contains(variable))
    }

    /// The members of `value_json` that it looks at, each with the names on the way: `["ENERGY", "Power"]`.
    pub(super) fn members(&self) -> Vec<Vec<String>> {
        let Ok(template) = self.0.get_template(NAME) else { return Vec::new() };
        let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        let members = names.iter().filter_map(|name| name.strip_prefix("value_json."));
        members.map(|path| path.split('.').map(str::to_owned).collect()).collect()
    }

    /// A payload with `raw` wherever it looks.
    pub(super) fn shaped(&self, raw: &Value) -> Value {
        let mut object = json!({});
        let members = self.members();
        for path in &members {
            let mut at = &mut object;
            for name in path {
                if !at.is_object() {
                    *at = json!({});
                }
                at = &mut at[name.as_str()];
            }
            *at = raw.clone();
        }
        if members.is_empty() { raw.clone() } else { object }
    }

    /// Whether a payload lacks a member that it looks at.
    fn misses(&self, payload: &Value) -> bool {
        let find = |path: &Vec<String>| path.iter().try_fold(payload, |at, name| at.get(name.as_str()));
        self.members().iter().any(|path| find(path).is_none_or(Value::is_null))
    }

    /// A filter or a function that there is none of shows only when it is run.
    fn try_out(&self, text: &str) -> Result<(), String> {
        let sample = self.shaped(&json!(1));
        let result = self
            .render(context! { value => "1", value_json => Jinja::from(Serde(sample)), topic => "topic" });
        match result {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
                ) =>
            {
                Err(sentence(&error, text))
            }
            // What else goes wrong may be the sample's fault.
            _ => Ok(()),
        }
    }

    fn text(&self) -> String {
        self.0.get_template(NAME).map(|template| template.source().to_owned()).unwrap_or_default()
    }

    fn render(&self, context: Jinja) -> Result<String, Error> {
        self.0.get_template(NAME)?.render(context).map(|text| text.trim().to_owned())
    }

    /// The value that a payload says by it; `None` when it says nothing: the template looks for what is not there (many
    /// devices put several messages on one topic), or gives nothing or `none`. An error is a sentence without a full stop.
    pub(super) fn value(&self, topic: &str, payload: &str) -> Result<Option<Value>, String> {
        if payload.len() > LONGEST_PAYLOAD {
            return Err(format!("it is longer than {LONGEST_PAYLOAD} bytes"));
        }
        let json = serde_json::from_str::<Value>(payload).ok();
        let value_json = json.as_ref().map_or(Jinja::UNDEFINED, |value| Jinja::from(Serde(value)));
        let text = match (self.render(context! { value => payload, value_json, topic }), &json) {
            (Ok(text), _) => text,
            (Err(error), _) if error.kind() == ErrorKind::OutOfFuel => {
                return Err(sentence(&error, &self.text()));
            }
            (Err(error), Some(json)) if error.kind() == ErrorKind::UndefinedError || self.misses(json) => {
                return Ok(None);
            }
            (Err(_), None) if self.uses("value_json") => {
                return Err("it is not JSON, and the template asks for `value_json`".to_owned());
            }
            (Err(error), _) => return Err(sentence(&error, &self.text())),
        };
        match text.as_str() {
            "" | "none" | "None" => Ok(None),
            "true" | "True" => Ok(Some(Value::Bool(true))),
            "false" | "False" => Ok(Some(Value::Bool(false))),
            word if word.chars().count() <= LONGEST_WORD => Ok(Some(values::said(word))),
            _ => Err(format!("the template makes more than {LONGEST_WORD} characters of it")),
        }
    }

    /// The payload that asks for `value` of the request's fields. An error is a sentence without a full stop.
    pub(super) fn command(&self, value: Option<&Value>, request: &Fields) -> Result<String, String> {
        let text = self.text();
        // Who may set a mode must not set the power by the mode `eco","power":"on`.
        if !text.contains("to_json") && !text.contains("tojson") && request.values().any(breaks_out) {
            return Err(
                "a word with a quotation mark, a backslash or a control character could break out of its \
                        place; `{{ value | to_json }}` in the template would keep it there"
                    .to_owned(),
            );
        }
        let value = value.map_or(Jinja::UNDEFINED, |value| Jinja::from(Serde(value)));
        let value_json = Jinja::from(Serde(request));
        let payload = self.render(context! { value, value_json }).map_err(|error| sentence(&error, &text))?;
        if payload.len() > LONGEST_PAYLOAD {
            return Err(format!("the template makes more than {LONGEST_PAYLOAD} bytes of it"));
        }
        Ok(payload)
    }
}

/// Whether something in it could end a JSON string and go on behind it.
fn breaks_out(value: &Value) -> bool {
    match value {
        Value::String(word) => word.chars().any(|c| c == '"' || c == '\\' || c.is_control()),
        Value::Array(values) => values.iter().any(breaks_out),
        // Its members' names go in, too.
        Value::Object(members) => {
            members.iter().any(|(name, value)| breaks_out(&Value::from(name.as_str())) || breaks_out(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

const NO_TEMPLATE: &str = "; write `{{ value_json.temperature }}`, for example";

/// What is wrong, and where if there are several lines.
fn sentence(error: &Error, text: &str) -> String {
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too long".to_owned(),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    match error.line() {
        Some(line) if text.lines().count() > 1 => format!("{what} (line {line} of the template)"),
        _ => what,
    }
}

/// What Home Assistant's users write and minijinja does not have, or has in another way.
fn extend(environment: &mut Environment<'static>) {
    environment.add_filter("float", float);
    environment.add_filter("int", int);
    environment.add_filter("is_defined", is_defined);
    environment.add_filter("from_json", from_json);
    environment.add_filter("to_json", to_json);
    environment.add_filter("iif", iif);
    environment.add_function("iif", iif);
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        let arguments = [std::slice::from_ref(value), arguments].concat();
        match method {
            "split" | "lower" | "upper" | "replace" => state.apply_filter(method, &arguments),
            "strip" => state.apply_filter("trim", &arguments),
            "startswith" => state.perform_test("startingwith", &arguments).map(Jinja::from),
            "endswith" => state.perform_test("endingwith", &arguments).map(Jinja::from),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    });
}

fn undefined() -> Error {
    Error::from(ErrorKind::UndefinedError)
}

/// The default that a filter was given, by its place or by its name.
fn default_of(default: Option<Jinja>, named: &Kwargs) -> Result<Option<Jinja>, Error> {
    match default {
        Some(default) => Ok(Some(default)),
        None => named.get("default"),
    }
}

fn float(state: &State, value: &Jinja, default: Option<Jinja>, named: Kwargs) -> Result<Jinja, Error> {
    let default = default_of(default, &named)?;
    named.assert_all_used()?;
    if value.is_undefined() || value.is_none() {
        return default.ok_or_else(undefined);
    }
    filters::float(state, value, default, nothing_named())
}

fn int(
    state: &State,
    value: &Jinja,
    default: Option<Jinja>,
    base: Option<u32>,
    named: Kwargs,
) -> Result<Jinja, Error> {
    let default = default_of(default, &named)?;
    let base = match base {
        Some(base) => Some(base),
        None => named.get("base")?,
    };
    named.assert_all_used()?;
    if value.is_undefined() || value.is_none() {
        return default.ok_or_else(undefined);
    }
    filters::int(state, value, default, base, nothing_named())
}

fn nothing_named() -> Kwargs {
    std::iter::empty::<(&str, Jinja)>().collect()
}

fn is_defined(value: &Jinja) -> Result<Jinja, Error> {
    if value.is_undefined() { Err(undefined()) } else { Ok(value.clone()) }
}

fn from_json(text: &str) -> Result<Jinja, Error> {
    let value: Result<Value, _> = serde_json::from_str(text);
    value
        .map(|value| Jinja::from(Serde(value)))
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("it is not JSON: {error}")))
}

fn to_json(value: &Jinja) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

fn iif(value: &Jinja, if_true: Option<Jinja>, if_false: Option<Jinja>) -> Jinja {
    if value.is_true() {
        if_true.unwrap_or(Jinja::from(true))
    } else {
        if_false.unwrap_or(Jinja::from(false))
    }
}
