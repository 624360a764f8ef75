//! Who may do what and when, and what happens when the line is lost: on a whole gateway with a cloud that can be cut.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{net::SocketAddr, path::Path, time::Duration};

use hearthlink::{
    app::Gateway,
    config,
    demo::{
        certificates::{Authority, LOOPBACK_NAMES, Wish},
        cloud::{Cloud, CloudOptions, Dialect},
    },
    health::Board,
    model::LinkState,
};
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// For what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

struct House {
    board: Board,
    broker: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

async fn cloud_in(directory: &Path) -> Cloud {
    cloud_of(directory, Dialect::default()).await
}

async fn cloud_of(directory: &Path, dialect: Dialect) -> Cloud {
    let authority = Authority::new("policy").unwrap();
    let ca = directory.join("ca.pem");
    authority.write(&ca).unwrap();
    authority.issue(&Wish::client("home")).unwrap().write(directory, "gateway").unwrap();
    let server = authority.issue(&Wish::server(LOOPBACK_NAMES)).unwrap().write(directory, "server").unwrap();
    let options = CloudOptions {
        certificate: server.certificate,
        key: server.key,
        client_ca: ca,
        address: ([127, 0, 0, 1], 0).into(),
        dialect,
    };
    Cloud::start(options).await.unwrap()
}

impl House {
    async fn start(directory: &Path, cloud: &Cloud, rest: &str) -> Self {
        let text = format!(
            "gateway: {{ id: home, data_dir: data }}\n\
             broker: {{ listeners: [ {{ address: \"127.0.0.1:0\" }} ] }}\n\
             cloud:\n  url: {}\n  ca_file: ca.pem\n  certificate_file: gateway.pem\n  key_file: gateway.key\n  \
             backoff: {{ first: 100ms, longest: 200ms }}\n{rest}",
            cloud.url()
        );
        let file = directory.join("home.yaml");
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::build(&config::load(&file).unwrap()).await.unwrap();
        let (board, stop) = (gateway.board(), CancellationToken::new());
        let (broker, token) = (gateway.broker_addresses()[0].2, stop.clone());
        let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });
        Self { board, broker, stop, running }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.board.watch();
        let wait = async {
            while !holds(self) {
                changes.changed().await.unwrap();
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "never {what}: {:?}", self.board.snapshot());
    }

    async fn until_online(&self) {
        self.until("online", |house| house.board.line() == LinkState::Online).await;
    }

    /// The board hears of a device's state a moment after the one who asked for it.
    async fn until_toaster_is(&self, word: &str) {
        self.until(word, |house| house.toaster().as_deref() == Some(word)).await;
    }

    /// What the toaster shows.
    fn toaster(&self) -> Option<String> {
        self.board
            .snapshot()
            .devices
            .into_iter()
            .find(|device| device.id.as_str() == "toaster")
            .and_then(|device| device.fields?.get("state")?.as_str().map(str::to_owned))
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.expect("it stops").unwrap();
    }
}

/// A client that sees the results of the toaster.
async fn phone(address: SocketAddr, id: &str, results: &str) -> (AsyncClient, EventLoop) {
    let options = MqttOptions::new(id, address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe(results, QoS::AtLeastOnce).await.unwrap();
    let subscribed =
        async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {} };
    timeout(PATIENCE, subscribed).await.unwrap();
    (client, events)
}

