//! The second generation and later ones: JSON-RPC over MQTT.
//!
//! Source: Shelly's "Gen2 Device API", pages "MQTT", "Notifications", "RPC Protocol", "Switch", "Light", "Cover", "Input".
//! Only what is on by default is needed (`enable_rpc`, `rpc_ntf`); `status_ntf` is heard, too. A notification has the
//! attributes that changed. What is asked is answered on `<src>/rpc`, and we choose `<src>`: below the device's own
//! prefix, for each of its components another.

use serde_json::{Value, json};

use super::{
    super::super::{Changes, Frame},
    super::values,
    Component, Order,
    simulation::Thing,
};
use crate::model::{Fields, Topic};

/// The numbers of our questions; the answer has the same.
const TOLD: u64 = 1;
const ASKED: u64 = 2;

#[derive(Clone)]
pub(super) struct Gen2 {
    root: Topic,
    component: Component,
    channel: u8,
    /// `switch:0`, and for a sensor all that may be one.
    keys: Vec<String>,
    /// Behind the prefix: where we are answered, without the `/rpc` that it adds.
    reply: String,
}

impl Gen2 {
    pub(super) fn new(root: &Topic, component: Component, channel: u8) -> Self {
        let nouns: &[&str] = match component {
            Component::Switch => &["switch"],
            Component::Light => &["light"],
            Component::Cover => &["cover"],
            Component::Input => &["input"],
            Component::Sensor => {
                &["temperature", "humidity", "illuminance", "devicepower", "smoke", "flood", "voltmeter"]
            }
        };
        let keys = nouns.iter().map(|noun| format!("{noun}:{channel}")).collect();
        let reply = format!("hearthlink-{}-{channel}", nouns.first().copied().unwrap_or_default());
        Self { root: root.clone(), component, channel, keys, reply }
    }

    fn call(&self, id: u64, method: &str, params: Value) -> Frame {
        let src = format!("{}/{}", self.root, self.reply);
        let call = json!({"id": id, "src": src, "method": method, "params": params});
        Frame::new(&format!("{}/rpc", self.root), call.to_string())
    }

    /// A simulated component's.
    fn status(&self, thing: &Thing) -> Value {
        let id = self.channel;
        match self.component {
            Component::Switch => {
                json!({"id": id, "output": thing.is_on, "apower": if thing.is_on { 60 } else { 0 }})
            }
            Component::Light => json!({"id": id, "output": thing.is_on, "brightness": thing.brightness}),
            Component::Cover => {
                let state = if thing.position == 0 { "closed" } else { "open" };
                json!({"id": id, "state": state, "current_pos": thing.position})
            }
            Component::Input => json!({"id": id, "state": thing.is_on}),
            Component::Sensor => json!({"id": id, "tC": thing.degrees}),
        }
    }

    /// All of ours in an object of components.
    fn components(&self, components: &Value) -> Changes {
        let ours = self.keys.iter().filter_map(|key| Some(status(key, components.get(key)?)));
        Changes::fields(ours.flatten().collect())
    }

    /// A frame that it sends by itself.
    fn notification(&self, frame: &Value) -> Changes {
        let params = &frame["params"];
        match frame["method"].as_str() {
            Some("NotifyStatus" | "NotifyFullStatus") => self.components(params),
            Some("NotifyEvent") => {
                let events = params["events"].as_array().into_iter().flatten();
                let ours = events.filter(|event| {
                    self.keys.iter().any(|key| event["component"].as_str() == Some(key.as_str()))
                });
                let action = ours.filter_map(|event| action(event["event"].as_str()?)).next_back();
                action.map_or_else(Changes::none, |action| Changes::field("action", action))
            }
            _ => Changes::none(),
        }
    }

    /// The answer to one of our frames.
    fn answer(&self, frame: &Value) -> Result<Changes, String> {
        if let Some(error) = frame.get("error") {
            let message = error["message"].as_str().unwrap_or("no reason");
            let refusal = format!("the Shelly refused: {message} ({})", error["code"]);
            return if frame["id"] == TOLD { Ok(Changes::refusal(refusal)) } else { Err(refusal) };
        }
        let result = &frame["result"];
        if frame["id"] != ASKED {
            return Ok(Changes::none());
        }
        Ok(match self.component {
            Component::Sensor => self.components(result),
            _ => Changes::fields(status(&self.keys[0], result)),
        })
    }
}

fn action(event: &str) -> Option<&'static str> {
    Some(match event {
        "single_push" => "single",
        "double_push" => "double",
        "triple_push" => "triple",
        "long_push" => "long",
        "btn_down" => "down",
        "btn_up" => "up",
        _ => return None,
    })
}

