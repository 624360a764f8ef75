//! How the gateway says who it is, beside its certificate.
//!
//! Owns the ways to log in (`ways`), the secrets in their files, the signatures, and the keys that were bought. Makes a
//! [`Grant`] for each attempt, anew, so that a file that was changed counts at the next one. Never opens a connection:
//! the link does, so that proxies and certificates count for the one to a provider of keys, too.
//!
//! Invariants: what a [`Grant`] or a key says is in no log and no [`Fault`]; bought keys are never used when they have
//! expired; every wait has an end.

mod authorizer;
mod files;
mod role;
mod sas;
mod sigv4;
mod ways;

use std::{fmt, time::Duration};

use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
};

pub use self::ways::{
    Access, Authorizer, AwsKeys, Header, HeaderSource, Login, Password, Role, Sas, SignedToken,
};
use self::{role::Bought, sigv4::Keys};
use crate::model::{CloudUrl, Fault, FaultKind, Scheme, Timestamp};

/// How long before its end something is renewed, at most.
const EARLY: Duration = Duration::from_secs(300);
/// When a renewal that came to nothing is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What one attempt says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// The MQTT user name.
    pub(super) username: Option<String>,
    /// The MQTT password.
    pub(super) password: Option<String>,
    /// In the WebSocket's upgrade.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// In the upgrade's query, behind whatever the address itself has there, as it is.
    pub(super) query: Option<String>,
    /// When a new one should take its place; `None`: never.
    pub(super) renew_at: Option<Timestamp>,
}

impl fmt::Debug for Grant {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

/// Makes grants, and keeps the keys that it bought for them.
pub(super) struct Issuer {
    access: Access,
    bought: Mutex<Option<Bought>>,
}

impl Issuer {
    pub(super) fn new(access: Access) -> Self {
        Self { access, bought: Mutex::new(None) }
    }

    /// Reads, signs and, if need be, buys. `open` opens a connection with TLS and the certificate to an address that the
    /// configuration names; without ALPN or with `http/1.1`. Buying takes no longer than `limit`, reading a
    /// file 10 s. Cancel-safe.
    ///
    /// # Errors
    /// [`FaultKind::OwnCredentials`] and [`FaultKind::KeyProvider`].
    pub(super) async fn grant<S, F>(
        &self,
        url: &CloudUrl,
        now: Timestamp,
        limit: Duration,
        open: impl FnOnce(CloudUrl) -> F,
    ) -> Result<Grant, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<S, Fault>>,
    {
        let is_websocket = url.scheme() == Scheme::WebSocket;
        let mut grant = match &self.access.login {
            Login::Anonymous => Grant::default(),
            Login::Password(login) => password(login).await?,
            Login::Token { file, username } => {
                let token = files::first_line(file).await?;
                if is_websocket {
                    let authorization = header("authorization", &format!("Bearer {token}"))?;
                    Grant { username: username.clone(), headers: vec![authorization], ..Grant::default() }
                } else {
                    // MQTT 3.1.1 has no password without a user name, so there must be one.
                    let username = username.clone().unwrap_or_else(|| "bearer".to_owned());
                    Grant { username: Some(username), password: Some(token), ..Grant::default() }
                }
            }
            Login::AwsSignature { region, keys } => {
                // With the certificate plain MQTT needs no keys.
                if !is_websocket && matches!(keys, AwsKeys::Role(_)) {
                    return Ok(Grant::default());
                }
                let region = match region {
                    Some(region) => region.clone(),
                    None => region_of(url)?,
                };
                let (keys, renew_at) = match keys {
                    AwsKeys::File { path, profile } => (files::aws_keys(path, profile).await?, None),
                    AwsKeys::Role(role) => {
                        let bought = self.keys(role, now, limit, open).await?;
                        (bought.keys, Some(bought.renew_at))
                    }
                };
                Grant { query: Some(signed(&keys, url, &region, now)?), renew_at, ..Grant::default() }
            }
            Login::AwsAuthorizer(login) => authorizer::grant(login, url).await?,
            Login::AzureSas(login) => sas::grant(login, url, now).await?,
        };
        if is_websocket {
            for Header { name, value } in &self.access.headers {
                let value = match value {
                    HeaderSource::Here(value) => header(name, value)?,
                    HeaderSource::File(path) => header(name, &files::first_line(path).await?)?,
                };
                grant.headers.push(value);
            }
        }
        Ok(grant)
    }

    /// To be called when the cloud did not accept a grant: what was bought is not used again.
    pub(super) async fn was_refused(&self) {
        *self.bought.lock().await = None;
    }

    /// Bought keys, new ones if those at hand come to their end. If none are to be had, the old ones do as long as they
    /// are good.
    async fn keys<S, F>(
        &self,
        role: &Role,
        now: Timestamp,
        limit: Duration,
        open: impl FnOnce(CloudUrl) -> F,
    ) -> Result<Bought, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Result<S, Fault>>,
    {
        // Held while buying: a second attempt at the same time waits for the first one's, which has an end.
        let mut kept = self.bought.lock().await;
        match &*kept {
            Some(bought) if now < bought.renew_at => return Ok(bought.clone()),
            _ => {}
        }
        let new = role::buy(role, now, limit, open).await;
        match (new, &*kept) {
            (Ok(new), _) => Ok(kept.insert(new).clone()),
            (Err(fault), Some(old)) if now < old.expires => {
                tracing::warn!(detail = fault.detail, "the keys for the cloud cannot be renewed yet");
                Ok(Bought { renew_at: now.plus(AGAIN).min(old.expires), ..old.clone() })
            }
            (Err(fault), _) => Err(fault),
        }
    }
}

async fn password(login: &Password) -> Result<Grant, Fault> {
    let password = match &login.file {
        Some(path) => Some(files::first_line(path).await?),
        None => None,
    };
    Ok(Grant { username: Some(login.username.clone()), password, ..Grant::default() })
}

fn signed(keys: &Keys, url: &CloudUrl, region: &str, now: Timestamp) -> Result<String, Fault> {
    if url.scheme() != Scheme::WebSocket {
        let what = "a signature of AWS goes into the address of a WebSocket, and this is plain MQTT; \
                    write `wss://…`, or log in with the certificate";
        return Err(Fault::new(FaultKind::OwnCredentials, what));
    }
    let scope = sigv4::Scope::new(now, region, sigv4::IOT);
    let (path, query) = url.path_with_query().split_once('?').unwrap_or((url.path_with_query(), ""));
    Ok(sigv4::presigned(keys, &scope, &url.authority(), path, query))
}

fn region_of(url: &CloudUrl) -> Result<String, Fault> {
    url.aws_region().ok_or_else(|| {
        let what = format!("`{}` does not tell its region; set `cloud.aws.region`", url.host());
        Fault::new(FaultKind::OwnCredentials, what)
    })
}

/// A header whose value is not to be shown.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let wrong = |what: &str| {
        let detail = format!("the header `{name}` cannot be sent: {what}");
        Fault::new(FaultKind::OwnCredentials, detail)
    };
    let key = name.parse().map_err(|_| wrong("its name has a character that no header's name has"))?;
    let mut value: HeaderValue = value
        .parse()
        .map_err(|_| wrong("its value has a character that no header has; look into its file"))?;
    value.set_sensitive(true);
    Ok((key, value))
}

/// When something that is good until `expires` is to be renewed: five minutes before, or a fifth of its life.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.since(now).unwrap_or_default();
    now.plus(life.saturating_sub(EARLY.min(life / 5)))
}

#[cfg(test)]
mod tests;