async fn next_result(events: &mut EventLoop) -> Value {
    let found = async {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
                return serde_json::from_slice(&publish.payload).unwrap();
            }
        }
    };
    timeout(PATIENCE, found).await.expect("an outcome")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_and_how_often_decides_at_home_whatever_the_cloud_lets_through() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = cloud_in(directory.path()).await;
    let rest = "devices: [ { id: toaster, kind: toaster } ]\n\
                commands:\n  allow:\n\
                \x20   - { device: toaster, set: { state: [\"ON\"] }, senders: [anna], rate: { count: 1, per: 1h } }\n\
                \x20   - { device: toaster, set: { state: [\"OFF\"] } }\n\
                \x20   - { device: toaster, set: { browning: any }, quiet: { from: \"00:00\", to: \"24:00\" } }\n";
    let house = House::start(directory.path(), &cloud, rest).await;
    house.until_online().await;
    let (phone, mut events) = phone(cloud.broker_address(), "phone", "hearthlink/home/toaster/result").await;
    let mut ask = async |below: &str, payload: &str| {
        let topic = format!("hearthlink/home/toaster/set{below}");
        phone.publish(topic, QoS::AtLeastOnce, false, payload.to_owned()).await.unwrap();
        next_result(&mut events).await
    };
    let text = |outcome: &Value, key: &str| outcome[key].as_str().unwrap_or_default().to_owned();

    for below in ["", "/bert", "/Anna", "/"] {
        let refused = ask(below, "ON").await;
        assert_eq!(text(&refused, "reason"), "unknown_sender", "`{below}`: {refused}");
    }
    let done = ask("/anna", r#"{"id":"a1","state":"ON"}"#).await;
    assert_eq!(
        (text(&done, "status"), text(&done, "origin"), text(&done, "sender")),
        ("applied".to_owned(), "cloud".to_owned(), "anna".to_owned()),
        "{done}"
    );
    let again = ask("/anna", r#"{"id":"a1","state":"ON"}"#).await;
    assert_eq!((text(&again, "status"), &again["duplicate"]), ("applied".to_owned(), &true.into()));
    let refused = ask("/anna", "ON").await;
    assert_eq!(text(&refused, "reason"), "rate_limited", "{refused}");
    assert!(text(&refused, "detail").contains("the next may come in"), "{refused}");
    let refused = ask("/anna", r#"{"browning":2}"#).await;
    // A machine whose clock nobody keeps refuses it as well, with another word.
    assert!(["quiet_hours", "clock_unknown"].contains(&&*text(&refused, "reason")), "{refused}");
    // An entry without senders is for everybody, named or not.
    for below in ["", "/bert"] {
        let done = ask(below, "OFF").await;
        assert_eq!(text(&done, "status"), "applied", "{done}");
    }
    house.until_toaster_is("OFF").await;
    house.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_only_while_the_line_is_up_goes_out_from_the_first_message_on() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = cloud_in(directory.path()).await;
    let rest = "routes: [ { local: \"sensors/#\", queue: { keep: none } } ]\n";
    let (_phone, mut events) = phone(cloud.broker_address(), "phone", "hearthlink/home/sensors/#").await;
    let house = House::start(directory.path(), &cloud, rest).await;
    // Nothing has ever been kept here, and nothing is read of an empty store.
    house.until_online().await;
    let (sensor, mut sensor_events) = phone(house.broker, "sensor", "nothing").await;
    let poll = tokio::spawn(async move { while sensor_events.poll().await.is_ok() {} });
    sensor.publish("sensors/attic", QoS::AtLeastOnce, false, "21.5").await.unwrap();
    assert_eq!(next_result(&mut events).await, 21.5);
    poll.abort();
    house.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toaster_is_off_some_time_after_the_line_was_lost_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = cloud_in(directory.path()).await;
    // Longer than a busy machine needs for a new connection.
    let after = Duration::from_secs(6);
    let rest = "devices:\n  - id: toaster\n    kind: toaster\n    options: { toasting_time: 1h }\n    \
                on_line_lost: { after: 6s, set: { state: \"OFF\" } }\n";
    let house = House::start(directory.path(), &cloud, rest).await;
    house.until_online().await;
    let (home, mut events) = phone(house.broker, "panel", "home/toaster/result").await;
    let (_, mut in_cloud) = phone(cloud.broker_address(), "phone", "hearthlink/home/toaster/result").await;
    home.publish("home/toaster/set", QoS::AtLeastOnce, false, "ON").await.unwrap();
    assert_eq!(next_result(&mut events).await["origin"], "local");

    // A short break: nothing happens, however long one waits after it.
    cloud.line().cut();
    house.until("lost", |house| house.board.line() != LinkState::Online).await;
    cloud.line().restore();
    house.until_online().await;
    tokio::time::sleep(after + Duration::from_secs(1)).await;
    house.until_toaster_is("ON").await;
    let commands = house.board.snapshot().commands;
    assert_eq!(commands.len(), 1, "only what the panel asked for: {commands:?}");

    let lost = std::time::Instant::now();
    cloud.line().cut();
    let outcome = next_result(&mut events).await;
    assert!(lost.elapsed() >= after, "{:?} is too early", lost.elapsed());
    assert_eq!((&outcome["status"], &outcome["origin"]), (&"applied".into(), &"rule".into()), "{outcome}");
    house.until_toaster_is("OFF").await;
    assert_eq!(house.board.snapshot().commands[0].origin, "rule");

    // At home, somebody may switch it on again: that is the last word until the line has been up.
    home.publish("home/toaster/set", QoS::AtLeastOnce, false, "ON").await.unwrap();
    assert_eq!(next_result(&mut events).await["origin"], "local");
    tokio::time::sleep(Duration::from_secs(2)).await;
    house.until_toaster_is("ON").await;

    // And the cloud hears of what the rule did, once it can.
    cloud.line().restore();
    let told = next_result(&mut in_cloud).await;
    assert_eq!((&told["id"], &told["origin"]), (&outcome["id"], &"rule".into()), "{told}");
    house.stop().await;
    cloud.stop().await;
}

/// A phone that speaks 3.1.1 only.
async fn old_phone(address: SocketAddr, filters: &[&str]) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
    let options = rumqttc::MqttOptions::new("old-phone", address.ip().to_string(), address.port());
    let (client, mut events) = rumqttc::AsyncClient::new(options, 100);
    for filter in filters {
        client.subscribe(*filter, rumqttc::QoS::AtLeastOnce).await.unwrap();
        let subscribed = async {
            while !matches!(
                events.poll().await.unwrap(),
                rumqttc::Event::Incoming(rumqttc::Incoming::SubAck(_))
            ) {}
        };
        timeout(PATIENCE, subscribed).await.unwrap();
    }
    (client, events)
}

async fn next_to_old_phone(events: &mut rumqttc::EventLoop, topic: &str) -> Value {
    let found = async {
        loop {
            if let rumqttc::Event::Incoming(rumqttc::Incoming::Publish(publish)) =
                events.poll().await.unwrap()
                && publish.topic == topic
            {
                return serde_json::from_slice(&publish.payload).unwrap();
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("nothing came on {topic}"))
}

async fn next_on(events: &mut EventLoop, topic: &str) -> (Value, Option<Vec<u8>>) {
    let found = async {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap()
                && publish.topic == topic
            {
                let correlation = publish.properties.and_then(|properties| properties.correlation_data);
                let payload = serde_json::from_slice(&publish.payload).unwrap();
                return (payload, correlation.map(|data| data.to_vec()));
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("nothing came on {topic}"))
}

const RESULT: &str = "hearthlink/home/toaster/result";
const SET: &str = "hearthlink/home/toaster/set";

/// What is said in the payload, and what the outcome must say of it.
fn said() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    vec![
        (r#"{"id":"p1","state":"ON","correlation":"c-1"}"#, "applied", None),
        // Sent again: the recorded outcome, nothing runs.
        (r#"{"id":"p1","state":"ON","correlation":"c-1"}"#, "applied", None),
        (r#"{"id":"p2","state":"OFF","ttl":0,"correlation":"c-2"}"#, "expired", Some("too_late")),
        (
            r#"{"id":"p3","state":"OFF","expires_at":"2020-01-01T00:00:00Z","correlation":3}"#,
            "expired",
            Some("too_late"),
        ),
        (r#"{"id":"p4","state":"SIDEWAYS","correlation":"c-4"}"#, "refused", Some("not_allowed")),
        (r#"{"id":"p5","state":"OFF","ttl":"soon","correlation":"c-5"}"#, "refused", Some("malformed")),
    ]
}

fn agrees(outcome: &Value, order: &str, status: &str, reason: Option<&str>) {
    let order: Value = serde_json::from_str(order).unwrap();
    let of_the_clock = outcome["reason"] == "clock_unknown" && order.get("expires_at").is_some();
    if !of_the_clock {
        assert_eq!(outcome["status"], status, "{order}: {outcome}");
        assert_eq!(outcome["reason"].as_str(), reason, "{order}: {outcome}");
    }
    assert_eq!((&outcome["id"], &outcome["correlation"]), (&order["id"], &order["correlation"]), "{outcome}");
    assert!(outcome["message_id"].is_string() && outcome["device"] == "toaster", "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_mqtt_5_says_the_payload_can_say_too() {
    let rest = "devices: [ { id: toaster, kind: toaster } ]\n\
                routes: [ { local: \"sensors/#\", envelope: true } ]\n\
                commands: { allow: [ { device: toaster, set: { state: [\"ON\", \"OFF\"] } } ] }\n";
    let answers = "phones/anna";
    for (dialect, protocol) in [(Dialect::Mqtt5, "MQTT 5"), (Dialect::Mqtt311, "MQTT 3.1.1")] {
        let directory = tempfile::tempdir().unwrap();
        let cloud = cloud_of(directory.path(), dialect).await;
        let house = House::start(directory.path(), &cloud, rest).await;
        house.until_online().await;
        assert_eq!(house.board.snapshot().link.protocol, Some(protocol));
        let with_way_back =
            |order: &str| format!("{},\"reply_to\":\"{answers}\"}}", order.strip_suffix('}').unwrap());
        let (sensor, mut sensor_events) = phone(house.broker, "sensor", "nothing").await;
        let poll = tokio::spawn(async move { while sensor_events.poll().await.is_ok() {} });
        let reading = match dialect {
            Dialect::Mqtt311 => {
                let filters = [RESULT, answers, "hearthlink/home/sensors/#"];
                let (phone, mut events) = old_phone(cloud.broker_address(), &filters).await;
                for (order, status, reason) in said() {
                    let payload = with_way_back(order);
                    phone.publish(SET, rumqttc::QoS::AtLeastOnce, false, payload).await.unwrap();
                    for topic in [RESULT, answers] {
                        agrees(&next_to_old_phone(&mut events, topic).await, order, status, reason);
                    }
                }
                sensor.publish("sensors/attic", QoS::AtLeastOnce, false, "21.5").await.unwrap();
                next_to_old_phone(&mut events, "hearthlink/home/sensors/attic").await
            }
            Dialect::Mqtt5 => {
                let (phone, mut events) = phone(cloud.broker_address(), "phone", RESULT).await;
                for filter in [answers, "hearthlink/home/sensors/#"] {
                    phone.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
                }
                for (order, status, reason) in said() {
                    let payload = with_way_back(order);
                    phone.publish(SET, QoS::AtLeastOnce, false, payload).await.unwrap();
                    for topic in [RESULT, answers] {
                        agrees(&next_on(&mut events, topic).await.0, order, status, reason);
                    }
                }
                // And the same by properties, which the payload need not repeat.
                let properties = rumqttc::v5::mqttbytes::v5::PublishProperties {
                    message_expiry_interval: Some(60),
                    response_topic: Some(answers.to_owned()),
                    correlation_data: Some("by property".into()),
                    ..Default::default()
                };
                let order = r#"{"id":"q1","state":"OFF"}"#;
                phone.publish_with_properties(SET, QoS::AtLeastOnce, false, order, properties).await.unwrap();
                for topic in [RESULT, answers] {
                    let (outcome, correlation) = next_on(&mut events, topic).await;
                    assert_eq!(
                        (&outcome["id"], &outcome["status"]),
                        (&"q1".into(), &"applied".into()),
                        "{outcome}"
                    );
                    assert_eq!(correlation.as_deref(), Some(&b"by property"[..]));
                }
                sensor.publish("sensors/attic", QoS::AtLeastOnce, false, "21.5").await.unwrap();
                next_on(&mut events, "hearthlink/home/sensors/attic").await.0
            }
        };
        assert_eq!((&reading["topic"], &reading["payload"]), (&"sensors/attic".into(), &"21.5".into()));
        assert!(reading["message_id"].is_string() && reading["at"].is_string(), "{reading}");
        poll.abort();
        house.stop().await;
        cloud.stop().await;
    }
}
