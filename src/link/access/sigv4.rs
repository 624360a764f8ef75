//! AWS Signature Version 4, as far as it takes to open a WebSocket: a signed query.
//!
//! Owns keys, scope, canonical request and signature. Never asks for the time or reads a file. The rules:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. AWS IoT has two of
//! its own, as AWS's device SDKs do it (aws-iot-device-sdk-js `prepareWebSocketUrl`, aws-c-auth pull request 34): the
//! session token is appended *after* signing, and there is no `X-Amz-Expires`. Why no crate: see Cargo.toml.

use std::fmt;

use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use ring::{digest, hmac};
use time::OffsetDateTime;

use crate::model::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What the WebSocket of AWS IoT is called in a scope.
pub(super) const IOT: &str = "iotdevicegateway";

/// Everything but RFC 3986's unreserved characters is encoded.
pub(super) const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// In a path the slashes stay.
const RESERVED_IN_PATH: AsciiSet = RESERVED.remove(b'/');

/// An access key of AWS.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    /// Of temporary keys.
    pub(super) token: Option<String>,
}

impl fmt::Debug for Keys {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// When, where and for what a signature is good.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// `20150830T123600Z`.
    moment: String,
    region: String,
    service: String,
}

impl Scope {
    pub(super) fn new(now: Timestamp, region: &str, service: &str) -> Self {
        // No clock shows a year that this does not know.
        let now = OffsetDateTime::from_unix_timestamp(now.as_millis().div_euclid(1000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let moment = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        Self { moment, region: region.to_owned(), service: service.to_owned() }
    }

    fn date(&self) -> &str {
        self.moment.split('T').next().unwrap_or_default()
    }

    /// `20150830/us-east-1/iotdevicegateway/aws4_request`.
    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }

    /// What a query says about its signature, without the signature itself.
    pub(super) fn parameters(&self, keys: &Keys, signed_headers: &str) -> String {
        format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-SignedHeaders={}",
            encoded(&format!("{}/{}", keys.id, self.text())),
            self.moment,
            encoded(signed_headers),
        )
    }

    /// What is signed in the end.
    pub(super) fn string_to_sign(&self, canonical_request: &str) -> String {
        let hash = sha256(canonical_request.as_bytes());
        format!("{ALGORITHM}\n{}\n{}\n{hash}", self.moment, self.text())
    }

    /// The signature, in hexadecimal.
    pub(super) fn signature(&self, keys: &Keys, string_to_sign: &str) -> String {
        let first = format!("AWS4{}", keys.secret);
        let parts = [self.date(), &self.region, &self.service, "aws4_request", string_to_sign];
        let last = parts.iter().fold(first.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()));
        HEXLOWER.encode(&last)
    }
}

/// A request as it will be sent.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Without query; see [`normalised`].
    pub(super) path: &'a str,
    /// Without `?`, percent-encoded or not.
    pub(super) query: &'a str,
    /// Those that are signed.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) payload: &'a [u8],
}

impl Request<'_> {
    /// The form that both ends make of it.
    pub(super) fn canonical(&self) -> String {
        let Self { method, query, .. } = self;
        let path = percent_encode(self.path.as_bytes(), &RESERVED_IN_PATH);
        let (query, payload) = (canonical_query(query), sha256(self.payload));
        let headers = self.canonical_headers();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        format!("{method}\n{path}\n{query}\n{lines}\n{}\n{payload}", self.signed_headers())
    }

    /// Their names, `host;x-amz-date`.
    pub(super) fn signed_headers(&self) -> String {
        let names: Vec<String> = self.canonical_headers().into_iter().map(|(name, _)| name).collect();
        names.join(";")
    }

    /// In the order of their names; those with the same name in one, in their own order.
    fn canonical_headers(&self) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in self.headers {
            let name = name.to_ascii_lowercase();
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            match headers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.extend([",", &value]),
                None => headers.push((name, value)),
            }
        }
        headers.sort();
        headers
    }
}

/// Sorted by name, then by value, both encoded anew.
fn canonical_query(query: &str) -> String {
    let anew = |text: &str| encoded_bytes(&percent_decode_str(text).collect::<Vec<u8>>());
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<(String, String)> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (anew(name), anew(value))
        })
        .collect();
    parameters.sort();
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

/// A path without `.`, `..` and empty levels, as every service of AWS but S3 reads it.
pub(super) fn normalised(path: &str) -> String {
    let mut levels = Vec::new();
    for level in path.split('/') {
        match level {
            "" | "." => {}
            ".." => _ = levels.pop(),
            level => levels.push(level),
        }
    }
    let is_directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) && !levels.is_empty();
    format!("/{}{}", levels.join("/"), if is_directory { "/" } else { "" })
}

/// What is put behind `query`, that of the address itself, so that AWS IoT lets a WebSocket in: who asks, the signature
/// over both and, behind it, the session token.
pub(super) fn presigned(keys: &Keys, scope: &Scope, host: &str, path: &str, query: &str) -> String {
    let own = if query.is_empty() { String::new() } else { format!("{query}&") };
    let parameters = scope.parameters(keys, "host");
    let query = format!("{own}{parameters}");
    let (path, host) = (normalised(path), host.to_ascii_lowercase());
    let request =
        Request { method: "GET", path: &path, query: &query, headers: &[("host", &host)], payload: b"" };
    let signature = scope.signature(keys, &scope.string_to_sign(&request.canonical()));
    let signed = format!("{parameters}&X-Amz-Signature={signature}");
    match &keys.token {
        Some(token) => format!("{signed}&X-Amz-Security-Token={}", encoded(token)),
        None => signed,
    }
}

/// Percent-encoded, slashes too.
pub(super) fn encoded(text: &str) -> String {
    encoded_bytes(text.as_bytes())
}

fn encoded_bytes(bytes: &[u8]) -> String {
    percent_encode(bytes, &RESERVED).to_string()
}

/// HMAC of RFC 2104 with SHA-256.
pub(super) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests;
