//! A whole gateway on a store, by a clock that the test sets; a plug, a sensor and a visitor speak to it.

use std::{path::PathBuf, time::Duration};

use hearthlink::{app::Gateway, clock::Clock, config, health::Board};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::Papers,
    peer::{PUBLISH, Session, puback},
    raw::{Raw, publish},
};

/// It runs.
pub struct House {
    /// What it says of itself.
    pub board: Board,
    port: u16,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// The store's file of the gateway with these papers.
pub fn store_file(papers: &Papers) -> PathBuf {
    papers.directory.path().join("data/hearthlink.db")
}

impl House {
    /// Starts it; its cloud is there.
    pub async fn start(papers: &Papers, cloud: &str, clock: &Clock) -> Self {
        let file = papers.directory.path().join("home.yaml");
        let text = format!(
            "gateway: {{ id: home, data_dir: data }}\n\
             broker: {{ listeners: [ {{ address: \"127.0.0.1:0\" }} ] }}\n\
             cloud: {{ url: \"{cloud}\", ca_file: ca.pem, connect_limit: 2s, backoff: {{ first: 100ms, longest: 1s }} }}\n\
             devices: [ {{ id: plug, kind: tasmota, options: {{ topic: plug }} }} ]\n\
             routes: [ {{ local: sensors/cellar, queue: {{ keep: latest }} }}, {{ local: \"sensors/#\" }} ]\n"
        );
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::build_by(&config::load(&file).unwrap(), clock.clone()).await.unwrap();
        let (board, port) = (gateway.board(), gateway.broker_addresses()[0].2.port());
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });
        Self { board, port, stop, running }
    }

    /// Where its broker listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn client(&self, id: &str) -> Raw {
        let mut raw = Raw::to(self.port).await;
        raw.connect(id, true).await;
        raw
    }

    /// A client that keeps its session; whether it was there.
    pub async fn visitor(&self) -> (Raw, bool) {
        let mut raw = Raw::to(self.port).await;
        let was_there = raw.connect("visitor", false).await;
        (raw, was_there)
    }

    /// A plug that hears and, until it is asked to, says nothing.
    pub async fn plug(&self) -> Raw {
        let mut plug = self.client("plug").await;
        plug.subscribe("cmnd/plug/POWER", 0).await;
        plug.send(&publish(0, "tele/plug/LWT", 0, b"Online")).await;
        plug
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.running).await.expect("it stops").unwrap();
    }
}

/// What a cloud was sent, acknowledged there.
pub struct Sent {
    pub topic: String,
    pub payload: String,
    pub id: String,
    /// The message expiry interval.
    pub expiry: Option<u32>,
}

/// The next PUBLISH 5 of QoS 1, which is acknowledged.
pub async fn next(line: &mut Session) -> Sent {
    const EXPIRY: u8 = 2;
    const NAME: &[u8] = b"message-id";
    let (first, body) = line.read().await.expect("a packet");
    assert_eq!(first >> 4, PUBLISH, "{body:?}");
    let length = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let text = |at: usize, length: usize| String::from_utf8(body[at..at + length].to_vec()).unwrap();
    let packet = 2 + length(0);
    let [high, low] = [body[packet], body[packet + 1]];
    line.send(&puback(u16::from_be_bytes([high, low]))).await;
    let (properties, size) = (packet + 3, usize::from(body[packet + 2]));
    assert!(size < 128, "a length of one byte");
    let name = body[properties..properties + size].windows(NAME.len()).position(|part| part == NAME);
    let value = properties + name.expect("a message id") + NAME.len();
    let expiry = match body[properties..] {
        [EXPIRY, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    };
    let payload = properties + size;
    Sent {
        topic: text(2, length(0)),
        payload: text(payload, body.len() - payload),
        id: text(value + 2, length(value)),
        expiry,
    }
}
