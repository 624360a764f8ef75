//! One channel of a Shelly, of either kind of firmware: Gen 1 by `shellies/<name>/…`, Gen 2 and later by RPC over MQTT.
//!
//! State: `state` (`ON`, `OFF`; of a cover `open`, `opening` …), `brightness` (1 to 100), `position` (0 to 100), `input`,
//! `action` (a press that was felt), and what it measures, `power` in W, `energy_total` in kWh. Requests: `state`,
//! `brightness`, `position`. Each firmware is a dialect of its own ([`gen1`], [`gen2`]); what they are told and
//! what shows that it was done is the same.
//!
//! Out of scope: the colours of bulbs and strips, thermostats, the three phases of an energy meter.

mod gen1;
mod gen2;
mod meaning;
mod simulation;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::simulation::Thing;
use super::super::{
    Appliance, Changes, Device, DeviceError, DeviceSpec, Frame, Plan, Presence, Span, Wiring, options,
};
use crate::model::{Availability, DeviceId, Entity, Fields, Request, Timestamp, Topic, TopicFilter};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Component {
    /// A relay.
    Switch,
    /// A dimmer.
    Light,
    /// A roller shutter.
    Cover,
    /// What a wire or a button says.
    Input,
    /// What only measures, mostly on a battery.
    Sensor,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Of the firmware: 1, or 2 and later.
    generation: u8,
    /// Its MQTT prefix; of Gen 1 the name behind `shellies/`.
    topic: String,
    #[serde(default = "switch")]
    component: Component,
    /// Which one of them.
    #[serde(default)]
    channel: u8,
    /// How long it may take to show what was asked.
    #[serde(default = "confirm_within")]
    confirm_within: Span,
    /// After which silence a sensor counts as offline.
    #[serde(default)]
    offline_after: Option<Span>,
}

fn switch() -> Component {
    Component::Switch
}

fn confirm_within() -> Span {
    Span(Duration::from_secs(2))
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Switch(bool),
    Light { is_on: Option<bool>, brightness: Option<u64> },
    Open,
    Close,
    Stop,
    Position(u64),
}

/// One firmware's way of saying things.
trait Dialect: Send {
    /// Topics below its prefix by which it tells.
    fn hears(&self) -> Vec<String>;
    /// Topics and filters by which it can be told something, whole.
    fn obeys(&self) -> Vec<String>;
    /// What a message on a topic below its prefix says. An error says what is wrong with it.
    fn decode(&mut self, point: &str, text: &str) -> Result<Changes, String>;
    /// The frames for an order, with a question behind it, for what has not changed is not told by itself.
    fn tell(&self, order: Order) -> Vec<Frame>;
    /// The question alone.
    fn ask(&self) -> Frame;
    /// The last state of before the start.
    fn restore(&mut self, last: &Fields) {
        let _ = last;
    }

    /// The same, for a simulation.
    fn copy(&self) -> Box<dyn Dialect>;
    /// The frames by which a simulated one says how it is.
    fn say(&self, thing: &Thing) -> Vec<Frame>;
    /// What a frame tells a simulated one to do.
    fn hear(&self, frame: &Frame) -> Option<Order>;
    /// Whether a frame only asks.
    fn asks(&self, frame: &Frame) -> bool;
    /// What a simulated one answers to a frame, beside saying how it is.
    fn answer_to(&self, frame: &Frame, thing: &Thing) -> Vec<Frame> {
        let _ = (frame, thing);
        Vec::new()
    }
}

struct Shelly {
    id: DeviceId,
    component: Component,
    /// What stands before each topic, with its `/`.
    prefix: String,
    hears: Vec<TopicFilter>,
    obeys: Vec<TopicFilter>,
    presence: Presence,
    confirm_within: Duration,
    dialect: Box<dyn Dialect>,
}

pub(super) fn build(spec: &DeviceSpec) -> Result<Box<dyn Device>, DeviceError> {
    let options: Options = options(spec)?;
    let bad = |option: &str, problem: &str| DeviceError::bad_option(&spec.id, option, problem);
    if options.channel > 15 {
        return Err(bad("channel", "channels are numbered from 0 to 15"));
    }
    let is_sensor = options.component == Component::Sensor;
    if options.offline_after.is_some() && !is_sensor {
        return Err(bad(
            "offline_after",
            "only a `sensor` is judged by its silence; others say it themselves",
        ));
    }
    let root = match options.generation {
        1 => format!("shellies/{}", options.topic.strip_prefix("shellies/").unwrap_or(&options.topic)),
        2..=9 => options.topic.clone(),
        _ => return Err(bad("generation", "write `1`, or `2` for all later ones")),
    };
    let root = Topic::parse(&root).map_err(|error| bad("topic", &error.to_string()))?;
    let dialect: Box<dyn Dialect> = match options.generation {
        1 => Box::new(gen1::Gen1::new(&root, options.component, options.channel)),
        _ => Box::new(gen2::Gen2::new(&root, options.component, options.channel)),
    };
    let filters = |texts: Vec<String>| -> Result<Vec<TopicFilter>, DeviceError> {
        let filter =
            |text: String| TopicFilter::parse(&text).map_err(|error| bad("topic", &error.to_string()));
        texts.into_iter().map(filter).collect()
    };
    let below = |points: Vec<String>| points.into_iter().map(|point| format!("{root}/{point}")).collect();
    let presence = if is_sensor {
        // On a battery it sleeps, and says that it is away each time.
        Presence::Heard(options.offline_after.map(|span| span.0))
    } else {
        Presence::Announced
    };
    Ok(Box::new(Shelly {
        id: spec.id.clone(),
        component: options.component,
        prefix: format!("{root}/"),
        hears: filters(below(dialect.hears()))?,
        obeys: filters(dialect.obeys())?,
        presence,
        confirm_within: options.confirm_within.0,
        dialect,
    }))
}

