//! The first generation: a topic for each value, words for commands.
//!
//! Source: Shelly's "Gen1 Device API", section "MQTT Support" and the pages of the devices.

use serde_json::Value;

use super::{
    super::super::{Changes, Frame},
    super::values,
    Component, Order,
    simulation::Thing,
};
use crate::model::{Fields, Topic};

/// Our name for the count by which a press is known from the same press said again, as it is every 30 s.
const COUNT: &str = "action_count";

#[derive(Clone)]
pub(super) struct Gen1 {
    root: Topic,
    component: Component,
    /// `relay/0`
    point: String,
    channel: u8,
    /// The count of the last press that was told.
    presses: Option<u64>,
}

impl Gen1 {
    pub(super) fn new(root: &Topic, component: Component, channel: u8) -> Self {
        let noun = match component {
            Component::Switch => "relay",
            Component::Light => "light",
            Component::Cover => "roller",
            Component::Input => "input",
            Component::Sensor => "sensor",
        };
        Self { root: root.clone(), component, point: format!("{noun}/{channel}"), channel, presses: None }
    }

    /// What stands behind the component's own topic.
    fn own(&self, what: &str, text: &str) -> Result<Changes, String> {
        let number = || values::measured(text).ok_or("it is not a number");
        Ok(match (self.component, what) {
            (_, "/power") => Changes::field("power", number()?),
            // In watt-minutes.
            (_, "/energy") => {
                let kwh = number()?.as_f64().and_then(|number| values::number(number / 60_000.0));
                kwh.map_or_else(Changes::none, |kwh| Changes::field("energy_total", kwh))
            }
            (Component::Switch, "") => match text {
                "on" => Changes::field("state", "ON"),
                "off" => Changes::field("state", "OFF"),
                "overpower" => Changes::fields(Fields::from_iter([
                    ("state".to_owned(), "OFF".into()),
                    ("overpower".to_owned(), "ON".into()),
                ])),
                _ => return Err("it is neither `on`, `off` nor `overpower`".to_owned()),
            },
            (Component::Light, "") => Changes::field("state", on_off(text)?),
            (Component::Light, "/status") => {
                let status: Fields =
                    serde_json::from_str(text).map_err(|_| "it is not a JSON object".to_owned())?;
                let state = status.get("ison").and_then(Value::as_bool);
                let state = state.map(|is_on| ("state".to_owned(), word(is_on)));
                let level = status.get("brightness").filter(|level| level.is_number());
                let level = level.map(|level| ("brightness".to_owned(), level.clone()));
                Changes::fields(state.into_iter().chain(level).collect())
            }
            (Component::Cover, "") => Changes::field(
                "state",
                match text {
                    "open" => "opening",
                    "close" => "closing",
                    "stop" => "stopped",
                    _ => return Err("it is neither `open`, `close` nor `stop`".to_owned()),
                },
            ),
            // -1 where it was never calibrated.
            (Component::Cover, "/pos") => match number()?.as_u64() {
                Some(position) => Changes::field("position", position),
                None => Changes::none(),
            },
            (Component::Input, "") => Changes::field("input", flag(text)?),
            _ => Changes::none(),
        })
    }

    /// A press. The first that is seen may be one of yesterday.
    fn press(&mut self, text: &str) -> Result<Changes, String> {
        let press: Fields = serde_json::from_str(text).map_err(|_| "it is not a JSON object".to_owned())?;
        let count = press.get("event_cnt").and_then(Value::as_u64).ok_or("it has no `event_cnt`")?;
        let last = self.presses.replace(count);
        let mut fields = Fields::from_iter([(COUNT.to_owned(), count.into())]);
        let action = match press.get("event").and_then(Value::as_str) {
            Some("S") => Some("single"),
            Some("SS") => Some("double"),
            Some("SSS") => Some("triple"),
            Some("L") => Some("long"),
            Some("SL") => Some("short_long"),
            Some("LS") => Some("long_short"),
            _ => None,
        };
        if let Some(action) = action.filter(|_| last.is_some_and(|last| last != count)) {
            fields.insert("action".to_owned(), action.into());
        }
        Ok(Changes::fields(fields))
    }

    fn command(&self, below: &str, payload: impl Into<String>) -> Frame {
        Frame::new(&format!("{}/{}/{below}", self.root, self.point), payload.into())
    }
}

fn word(is_on: bool) -> Value {
    Value::from(if is_on { "ON" } else { "OFF" })
}

fn on_off(text: &str) -> Result<Value, String> {
    match text {
        "on" => Ok(word(true)),
        "off" => Ok(word(false)),
        _ => Err("it is neither `on` nor `off`".to_owned()),
    }
}

fn flag(text: &str) -> Result<Value, String> {
    match text {
        "1" | "true" => Ok(word(true)),
        "0" | "false" => Ok(word(false)),
        _ => Err("it is neither `1` nor `0`".to_owned()),
    }
}

fn sensor(what: &str, text: &str) -> Result<Changes, String> {
    let number = || values::measured(text).ok_or("it is not a number".to_owned());
    Ok(match what {
        "temperature" | "humidity" | "battery" | "tilt" | "concentration" => Changes::field(what, number()?),
        "lux" => Changes::field("illuminance", number()?),
        "illumination" => Changes::field(what, text),
        "flood" | "smoke" | "motion" | "vibration" => Changes::field(what, flag(text)?),
        // Of a door.
        "state" => Changes::field("opening", word(text == "open")),
        _ => Changes::none(),
    })
}

