//! Promises 2 and 3 on the real program, with the plug pulled: `kill -9` in the middle.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use hearthlink::demo::certificates::Authority;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, Publish, QoS};
use tokio::{io::AsyncWriteExt, time::timeout};

#[path = "support/house.rs"]
#[allow(dead_code, reason = "shared with the tests of a faulty disk")]
mod house;

use house::{House, PATIENCE, free_port};

/// A house whose cloud is at an address where nobody answers.
fn house() -> House {
    let house = House::new(&format!(
        "cloud: {{ url: \"wss://127.0.0.1:{}\", ca_file: ca.pem }}\n\
         devices:\n  - {{ id: plug, kind: tasmota, options: {{ topic: plug }} }}\n\
         routes: [ {{ local: \"sensors/#\" }} ]\n",
        free_port()
    ));
    Authority::new("promises").unwrap().write(&house.path().join("ca.pem")).unwrap();
    house
}

fn connect(id: &str, port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_inflight(100);
    AsyncClient::new(options, 2000)
}

#[tokio::test]
async fn every_publish_that_was_acknowledged_is_on_the_disk_after_kill_9() {
    let house = house();
    let port = house.port;
    let mut acknowledged = HashSet::new();
    for round in 0..3 {
        let gateway = house.start().await;
        let (client, mut events) = connect("sensor", port);
        for number in 0..1000 {
            let payload = format!("{round}-{number}");
            client.try_publish("sensors/attic", QoS::AtLeastOnce, false, payload).unwrap();
        }
        let (mut sent, mut on_their_way, mut count) = (0, HashMap::new(), 0);
        // In the middle of the flood, at another point in each round.
        while count < 150 + 100 * round {
            match timeout(PATIENCE, events.poll()).await.unwrap().unwrap() {
                Event::Outgoing(Outgoing::Publish(id)) => {
                    on_their_way.insert(id, format!("{round}-{sent}"));
                    sent += 1;
                }
                Event::Incoming(Incoming::PubAck(ack)) => {
                    acknowledged.insert(on_their_way.remove(&ack.pkid).unwrap());
                    count += 1;
                }
                _ => {}
            }
        }
        gateway.kill().await;
    }
    let store = house.open_store().await;
    let kept = store.pending(0, 10_000, usize::MAX).await.unwrap();
    let on_disk: HashSet<String> = kept
        .iter()
        .filter(|record| record.message.topic.as_str() == "hearthlink/home/sensors/attic")
        .map(|record| String::from_utf8(record.message.payload.to_vec()).unwrap())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&on_disk).collect();
    assert!(acknowledged.len() >= 750);
    assert!(lost.is_empty(), "{} acknowledged messages are lost, {lost:?}", lost.len());
}

/// Connects, subscribes with a persistent session, and goes.
async fn subscribe_and_leave(port: u16) {
    let (client, mut events) = persistent(port);
    client.subscribe("lights/#", QoS::ExactlyOnce).await.unwrap();
    let subscribed = async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::SubAck(_))) {}
        client.disconnect().await.unwrap();
        while !matches!(events.poll().await, Err(_) | Ok(Event::Outgoing(Outgoing::Disconnect))) {}
    };
    timeout(PATIENCE, subscribed).await.unwrap();
}

fn persistent(port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("panel", "127.0.0.1", port);
    options.set_clean_session(false);
    AsyncClient::new(options, 100)
}

