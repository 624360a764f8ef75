//! The one outbound connection to the cloud: MQTT over WebSocket over TLS.
//!
//! Owns dialling, credentials, the pump from the outbox and the intake of commands. Never decides
//! whether a command may run. A pure state machine (`state`) decides, `run` obeys:
//!
//! ```text
//! driver (dial, then line) ── Wire ──▶ run ── Event ──▶ state
//!          ▲                           │ ▲                │
//!          └─────────────── Effect ────┘ └─── Effect ◀────┘
//!                          store ◀── pump    intake ──▶ inbox
//! ```
//!
//! Invariants: `state` has them. Every attempt is a new connection and everything unacknowledged is sent again from the
//! store; the window never runs past the oldest unacknowledged; a `message-id` travels with every MQTT 5 publish, since
//! what is sent again has no DUP; our own time limits go around every wait.

mod access;
mod chain;
mod diagnose;
mod dial;
mod driver;
pub mod enrolment;
mod error;
mod examination;
mod intake;
mod line;
mod options;
mod origin;
#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;
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
