//! Hearthlink: a home-side gateway that holds one outbound connection to a cloud broker.
//!
//! The house has floors, and imports go down only (`tests/architecture.rs`):
//!
//! ```text
//! floor 5  main, cli/, demo/
//! floor 4  app/
//! floor 3  web/
//! floor 2  broker/  devices/  link/  commands/  host/
//! floor 1  store/  health/  config/
//! floor 0  model/  clock  retry  permissions  patience
//! ```

// Here and not in Cargo.toml: the helpers of `tests/` may, their panic is a verdict.
#![deny(clippy::unwrap_used, clippy::panic)]

pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod devices;
pub mod health;
pub mod host;
pub mod link;
pub mod model;
mod patience;
pub mod permissions;
pub mod retry;
pub mod store;
pub mod web;
