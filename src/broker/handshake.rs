//! From an accepted socket to a client that may stay: TLS, WebSocket, CONNECT, CONNACK.
//!
//! Runs in the connection's own task under one time limit, so that nobody waits for anybody else's
//! handshake.

use std::{io, net::SocketAddr, sync::Arc};

use async_tungstenite::tungstenite::{
    handshake::server::{ErrorResponse, Request, Response},
    http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::WebSocketConfig,
};
use bytes::BytesMut;
use mqtt5_protocol::{
    packet::{Packet, connect::ConnectPacket},
    protocol::v5::properties::Properties,
    types::ReasonCode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use ws_stream_tungstenite::WsStream;

use super::{
    ListenerKind,
    auth::{Claim, Denied, Users},
    connection::{Connection, Shared, Stream},
    hub::{Attach, Attached},
    packet::{self, PacketError, Version},
};
use crate::model::{ClientId, Message};

/// The subprotocol's name (MQTT-6.0.0-3).
const SUBPROTOCOL: &str = "mqtt";
/// Enough for the common CONNECT.
const FIRST_READ: usize = 512;

/// What a listener's connections share.
pub(super) struct Gate {
    pub(super) kind: ListenerKind,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) anonymous: bool,
    pub(super) users: Arc<Users>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: CancellationToken,
}

/// Serves one socket to its end.
pub(super) async fn serve(gate: Arc<Gate>, socket: TcpStream, peer: SocketAddr) {
    let limit = gate.shared.hub.limits.handshake_time;
    let handshake = timeout(limit, welcome(&gate, socket));
    let welcomed = match gate.stop.run_until_cancelled(handshake).await {
        None => return,
        Some(Ok(Ok(welcomed))) => welcomed,
        Some(Ok(Err(error))) => {
            gate.shared.hub.count_refused();
            tracing::info!(%peer, %error, "client not admitted");
            return;
        }
        Some(Err(_)) => {
            gate.shared.hub.count_refused();
            tracing::info!(%peer, seconds = limit.as_secs(), "client did not finish its handshake in time");
            return;
        }
    };
    let (connection, stream) = welcomed;
    tracing::info!(%peer, client = %connection.seat.client, "client connected");
    let client = connection.seat.client.clone();
    connection.run(stream).await;
    tracing::info!(%peer, %client, "client gone");
}

