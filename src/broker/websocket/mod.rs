//! MQTT inside of WebSockets (MQTT 5 section 6): the handshake, and the byte stream within.

mod frames;

use async_tungstenite::{
    tokio::accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use self::frames::Frames;
use super::{origins::Origins, socket::Duplex};

/// Answers the HTTP upgrade. Any path will do; the subprotocol is `mqtt` (MQTT-6.0.0-3), or `mqttv3.1`,
/// which older clients say. `None`: it was not one, comes from a page that may not, or went wrong.
pub(super) async fn accept<S: Duplex + 'static>(mut stream: S, origins: &Origins) -> Option<Box<dyn Duplex>> {
    // Only the handshake is this crate's: its buffers are never used.
    let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
    #[expect(clippy::result_large_err, reason = "the callback's type is the crate's")]
    let answer = |request: &Request, response: Response| match origins.allow(request.headers()) {
        true => choose(request, response),
        false => Err(refusal(
            StatusCode::FORBIDDEN,
            "Web pages of other hosts may not use this broker: name them in the listener's `origins`.",
        )),
    };
    accept_hdr_async_with_config(&mut stream, answer, Some(config)).await.ok()?;
    Some(Box::new(Frames::new(stream)))
}

#[expect(clippy::result_large_err, reason = "the callback's type is the crate's")]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let chosen = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|protocol| matches!(*protocol, "mqtt" | "mqttv3.1"));
    let Some(chosen) = chosen.and_then(|protocol| HeaderValue::from_str(protocol).ok()) else {
        let words = "This is a MQTT broker: ask for the subprotocol `mqtt`.";
        return Err(refusal(StatusCode::BAD_REQUEST, words));
    };
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

fn refusal(status: StatusCode, words: &str) -> ErrorResponse {
    let mut refusal = ErrorResponse::new(Some(words.to_owned()));
    *refusal.status_mut() = status;
    refusal
}
