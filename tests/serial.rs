//! Devices on serial ports, over pseudo-terminals: unplugged and plugged in again.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[path = "serial/house.rs"]
mod house;
#[path = "serial/port.rs"]
mod port;

use hearthlink::model::{Availability, OutcomeStatus};
use house::House;
use port::Port;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unplugged_device_is_offline_with_the_sentence_and_heals_when_it_is_plugged_in() {
    let port = Port::new();
    let options = json!({
        "port": port.path(), "pattern": "L=(?P<level>[0-9]+)", "commands": ["SET {level}"],
        "confirm_within": "10s",
    });
    let mut house = House::start(&[("dimmer", "serial_line", options)]);
    house.becomes(Availability::Offline).await;
    let sentence = format!("the port {} is not there; is it plugged in?", port.path().display());
    assert_eq!(house.report("dimmer").fault, Some(sentence.clone()));

    for round in 0..3 {
        let mut plug = port.plug();
        plug.opened().await;
        // What comes in the first 100 ms may be the end of something: this ends it.
        plug.say(b"\n");
        plug.say(format!("L={round}\n").as_bytes());
        assert_eq!(house.reading().await["level"], json!(round));
        assert_eq!(house.report("dimmer").availability, Availability::Online);
        assert_eq!(house.report("dimmer").fault, None);

        let answer = house.send("dimmer", json!({"level": 7}));
        let plug = tokio::task::spawn_blocking(move || {
            assert_eq!(plug.hear(), b"SET 7\n");
            plug.say(b"L=7\n");
            plug
        });
        let plug = plug.await.unwrap();
        assert_eq!(answer.await.unwrap().status, OutcomeStatus::Applied);

        drop(plug);
        house.becomes(Availability::Offline).await;
        let refused = house.send("dimmer", json!({"level": 8})).await.unwrap();
        assert_eq!(refused.status, OutcomeStatus::Failed, "surely nothing happened: {refused:?}");
        assert_eq!(refused.detail, Some(sentence.clone()));
        assert_eq!(house.report("dimmer").fields, Some(object(json!({"level": 7}))));
    }
    assert_eq!(house.report("dimmer").restarts, 0, "an unplugged port is no failure of its bus");
    house.end().await;
}

fn object(value: Value) -> hearthlink::model::Fields {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is not an object"),
    }
}
