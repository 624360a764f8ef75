//! A stand-in for AWS IoT Core: strict where AWS is, by what AWS documents, and nothing more.
//!
//! MQTT 3.1.1 and 5 over WebSockets whose address is signed (Signature Version 4), or that a custom authorizer lets in;
//! and over TLS with a client certificate and ALPN `x-amzn-mqtt-ca`, as on port 443. The signature is computed here
//! from the request as it came in, by nothing of the gateway's. The limits are those of
//! <https://docs.aws.amazon.com/general/latest/gr/iot-core.html>: 128 KB a publish, 7 slashes, 8 filters a SUBSCRIBE,
//! a keep-alive from 30 to 1200 s, no QoS 2, a client id of 128 bytes. Who breaks one is closed: with a reason in MQTT
//! 5, without a word in 3.1.1. Sessions are not kept; there is no policy, and the rate is not bounded.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_tungstenite::{
    tokio::accept_hdr_async,
    tungstenite::{
        handshake::server::{Callback, ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode},
    },
};
use hearthlink::{
    clock::Clock,
    model::{Timestamp, Topic, TopicFilter},
};
use ring::{digest, hmac};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use ws_stream_tungstenite::WsStream;

use super::{gateway::Papers, peer, raw};

pub const REGION: &str = "eu-central-1";
pub const ALPN: &[u8] = b"x-amzn-mqtt-ca";
const LARGEST_PAYLOAD: usize = 128 << 10;
const MOST_SLASHES: usize = 7;
const MOST_FILTERS: usize = 8;
const KEEP_ALIVE: std::ops::RangeInclusive<u16> = 30..=1200;
/// How far clocks may differ: a signature is good for five minutes.
const SKEW: Duration = Duration::from_secs(300);

/// An access key that is known.
#[derive(Clone)]
pub struct Key {
    pub secret: String,
    pub token: Option<String>,
    pub expires: Option<Timestamp>,
}

/// What a custom authorizer wants.
#[derive(Clone)]
pub struct Authorizer {
    pub name: String,
    pub key_name: String,
    pub token: String,
    pub signature: String,
}

/// The stand-in; cheap to clone. Ends when the last clone is dropped.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    web_socket: SocketAddr,
    mqtt: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Key>,
    authorizer: Option<Authorizer>,
    is_3_1_1_only: bool,
    /// Why upgrades and packets were refused, in order.
    refusals: Vec<String>,
    /// With which access key id, or otherwise by whom, each WebSocket was opened.
    upgrades: Vec<String>,
    connects: Vec<Connect>,
    published: Vec<(String, Vec<u8>)>,
    current: CancellationToken,
}

/// A CONNECT that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// 4 or 5.
    pub version: u8,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Aws {
    pub async fn start(papers: &Papers, clock: Clock) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let open = peer::acceptor(&papers.server, None, &versions);
        let mut closed: ServerConfig =
            ServerConfig::clone(peer::acceptor(&papers.server, Some(&papers.ca), &versions).config());
        closed.alpn_protocols = vec![ALPN.to_vec()];
        let closed = TlsAcceptor::from(Arc::new(closed));
        let shared = Arc::new(Shared { clock, state: Mutex::default(), stop: CancellationToken::new() });
        let web_socket = shared.clone().listen(open, true).await;
        let mqtt = shared.clone().listen(closed, false).await;
        Self(Arc::new(Inner { web_socket, mqtt, shared }))
    }

    /// Where WebSockets are accepted.
    pub fn url(&self) -> String {
        format!("wss://localhost:{}/mqtt", self.0.web_socket.port())
    }

    /// Where MQTT over TLS is accepted, by ALPN.
    pub fn mqtt_port(&self) -> u16 {
        self.0.mqtt.port()
    }

    pub fn knows(&self, id: &str, key: Key) {
        self.state(|state| state.keys.insert(id.to_owned(), key));
    }

    pub fn asks(&self, authorizer: Authorizer) {
        self.state(|state| state.authorizer = Some(authorizer));
    }

    /// Real ones speak MQTT 5, too; this is for the other half of the link.
    pub fn speaks_only_3_1_1(&self) {
        self.state(|state| state.is_3_1_1_only = true);
    }

    pub fn refusals(&self) -> Vec<String> {
        self.state(|state| state.refusals.clone())
    }

    pub fn upgrades(&self) -> Vec<String> {
        self.state(|state| state.upgrades.clone())
    }

    pub fn connects(&self) -> Vec<Connect> {
        self.state(|state| state.connects.clone())
    }

    /// The payloads on a topic.
    pub fn on(&self, topic: &str) -> Vec<String> {
        let text = |payload: &Vec<u8>| String::from_utf8_lossy(payload).into_owned();
        self.state(|state| {
            state
                .published
                .iter()
                .filter(|(name, _)| name == topic)
                .map(|(_, payload)| text(payload))
                .collect()
        })
    }

    /// Cuts the connection that there is.
    pub fn cut(&self) {
        self.state(|state| std::mem::take(&mut state.current).cancel());
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.shared.state.lock().unwrap())
    }
}

