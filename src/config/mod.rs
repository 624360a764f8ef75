//! The configuration file: its shape, how it is loaded, and what must hold between its parts.
//!
//! Owns the YAML file's types (one file a section), the layers (file, `config.d/*.yaml` beside it, then
//! `HEARTHLINK__…` environment variables), the users that `hearthlink user` put into `users.yaml`, the cross-checks and the errors that name place and remedy.
//! Never starts, binds or creates anything: it reads files and says what it thinks of them.
//!
//! Invariants: a [`Config`] that [`load`] returned has passed every check; its file paths are absolute or
//! relative to the working directory, no longer to the file; user data is never a key (devices, users,
//! routes and listeners are lists), because the crate `config` lower-cases and splits keys.
//!
//! Rejected: letting `config` parse the file and deserialise. Its errors lose the line, it turns `007` into
//! `7`, and it stops at the first error. So serde-saphyr reads each file into a tree that knows its places
//! (`tree`), `config` lays the trees and the environment over each other (`layers`), and a small
//! deserialiser (`decode`) reads the result; one reading, so `check` and `run` can never disagree.

mod access;
mod broker;
mod checks;
mod cloud;
mod commands;
mod decode;
mod files;
mod homie;
mod json_schema;
mod layers;
mod load;
mod manual;
mod problem;
mod profile;
pub mod reference;
mod routes;
mod schema;
mod shape;
mod suggestion;
mod template;
mod terms;
mod tree;
mod units;
mod users;
mod ways;

pub use access::{Aws, AwsAuthorizer, AwsRole, Azure, Header};
pub use broker::{Acl, Broker, Limits, Listener, Tls, Transport, User};
pub use cloud::{Backoff, Cloud};
pub use commands::{Allow, Commands, Quiet, Rate, Values};
pub use homie::{HOMIE_MAJOR, Homie, homie_device};
pub use json_schema::json_schema;
pub use load::{Loader, load};
pub use problem::{ConfigError, Finding, Problem};
pub use profile::{Harm, MqttVersion, Naming, Profile, ProfileName, Tree};
pub use routes::{Keep, Queue, Route, RouteIn};
pub use schema::{
    Config, Device, Gateway, HomeAssistant, Log, LogFormat, LogLevel, OnLineLost, Receipts, Store, Web,
    WhenFull,
};
pub use template::{FilterTemplate, Names, Template, TemplateError};
pub use terms::CloudLimits;
pub use users::{Entry as UsersEntry, UsersError, UsersText};
pub use ways::{Proxy, ProxyUrl, Rung, Wrapping};
