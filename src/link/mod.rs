//! The one outbound connection to the cloud: MQTT over WebSocket over TLS.

mod diagnose;
mod dial;
mod driver;
mod error;
mod options;
mod tls;
mod wire;

pub use error::LinkError;
pub use options::LinkOptions;
