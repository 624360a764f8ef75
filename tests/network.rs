//! The network as at home: the gateway behind a router with masquerade and a stateful firewall, the cloud and the
//! phone beyond it, and everything that happens to such a line. docs/network.md has the last result.
//!
//! Each test has network namespaces of its own (`network/topology`), so they run side by side and harm nothing
//! else on the machine. They need root, iproute2 and nftables; without these they fail and say so. The gateway is
//! the real binary and the cloud Debian's Mosquitto, as in tests/interop.rs, whose helpers these are.
#![cfg(feature = "interop")]

#[path = "interop/clients.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod clients;
#[path = "interop/cloud.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod cloud;
#[path = "interop/gateway.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod gateway;
#[path = "interop/pki.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod pki;
#[path = "interop/place.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod place;
#[path = "support/port.rs"]
mod port;
#[path = "interop/process.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod process;

#[path = "network/forgotten.rs"]
mod forgotten;
#[path = "network/inbound.rs"]
mod inbound;
#[path = "network/line.rs"]
mod line;
#[path = "network/moved.rs"]
mod moved;
#[path = "network/names.rs"]
mod names;
#[path = "network/scene.rs"]
mod scene;
#[path = "network/sensor.rs"]
mod sensor;
#[path = "network/topology.rs"]
mod topology;