impl super::Dialect for Gen1 {
    fn hears(&self) -> Vec<String> {
        let point = &self.point;
        let own = |all: &[&str]| all.iter().map(|below| format!("{point}{below}")).collect::<Vec<_>>();
        let (of_point, others): (Vec<String>, &[&str]) = match self.component {
            Component::Switch => (own(&["", "/power", "/energy"]), &["temperature", "overtemperature"]),
            Component::Light => {
                (own(&["", "/status", "/power", "/energy"]), &["temperature", "overtemperature"])
            }
            Component::Cover => {
                (own(&["", "/pos", "/power", "/energy"]), &["temperature", "overtemperature"])
            }
            Component::Input => {
                ([own(&[""]), vec![format!("input_event/{}", self.channel)]].concat(), &["sensor/battery"])
            }
            Component::Sensor => {
                let extra = ["ext_temperature", "ext_humidity"];
                (extra.iter().map(|name| format!("{name}/{}", self.channel)).collect(), &["sensor/+"])
            }
        };
        let all = of_point.into_iter().chain(others.iter().map(|other| (*other).to_owned()));
        all.chain(["online".to_owned()]).collect()
    }

    fn obeys(&self) -> Vec<String> {
        let root = &self.root;
        // `command/pos` of a roller, `thermostat/0/command/target_t` of a valve; `set` of lights and colours.
        vec![
            format!("{root}/command"),
            format!("{root}/+/+/command/#"),
            format!("{root}/+/+/set"),
            "shellies/command".to_owned(),
        ]
    }

    fn decode(&mut self, point: &str, text: &str) -> Result<Changes, String> {
        if self.component != Component::Sensor
            && let Some(what) = point.strip_prefix(&self.point)
        {
            return self.own(what, text);
        }
        let (noun, what) = point.split_once('/').unwrap_or((point, ""));
        let number = || values::measured(text).ok_or("it is not a number".to_owned());
        match noun {
            "sensor" => sensor(what, text),
            "input_event" => self.press(text),
            "temperature" => Ok(Changes::field("device_temperature", number()?)),
            "overtemperature" => Ok(Changes::field(noun, flag(text)?)),
            "ext_temperature" => Ok(Changes::field("temperature", number()?)),
            "ext_humidity" => Ok(Changes::field("humidity", number()?)),
            _ => Ok(Changes::none()),
        }
    }

    fn tell(&self, order: Order) -> Vec<Frame> {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let command = match order {
            Order::Switch(is_on) => self.command("command", on(is_on)),
            Order::Light { is_on, brightness } => {
                let turn = is_on.map(|is_on| ("turn".to_owned(), on(is_on).into()));
                let level = brightness.map(|level| ("brightness".to_owned(), level.into()));
                let set: Fields = turn.into_iter().chain(level).collect();
                self.command("set", Value::Object(set).to_string())
            }
            Order::Open => self.command("command", "open"),
            Order::Close => self.command("command", "close"),
            Order::Stop => self.command("command", "stop"),
            Order::Position(position) => self.command("command/pos", position.to_string()),
        };
        vec![command, self.ask()]
    }

    fn ask(&self) -> Frame {
        Frame::new(&format!("{}/command", self.root), "update")
    }

    fn restore(&mut self, last: &Fields) {
        self.presses = last.get(COUNT).and_then(Value::as_u64);
    }

    fn copy(&self) -> Box<dyn super::Dialect> {
        Box::new(self.clone())
    }

    fn say(&self, thing: &Thing) -> Vec<Frame> {
        let own = |below: &str, payload: String| {
            Frame::new(&format!("{}/{}{below}", self.root, self.point), payload)
        };
        let on = if thing.is_on { "on" } else { "off" }.to_owned();
        let own = match self.component {
            Component::Switch => vec![own("", on)],
            Component::Light => {
                let status = serde_json::json!({"ison": thing.is_on, "brightness": thing.brightness});
                vec![own("/status", status.to_string())]
            }
            Component::Cover => vec![own("", "stop".to_owned()), own("/pos", thing.position.to_string())],
            Component::Input => vec![own("", u8::from(thing.is_on).to_string())],
            Component::Sensor => {
                vec![Frame::new(&format!("{}/sensor/temperature", self.root), thing.degrees.to_string())]
            }
        };
        [vec![Frame::new(&format!("{}/online", self.root), "true")], own].concat()
    }

    fn hear(&self, frame: &Frame) -> Option<Order> {
        let below = frame.channel.strip_prefix(&format!("{}/{}/", self.root, self.point))?;
        let text = frame.text()?;
        match (below, text) {
            ("command", "on" | "off") => Some(Order::Switch(text == "on")),
            ("command", "open") => Some(Order::Open),
            ("command", "close") => Some(Order::Close),
            ("command", "stop") => Some(Order::Stop),
            ("command/pos", _) => text.parse().ok().map(Order::Position),
            ("set", _) => {
                let set: Fields = serde_json::from_str(text).ok()?;
                let is_on = set.get("turn").map(|turn| turn == "on");
                Some(Order::Light { is_on, brightness: set.get("brightness").and_then(Value::as_u64) })
            }
            _ => None,
        }
    }

    fn asks(&self, frame: &Frame) -> bool {
        *frame == self.ask()
    }
}
