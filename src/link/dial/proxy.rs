//! The way through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6), with or without basic authentication.
//!
//! Owns which proxy is taken and the words that open the tunnel. Never sees what goes through it: TLS begins behind it,
//! so a proxy that reads along would have to show a certificate of its own, which is refused as any other. Rejected:
//! hyper-util's `Tunnel`, which tells nobody the status that the proxy answered; its rules for `NO_PROXY` are taken.

use std::{fmt, io};

use async_tungstenite::tungstenite::http::{HeaderValue, Uri};
use data_encoding::BASE64;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::address::Host;
use crate::model::{CloudUrl, Fault, FaultKind, Secret};

/// The longest answer to CONNECT that is read, in bytes.
const LONGEST_ANSWER: usize = 8 << 10;
/// The most header fields of it.
const MOST_FIELDS: usize = 64;
/// A proxy whose address says no port; the one that `http` has.
const DEFAULT_PORT: u16 = 80;

/// Which proxy leads out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyOptions {
    /// As the environment says: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one.
    Fixed {
        /// Its host name or IP address.
        host: String,
        /// Its TCP port.
        port: u16,
        /// User and password for basic authentication (RFC 7617).
        login: Option<(String, Secret)>,
        /// What is reached without it, as curl's `NO_PROXY`: names with all below them, addresses, networks, or `*`.
        except: String,
    },
}

/// A proxy that was chosen.
pub(super) struct Proxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

impl ProxyOptions {
    /// The proxy on the way to `url`, if there is one.
    ///
    /// # Errors
    /// [`FaultKind::ProxyRefused`] when the environment names one that is not spoken to here.
    pub(super) fn towards(&self, url: &CloudUrl) -> Result<Option<Proxy>, Fault> {
        let (matcher, login) = match self {
            ProxyOptions::None => return Ok(None),
            ProxyOptions::Environment => (Matcher::from_env(), None),
            ProxyOptions::Fixed { host, port, login, except } => {
                let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let place = format!("http://{bracketed}:{port}");
                (Matcher::builder().https(place).no(except.clone()).build(), login.as_ref())
            }
        };
        // Whatever is in it: it is TLS, as `https` is.
        let Ok(destination) = format!("https://{}", url.host_and_port()).parse::<Uri>() else {
            return Ok(None);
        };
        let Some(found) = matcher.intercept(&destination) else { return Ok(None) };
        let uri = found.uri();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if uri.scheme_str() != Some("http") || host.is_empty() {
            let scheme = uri.scheme_str().unwrap_or("nothing");
            let detail =
                format!("the proxy `{host}` is to be spoken to by `{scheme}`, and only `http://` is known");
            return Err(Fault::new(FaultKind::ProxyRefused, detail));
        }
        Ok(Some(Proxy {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(DEFAULT_PORT),
            authorization: login.and_then(basic).or_else(|| found.basic_auth().cloned()),
        }))
    }
}

/// RFC 7617, in UTF-8; Base64 has no character that a header cannot have.
fn basic((user, password): &(String, Secret)) -> Option<HeaderValue> {
    let mut value: HeaderValue =
        format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose()).as_bytes()))
            .parse()
            .ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Proxy {
    pub(super) fn host(&self) -> Host<'_> {
        Host { name: &self.host, port: self.port }
    }

    /// Asks for a tunnel to the cloud; afterwards everything on `stream` is the cloud's.
    ///
    /// # Errors
    /// [`FaultKind::ProxyCredentials`] when it wants to know who we are, [`FaultKind::ProxyRefused`] when it opens none for
    /// another reason.
    pub(super) async fn tunnel<S>(&self, stream: &mut S, url: &CloudUrl) -> Result<(), Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let fault = |kind, what: &str| Fault::new(kind, format!("the proxy {self} {what}"));
        let broken = |error: io::Error| fault(FaultKind::ProxyRefused, &format!("hung up: {error}"));
        let target = url.host_and_port();
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(broken)?;
        let (status, reason) = answer(stream).await.map_err(broken)?;
        match status {
            200..=299 => Ok(()),
            407 if self.authorization.is_none() => {
                Err(fault(FaultKind::ProxyCredentials, "wants a user name and a password"))
            }
            407 => Err(fault(FaultKind::ProxyCredentials, "does not accept the user name or the password")),
            status => {
                let what = format!("answered `{status} {reason}` when it was asked to connect to {target}");
                Err(fault(FaultKind::ProxyRefused, &what))
            }
        }
    }
}