impl Shared {
    fn refuse(&self, why: impl Into<String>) {
        self.state.lock().unwrap().refusals.push(why.into());
    }

    /// Serves whoever comes until it is stopped, and says where.
    async fn listen(self: Arc<Self>, acceptor: TlsAcceptor, is_web_socket: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = self.stop.run_until_cancelled(listener.accept()).await {
                let (shared, acceptor, stop) = (self.clone(), acceptor.clone(), self.stop.clone());
                tokio::spawn(async move {
                    stop.run_until_cancelled(shared.serve(stream, acceptor, is_web_socket)).await;
                });
            }
        });
        address
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor, is_web_socket: bool) {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        if is_web_socket {
            let Ok(socket) = accept_hdr_async(stream, Door(self.clone())).await else { return };
            self.talk(WsStream::new(socket)).await;
        } else if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
            self.talk(stream).await;
        } else {
            self.refuse("no ALPN");
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let mut line = stream;
        let Some((first, body)) = read(&mut line, Duration::from_secs(30)).await else { return };
        let Some(hello) = Hello::parse(first, &body) else { return self.refuse("no CONNECT") };
        if !(1..=128).contains(&hello.connect.client_id.len()) {
            return self.refuse("client id");
        }
        let keep_alive = match hello.keep_alive {
            0 => *KEEP_ALIVE.end(),
            asked => asked.clamp(*KEEP_ALIVE.start(), *KEEP_ALIVE.end()),
        };
        let is_5 = hello.connect.version == 5;
        if is_5 && self.state.lock().unwrap().is_3_1_1_only {
            write(&mut line, &[0x20, 2, 0, 1]).await;
            return;
        }
        let gone = {
            let state = &mut *self.state.lock().unwrap();
            state.connects.push(hello.connect);
            // Another connection of the same client takes over; there is one client here.
            std::mem::take(&mut state.current).cancel();
            state.current.clone()
        };
        let connack = if is_5 {
            // Receive Maximum 100, Maximum QoS 1, Topic Alias Maximum 8 and, where it is another, Server Keep Alive.
            let mut properties = vec![0x21, 0, 100, 0x24, 1, 0x22, 0, 8];
            if keep_alive != hello.keep_alive {
                properties.push(0x13);
                properties.extend(keep_alive.to_be_bytes());
            }
            let length = u8::try_from(properties.len()).unwrap();
            raw::packet(0x20, &[&[0, 0, length], &properties[..]].concat())
        } else {
            vec![0x20, 2, 0, 0]
        };
        if !write(&mut line, &connack).await {
            return;
        }
        let mut session = Session { is_5, filters: Vec::new(), next_packet: 1 };
        let silence = Duration::from_millis(u64::from(keep_alive) * 1500);
        loop {
            // Cancel safety: what is cut here is over.
            let Some(packet) = gone.run_until_cancelled(read(&mut line, silence)).await else { return };
            let Some((first, body)) = packet else { return };
            match self.answer(&mut session, first, &body) {
                Ok(answer) if answer.is_empty() || write(&mut line, &answer).await => {}
                Ok(_) => return,
                Err(End { reason, why }) => {
                    self.refuse(why);
                    if is_5 && reason != 0 {
                        write(&mut line, &[0xe0, 2, reason, 0]).await;
                        // The other end is to have read it before the reset of what it still sends.
                        let _ = timeout(Duration::from_secs(1), line.read_to_end(&mut Vec::new())).await;
                    }
                    return;
                }
            }
        }
    }

    fn answer(&self, session: &mut Session, first: u8, body: &[u8]) -> Result<Vec<u8>, End> {
        match first >> 4 {
            peer::PUBLISH => self.publish(session, first, body),
            peer::PUBACK => Ok(Vec::new()),
            peer::SUBSCRIBE => session.subscribe(body),
            12 => Ok(vec![0xd0, 0]),
            peer::DISCONNECT => Err(End { reason: 0, why: "DISCONNECT".to_owned() }),
            other => Err(End { reason: 0x82, why: format!("packet {other}") }),
        }
    }

    fn publish(&self, session: &mut Session, first: u8, body: &[u8]) -> Result<Vec<u8>, End> {
        if first & 6 == 4 {
            return Err(End { reason: 0x9b, why: "QoS 2".to_owned() });
        }
        let mut got = raw::Got::parse(first, body);
        if session.is_5 {
            got.payload = without_properties(&got.payload).to_vec();
        }
        check_depth(&got.topic, 0x90)?;
        if got.payload.len() > LARGEST_PAYLOAD {
            return Err(End { reason: 0x95, why: format!("{} bytes", got.payload.len()) });
        }
        let topic = Topic::parse(&got.topic).map_err(|error| End { reason: 0x90, why: error.to_string() })?;
        let mut answer = if got.id == 0 { Vec::new() } else { raw::puback(got.id) };
        if session.filters.iter().any(|filter| filter.matches(&topic)) {
            session.next_packet = session.next_packet % 60_000 + 1;
            answer.extend(match session.is_5 {
                true => raw::publish5(2, &got.topic, session.next_packet, &[], &got.payload),
                false => raw::publish(2, &got.topic, session.next_packet, &got.payload),
            });
        }
        self.state.lock().unwrap().published.push((got.topic, got.payload));
        Ok(answer)
    }
}

