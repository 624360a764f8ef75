//! What the gateway says of itself beside its certificate: user, password, headers, a signature.
//!
//! Owns the ways to log in. Never dials the broker.

use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use crate::model::{Fault, Timestamp};

/// What one attempt says.
#[derive(Clone, Default)]
pub(super) struct Grant {
    /// The MQTT user name.
    pub(super) username: Option<String>,
    /// The MQTT password.
    pub(super) password: Option<String>,
    /// Of the WebSocket upgrade.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Of the WebSocket upgrade's path, behind whatever it has.
    pub(super) query: Option<String>,
    /// When it should be renewed; `None`: never.
    pub(super) renew_at: Option<Timestamp>,
}

/// How the gateway logs in.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// By its certificate or not at all.
    #[default]
    Anonymous,
    /// By an MQTT user name and a password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Option<String>,
    },
}

impl Access {
    /// What the next attempt is to say.
    ///
    /// # Errors
    /// A [`Fault`] that names what is missing.
    pub(super) async fn grant(&self) -> Result<Grant, Fault> {
        Ok(match self {
            Access::Anonymous => Grant::default(),
            Access::Password { username, password } => Grant {
                username: Some(username.clone()),
                password: password.clone(),
                ..Grant::default()
            },
        })
    }
}