/// The status and its reason. Byte by byte, since what follows is not ours to read.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(u16, String)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        if text.len() == LONGEST_ANSWER {
            return Err(bad("its answer is longer than 8 KiB"));
        }
        text.push(stream.read_u8().await?);
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(&text).map_err(|error| bad(&format!("its answer is no HTTP: {error}")))?;
    let status = response.code.ok_or_else(|| bad("its answer has no status"))?;
    Ok((status, response.reason.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn url() -> CloudUrl {
        CloudUrl::parse("wss://cloud.example/mqtt").unwrap()
    }

    fn fixed(login: Option<(&str, &str)>, except: &str) -> ProxyOptions {
        let login = login.map(|(user, password)| (user.to_owned(), Secret::new(password)));
        ProxyOptions::Fixed { host: "proxy.example".to_owned(), port: 3128, login, except: except.to_owned() }
    }

    #[test]
    fn a_proxy_leads_to_all_but_the_exceptions() {
        for (except, is_taken) in [
            ("", true),
            ("other.example", true),
            ("d.example", true),
            ("cloud.example", false),
            (".example", false),
            ("192.0.2.0/24, example", false),
            ("*", false),
        ] {
            let proxy = fixed(None, except).towards(&url()).unwrap();
            assert_eq!(
                proxy.map(|proxy| proxy.to_string()),
                is_taken.then(|| "proxy.example:3128".to_owned()),
                "{except}"
            );
        }
        let within = CloudUrl::parse("mqtts://192.0.2.7").unwrap();
        assert!(fixed(None, "192.0.2.0/24").towards(&within).unwrap().is_none());
        assert!(ProxyOptions::None.towards(&url()).unwrap().is_none());
    }

    /// What the tunnel comes to when the proxy answers so, and what it was asked.
    async fn ask(login: Option<(&str, &str)>, answer: &str) -> (Result<(), Fault>, String) {
        let proxy = fixed(login, "").towards(&url()).unwrap().unwrap();
        let (mut near, mut far) = duplex(64 << 10);
        far.write_all(answer.as_bytes()).await.unwrap();
        let result = proxy.tunnel(&mut near, &url()).await;
        drop(near);
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (result, asked)
    }

    #[tokio::test]
    async fn who_we_are_is_said_as_basic_authentication_has_it() {
        let ok = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let (result, asked) = ask(Some(("Aladdin", "open:ses@me ü%")), ok).await;
        assert_eq!(result, Ok(()));
        // By `printf 'Aladdin:open:ses@me ü%%' | base64`.
        let expected = "CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuOnNlc0BtZSDDvCU=\r\n\r\n";
        assert_eq!(asked, expected);
        let (result, asked) = ask(None, ok).await;
        assert_eq!((result, asked.contains("Authorization")), (Ok(()), false));
    }

    #[tokio::test]
    async fn a_proxy_that_opens_no_tunnel_is_told_from_one_that_wants_a_password() {
        for (login, answer, kind, words) in [
            (None, "HTTP/1.1 407 Who\r\n\r\n", FaultKind::ProxyCredentials, "wants a user name"),
            (Some(("a", "b")), "HTTP/1.0 407 Who\r\n\r\n", FaultKind::ProxyCredentials, "does not accept"),
            (None, "HTTP/1.1 403 Forbidden\r\n\r\n", FaultKind::ProxyRefused, "`403 Forbidden`"),
            (None, "SSH-2.0-OpenSSH\r\n\r\n", FaultKind::ProxyRefused, "no HTTP"),
        ] {
            let (result, _) = ask(login, answer).await;
            let fault = result.unwrap_err();
            assert_eq!(fault.kind, kind, "{answer}");
            assert!(fault.detail.contains(words) && fault.detail.contains("proxy.example:3128"), "{fault:?}");
        }
        let (result, _) = ask(None, &format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LONGEST_ANSWER))).await;
        assert_eq!(result.unwrap_err().kind, FaultKind::ProxyRefused);
    }
}
