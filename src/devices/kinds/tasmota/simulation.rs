//! A simulated Tasmota: a relay with a lamp of 60 W behind its meter.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::super::{Appliance, Frame, StandIn, Waves},
    Tasmota,
};

/// Between two telemetry messages. A real one leaves five minutes (`TelePeriod`), too long to watch.
const PERIOD: Duration = Duration::from_secs(10);

struct Plug {
    is_on: bool,
    /// In kWh.
    energy: f64,
    voltage: Waves,
}

impl Plug {
    fn word(&self) -> &'static str {
        if self.is_on { "ON" } else { "OFF" }
    }

    /// What `tele/…/SENSOR` says in a round.
    fn sensor(&mut self, round: u32) -> Value {
        let power = if self.is_on { 60 } else { 0 };
        self.energy += f64::from(power) / 1000.0 * PERIOD.as_secs_f64() / 3600.0;
        let total = (self.energy * 1000.0).round() / 1000.0;
        json!({"ENERGY": {"Total": total, "Power": power, "Voltage": self.voltage.at(round, PERIOD).round()}})
    }
}

pub(super) fn simulation(tasmota: &Tasmota) -> Box<dyn Appliance> {
    let plug = Plug { is_on: false, energy: 3.185, voltage: Waves::of(&tasmota.id, 230.0, 2.0) };
    let (stat, tele, power) = (tasmota.stat.clone(), tasmota.tele.clone(), tasmota.power.clone());
    let (command, inquiry) = (tasmota.command.clone(), tasmota.inquiry.clone());
    let key = power.clone();
    let says = move |plug: &mut Plug, round| {
        let state = json!({&key: plug.word(), "Wifi": {"RSSI": 78, "Signal": -61}});
        let presence = Frame::new(&format!("{tele}LWT"), "Online");
        let telemetry = [("STATE", state), ("SENSOR", plug.sensor(round))];
        let said = telemetry.map(|(what, value)| Frame::new(&format!("{tele}{what}"), value.to_string()));
        [presence].into_iter().filter(|_| round == 0).chain(said).collect()
    };
    let takes = move |plug: &mut Plug, frame: &Frame| {
        let result = |value: Value| Frame::new(&format!("{stat}RESULT"), value.to_string());
        let word = frame.text().unwrap_or_default().to_ascii_uppercase();
        if *frame.channel == *inquiry.as_str() {
            return Ok(vec![result(json!({&power: plug.word()}))]);
        }
        if *frame.channel != *command.as_str() {
            return Err(format!("nobody is subscribed to {}", frame.channel));
        }
        match word.as_str() {
            "ON" | "1" => plug.is_on = true,
            "OFF" | "0" => plug.is_on = false,
            "TOGGLE" | "2" => plug.is_on = !plug.is_on,
            "" => {}
            _ => return Ok(vec![result(json!({"Command": "Error"}))]),
        }
        // Every change is said twice.
        let says = Frame::new(&format!("{stat}{power}"), plug.word());
        Ok(vec![result(json!({&power: plug.word()})), says])
    };
    Box::new(StandIn::new(plug).says(says).every(PERIOD).takes(takes))
}
