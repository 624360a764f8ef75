//! Temporary keys that the device's certificate buys from the credentials provider of AWS IoT.
//!
//! One HTTPS request, `GET /role-aliases/<alias>/credentials`, over a TLS connection that the link opens as it opens
//! its own, with the certificate. Bounded in time and size. What the provider says when it refuses (`{"message":…}`)
//! is told; keys never are.
//! <https://docs.aws.amazon.com/iot/latest/developerguide/authorizing-direct-aws.html>

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use super::{renewal, sigv4, sigv4::Keys, ways::Role};
use crate::model::{CloudUrl, Fault, FaultKind, Timestamp, printable};

/// The longest answer, in bytes; a real one has about 2 KB.
const LARGEST: usize = 64 << 10;
/// How much of what a refusal says is told, in characters.
const LONGEST_WORDS: usize = 300;

/// Keys that are good for a while.
#[derive(Debug, Clone)]
pub(super) struct Bought {
    pub(super) keys: Keys,
    pub(super) expires: Timestamp,
    /// When new ones are to be bought.
    pub(super) renew_at: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: Timestamp,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Buys keys over what `open` opens, which may take no longer than `limit` with it.
///
/// # Errors
/// [`FaultKind::KeyProvider`], with the provider's own words where it said some.
pub(super) async fn buy<S, F>(
    role: &Role,
    now: Timestamp,
    limit: Duration,
    open: impl FnOnce(CloudUrl) -> F,
) -> Result<Bought, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<S, Fault>>,
{
    let url = CloudUrl::parse(&format!("wss://{}:{}", role.host, role.port))
        .map_err(|error| Fault::new(FaultKind::OwnCredentials, format!("`cloud.aws.role.host`: {error}")))?;
    let bought = async { ask(role, &url.authority(), now, open(url.clone()).await?).await };
    let told = match timeout(limit, bought).await {
        Ok(Ok(bought)) => return Ok(bought),
        Ok(Err(Fault { kind: FaultKind::KeyProvider, detail })) => detail,
        // The line to the provider has the same troubles as the one to the cloud, but another address.
        Ok(Err(fault)) => format!("{} ({})", fault.kind.sentence(), fault.detail),
        Err(_) => format!("no answer within {} s", limit.as_secs_f32()),
    };
    Err(fault(format!("`{}`: {told}", role.host)))
}

async fn ask<S>(role: &Role, authority: &str, now: Timestamp, stream: S) -> Result<Bought, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| fault(format!("the connection broke: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Aborted when this function is left, however that is.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request(role, authority)?).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| fault(format!("the answer broke off: {error}")))?.to_bytes();
    if status != StatusCode::OK {
        return Err(fault(format!("HTTP status {status}{}", words(&body))));
    }
    // Its error would repeat what it stumbled over.
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| fault("the answer has no `credentials`; is this a credentials provider?"))?;
    let Credentials { access_key_id, secret_access_key, session_token, expiration } = answer.credentials;
    if expiration <= now {
        let detail = format!(
            "the keys expired on {expiration} already; check this machine's clock ({now}) with `timedatectl`"
        );
        return Err(fault(detail));
    }
    let keys = Keys { id: access_key_id, secret: secret_access_key, token: Some(session_token) };
    Ok(Bought { keys, expires: expiration, renew_at: renewal(now, expiration) })
}

fn request(role: &Role, authority: &str) -> Result<Request<Empty<Bytes>>, Fault> {
    let path = format!("/role-aliases/{}/credentials", sigv4::encoded(&role.alias));
    let mut request = Request::get(path).header(HOST, authority).header("accept", "application/json");
    if let Some(thing) = &role.thing {
        request = request.header("x-amzn-iot-thingname", thing);
    }
    request.body(Empty::new()).map_err(|error| {
        let what = "the role alias or the thing in `cloud.aws.role` has a character that cannot be sent";
        Fault::new(FaultKind::OwnCredentials, format!("{what}: {error}"))
    })
}

/// What a refusal says, made fit for a line.
fn words(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = printable(&text).chars().take(LONGEST_WORDS).collect();
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

fn fault(detail: impl Into<String>) -> Fault {
    Fault::new(FaultKind::KeyProvider, detail)
}

#[cfg(test)]
pub(super) mod tests;
