//! The meter: a device of the house that publishes numbered readings to the gateway's local broker.
//!
//! Owns the home side of the count: which readings were accepted, which is to say acknowledged. A
//! separate MQTT client, so that what it counts does not come from the gateway.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{client::Client, home::METER_TOPIC};

/// Between two readings.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the meter knows of its readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Accepted {
    /// The numbers of those that the gateway acknowledged.
    pub(super) sequences: BTreeSet<u64>,
    /// How many it did not acknowledge, or there was no connection.
    pub(super) refused: u64,
    /// The longest that an acknowledgement took since the last [`Meter::forget_slowest`].
    pub(super) slowest: Duration,
}

/// A running meter.
pub(super) struct Meter {
    accepted: watch::Sender<Accepted>,
    task: JoinHandle<()>,
    /// Ends the measuring, but not the connection: what is under way is still acknowledged.
    enough: CancellationToken,
    stop: CancellationToken,
}

impl Meter {
    /// Connects to the local broker and begins to measure.
    pub(super) fn start(broker: SocketAddr, stop: &CancellationToken) -> Self {
        let (enough, stop) = (stop.child_token(), stop.child_token());
        let (nothing, _) = mpsc::channel(1);
        let client = Client::connect("meter", broker, Vec::new(), nothing, stop.clone());
        let accepted = watch::Sender::new(Accepted::default());
        let task = tokio::spawn(measure(client, accepted.clone(), enough.clone()));
        Self { accepted, task, enough, stop }
    }

    /// What was accepted so far.
    pub(super) fn accepted(&self) -> Accepted {
        self.accepted.borrow().clone()
    }

    /// Begins to look for the longest wait anew.
    pub(super) fn forget_slowest(&self) {
        self.accepted.send_modify(|accepted| accepted.slowest = Duration::ZERO);
    }

    /// Measures no more; nothing is under way when this returns.
    pub(super) async fn stop(self) -> Accepted {
        self.enough.cancel();
        let _ = self.task.await;
        self.stop.cancel();
        self.accepted.borrow().clone()
    }
}

async fn measure(client: Client, accepted: watch::Sender<Accepted>, enough: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connected = client.connected();
    // Cancel safety: only waits.
    if enough.run_until_cancelled(connected.wait_for(|is| *is)).await.is_none() {
        return;
    }
    for sequence in 1_u64.. {
        // Cancel safety: a tick that is lost is one reading less.
        if enough.run_until_cancelled(ticks.tick()).await.is_none() {
            return;
        }
        let began = Instant::now();
        let reading = json!({ "sequence": sequence, "watts": 400 + sequence % 17 });
        let result = client.publish(METER_TOPIC, reading.to_string().into_bytes()).await;
        let took = began.elapsed();
        accepted.send_modify(|accepted| match result {
            Ok(()) => {
                accepted.sequences.insert(sequence);
                accepted.slowest = accepted.slowest.max(took);
            }
            Err(_) => accepted.refused += 1,
        });
    }
}
