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
        cloud::{Cloud, CloudOptions},
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
        dialect: Default::default(),
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