#[tokio::test]
async fn what_was_acknowledged_for_an_absent_client_reaches_it_after_kill_9() {
    let house = house();
    let port = house.port;
    let mut gateway = house.start().await;
    subscribe_and_leave(port).await;
    let mut acknowledged = HashSet::new();
    for round in 0..3 {
        let (client, mut events) = connect("switch", port);
        for number in 0..1000 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            client.try_publish("lights/hall", qos, false, format!("{round}-{number}")).unwrap();
        }
        let (mut sent, mut on_their_way, mut count) = (0, HashMap::new(), 0);
        while count < 150 + 50 * round {
            match timeout(PATIENCE, events.poll()).await.unwrap().unwrap() {
                Event::Outgoing(Outgoing::Publish(id)) => {
                    on_their_way.insert(id, format!("{round}-{sent}"));
                    sent += 1;
                }
                Event::Incoming(
                    Incoming::PubAck(rumqttc::PubAck { pkid }) | Incoming::PubRec(rumqttc::PubRec { pkid }),
                ) => {
                    acknowledged.insert(on_their_way.remove(&pkid).unwrap());
                    count += 1;
                }
                _ => {}
            }
        }
        gateway.kill().await;
        gateway = house.start().await;
    }
    let (_client, mut events) = persistent(port);
    let mut got = Vec::new();
    let all = async {
        while !acknowledged.iter().all(|payload| got.contains(payload)) {
            if let Event::Incoming(Incoming::Publish(publish)) = events.poll().await.unwrap() {
                assert!(!publish.dup, "it was never sent before");
                got.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
        }
    };
    let outcome = timeout(PATIENCE, all).await;
    let lost: Vec<_> = acknowledged.iter().filter(|payload| !got.contains(payload)).collect();
    assert!(outcome.is_ok(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert_eq!(got.iter().collect::<HashSet<_>>().len(), got.len(), "a message came twice");
    assert!(acknowledged.len() >= 600);
}

/// The next message on a topic, whatever else arrives.
async fn next_on(events: &mut EventLoop, topic: &str) -> Publish {
    let found = async {
        loop {
            if let Event::Incoming(Incoming::Publish(publish)) = events.poll().await.unwrap()
                && publish.topic == topic
            {
                return publish;
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("nothing came on {topic}"))
}

#[tokio::test]
async fn a_command_that_ran_at_kill_9_is_unknown_and_never_runs_again() {
    let house = house();
    let port = house.port;
    let order = r#"{"id":"c1","state":"ON"}"#;

    let gateway = house.start().await;
    let (home, mut events) = connect("home", port);
    home.subscribe("cmnd/#", QoS::AtLeastOnce).await.unwrap();
    home.publish("tele/plug/LWT", QoS::AtLeastOnce, true, "Online").await.unwrap();
    home.publish("home/plug/set", QoS::AtLeastOnce, false, order).await.unwrap();
    // The plug has heard it and says nothing: the gateway waits for its word when the power goes.
    assert_eq!(next_on(&mut events, "cmnd/plug/POWER").await.payload, "ON");
    gateway.kill().await;

    let _gateway = house.start().await;
    let (home, mut events) = connect("home-2", port);
    home.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    home.publish("home/plug/set", QoS::AtLeastOnce, false, order).await.unwrap();
    let mut seen = Vec::new();
    let told = loop {
        let publish = timeout(PATIENCE, async {
            loop {
                if let Event::Incoming(Incoming::Publish(publish)) = events.poll().await.unwrap() {
                    return publish;
                }
            }
        });
        let publish = publish.await.expect("an outcome");
        seen.push(publish.topic.clone());
        if publish.topic != "home/plug/result" {
            continue;
        }
        let told = serde_json::from_slice::<serde_json::Value>(&publish.payload).unwrap();
        if told["duplicate"] == true {
            break told;
        }
        // What the start tells of it came later than we did; a repetition before that is told nothing more.
        assert_eq!((&told["id"], &told["status"]), (&"c1".into(), &"unknown".into()));
        home.publish("home/plug/set", QoS::AtLeastOnce, false, order).await.unwrap();
    };
    assert_eq!(
        (&told["id"], &told["status"], &told["duplicate"]),
        (&"c1".into(), &"unknown".into(), &true.into())
    );
    assert!(!seen.iter().any(|topic| topic == "cmnd/plug/POWER"), "{seen:?}");
}

#[tokio::test]
async fn a_home_command_without_an_id_that_is_sent_again_does_not_run_twice() {
    let house = house();
    let port = house.port;
    let _gateway = house.start().await;
    let (home, mut events) = connect("home", port);
    home.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    home.publish("tele/plug/LWT", QoS::AtLeastOnce, true, "Online").await.unwrap();
    next_on(&mut events, "home/plug/availability").await;

    // A phone that never read its PUBACK: the same PUBLISH, with DUP. Byte by byte, since no library does it.
    let mut phone = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let publish = |flags: u8| {
        let body = [&[0, 13][..], b"home/plug/set", &[0, 7], b"ON"].concat();
        [&[0x30 | flags, body.len() as u8][..], &body[..]].concat()
    };
    let hello = [&[0x10, 17, 0, 4][..], b"MQTT", &[4, 2, 0, 60, 0, 5], b"phone"].concat();
    phone.write_all(&hello).await.unwrap();
    phone.write_all(&publish(0x02)).await.unwrap();
    assert_eq!(next_on(&mut events, "cmnd/plug/POWER").await.payload, "ON");
    home.publish("stat/plug/POWER", QoS::AtLeastOnce, false, "ON").await.unwrap();
    let first: serde_json::Value =
        serde_json::from_slice(&next_on(&mut events, "home/plug/result").await.payload).unwrap();
    assert_eq!(first["status"], "applied");

    phone.write_all(&publish(0x0a)).await.unwrap();
    let mut commands = 0;
    let second: serde_json::Value = loop {
        if let Event::Incoming(Incoming::Publish(publish)) =
            timeout(PATIENCE, events.poll()).await.unwrap().unwrap()
        {
            match publish.topic.as_str() {
                "cmnd/plug/POWER" => commands += 1,
                "home/plug/result" => break serde_json::from_slice(&publish.payload).unwrap(),
                _ => {}
            }
        }
    };
    assert_eq!((&second["reason"], commands), (&"redelivered".into(), 0));
}
