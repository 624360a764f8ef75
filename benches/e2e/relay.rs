//! A relay as somebody writes it in an evening: rumqttc on both sides, a home broker on one, wss on the other.
//!
//! Run as a child of the benchmark, so that it is a process like the others. It is no strawman: sessions are kept on
//! both sides, it subscribes again when it must, and it reads no further at home than the cloud's side has room for.
//! Invariants: none on a crash. What it has acknowledged at home and not sent is in its memory only, as in all
//! relays that were looked at; rumqttc's window is its default of 100.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, TlsConfiguration, Transport,
};
use tokio::time::sleep;

use crate::wire;

/// Messages between the two sides at most.
const ROOM: usize = 1_000;
/// What is waited before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// What the cloud's topics begin with.
pub const PREFIX: &str = "hearthlink/home/";

/// Relays until it is killed.
pub fn run(home: u16, cloud: u16, folder: &Path) -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok().context("a provider is installed")?;
    let config = wire::client_config(folder, "home")?;
    tokio::runtime::Runtime::new()?.block_on(async move {
        let mut options = MqttOptions::new("relay", "127.0.0.1", home);
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(60));
        let (home, home_events) = AsyncClient::new(options, ROOM);
        let mut options = MqttOptions::new("home", format!("wss://localhost:{cloud}/mqtt"), cloud);
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(60));
        options.set_transport(Transport::Wss(TlsConfiguration::Rustls(config)));
        let (cloud, cloud_events) = AsyncClient::new(options, ROOM);
        let up = Side { from: home.clone(), to: cloud.clone(), filter: "sensors/#".to_owned() };
        let down = Side { from: cloud, to: home, filter: format!("{PREFIX}commands/#") };
        let out = tokio::spawn(up.carry(home_events, |topic| Some(format!("{PREFIX}{topic}"))));
        let back =
            tokio::spawn(down.carry(cloud_events, |topic| topic.strip_prefix(PREFIX).map(str::to_owned)));
        let (out, back) = tokio::join!(out, back);
        out?;
        back?;
        Ok(())
    })
}

/// One direction.
struct Side {
    from: AsyncClient,
    to: AsyncClient,
    filter: String,
}

impl Side {
    async fn carry(self, mut events: EventLoop, rename: fn(&str) -> Option<String>) {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(answer))) if !answer.session_present => {
                    if let Err(error) = self.from.try_subscribe(&self.filter, QoS::AtLeastOnce) {
                        eprintln!("relay: not subscribed: {error}");
                    }
                }
                Ok(Event::Incoming(Packet::Publish(Publish { topic, payload, qos, retain, .. }))) => {
                    let Some(topic) = rename(&topic) else { continue };
                    if let Err(error) = self.to.publish_bytes(topic, qos, retain, payload).await {
                        eprintln!("relay: not sent: {error}");
                    }
                }
                Ok(_) => {}
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}
