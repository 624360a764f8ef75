//! Who a client is, and what it may do.
//!
//! Owns the users. Never keeps a password. Password hashes are slow on purpose, so they are checked on
//! the blocking pool, two at a time: others wait within their handshake time, and connected clients
//! notice nothing; whoever guesses waits (`patience`). An unknown user costs as much as a known one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use argon2::{Argon2, PasswordHash, PasswordVerifier, password_hash::Error as HashError};
use tokio::sync::Semaphore;

use super::{
    BrokerError,
    options::{Acl, User},
    packet::Reason,
    rights::Rights,
};
use crate::{
    model::Network,
    patience::{Patience, TooMany},
};

/// Checked for users that do not exist, so that they take as long (argon2id, its defaults, of nothing).
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$aGVhcnRobGlua2hlYXJ0aA$Zw9n0dRN0QNk1kZ9uGkmYxq8mYkq3v0o5c0l5l2m3bE";

/// How many passwords are checked at a time: each takes 19 MiB and tens of milliseconds.
const AT_A_TIME: usize = 2;

/// The users, and how they prove who they are.
#[derive(Debug)]
pub(super) struct Auth {
    users: HashMap<String, Known>,
    by_certificate: HashMap<String, Arc<str>>,
    room: Semaphore,
    patience: Patience,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    hash: Option<Arc<str>>,
    acl: Option<Acl>,
}

/// Who a connected client is, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// `None`: somebody at an anonymous listener.
    pub(super) user: Option<Arc<str>>,
    pub(super) rights: Rights,
}

/// What a client shows of itself.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) network: Network,
    pub(super) client: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<Vec<u8>>,
    /// The names in its certificate, which TLS has verified.
    pub(super) certificate_names: &'a [String],
    /// Whether its listener takes anybody.
    pub(super) anonymous: bool,
    /// What that one allows to anybody.
    pub(super) acl: Option<&'a Acl>,
}

impl Auth {
    /// # Errors
    /// [`BrokerError::PasswordHash`] when a hash is not Argon2 in PHC form.
    pub(super) fn new(users: &[User], handshake_time: Duration) -> Result<Self, BrokerError> {
        let mut known = HashMap::new();
        let mut by_certificate = HashMap::new();
        for user in users {
            if let Some(hash) = &user.password_hash {
                check_hash(hash)
                    .map_err(|reason| BrokerError::PasswordHash { user: user.name.clone(), reason })?;
            }
            let name: Arc<str> = user.name.as_str().into();
            if let Some(certificate) = &user.certificate_name {
                by_certificate.insert(certificate.clone(), name.clone());
            }
            let hash = user.password_hash.as_deref().map(Arc::from);
            known.insert(user.name.clone(), Known { name, hash, acl: user.acl.clone() });
        }
        Ok(Self {
            users: known,
            by_certificate,
            room: Semaphore::new(AT_A_TIME),
            patience: Patience::new(handshake_time),
        })
    }

    /// Finds out who a client is.
    ///
    /// # Errors
    /// [`Reason::BadUserNameOrPassword`]; [`Reason::NotAuthorized`] when it shows nothing and must;
    /// [`Reason::ConnectionRateExceeded`] when too many passwords of its network were wrong.
    pub(super) async fn identify(&self, claim: Claim<'_>) -> Result<Identity, Reason> {
        let proven = claim.certificate_names.iter().find_map(|name| self.by_certificate.get(name));
        let user = match (claim.user, claim.password, proven) {
            // A certificate is proof enough, also when the user name says the same.
            (None, _, Some(name)) => name.clone(),
            (Some(user), _, Some(name)) if user == &**name => name.clone(),
            (Some(user), Some(password), _) => self.check(claim.network, user, password).await?,
            (Some(_), None, _) if !claim.anonymous => return Err(Reason::BadUserNameOrPassword),
            _ if claim.anonymous => {
                return Ok(Identity { user: None, rights: Rights::of(claim.acl, None, claim.client) });
            }
            _ => return Err(Reason::NotAuthorized),
        };
        Ok(Identity { rights: self.rights(&user, claim.client), user: Some(user) })
    }

    /// Whether somebody else may not have the session of this user; `None`: an anonymous client's.
    pub(super) fn is_somebodys(&self, user: Option<&str>) -> bool {
        user.is_some_and(|user| self.users.contains_key(user))
    }

    /// What a user may do as this client. Whoever is no user any more has an absent session at most, and
    /// nobody can come for it.
    pub(super) fn rights(&self, user: &str, client: &str) -> Rights {
        Rights::of(self.users.get(user).and_then(|known| known.acl.as_ref()), Some(user), client)
    }

    async fn check(&self, network: Network, user: &str, password: Vec<u8>) -> Result<Arc<str>, Reason> {
        let known = self.users.get(user);
        let hash = known.and_then(|known| known.hash.clone()).unwrap_or_else(|| NOBODY.into());
        let _room = loop {
            let has_turn = self.patience.turn(network).await;
            let has_turn = has_turn.map_err(|TooMany| Reason::ConnectionRateExceeded)?;
            let room = self.room.acquire().await.map_err(|_| Reason::ServerUnavailable)?;
            // Of many that came at once, the first may have been wrong since: the others take their turns.
            if has_turn || !self.patience.has_failed(network) {
                break room;
            }
        };
        let is_right = tokio::task::spawn_blocking(move || verify(&hash, &password))
            .await
            .map_err(|_| Reason::UnspecifiedError)?;
        match known {
            Some(known) if is_right && known.hash.is_some() => {
                self.patience.succeeded(network, user);
                Ok(known.name.clone())
            }
            _ => {
                self.patience.failed(network, user);
                Err(Reason::BadUserNameOrPassword)
            }
        }
    }
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parsed = PasswordHash::new(hash).map_err(|error| error.to_string())?;
    // Whatever the answer, it must be an answer.
    match Argon2::default().verify_password(b"", &parsed) {
        Ok(()) | Err(HashError::Password) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn verify(hash: &str, password: &[u8]) -> bool {
    PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok())
}

#[cfg(test)]
mod tests;
