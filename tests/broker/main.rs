//! The local broker, through real sockets: with rumqttc, and with a client that keeps no rules.

mod durable;
mod hostile;
mod options;
mod persistent;
mod raw;
mod rig;
mod sessions;
mod transports;
