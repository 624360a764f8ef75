//! The one outbound connection to the cloud: MQTT over WebSocket over TLS, by rumqttc.
//!
//! Owns dialling, credentials, the pump from the outbox and the intake of commands. Never decides
//! whether a command may run. A pure state machine (`state`) decides, `run` obeys:
//!
//! ```text
//! driver (task: rumqttc's event loop) ── Wire ──▶ run ── Event ──▶ state
//!          ▲                                      │ ▲                │
//!          └──────── wire::Client ◀── Effect ─────┘ └─── Effect ◀────┘
//!                                     store ◀── pump    intake ──▶ inbox
//! ```
//!
//! Invariants: `state` has them. rumqttc's five traps (DESIGN.md) are met thus: every attempt gets
//! a new event loop and everything unacknowledged is sent again from the store (1); the window never
//! runs past the oldest unacknowledged (2); one task owns all publishes and matches packet ids in
//! order (3); a `message-id` travels with every MQTT 5 publish (4); our own time limits go around
//! every wait (5).

mod access;
mod bridge;
mod chain;
mod diagnose;
mod dial;
mod driver;
pub mod enrolment;
mod error;
mod examination;
mod intake;
mod options;
mod origin;
mod pump;
mod run;
mod state;
mod tls;
mod watch;
mod way;
mod window;
mod wire;

pub use access::{
    Access, Authorizer, AwsKeys, Header, HeaderSource, Login, Password, Role, Sas, SignedToken,
};
pub use dial::ProxyOptions;
pub use error::LinkError;
pub use examination::{Depth, LinkStep, Seen, Walk, examine, shorter_keep_alive};
pub use options::{CloudLimits, LinkOptions, Versions};
pub use run::Link;
pub use way::{Transport, Way};