/// Why a client was not admitted.
#[derive(Debug, thiserror::Error)]
enum NotAdmitted {
    #[error("failed to set up the connection: {0}")]
    Io(#[from] io::Error),
    #[error("failed to upgrade to WebSocket: {0}")]
    WebSocket(#[from] async_tungstenite::tungstenite::Error),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error("the first packet was no CONNECT")]
    NoConnect,
    #[error("refused with {0:?}")]
    Refused(ReasonCode),
}

async fn welcome(gate: &Gate, socket: TcpStream) -> Result<(Connection, Box<dyn Stream>), NotAdmitted> {
    // Small packets are what MQTT is about; the socket must not wait to make larger ones of them.
    socket.set_nodelay(true)?;
    let (mut stream, certificate): (Box<dyn Stream>, _) = match &gate.tls {
        None => (upgrade(gate, socket).await?, None),
        Some(acceptor) => {
            let stream = acceptor.accept(socket).await?;
            let (_, session) = stream.get_ref();
            let certificate =
                session.peer_certificates().and_then(|chain| chain.first()).map(|first| first.to_vec());
            (upgrade(gate, stream).await?, certificate)
        }
    };
    let mut input = BytesMut::with_capacity(FIRST_READ);
    let mut output = BytesMut::new();
    let connect = match read_connect(&mut stream, &mut input, gate.shared.hub.limits.max_packet).await {
        Ok(connect) => connect,
        Err(error) => {
            if matches!(error, NotAdmitted::Packet(PacketError::UnknownVersion)) {
                // In the words of 3.1.1, which every client understands (MQTT-3.1.2-2).
                let answer = ReasonCode::UnsupportedProtocolVersion;
                packet::put_connack(&mut output, Version::V3, false, answer, Properties::default());
                let _ = stream.write_all_buf(&mut output).await;
                let _ = stream.shutdown().await;
            }
            return Err(error);
        }
    };
    let version = packet::version(&connect);
    match admit(gate, connect, certificate, input).await {
        Ok((mut connection, present, properties)) => {
            packet::put_connack(&mut connection.output, version, present, ReasonCode::Success, properties);
            Ok((connection, stream))
        }
        Err(reason) => {
            packet::put_connack(&mut output, version, false, reason, Properties::default());
            stream.write_all_buf(&mut output).await?;
            stream.shutdown().await?;
            Err(NotAdmitted::Refused(reason))
        }
    }
}

async fn upgrade<S: Stream + 'static>(gate: &Gate, stream: S) -> Result<Box<dyn Stream>, NotAdmitted> {
    match gate.kind {
        ListenerKind::Tcp => Ok(Box::new(stream)),
        ListenerKind::WebSocket => {
            let largest = gate.shared.hub.limits.max_packet;
            let config = WebSocketConfig::default()
                .max_message_size(Some(largest))
                .max_frame_size(Some(largest))
                .max_write_buffer_size(2 * largest);
            let socket = async_tungstenite::tokio::accept_hdr_async_with_config(
                stream,
                choose_subprotocol,
                Some(config),
            )
            .await?;
            Ok(Box::new(WsStream::new(socket)))
        }
    }
}

/// `mqtt`, or an HTTP error that says so.
#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn choose_subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers_mqtt = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if offers_mqtt {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("offer the WebSocket subprotocol `mqtt`".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

async fn read_connect(
    stream: &mut Box<dyn Stream>,
    input: &mut BytesMut,
    max: usize,
) -> Result<Box<ConnectPacket>, NotAdmitted> {
    loop {
        // The version does not matter for CONNECT, which names its own.
        match packet::decode(input, Version::V5, max)? {
            Some(Packet::Connect(connect)) => return Ok(connect),
            Some(_) => return Err(NotAdmitted::NoConnect),
            None => {}
        }
        if input.first().is_some_and(|first| first >> 4 != 1) {
            return Err(NotAdmitted::NoConnect);
        }
        if stream.read_buf(input).await? == 0 {
            return Err(NotAdmitted::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Decides on a CONNECT; gives the connection, whether its session was there, and what CONNACK tells.
async fn admit(
    gate: &Gate,
    connect: Box<ConnectPacket>,
    certificate: Option<Vec<u8>>,
    input: BytesMut,
) -> Result<(Connection, bool, Properties), ReasonCode> {
    let hub = &gate.shared.hub;
    let limits = &hub.limits;
    let version = packet::version(&connect);
    let mut properties = Properties::default();
    if connect.properties.get_authentication_method().is_some() {
        return Err(ReasonCode::BadAuthenticationMethod);
    }
    let will = will(&connect)?;
    let ConnectPacket { clean_start, keep_alive, client_id, username, password, properties: wishes, .. } =
        *connect;
    let claim = Claim { username, password, certificate };
    gate.users.identify(claim, gate.anonymous).await.map_err(|denied| match denied {
        Denied::BadCredentials => ReasonCode::BadUsernameOrPassword,
        Denied::NotAuthorized => ReasonCode::NotAuthorized,
    })?;
    let client = if client_id.is_empty() {
        if version == Version::V3 && !clean_start {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        let assigned = format!("auto-{:016x}", fastrand::u64(..));
        properties.set_assigned_client_identifier(assigned.clone());
        ClientId::new(&assigned)
    } else {
        ClientId::new(&client_id)
    };
    if !hub.has_room(&client) {
        return Err(ReasonCode::ServerUnavailable);
    }
    let expiry = match version {
        Version::V3 if clean_start => 0,
        Version::V3 => u64::MAX,
        Version::V5 => wishes.get_session_expiry_interval().map_or(0, u64::from),
    };
    let expiry = limits.session_expiry(expiry);
    let their_window = wishes.get_receive_maximum().unwrap_or(u16::MAX);
    let attach = Attach { client, is_clean: clean_start, expiry, window: limits.inflight.min(their_window) };
    let Attached { seat, session_present, taken_over } = hub.attach(attach);
    if version == Version::V5 {
        properties.set_receive_maximum(u16::try_from(super::connection::UNANSWERED).unwrap_or(u16::MAX));
        properties.set_maximum_packet_size(u32::try_from(limits.max_packet).unwrap_or(u32::MAX));
        if wishes.get_session_expiry_interval().is_some_and(|asked| u64::from(asked) > expiry.as_secs()) {
            properties.set_session_expiry_interval(u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX));
        }
    }
    let silence = (keep_alive > 0).then(|| std::time::Duration::from_millis(u64::from(keep_alive) * 1500));
    let connection = Connection {
        shared: gate.shared.clone(),
        seat,
        version,
        silence,
        will,
        largest_out: wishes.get_maximum_packet_size().map_or(usize::MAX, |size| size as usize),
        taken_over,
        stop: gate.stop.clone(),
        input,
        output: BytesMut::new(),
        new_expiry: None,
    };
    Ok((connection, session_present, properties))
}

fn will(connect: &ConnectPacket) -> Result<Option<Message>, ReasonCode> {
    match &connect.will {
        None => Ok(None),
        Some(will) => {
            packet::will(will.clone(), &connect.will_properties).map(Some).map_err(|error| error.reason())
        }
    }
}