/// The end of a connection, and the reason that MQTT 5 is told.
struct End {
    reason: u8,
    why: String,
}

struct Session {
    is_5: bool,
    filters: Vec<TopicFilter>,
    next_packet: u16,
}

impl Session {
    fn subscribe(&mut self, body: &[u8]) -> Result<Vec<u8>, End> {
        let malformed = || End { reason: 0x81, why: "a malformed SUBSCRIBE".to_owned() };
        let (packet, mut rest) = body.split_at_checked(2).ok_or_else(malformed)?;
        if self.is_5 {
            rest = without_properties(rest);
        }
        let mut reasons = Vec::new();
        while let Some((length, after)) = rest.split_at_checked(2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let (filter, after) = after.split_at_checked(length).ok_or_else(malformed)?;
            let (options, after) = after.split_at_checked(1).ok_or_else(malformed)?;
            rest = after;
            if options[0] & 3 == 2 {
                return Err(End { reason: 0x9b, why: "QoS 2".to_owned() });
            }
            let filter = String::from_utf8_lossy(filter).into_owned();
            check_depth(&filter, 0x8f)?;
            self.filters.push(TopicFilter::parse(&filter).map_err(|_| malformed())?);
            reasons.push(options[0] & 1);
        }
        if reasons.len() > MOST_FILTERS {
            return Err(End { reason: 0x97, why: format!("{} filters", reasons.len()) });
        }
        let properties: &[u8] = if self.is_5 { &[0] } else { &[] };
        Ok(raw::packet(0x90, &[packet, properties, &reasons].concat()))
    }
}

fn check_depth(topic: &str, reason: u8) -> Result<(), End> {
    match topic.matches('/').count() {
        slashes if slashes > MOST_SLASHES => Err(End { reason, why: format!("{slashes} slashes") }),
        _ => Ok(()),
    }
}

struct Hello {
    connect: Connect,
    keep_alive: u16,
}

impl Hello {
    fn parse(first: u8, body: &[u8]) -> Option<Self> {
        if first != 0x10 {
            return None;
        }
        let text = |bytes: &mut &[u8]| {
            let (length, rest) = bytes.split_at_checked(2)?;
            let (text, rest) =
                rest.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            *bytes = rest;
            Some(text.to_vec())
        };
        let mut rest = body;
        let name = text(&mut rest)?;
        let (&[version, flags, high, low], mut rest) = rest.split_first_chunk::<4>()?;
        if name != b"MQTT" || ![4, 5].contains(&version) {
            return None;
        }
        if version == 5 {
            rest = without_properties(rest);
        }
        let client_id = String::from_utf8(text(&mut rest)?).ok()?;
        if flags & 4 != 0 {
            if version == 5 {
                rest = without_properties(rest);
            }
            text(&mut rest)?;
            text(&mut rest)?;
        }
        let username = match flags & 0x80 {
            0 => None,
            _ => Some(String::from_utf8(text(&mut rest)?).ok()?),
        };
        let password = match flags & 0x40 {
            0 => None,
            _ => Some(String::from_utf8(text(&mut rest)?).ok()?),
        };
        let connect = Connect { version, client_id, username, password };
        Some(Self { connect, keep_alive: u16::from_be_bytes([high, low]) })
    }
}

fn without_properties(bytes: &[u8]) -> &[u8] {
    let (mut length, mut shift, mut at) = (0usize, 0, 0);
    loop {
        let byte = bytes[at];
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        at += 1;
        if byte & 0x80 == 0 {
            return &bytes[at + length..];
        }
    }
}

