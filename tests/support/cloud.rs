//! A cloud that writes down exactly what it took and can die at any instant.
//!
//! MQTT 5 over WebSockets over TLS, for one gateway. Every publish is in the diary before its PUBACK leaves, so what
//! was acknowledged was recorded: no broker that other people wrote can be killed and asked that afterwards.
//! Mosquitto, for one, forgets what it acknowledged since its last save, which is its loss and not the gateway's.
//! It refuses MQTT 3.1.1 in so many words, because 3.1.1 carries no message id. Invariants: commands go out in the
//! order in which they were asked, never more unacknowledged ones than the gateway takes; nothing is recorded for a
//! connection that is not the last one, nor while the cloud is dead.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_tungstenite::tokio::{TokioAdapter, accept_hdr_async};
use bytes::{Buf, Bytes, BytesMut};
use hearthlink::{
    demo::certificates::IdentityFiles,
    model::{Timestamp, TopicFilter},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use ws_stream_tungstenite::WsStream;

use super::{
    history::{Diary, Event, Outcome, Receipt, Text},
    peer::{self, CONNACK, CONNECT, PUBACK, PUBLISH, SUBSCRIBE},
    raw,
};

type Line = WsStream<TokioAdapter<TlsStream<TcpStream>>>;

/// The cloud; cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    acceptor: TlsAcceptor,
    /// `<prefix>/<gateway>/`.
    root: String,
    diary: Diary,
    state: Mutex<State>,
    /// Counts whatever a connection may have to send now.
    news: watch::Sender<u64>,
}

struct State {
    random: fastrand::Rng,
    /// Ends every connection and the listener; `None`: dead.
    life: Option<CancellationToken>,
    /// The connection that counts.
    connection: u64,
    /// Whether it is there: CONNECT came, and no end.
    is_open: bool,
    current: CancellationToken,
    session: Option<Session>,
    forgotten: Vec<Text>,
    told: HashSet<Text>,
}

#[derive(Default)]
struct Session {
    filters: Vec<TopicFilter>,
    waiting: VecDeque<Order>,
    next_packet: u16,
    receive_maximum: usize,
}

/// A message for the gateway.
struct Order {
    packet: u16,
    topic: String,
    payload: Bytes,
    /// The command in it; `None`: the gateway's own fence.
    command: Option<Text>,
    /// When the cloud was asked for it, by the diary's clock.
    asked: Duration,
    /// The connection on which it went out last; 0: on none.
    sent_on: u64,
}

impl Cloud {
    /// A cloud that is dead until [`Cloud::revive`].
    pub fn new(server: &IdentityFiles, root: &str, diary: Diary, seed: u64) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            life: None,
            connection: 0,
            is_open: false,
            current: CancellationToken::new(),
            session: None,
            forgotten: Vec::new(),
            told: HashSet::new(),
        };
        Self(Arc::new(Inner {
            acceptor: peer::acceptor(server, None, &versions),
            root: root.to_owned(),
            diary,
            state: Mutex::new(state),
            news: watch::Sender::new(0),
        }))
    }

    /// Listens again, on a new port.
    pub async fn revive(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let life = CancellationToken::new();
        let before = self.0.state.lock().unwrap().life.replace(life.clone());
        assert!(before.is_none(), "the cloud lives already");
        self.0.diary.mark("the cloud is back");
        let inner = self.0.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = life.run_until_cancelled(listener.accept()).await {
                let (inner, life) = (inner.clone(), life.clone());
                // Cancel safety: what is cut off anywhere is what a kill leaves.
                tokio::spawn(async move { life.run_until_cancelled(inner.serve(stream)).await });
            }
        });
        address
    }

    /// Dies at once. What it recorded it has; its session it keeps or forgets.
    pub fn kill(&self, keeps_session: bool) {
        let mut state = self.0.state.lock().unwrap();
        let Some(life) = state.life.take() else { return };
        life.cancel();
        // From here on nothing that still runs is the last connection.
        state.connection += 1;
        state.is_open = false;
        if !keeps_session && let Some(session) = state.session.take() {
            state.forgotten.extend(session.waiting.into_iter().filter_map(|order| order.command));
        }
        drop(state);
        let memory = if keeps_session { "keeps" } else { "forgets" };
        self.0.diary.mark(format!("the cloud is killed and {memory} the session"));
    }

    /// Takes a command for the gateway from a phone and writes it down; false when there is no cloud, or no session
    /// to keep it for.
    pub fn ask(&self, device: &str, id: &Text, payload: String, event: Event) -> bool {
        let topic = format!("{}{device}/set", self.0.root);
        let mut state = self.0.state.lock().unwrap();
        let is_kept =
            state.life.is_some() && state.route(topic, payload.into(), Some(id.clone()), self.0.diary.now());
        if is_kept {
            // Before anything can come of it: no connection sends without the lock.
            self.0.diary.write(event);
        }
        drop(state);
        self.0.tell();
        is_kept
    }

    /// The commands that it forgot since this was last asked, unacknowledged.
    pub fn forgotten(&self) -> Vec<Text> {
        std::mem::take(&mut self.0.state.lock().unwrap().forgotten)
    }

    /// Whether an outcome of this command has come.
    pub fn is_told(&self, id: &Text) -> bool {
        self.0.state.lock().unwrap().told.contains(id)
    }

    pub fn is_alive(&self) -> bool {
        self.0.state.lock().unwrap().life.is_some()
    }

    /// Whether the gateway is connected, as far as can be seen here.
    pub fn is_connected(&self) -> bool {
        self.0.state.lock().unwrap().is_open
    }

    /// How many messages wait for the gateway or for its acknowledgement.
    pub fn waiting(&self) -> usize {
        let state = self.0.state.lock().unwrap();
        state.session.as_ref().map_or(0, |session| session.waiting.len())
    }
}

