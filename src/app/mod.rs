//! The one place where the parts meet: builds them from the configuration, joins them by bounded
//! channels of `model` types, supervises them and stops them in order.
//!
//! Holds no logic of its own: what a message means is decided in the rooms below. Invariants: nothing
//! listens or dials before every part was built; a part that ends by itself ends the gateway (systemd
//! starts it again), in the same order as a stop; the order is commands and devices, then the local
//! broker, then the line, then the store, so that every outcome still finds its way out.

mod beat;
mod bridge_health;
mod build;
mod buttons;
mod certificate;
mod cloud_tree;
mod departed;
mod description;
mod discovery;
mod downlink;
pub mod examination;
mod flows;
mod gateway;
mod homie;
#[cfg(feature = "parts")]
#[doc(hidden)]
pub mod parts;
mod reload;
mod simulation;
mod stages;
#[cfg(test)]
mod testing;
mod thingsboard;
mod topics;
mod translate;
mod unopened;
mod uplink;
mod vigil;
mod ways;

pub use build::{BuildError, password_in, store_file};
pub use gateway::{Gateway, RunError};
pub use reload::Reload;
pub use simulation::{Hardware, Simulation};
pub use topics::{CloudTopics, LocalTopics};
pub use vigil::{Vigil, Watch};
