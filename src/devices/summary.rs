//! What of a device's state a person looks at first: its battery, its signal, the number that it is there for; and in which
//! units its numbers are.
//!
//! Pure. Goes by what the kind says its fields are ([`Entity`]); a field that merely has such a name proves nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    health::NumberReport,
    model::{Entity, Fields, Platform, StateClass},
};

/// Those that there are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Summary {
    /// In percent.
    pub(super) battery: Option<f64>,
    /// In dBm.
    pub(super) signal: Option<f64>,
    pub(super) number: Option<NumberReport>,
    /// By fields, those that are numbers now.
    pub(super) units: BTreeMap<String, String>,
}

impl Summary {
    pub(super) fn of(entities: &[Entity], state: &Fields) -> Self {
        let numbers = || {
            let read = entities.iter().filter(|entity| matches!(entity.platform, Platform::Sensor { .. }));
            read.filter_map(|entity| Some((entity, state.get(&entity.field).and_then(Value::as_f64)?)))
        };
        let is = |class: &'static str, unit: &'static str| {
            move |entity: &Entity| {
                entity.device_class.as_deref() == Some(class) && entity.unit.as_deref() == Some(unit)
            }
        };
        let (is_battery, is_signal) = (is("battery", "%"), is("signal_strength", "dBm"));
        let signals = numbers().filter(|(entity, _)| is_signal(entity));
        // A Ruuvi tells its sending power in the same unit.
        let signal = signals.min_by_key(|(entity, _)| entity.field != "signal");
        // What is measured before what is counted, and both before a number of which only that is known.
        let rank = |entity: &Entity| match (entity.state_class, &entity.device_class) {
            (Some(StateClass::Measurement), Some(_)) => 0,
            (Some(StateClass::Measurement), None) => 1,
            (Some(StateClass::TotalIncreasing), _) => 2,
            (None, _) => 3,
        };
        // The first of equals: a kind names first what its device is for.
        let number =
            numbers().filter(|(entity, _)| entity.category.is_none()).min_by_key(|(entity, _)| rank(entity));
        let units = entities.iter().filter_map(|entity| {
            state.get(&entity.field).filter(|value| value.is_number())?;
            Some((entity.field.clone(), entity.unit.as_deref()?.to_owned()))
        });
        Self {
            units: units.collect(),
            battery: numbers().find(|(entity, _)| is_battery(entity)).map(|(_, value)| value),
            signal: signal.map(|(_, value)| value),
            number: number.map(|(entity, value)| NumberReport {
                field: entity.field.clone(),
                unit: entity.unit.as_deref().map(str::to_owned),
                value,
                history: Vec::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: Value) -> Fields {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_sensor_is_there_for_what_it_measures_and_not_for_its_battery() {
        let entities = [
            Entity::measurement("tx_power", "signal_strength", "dBm").diagnostic(),
            Entity::measurement("battery", "battery", "%").diagnostic(),
            Entity::sensor("count"),
            Entity::total("energy", "energy", "kWh"),
            Entity::measurement("temperature", "temperature", "°C"),
            Entity::measurement("humidity", "humidity", "%"),
            Entity::measurement("signal", "signal_strength", "dBm").diagnostic(),
        ];
        let state = json!({
            "tx_power": 4, "battery": 87, "count": 3, "energy": 1.5, "temperature": 21.5, "humidity": 40, "signal": -61
        });
        let summary = Summary::of(&entities, &fields(state));
        assert_eq!((summary.battery, summary.signal), (Some(87.0), Some(-61.0)));
        assert_eq!(summary.units.len(), 6);
        assert_eq!(summary.units["energy"], "kWh");
        let number = summary.number.unwrap();
        assert_eq!((&*number.field, number.unit.as_deref(), number.value), ("temperature", Some("°C"), 21.5));
        let summary = Summary::of(&entities, &fields(json!({"energy": 1.5, "temperature": "unknown"})));
        assert_eq!(summary.units.into_keys().collect::<Vec<_>>(), ["energy"], "a word has no unit");
        assert_eq!(summary.number.map(|number| number.field), Some("energy".to_owned()));
    }

    #[test]
    fn nothing_is_made_up_of_names_words_and_what_can_be_set() {
        let entities = [
            Entity::switch("state"),
            Entity::number("battery", 0.0, 100.0, 1.0),
            Entity::measurement("voltage", "battery", "V"),
        ];
        let state = fields(json!({"state": "ON", "battery": 3, "signal": -50, "other": 7}));
        assert_eq!(Summary::of(&entities, &state), Summary::default());
    }
}