impl State {
    fn route(&mut self, topic: String, payload: Bytes, command: Option<Text>, asked: Duration) -> bool {
        let Some(session) = &mut self.session else { return false };
        let is_wanted = hearthlink::model::Topic::parse(&topic)
            .is_ok_and(|topic| session.filters.iter().any(|filter| filter.matches(&topic)));
        if is_wanted {
            session.next_packet = session.next_packet % 60_000 + 1;
            let packet = session.next_packet;
            session.waiting.push_back(Order { packet, topic, payload, command, asked, sent_on: 0 });
        }
        is_wanted
    }
}

impl Inner {
    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let is_abrupt = self.state.lock().unwrap().random.bool();
        if is_abrupt {
            // The end of this connection, whenever it comes, is a reset.
            let _ = stream.set_zero_linger();
        }
        let _ = stream.set_nodelay(true);
        let Ok(stream) = self.acceptor.accept(stream).await else { return };
        let Ok(socket) = accept_hdr_async(stream, peer::Upgrade::default()).await else { return };
        let mut line: Line = WsStream::new(socket);
        let mut buffer = BytesMut::new();
        let Some((first, body)) = next_packet(&mut line, &mut buffer).await else { return };
        if first >> 4 != CONNECT {
            return;
        }
        let Some(hello) = Hello::parse(body) else {
            // CONNACK of MQTT 3.1.1: unacceptable protocol version.
            let _ = line.write_all(&[0x20, 2, 0, 1]).await;
            let _ = line.flush().await;
            return;
        };
        let Some((number, gone, is_present)) = self.connect(&hello) else { return };
        let connack = if is_present { [0x20, 3, 1, 0, 0] } else { CONNACK };
        if line.write_all(&connack).await.is_ok() && line.flush().await.is_ok() {
            // Cancel safety: another connection of the same gateway takes over, and this one counts no more.
            gone.run_until_cancelled(self.talk(&mut line, buffer, number)).await;
        }
        let mut state = self.state.lock().unwrap();
        state.is_open &= state.connection != number;
    }

    /// The number of the connection, what ends it, and whether there is a session; `None`: the cloud is dead.
    fn connect(&self, hello: &Hello) -> Option<(u64, CancellationToken, bool)> {
        let mut state = self.state.lock().unwrap();
        state.life.as_ref()?;
        state.current.cancel();
        state.current = CancellationToken::new();
        state.connection += 1;
        state.is_open = true;
        if hello.is_clean
            && let Some(session) = state.session.take()
        {
            state.forgotten.extend(session.waiting.into_iter().filter_map(|order| order.command));
        }
        let is_present = state.session.is_some();
        state.session.get_or_insert_default().receive_maximum = hello.receive_maximum;
        Some((state.connection, state.current.clone(), is_present))
    }

    async fn talk(&self, line: &mut Line, mut buffer: BytesMut, number: u64) {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            let due = self.due(number);
            if !due.is_empty() && (line.write_all(&due).await.is_err() || line.flush().await.is_err()) {
                return;
            }
            // Cancel safety: `read_buf` and `changed` lose nothing when dropped.
            tokio::select! {
                read = line.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
                _ = news.changed() => continue,
            }
            let mut answers = Vec::new();
            while let Some((first, body)) = take_packet(&mut buffer) {
                match self.answer(number, first, body) {
                    Some(answer) => answers.extend(answer),
                    None => return,
                }
            }
            if answers.is_empty() {
                continue;
            }
            // Time to die between what is recorded and its acknowledgement.
            let pause = self.pause();
            if !pause.is_zero() {
                sleep(pause).await;
            }
            if line.write_all(&answers).await.is_err() || line.flush().await.is_err() {
                return;
            }
        }
    }

    fn pause(&self) -> Duration {
        let random = &mut self.state.lock().unwrap().random;
        match random.u8(..) {
            0..3 => Duration::from_millis(random.u64(100..400)),
            3..64 => Duration::from_millis(random.u64(1..10)),
            _ => Duration::ZERO,
        }
    }

    /// What may go out now, as bytes.
    fn due(&self, number: u64) -> Vec<u8> {
        let mut state = self.state.lock().unwrap();
        if state.connection != number {
            return Vec::new();
        }
        let Some(session) = &mut state.session else { return Vec::new() };
        let maximum = session.receive_maximum;
        let mut bytes = Vec::new();
        for order in session.waiting.iter_mut().take(maximum).filter(|order| order.sent_on != number) {
            let dup = if order.sent_on == 0 { 0 } else { 8 };
            order.sent_on = number;
            if let Some(id) = order.command.clone() {
                self.diary.write(Event::Handed { id, connection: number, asked: order.asked });
            }
            bytes.extend(raw::publish5(2 | dup, &order.topic, order.packet, &[], &order.payload));
        }
        bytes
    }

    /// What a packet of the gateway is answered; `None`: the connection counts no more, or is over.
    fn answer(&self, number: u64, first: u8, mut body: Bytes) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        if state.connection != number {
            return None;
        }
        match first >> 4 {
            PUBLISH => self.record(&mut state, first, body),
            PUBACK => {
                let packet = body.get_u16();
                let waiting = &mut state.session.as_mut()?.waiting;
                let sent = |order: &Order| order.packet == packet && order.sent_on == number;
                match waiting.iter().position(sent).and_then(|at| waiting.remove(at)) {
                    Some(Order { command: Some(id), .. }) => self.diary.write(Event::Taken { id }),
                    Some(Order { command: None, .. }) => {}
                    None => self.diary.write(Event::Stray { connection: number, packet }),
                }
                drop(state);
                self.tell();
                Some(Vec::new())
            }
            SUBSCRIBE => {
                let packet = body.get_u16();
                skip_properties(&mut body);
                let session = state.session.as_mut()?;
                let mut reasons = Vec::new();
                while body.has_remaining() {
                    let length = usize::from(body.get_u16());
                    let text = String::from_utf8(body.split_to(length).to_vec()).unwrap();
                    let filter = TopicFilter::parse(&text).unwrap();
                    if !session.filters.contains(&filter) {
                        session.filters.push(filter);
                    }
                    reasons.push(body.get_u8() & 1);
                }
                Some(raw::packet(0x90, &[&packet.to_be_bytes()[..], &[0], &reasons].concat()))
            }
            12 => Some(vec![0xd0, 0]),
            _ => None,
        }
    }

    /// Writes a publish down and makes its PUBACK.
    fn record(&self, state: &mut State, first: u8, mut body: Bytes) -> Option<Vec<u8>> {
        let length = usize::from(body.get_u16());
        let topic = String::from_utf8(body.split_to(length).to_vec()).unwrap();
        let packet = if first & 6 == 0 { 0 } else { body.get_u16() };
        let id = message_id(&mut body);
        let answer = if packet == 0 { Vec::new() } else { peer::puback(packet).to_vec() };
        let Some(below) = topic.strip_prefix(&self.root) else { return Some(answer) };
        match below {
            "bridge/fence" => {
                // Both under the lock: what is asked for later stands behind it.
                let now = self.diary.now();
                if state.route(topic, body, None, now) {
                    self.diary.write(Event::Fence { connection: state.connection });
                }
                self.tell();
                return Some(answer);
            }
            // It never stops in order here, and nobody publishes its last will.
            "bridge/state" if &*body == b"online" => return Some(answer),
            _ => {}
        }
        let payload = String::from_utf8_lossy(&body).into_owned();
        let is_result = below.ends_with("/result");
        if is_result {
            let outcome: serde_json::Value = serde_json::from_str(&payload).unwrap_or_default();
            let text = |name: &str| outcome[name].as_str().unwrap_or_default();
            let id: Text = text("id").into();
            state.told.insert(id.clone());
            let decided = Timestamp::parse_rfc3339(text("at")).map_or(0, |at| at.as_millis());
            self.diary.write(Event::Told(Outcome {
                id,
                status: text("status").into(),
                reason: text("reason").into(),
                decided: self.diary.moment(u64::try_from(decided).unwrap_or(0)),
                is_duplicate: outcome["duplicate"] == true,
            }));
        }
        self.diary.write(Event::Received(Receipt {
            connection: state.connection,
            topic: below.into(),
            payload: payload.into(),
            id: id.map(Into::into),
            is_ours: is_result || !below.contains('/'),
        }));
        Some(answer)
    }
}

