//! Who a client is: by user name and password, by client certificate, or nobody.
//!
//! Passwords are Argon2 hashes (RFC 9106), verified on the blocking pool, a few at a time, so that a
//! flood of wrong passwords costs memory and processor time only within a bound. Whether the name or
//! the password was wrong is not told, nor shown by the time it takes.

use std::{collections::HashMap, sync::Arc};

use argon2::{
    Argon2, PasswordVerifier,
    password_hash::{PasswordHash, PasswordHashString},
};
use tokio::sync::Semaphore;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{BrokerError, User};

/// Passwords verified at once; each takes about 20 MB and a tenth of a second on a Pi. Full: wait.
const VERIFY_AT_ONCE: usize = 2;
/// A hash of nothing anybody knows: verified when the user does not exist, for the time it takes.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$0Uo1nwRz0K3Qv0ZVkTDl8cRZQ8JRXEyRUXvMrkUbxHk";

/// What a client says of itself.
pub(super) struct Claim {
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// The client certificate that TLS has verified, DER.
    pub(super) certificate: Option<Vec<u8>>,
}

/// Why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// User name and password do not belong together.
    BadCredentials,
    /// It did not say who it is, and must.
    NotAuthorized,
}

/// The users.
pub(super) struct Users {
    hashes: HashMap<String, PasswordHashString>,
    certificates: HashMap<String, String>,
    nobody: PasswordHashString,
    room: Semaphore,
}

impl Users {
    pub(super) fn new(users: &[User]) -> Result<Self, BrokerError> {
        let mut hashes = HashMap::new();
        let mut certificates = HashMap::new();
        for user in users {
            if let Some(text) = &user.password_hash {
                let hash = PasswordHashString::new(text).map_err(|error| BrokerError::PasswordHash {
                    user: user.name.clone(),
                    reason: error.to_string(),
                })?;
                hashes.insert(user.name.clone(), hash);
            }
            if let Some(name) = &user.certificate_name {
                certificates.insert(name.clone(), user.name.clone());
            }
        }
        let nobody = PasswordHashString::new(NOBODY).expect("a well-formed constant");
        Ok(Self { hashes, certificates, nobody, room: Semaphore::new(VERIFY_AT_ONCE) })
    }

    /// The user that a claim proves; `None` for a client that may stay nameless.
    pub(super) async fn identify(
        self: &Arc<Self>,
        claim: Claim,
        anonymous: bool,
    ) -> Result<Option<String>, Denied> {
        if let Some(user) = claim.certificate.as_deref().and_then(|der| self.by_certificate(der)) {
            return Ok(Some(user));
        }
        let Some(name) = claim.username else {
            return if anonymous { Ok(None) } else { Err(Denied::NotAuthorized) };
        };
        if self.hashes.is_empty() && anonymous {
            // Nobody has a password here, so none can be wrong.
            return Ok(None);
        }
        let is_right = self.verify(&name, claim.password.unwrap_or_default()).await;
        if is_right { Ok(Some(name)) } else { Err(Denied::BadCredentials) }
    }

    async fn verify(self: &Arc<Self>, name: &str, password: Vec<u8>) -> bool {
        let Ok(_room) = self.room.acquire().await else { return false };
        let is_known = self.hashes.contains_key(name);
        let hash = self.hashes.get(name).unwrap_or(&self.nobody).clone();
        let verified = tokio::task::spawn_blocking(move || {
            let hash: PasswordHash<'_> = hash.password_hash();
            Argon2::default().verify_password(&password, &hash).is_ok()
        });
        verified.await.unwrap_or(false) && is_known
    }

    fn by_certificate(&self, der: &[u8]) -> Option<String> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let mut names: Vec<&str> =
            certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some(*name),
                _ => None,
            }));
        }
        names.into_iter().find_map(|name| self.certificates.get(name).cloned())
    }
}