impl Shelly {
    fn order(&self, fields: &Fields) -> Result<Order, DeviceError> {
        let takes = match self.component {
            Component::Switch => "a Shelly switch takes `state`: `ON` or `OFF`",
            Component::Light => "a Shelly light takes `state` (`ON` or `OFF`) and `brightness` (1 to 100)",
            Component::Cover => {
                "a Shelly cover takes `state` (`OPEN`, `CLOSE` or `STOP`) or `position` (0 to 100)"
            }
            Component::Input => "an input only tells",
            Component::Sensor => "a sensor only measures",
        };
        let word = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_ascii_uppercase);
        let number = |field: &str, least: u64| {
            fields.get(field).and_then(whole).filter(|number| (least..=100).contains(number))
        };
        let is_on = match word("state").as_deref() {
            Some("ON") => Some(true),
            Some("OFF") => Some(false),
            _ => None,
        };
        let state = word("state");
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let order = match (self.component, names.as_slice(), state.as_deref()) {
            (Component::Switch, ["state"], _) => is_on.map(Order::Switch),
            (Component::Light, ["state"], _) => {
                is_on.map(|is_on| Order::Light { is_on: Some(is_on), brightness: None })
            }
            (Component::Light, ["brightness"], _) => {
                number("brightness", 1).map(|level| Order::Light { is_on: None, brightness: Some(level) })
            }
            (Component::Light, ["brightness", "state"] | ["state", "brightness"], _) => {
                let both = is_on.zip(number("brightness", 1));
                both.map(|(is_on, level)| Order::Light { is_on: Some(is_on), brightness: Some(level) })
            }
            (Component::Cover, ["state"], Some("OPEN")) => Some(Order::Open),
            (Component::Cover, ["state"], Some("CLOSE")) => Some(Order::Close),
            (Component::Cover, ["state"], Some("STOP")) => Some(Order::Stop),
            (Component::Cover, ["position"], _) => number("position", 0).map(Order::Position),
            _ => None,
        };
        let strange = || names.iter().find(|name| !takes.contains(&format!("`{name}`")));
        let field = || strange().or(names.first()).copied().unwrap_or("state");
        order.ok_or_else(|| DeviceError::impossible(&self.id, field(), takes))
    }
}

/// A whole number, also where it is written as 40.0.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=1e6).contains(number))?;
    Some(number as u64)
}

/// Whether what was read since shows that an order was carried out, or that it is being.
fn shows(order: Order, seen: &Fields) -> bool {
    let word = |field: &str| seen.get(field).and_then(Value::as_str);
    let number = |field: &str| seen.get(field).and_then(Value::as_f64);
    let is = |is_on: bool| word("state") == Some(if is_on { "ON" } else { "OFF" });
    match order {
        Order::Switch(is_on) => is(is_on),
        Order::Light { is_on, brightness } => {
            is_on.is_none_or(is) && brightness.is_none_or(|level| number("brightness") == Some(level as f64))
        }
        Order::Open => matches!(word("state"), Some("open" | "opening")) || number("position") == Some(100.0),
        Order::Close => {
            matches!(word("state"), Some("closed" | "closing")) || number("position") == Some(0.0)
        }
        Order::Stop => matches!(word("state"), Some("stopped" | "open" | "closed")),
        Order::Position(wanted) => {
            matches!(word("state"), Some("opening" | "closing")) || number("position") == Some(wanted as f64)
        }
    }
}

impl Device for Shelly {
    fn wiring(&self) -> Wiring {
        Wiring::Lan { hears: self.hears.clone(), obeys: self.obeys.clone() }
    }

    fn presence(&self) -> Presence {
        self.presence
    }

    fn decode(&mut self, frame: &Frame, _now: Timestamp) -> Result<Changes, DeviceError> {
        let unreadable = |problem: &str| DeviceError::unreadable(&self.id, &frame.channel, problem);
        let text = frame.text().ok_or_else(|| unreadable("it is not text"))?;
        let Some(point) = frame.channel.strip_prefix(&self.prefix) else { return Ok(Changes::none()) };
        if text.is_empty() {
            return Ok(Changes::none());
        }
        if point == "online" {
            let word = match text {
                "true" => Availability::Online,
                "false" => Availability::Offline,
                _ => return Err(unreadable("it is neither `true` nor `false`")),
            };
            let counts = self.presence == Presence::Announced;
            return Ok(if counts { Changes::availability(word) } else { Changes::none() });
        }
        let changes = self.dialect.decode(point, text);
        changes.map_err(|problem| DeviceError::unreadable(&self.id, &frame.channel, problem))
    }

    fn encode(&self, request: &Request, _state: &Fields) -> Result<Plan, DeviceError> {
        let order = self.order(request.fields())?;
        let frames = self.dialect.tell(order);
        let plan = Plan::confirmed(frames, self.confirm_within, move |seen| shows(order, seen));
        Ok(plan.saying("the Shelly shows it"))
    }

    fn simulation(&self) -> Box<dyn Appliance> {
        simulation::simulation(self)
    }

    fn restore(&mut self, last: &Fields) {
        self.dialect.restore(last);
    }

    fn inquire(&self) -> Vec<Frame> {
        vec![self.dialect.ask()]
    }

    fn entities(&self, state: &Fields) -> Vec<Entity> {
        let main = meaning::main(self.component, state);
        let seen = state.keys().filter(|field| !main.iter().any(|entity| entity.field == **field));
        let seen: Vec<Entity> = seen.filter_map(|field| meaning::of(field)).collect();
        [main, seen].concat()
    }
}

#[cfg(test)]
mod tests;