struct Hello {
    is_clean: bool,
    receive_maximum: usize,
}

impl Hello {
    /// `None`: not MQTT 5.
    fn parse(mut body: Bytes) -> Option<Self> {
        let name = usize::from(body.get_u16());
        body.advance(name);
        if body.get_u8() != 5 {
            return None;
        }
        let is_clean = body.get_u8() & 2 != 0;
        body.advance(2);
        let mut receive_maximum = 65_535;
        let mut properties = properties(&mut body);
        while properties.has_remaining() {
            match properties.get_u8() {
                0x21 => receive_maximum = properties.get_u16().into(),
                0x11 | 0x27 => properties.advance(4),
                0x22 => properties.advance(2),
                0x17 | 0x19 => properties.advance(1),
                // A user property or a text: nothing that we need comes after it.
                _ => break,
            }
        }
        Some(Self { is_clean, receive_maximum })
    }
}

fn properties(body: &mut Bytes) -> Bytes {
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = body.get_u8();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return body.split_to(length);
        }
    }
}

fn skip_properties(body: &mut Bytes) {
    properties(body);
}

/// Takes a publish's properties off and finds the user property `message-id` among them.
fn message_id(body: &mut Bytes) -> Option<String> {
    let mut properties = properties(body);
    let text = |from: &mut Bytes| {
        let length = usize::from(from.get_u16());
        String::from_utf8_lossy(&from.split_to(length)).into_owned()
    };
    let mut found = None;
    while properties.has_remaining() {
        match properties.get_u8() {
            0x26 => {
                let (name, value) = (text(&mut properties), text(&mut properties));
                if name == "message-id" {
                    assert!(found.replace(value).is_none(), "two message ids");
                }
            }
            0x01 => properties.advance(1),
            0x02 => properties.advance(4),
            0x03 | 0x08 | 0x09 => drop(text(&mut properties)),
            other => panic!("a property {other:#x} in a PUBLISH"),
        }
    }
    found
}

async fn next_packet(line: &mut Line, buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    loop {
        if let Some(packet) = take_packet(buffer) {
            return Some(packet);
        }
        if !matches!(line.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// A whole packet from the front: its first byte and what follows the length.
pub fn take_packet(buffer: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (mut length, mut shift, mut at) = (0usize, 0, 1);
    loop {
        let byte = *buffer.get(at)?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if buffer.len() < at + length {
        return None;
    }
    let first = buffer[0];
    buffer.advance(at);
    Some((first, buffer.split_to(length).freeze()))
}
