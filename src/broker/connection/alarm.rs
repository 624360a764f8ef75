//! The keep-alive of one connection.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

/// The keep-alive: rings when nothing was heard for one and a half times its length (MQTT-3.1.2-24).
pub(in crate::broker) struct Alarm {
    limit: Duration,
    pub(super) heard: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// Zero means that there is none.
    pub(in crate::broker) fn new(keep_alive: Duration) -> Option<Self> {
        let limit = keep_alive + keep_alive / 2;
        let heard = Instant::now();
        (!limit.is_zero()).then(|| Self { limit, heard, sleep: Box::pin(sleep_until(heard + limit)) })
    }

    /// Waits for the silence. Cancel safe. The timer is set once a period, not once a packet.
    pub(super) async fn silence(alarm: &mut Option<Self>) {
        let Some(alarm) = alarm else { return std::future::pending().await };
        loop {
            alarm.sleep.as_mut().await;
            let end = alarm.heard + alarm.limit;
            if end <= Instant::now() {
                return;
            }
            alarm.sleep.as_mut().reset(end);
        }
    }
}
