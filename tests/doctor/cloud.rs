//! A cloud that is well or ill in one way, for as many connections as come, gateway's and doctor's alike.
//!
//! The MQTT packets are bytes written by hand, so that no codec stands on both ends. A connection that says nothing is
//! kept for ever: silence is for the gateway to end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_tungstenite::{
    tokio::accept_hdr_async,
    tungstenite::{
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use ws_stream_tungstenite::WsStream;

use super::raw::next_packet;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// What is wrong with the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Good,
    /// The upgrade is answered with this status.
    Status(u16),
    /// The upgrade is granted without a subprotocol.
    NoSubprotocol,
    /// CONNACK of MQTT 5 with this reason.
    Connack(u8),
    /// Only 3.1.1 is known, and CONNACK has this code.
    OldConnack(u8),
    /// Every filter but the first of the first SUBSCRIBE is answered with this reason.
    Suback(u8),
    /// What is published is answered with this reason, but for the gateway's own state and fence.
    Puback(u8),
    /// No packet may be larger.
    MaxPacket(u32),
    /// The keep-alive that it wants, in seconds.
    WantsKeepAlive(u16),
    /// DISCONNECT 0x8D after so much silence.
    KicksTheSilent(Duration),
    /// The line is closed without a word after so much silence.
    CutsTheSilent(Duration),
    /// One client at a time: DISCONNECT 0x8E.
    OneClient,
    /// One client at a time; only 3.1.1 is known, which has no word for it.
    OneOldClient,
}

impl Manner {
    fn knows_only_3_1_1(self) -> bool {
        matches!(self, Manner::OldConnack(_) | Manner::OneOldClient)
    }

    fn silence(self) -> Duration {
        match self {
            Manner::KicksTheSilent(silence) | Manner::CutsTheSilent(silence) => silence,
            _ => Duration::from_secs(3600),
        }
    }
}

/// A running cloud; dropped, it ends.
pub struct Cloud {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Cloud {
    pub async fn start(acceptor: TlsAcceptor, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let newest = Arc::new(watch::channel(0).0);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, newest) = (acceptor.clone(), newest.clone());
                // An end in the middle is the client's business: what a test wants to see, the gateway says.
                tokio::spawn(async move { serve(stream, &acceptor, manner, &newest).await });
            }
        });
        Self { address, task }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    manner: Manner,
    newest: &watch::Sender<u64>,
) -> Option<()> {
    let stream = acceptor.accept(stream).await.ok()?;
    let socket = accept_hdr_async(stream, Upgrade(manner)).await.ok()?;
    let mut line = Line(WsStream::new(socket));
    let (_, connect) = line.read().await?;
    // Behind the protocol's name, which is six bytes.
    let level = connect[6];
    assert_eq!(connect[7] & 2, 0, "whoever asks for a clean session destroys the gateway's");
    if manner.knows_only_3_1_1() && level == 5 {
        return line.send(&[0x20, 2, 0, 1]).await;
    }
    let is_five = level == 5;
    let connack: Vec<u8> = match manner {
        Manner::Connack(reason) => vec![0x20, 3, 0, reason, 0],
        Manner::OldConnack(code) => vec![0x20, 2, 0, code],
        Manner::MaxPacket(bytes) => [&[0x20, 8, 0, 0, 5, 0x27][..], &bytes.to_be_bytes()].concat(),
        Manner::WantsKeepAlive(seconds) => [&[0x20, 6, 0, 0, 3, 0x13][..], &seconds.to_be_bytes()].concat(),
        _ if is_five => vec![0x20, 3, 0, 0, 0],
        _ => vec![0x20, 2, 0, 0],
    };
    line.send(&connack).await?;
    if matches!(manner, Manner::Connack(_) | Manner::OldConnack(_)) {
        return None;
    }
    newest.send_modify(|number| *number += 1);
    let number = *newest.borrow();
    let mut others = newest.subscribe();
    let mut is_first = true;
    loop {
        // A read that is dropped half-way ends the connection, too.
        let packet = tokio::select! {
            packet = timeout(manner.silence(), line.read()) => packet,
            () = async { drop(others.wait_for(|newest| *newest > number).await) },
                if matches!(manner, Manner::OneClient | Manner::OneOldClient) =>
            {
                if is_five {
                    line.send(&[0xe0, 2, 0x8e, 0]).await?;
                }
                return None;
            }
        };
        let Ok(packet) = packet else {
            if let Manner::KicksTheSilent(_) = manner {
                line.send(&[0xe0, 2, 0x8d, 0]).await?;
            }
            return None;
        };
        let (first, body) = packet?;
        match first >> 4 {
            SUBSCRIBE => {
                let refusal = match manner {
                    Manner::Suback(reason) if is_first => reason,
                    _ => 1,
                };
                is_first = false;
                line.send(&suback(&body, is_five, refusal)).await?;
            }
            PUBLISH => published(&mut line, first, &body, is_five, manner).await?,
            PINGREQ => line.send(&[0xd0, 0]).await?,
            DISCONNECT => return None,
            CONNECT => panic!("a second CONNECT"),
            _ => {}
        }
    }
}

/// The first filter is the gateway's own; it is granted, or nobody would come as far as the others.
fn suback(body: &[u8], is_five: bool, refusal: u8) -> Vec<u8> {
    let mut at = if is_five { 3 + usize::from(body[2]) } else { 2 };
    let mut reasons = Vec::new();
    while at < body.len() {
        at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]])) + 1;
        reasons.push(if reasons.is_empty() { 1 } else { refusal });
    }
    let properties: &[u8] = if is_five { &[0] } else { &[] };
    let head = [0x90, (2 + properties.len() + reasons.len()) as u8, body[0], body[1]];
    [&head[..], properties, &reasons].concat()
}

async fn published<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    first: u8,
    body: &[u8],
    is_five: bool,
    manner: Manner,
) -> Option<()> {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = std::str::from_utf8(&body[2..2 + length]).ok()?;
    let mut at = 2 + length;
    let is_own = topic.ends_with("/fence") || topic.ends_with("/bridge/state");
    if first & 6 != 0 {
        let packet = [body[at], body[at + 1]];
        at += 2;
        match manner {
            Manner::Puback(reason) if !is_own => {
                line.send(&[0x40, 4, packet[0], packet[1], reason, 0]).await?
            }
            _ => line.send(&[0x40, 2, packet[0], packet[1]]).await?,
        }
    }
    if topic.ends_with("/fence") {
        if is_five {
            at += 1 + usize::from(body[at]);
        }
        let properties: &[u8] = if is_five { &[0] } else { &[] };
        let echo = [&body[..2 + length], properties, &body[at..]].concat();
        assert!(echo.len() < 128, "one byte of length");
        line.send(&[&[0x30, echo.len() as u8], &echo[..]].concat()).await?;
    }
    Some(())
}

struct Line<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// The next packet; `None`: it is over.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        next_packet(&mut self.0).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.write_all(bytes).await.ok()?;
        self.0.flush().await.ok()
    }
}

struct Upgrade(Manner);

impl Callback for Upgrade {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        if let Manner::Status(status) = self.0 {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::from_u16(status).unwrap();
            return Err(refusal);
        }
        assert_eq!(
            request.headers().get("Sec-WebSocket-Protocol").map(HeaderValue::as_bytes),
            Some(&b"mqtt"[..])
        );
        if self.0 != Manner::NoSubprotocol {
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
        }
        Ok(response)
    }
}
