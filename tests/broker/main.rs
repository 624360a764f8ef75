//! The local broker, through real sockets: with rumqttc, and with a client that keeps no rules.

mod durable;
mod hostile;
mod protocol;
mod raw;
mod rig;
mod sessions;
mod transports;
