//! Where the line to the cloud stands.

use serde::Serialize;

/// Where the line to the cloud stands, in the order in which it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// No cloud is configured, or the gateway stops.
    Off,
    /// Name resolution, TCP, TLS, WebSocket, MQTT CONNECT under way.
    Connecting,
    /// Connected; the subscriptions are not all granted yet.
    Subscribing,
    /// Subscribed; what waited in the cloud is still coming in.
    CatchingUp,
    /// Commands arrive as they are sent.
    Online,
    /// Broken; waits before the next attempt.
    Waiting,
}
