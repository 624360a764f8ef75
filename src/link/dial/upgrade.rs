//! The WebSocket upgrade (RFC 6455 section 4) in front of MQTT (MQTT 5 section 6.0).
//!
//! Owns the request and what the answer must have. The request always names the host as it is configured, whatever
//! address was dialled, and carries what the grant says: headers and a query.

use async_tungstenite::{
    WebSocketStream,
    tokio::{TokioAdapter, client_async},
    tungstenite::{
        self,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{
            HeaderValue, Response,
            header::{HOST, SEC_WEBSOCKET_PROTOCOL},
        },
    },
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    link::access::Grant,
    model::{CloudUrl, Fault, FaultKind},
};

/// A WebSocket that the server has agreed to.
pub(super) type Upgraded<S> = WebSocketStream<TokioAdapter<S>>;

/// Why there is no WebSocket.
pub(super) enum UpgradeError {
    /// Nothing was sent, or what was granted is not what was asked for.
    Fault(Fault),
    /// The server or the line.
    WebSocket(Box<tungstenite::Error>),
}

/// Asks for a WebSocket on an open connection.
///
/// # Errors
/// [`UpgradeError`].
pub(super) async fn upgrade<S>(
    stream: S,
    url: &CloudUrl,
    subprotocol: &str,
    grant: &Grant,
) -> Result<Upgraded<S>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(url, subprotocol, grant).map_err(UpgradeError::Fault)?;
    let upgraded = client_async(request, stream).await;
    let (socket, response) = upgraded.map_err(|error| UpgradeError::WebSocket(Box::new(error)))?;
    is_granted(&response, subprotocol).map_err(UpgradeError::Fault)?;
    Ok(socket)
}

fn request(url: &CloudUrl, subprotocol: &str, grant: &Grant) -> Result<Request, Fault> {
    let fault = |error: &dyn std::fmt::Display| {
        Fault::new(FaultKind::WebSocket, format!("the request cannot be written: {error}"))
    };
    let mut place = url.with_query();
    if let Some(query) = &grant.query {
        place.push(if place.contains('?') { '&' } else { '?' });
        place.push_str(query);
    }
    // `fault` would show the query; an address that was parsed and a query of ours can be read.
    let mut request = place.into_client_request().map_err(|_| fault(&"its address is no URL"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, url.authority().parse::<HeaderValue>().map_err(|error| fault(&error))?);
    headers
        .insert(SEC_WEBSOCKET_PROTOCOL, subprotocol.parse::<HeaderValue>().map_err(|error| fault(&error))?);
    headers.extend(grant.headers.iter().cloned());
    Ok(request)
}

fn is_granted<T>(response: &Response<T>, subprotocol: &str) -> Result<(), Fault> {
    let granted = response.headers().get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
    let detail = match granted {
        Some(granted) if granted.trim_ascii() == subprotocol.as_bytes() => return Ok(()),
        Some(other) => {
            format!("`{subprotocol}` was asked for and `{}` granted", String::from_utf8_lossy(other))
        }
        None => format!("`{subprotocol}` was asked for and nothing granted"),
    };
    Err(Fault::new(FaultKind::Subprotocol, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_configured_host_and_carries_what_was_granted() {
        let grant = Grant {
            query: Some("X-Amz-Signature=1".to_owned()),
            headers: vec![("x-token".parse().unwrap(), "secret".parse().unwrap())],
            ..Grant::default()
        };
        for (url, host, path) in [
            ("wss://cloud.example/ws?a=b", "cloud.example", "/ws?a=b&X-Amz-Signature=1"),
            ("wss://cloud.example:8443/ws", "cloud.example:8443", "/ws?X-Amz-Signature=1"),
            ("wss://[2001:db8::1]", "[2001:db8::1]", "/mqtt?X-Amz-Signature=1"),
        ] {
            let request = request(&CloudUrl::parse(url).unwrap(), "mqtt", &grant).unwrap();
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.uri().path_and_query().unwrap(), path);
            assert_eq!(request.headers()["x-token"], "secret");
            assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "mqtt");
        }
    }

    #[test]
    fn only_the_subprotocol_that_was_asked_for_will_do() {
        for (granted, is_good) in
            [(Some("mqtt"), true), (Some(" mqtt "), true), (Some("mqttv3.1"), false), (None, false)]
        {
            let mut response = Response::new(());
            if let Some(granted) = granted {
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, granted.parse().unwrap());
            }
            assert_eq!(
                is_granted(&response, "mqtt").map_err(|fault| fault.kind).is_ok(),
                is_good,
                "{granted:?}"
            );
        }
    }
}
