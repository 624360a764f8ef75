//! The local broker, through real sockets: with rumqttc, and with a client that keeps no rules.
//! What brokers are known to die of is in `tests/hazards`.

mod access;
#[path = "../support/certificates.rs"]
mod certificates;
mod durable;
mod hostile;
mod options;
mod persistent;
mod protocol;
#[path = "../support/raw.rs"]
#[allow(dead_code, reason = "shared with the hazards")]
mod raw;
#[path = "../support/rig.rs"]
mod rig;
mod sessions;
mod transports;
