//! The gateway at a stand-in for ThingsBoard that says what the documentation of its gateway API says, no more.
#![cfg(feature = "demo")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

mod support {
    #[allow(dead_code, reason = "shared with the tests of the link")]
    pub mod gateway;
    #[allow(dead_code, reason = "shared with the tests of the link")]
    pub mod peer;
    #[allow(dead_code, reason = "the rest is used in tests/broker")]
    pub mod raw;
}

use std::time::Duration;

use hearthlink::{app::Gateway, config, model::LinkState};
use serde_json::{Value, json};
use support::{
    gateway::Papers,
    peer::{CONNACK, PUBACK, PUBLISH, Peer, SUBSCRIBE, Session, puback},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(40);
const RPC: &str = "v1/gateway/rpc";

/// The next publish of the gateway, acknowledged; whatever it acknowledges meanwhile is passed over.
async fn next(session: &mut Session) -> (String, Value) {
    loop {
        let (first, body) = timeout(PATIENCE, session.read()).await.expect("a packet").expect("a packet");
        match first >> 4 {
            PUBACK => {}
            PUBLISH => {
                assert_eq!(first & 1, 0, "ThingsBoard keeps nothing");
                let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
                let packet = u16::from_be_bytes([body[2 + length], body[3 + length]]);
                let payload = &body[5 + length + usize::from(body[4 + length])..];
                session.send(&puback(packet)).await;
                return (topic, serde_json::from_slice(payload).unwrap());
            }
            other => panic!("a packet of type {other}: {body:?}"),
        }
    }
}

/// The next one on a topic that is so.
async fn next_on(session: &mut Session, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (topic, payload) = next(session).await;
        if topic == name && holds(&payload) {
            return payload;
        }
    }
}

async fn call(session: &mut Session, id: u16, rest: &str) {
    let payload = format!("{{\"device\":\"toaster\",\"data\":{{\"id\":{id},{rest}}}}}");
    session.send_publish(RPC, payload.as_bytes(), id).await;
}

async fn answer(session: &mut Session, id: u16) -> Value {
    let answer = next_on(session, RPC, |payload| payload["id"] == id).await;
    assert_eq!(answer["device"], "toaster", "{answer}");
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn states_go_up_as_telemetry_and_calls_come_in_as_commands_with_their_outcome_as_the_answer() {
    let papers = Papers::new();
    let peer = Peer::bind(&papers.server).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("home.yaml");
    let text = format!(
        "gateway: {{ id: home, data_dir: data }}\n\
         broker: {{ listeners: [ {{ address: \"127.0.0.1:0\" }} ] }}\n\
         cloud: {{ url: \"{}\", profile: thingsboard, username: token, ca_file: \"{}\" }}\n\
         devices: [ {{ id: toaster, kind: toaster }} ]\n\
         commands: {{ allow: [ {{ device: toaster, set: {{ state: [\"ON\", \"OFF\"] }} }} ] }}\n",
        peer.url(),
        papers.ca.display()
    );
    std::fs::write(&file, text).unwrap();
    let gateway = Gateway::build(&config::load(&file).unwrap()).await.unwrap();
    let (board, stop) = (gateway.board(), CancellationToken::new());
    let token = stop.clone();
    let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });

    let mut session = peer.session().await;
    session.send(&CONNACK).await;
    let body = session.expect(SUBSCRIBE).await;
    let filter = &body[3..];
    assert_eq!(&filter[2..filter.len() - 1], RPC.as_bytes(), "this one and nothing else");
    session.send(&[0x90, 4, body[0], body[1], 0, 1]).await;

    let first = next(&mut session).await;
    assert_eq!(first, ("v1/gateway/connect".into(), json!({"device": "toaster", "type": "toaster"})));
    let second = next(&mut session).await;
    assert_eq!(second, ("v1/devices/me/attributes".into(), json!({"state": "online"})));
    let is_off = |payload: &Value| payload["toaster"][0]["values"]["state"] == "OFF";
    let state = next_on(&mut session, "v1/gateway/telemetry", is_off).await;
    assert!(state["toaster"][0]["ts"].as_i64().unwrap() > 1_700_000_000_000, "{state}");

    // What comes with the connection may have waited.
    call(&mut session, 1, r#""method":"set","params":"ON""#).await;
    let told = answer(&mut session, 1).await;
    assert_eq!((&told["status"], &told["reason"]), (&"refused".into(), &"undated".into()), "{told}");
    let mut changes = board.watch();
    let online = async {
        while board.line() != LinkState::Online {
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, online).await.expect("it comes online without an echo");

    // The same number again: ThingsBoard counts anew after a restart, and it is another call.
    call(&mut session, 1, r#""method":"set","params":{"state":"ON"}"#).await;
    let told = answer(&mut session, 1).await;
    assert_eq!((&told["status"], &told["origin"]), (&"applied".into(), &"cloud".into()), "{told}");
    assert!(told["duplicate"].is_null() && told["id"] != 1, "{told}");
    let is_on = |payload: &Value| payload["toaster"][0]["values"]["state"] == "ON";
    call(&mut session, 2, r#""method":"state","params":"SIDEWAYS""#).await;
    assert_eq!(answer(&mut session, 2).await["reason"], "not_allowed");
    // A broker that sends our answers back to us: they are no calls.
    session.send_publish(RPC, br#"{"device":"toaster","id":1,"data":{"status":"applied"}}"#, 7).await;
    call(&mut session, 3, r#""method":"state","params":"OFF""#).await;
    assert_eq!(answer(&mut session, 3).await["status"], "applied");
    call(&mut session, 4, r#""method":"set","params":"ON""#).await;
    next_on(&mut session, "v1/gateway/telemetry", is_on).await;
    let all = async {
        while board.snapshot().commands.len() < 5 {
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, all).await.expect("five commands");
    assert_eq!(board.snapshot().commands.len(), 5, "{:?}", board.snapshot().commands);

    stop.cancel();
    let is_offline = |payload: &Value| payload["state"] == "offline";
    next_on(&mut session, "v1/devices/me/attributes", is_offline).await;
    drop(session);
    timeout(PATIENCE, running).await.expect("it stops").unwrap();
}