/// The next packet; `None`: the other end hung up, or said nothing for too long.
async fn read<S: AsyncRead + Unpin>(line: &mut S, silence: Duration) -> Option<(u8, Vec<u8>)> {
    timeout(silence, raw::next_packet(line)).await.ok()?
}

async fn write<S: AsyncWrite + Unpin>(line: &mut S, bytes: &[u8]) -> bool {
    line.write_all(bytes).await.is_ok() && line.flush().await.is_ok()
}

/// Looks at each upgrade.
struct Door(Arc<Shared>);

impl Callback for Door {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        match self.0.admit(request) {
            Ok(who) => {
                self.0.state.lock().unwrap().upgrades.push(who);
                response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
                Ok(response)
            }
            Err(why) => {
                self.0.refuse(why);
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::FORBIDDEN;
                Err(refusal)
            }
        }
    }
}

impl Shared {
    /// Who it is, or why it is not let in.
    fn admit(&self, request: &Request) -> Result<String, String> {
        let header = |name: &str| {
            let mut values = request.headers().get_all(name).into_iter();
            let value = values.next().and_then(|value| value.to_str().ok()).map(str::to_owned);
            if values.next().is_some() { None } else { value }
        };
        if request.uri().path() != "/mqtt" {
            return Err(format!("path {}", request.uri().path()));
        }
        if header("sec-websocket-protocol").as_deref() != Some("mqtt") {
            return Err("no subprotocol mqtt".to_owned());
        }
        let asked = self.state.lock().unwrap().authorizer.clone();
        match (asked, header("x-amz-customauthorizer-name")) {
            (Some(asked), Some(name)) => {
                let is_signed = header("x-amz-customauthorizer-signature") == Some(asked.signature)
                    && header(&asked.key_name) == Some(asked.token);
                match is_signed && name == asked.name {
                    true => Ok(name),
                    false => Err("authorizer".to_owned()),
                }
            }
            _ => {
                let host = header("host").ok_or("not one Host")?;
                self.signed(&host, request.uri().query().unwrap_or_default())
            }
        }
    }

    /// Whose signature the query has.
    fn signed(&self, host: &str, query: &str) -> Result<String, String> {
        // The token comes behind the signature and is not signed.
        let (signed, behind) = query.split_once("&X-Amz-Signature=").ok_or("no signature")?;
        let (signature, token) = match behind.split_once("&X-Amz-Security-Token=") {
            Some((signature, token)) => (signature, Some(decoded(token))),
            None => (behind, None),
        };
        let parameters: BTreeMap<&str, &str> =
            signed.split('&').map(|parameter| parameter.split_once('=').unwrap_or((parameter, ""))).collect();
        let get = |name: &str| parameters.get(name).copied().ok_or_else(|| format!("no {name}"));
        if get("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" || get("X-Amz-SignedHeaders")? != "host" {
            return Err("algorithm or headers".to_owned());
        }
        let credential = decoded(get("X-Amz-Credential")?);
        let (id, scope) = credential.split_once('/').ok_or("credential")?;
        let date = get("X-Amz-Date")?;
        let expected =
            format!("{}/{REGION}/iotdevicegateway/aws4_request", date.get(..8).unwrap_or_default());
        if scope != expected {
            return Err(format!("scope {scope}"));
        }
        let moment = moment(date).ok_or_else(|| format!("date {date}"))?;
        let now = self.clock.now();
        let apart = now.since(moment).or_else(|| moment.since(now)).unwrap_or(Duration::MAX);
        if apart > SKEW {
            return Err(format!("signed {apart:?} away from now"));
        }
        let key = self.state.lock().unwrap().keys.get(id).cloned().ok_or_else(|| format!("no key {id}"))?;
        if key.token != token {
            return Err("session token".to_owned());
        }
        if key.expires.is_some_and(|expires| expires <= now) {
            return Err(format!("key {id} has expired"));
        }
        let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let canonical = format!("GET\n/mqtt\n{}\nhost:{host}\n\nhost\n{empty}", query.join("&"));
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut secret = format!("AWS4{}", key.secret).into_bytes();
        for part in scope.split('/') {
            secret = mac(&secret, part);
        }
        match hex(&mac(&secret, &text)) == signature {
            true => Ok(id.to_owned()),
            false => Err("signature".to_owned()),
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261130T080102Z`.
fn moment(text: &str) -> Option<Timestamp> {
    let part = |from: usize, to: usize| text.get(from..to);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(9, 11)?,
        part(11, 13)?,
        part(13, 15)?
    );
    Timestamp::parse_rfc3339(&text)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                bytes.push(u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