/// The fields of one component's status, or of that part of it that changed.
fn status(key: &str, status: &Value) -> Fields {
    let noun = key.split(':').next().unwrap_or_default();
    let mut fields = Fields::new();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(field.to_owned(), value);
        }
    };
    let number = |pointer: &str| status.pointer(pointer).filter(|value| value.is_number()).cloned();
    let word = |pointer: &str| status.pointer(pointer)?.as_str().map(Value::from);
    let on = |pointer: &str| {
        let is_on = status.pointer(pointer)?.as_bool()?;
        Some(Value::from(if is_on { "ON" } else { "OFF" }))
    };
    // In Wh.
    let energy = |pointer: &str| status.pointer(pointer)?.as_f64().and_then(|wh| values::number(wh / 1000.0));
    match noun {
        "switch" | "light" | "cover" => {
            put("state", on("/output"));
            if noun == "cover" {
                // `calibrating` is none of the words that a cover has.
                let known = ["open", "opening", "closed", "closing", "stopped"];
                put("state", word("/state").filter(|word| known.iter().any(|known| word == known)));
                put("position", number("/current_pos"));
            }
            put("brightness", number("/brightness"));
            put("power", number("/apower"));
            put("voltage", number("/voltage"));
            put("current", number("/current"));
            put("frequency", number("/freq"));
            put("power_factor", number("/pf"));
            put("energy_total", energy("/aenergy/total"));
            put("energy_returned_total", energy("/ret_aenergy/total"));
            put("device_temperature", number("/temperature/tC"));
        }
        "input" => {
            put("input", on("/state"));
            put("percent", number("/percent"));
            put("count", number("/counts/total"));
        }
        "temperature" => put("temperature", number("/tC")),
        "humidity" => put("humidity", number("/rh")),
        "illuminance" => {
            put("illuminance", number("/lux"));
            put("illumination", word("/illumination"));
        }
        "devicepower" => {
            put("battery", number("/battery/percent"));
            put("battery_voltage", number("/battery/V"));
        }
        "smoke" => put("smoke", on("/alarm")),
        "flood" => put("flood", on("/alarm")),
        "voltmeter" => put("voltage", number("/voltage")),
        _ => {}
    }
    fields
}

impl super::Dialect for Gen2 {
    fn hears(&self) -> Vec<String> {
        let status = self.keys.iter().map(|key| format!("status/{key}"));
        let all = ["online".to_owned(), "events/rpc".to_owned(), format!("{}/rpc", self.reply)];
        all.into_iter().chain(status).collect()
    }

    fn obeys(&self) -> Vec<String> {
        let root = &self.root;
        vec![format!("{root}/rpc"), format!("{root}/command/#"), "shellies/command".to_owned()]
    }

    fn decode(&mut self, point: &str, text: &str) -> Result<Changes, String> {
        let frame: Value = serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
        if let Some(key) = point.strip_prefix("status/") {
            return Ok(Changes::fields(status(key, &frame)));
        }
        match point {
            "events/rpc" => Ok(self.notification(&frame)),
            _ => self.answer(&frame),
        }
    }

    fn tell(&self, order: Order) -> Vec<Frame> {
        let id = self.channel;
        let (method, params) = match order {
            Order::Switch(is_on) => ("Switch.Set", json!({"id": id, "on": is_on})),
            Order::Light { is_on, brightness } => {
                let mut params = json!({"id": id});
                if let Some(is_on) = is_on {
                    params["on"] = is_on.into();
                }
                if let Some(level) = brightness {
                    params["brightness"] = level.into();
                }
                ("Light.Set", params)
            }
            Order::Open => ("Cover.Open", json!({"id": id})),
            Order::Close => ("Cover.Close", json!({"id": id})),
            Order::Stop => ("Cover.Stop", json!({"id": id})),
            Order::Position(position) => ("Cover.GoToPosition", json!({"id": id, "pos": position})),
        };
        vec![self.call(TOLD, method, params), self.ask()]
    }

    fn ask(&self) -> Frame {
        let id = json!({"id": self.channel});
        match self.component {
            Component::Switch => self.call(ASKED, "Switch.GetStatus", id),
            Component::Light => self.call(ASKED, "Light.GetStatus", id),
            Component::Cover => self.call(ASKED, "Cover.GetStatus", id),
            Component::Input => self.call(ASKED, "Input.GetStatus", id),
            Component::Sensor => self.call(ASKED, "Shelly.GetStatus", json!({})),
        }
    }

    fn copy(&self) -> Box<dyn super::Dialect> {
        Box::new(self.clone())
    }

    fn say(&self, thing: &Thing) -> Vec<Frame> {
        let key = &self.keys[0];
        let notification =
            json!({"src": self.root.as_str(), "method": "NotifyStatus", "params": {key: self.status(thing)}});
        let below = |point: &str, payload: String| Frame::new(&format!("{}/{point}", self.root), payload);
        vec![below("online", "true".to_owned()), below("events/rpc", notification.to_string())]
    }

    fn hear(&self, frame: &Frame) -> Option<Order> {
        let call: Value = serde_json::from_str(frame.text()?).ok()?;
        let params = &call["params"];
        match call["method"].as_str()? {
            "Switch.Set" => params["on"].as_bool().map(Order::Switch),
            "Light.Set" => Some(Order::Light {
                is_on: params["on"].as_bool(),
                brightness: params["brightness"].as_u64(),
            }),
            "Cover.Open" => Some(Order::Open),
            "Cover.Close" => Some(Order::Close),
            "Cover.Stop" => Some(Order::Stop),
            "Cover.GoToPosition" => params["pos"].as_u64().map(Order::Position),
            _ => None,
        }
    }

    fn asks(&self, frame: &Frame) -> bool {
        *frame == self.ask()
    }

    fn answer_to(&self, frame: &Frame, thing: &Thing) -> Vec<Frame> {
        if !self.asks(frame) {
            return Vec::new();
        }
        let status = self.status(thing);
        let result = match self.component {
            Component::Sensor => json!({&self.keys[0]: status}),
            _ => status,
        };
        let answer = json!({"id": ASKED, "src": self.root.as_str(), "result": result});
        vec![Frame::new(&format!("{}/{}/rpc", self.root, self.reply), answer.to_string())]
    }
}
