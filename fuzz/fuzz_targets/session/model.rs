//! The model: what was published, who must get it, and who may.

use std::time::Duration;

use hearthlink::{
    broker::fuzzing::{Held, House},
    model::{Topic, TopicFilter},
    store::Store,
};

use crate::{
    Step,
    client::{Client, Connection, Outgoing, Session},
    wire::{Packet, Publish, packet, text},
};

const CLIENTS: [&str; 3] = ["c0", "c/1", "c#+$2"];
const TOPICS: [&str; 3] = ["t/a", "t/b", "öl/heizung"];
const FILTERS: [&str; 7] = ["t/a", "t/+", "t/#", "#", "öl/heizung", "t/b", "$share/g/t/+"];

/// A message that was published.
struct Published {
    topic: usize,
    qos: u8,
    /// Clients; behind them, their wills.
    publisher: usize,
    /// It was sent again over a crash or with QoS 1: it may come again.
    may_repeat: bool,
    /// It was not acknowledged before a crash and not sent again since.
    is_forgotten: bool,
    /// The sessions that it is for, if its publisher is acknowledged: client and incarnation.
    audience: Vec<(usize, u64)>,
}

impl Published {
    /// It is no longer surely for those who have ended the subscription meanwhile.
    fn narrow(&mut self, clients: &[Client]) {
        let topic = self.topic;
        self.audience.retain(|(index, _)| {
            clients[*index].session.as_ref().is_some_and(|session| wants(session, topic))
        });
    }
}

pub struct Model {
    house: House,
    clients: [Client; CLIENTS.len()],
    published: Vec<Published>,
    /// The disk has refused something, and what was acknowledged since then is in memory only.
    is_excused: bool,
    /// Somebody has sent wild bytes, which may be messages; they outlive their publisher's session.
    has_strange: bool,
    /// Whether to print what happens (`TRACE=1`).
    is_traced: bool,
}

fn matches(filter: &str, topic: usize) -> bool {
    let (filter, topic) =
        (TopicFilter::parse(filter).expect("a filter"), Topic::parse(TOPICS[topic]).expect("a topic"));
    filter.matches(&topic)
}

/// Whether a QoS 1 or 2 message on a topic is surely for this session.
fn wants(session: &Session, topic: usize) -> bool {
    let mut subscriptions = session.subscriptions.iter();
    subscriptions.any(|(filter, qos)| !filter.starts_with('$') && *qos > 0 && matches(filter, topic))
}

impl Model {
    pub fn new(store: Store) -> Self {
        let house = House::new(store).expect("a house");
        let is_traced = std::env::var_os("TRACE").is_some();
        Self {
            house,
            clients: Default::default(),
            published: Vec::new(),
            is_excused: false,
            has_strange: false,
            is_traced,
        }
    }

    /// Lets the broker do all that it can, and reads what it says.
    async fn settle(&mut self) {
        for _ in 0..3 {
            // Time stands still until nobody can go on.
            tokio::time::sleep(Duration::from_millis(5)).await;
            for index in 0..CLIENTS.len() {
                self.listen(index).await;
            }
        }
    }

    pub async fn step(&mut self, step: Step) {
        if self.is_traced {
            eprintln!("{step:?}");
        }
        match step {
            Step::Connect { client, version, clean, persistent, receive_maximum, aliases, will } => {
                let version = [3, 4, 5][usize::from(version % 3)];
                let wishes = (receive_maximum, aliases, will);
                self.connect(usize::from(client) % CLIENTS.len(), version, clean, persistent, wishes).await;
            }
            Step::Drop { client } => self.leave(usize::from(client) % CLIENTS.len(), false).await,
            Step::Disconnect { client } => self.leave(usize::from(client) % CLIENTS.len(), true).await,
            Step::Subscribe { client, filter, qos, retain_handling } => {
                self.subscribe(
                    usize::from(client) % CLIENTS.len(),
                    usize::from(filter) % FILTERS.len(),
                    qos % 3,
                    retain_handling % 3,
                )
                .await;
            }
            Step::Unsubscribe { client, filter } => {
                let filter = FILTERS[usize::from(filter) % FILTERS.len()];
                let client = &mut self.clients[usize::from(client) % CLIENTS.len()];
                if let (Some(connection), Some(session)) = (&mut client.connection, &mut client.session) {
                    session.subscriptions.remove(filter);
                    connection.will_be_at_most(filter, 0);
                    session.is_unsaved = true;
                    let properties: &[u8] = if connection.is_five() { &[0] } else { &[] };
                    connection.send(&packet(0xA2, &[&[0, 9], properties, &text(filter)].concat())).await;
                }
            }
            Step::Publish { client, topic, qos, retain, empty } => {
                let (client, topic) =
                    (usize::from(client) % CLIENTS.len(), usize::from(topic) % TOPICS.len());
                self.publish(client, topic, qos % 3, retain, empty && retain).await;
            }
            Step::Acknowledge { client, which } => {
                self.acknowledge(usize::from(client) % CLIENTS.len(), usize::from(which)).await;
            }
            Step::WildAcknowledge { client, kind, id } => {
                let client = usize::from(client) % CLIENTS.len();
                let (kind, id) = (4 + kind % 4, u16::from(id % 8) + 1);
                self.acknowledge_with(client, kind, id).await;
            }
            Step::Ping { client } => {
                if let Some(connection) = &mut self.clients[usize::from(client) % CLIENTS.len()].connection {
                    connection.pings += 1;
                    connection.send(&[0xC0, 0]).await;
                }
            }
            Step::Raw { client, bytes } => {
                let client = &mut self.clients[usize::from(client) % CLIENTS.len()];
                if let (Some(connection), Some(session)) = (&mut client.connection, &mut client.session) {
                    self.has_strange = true;
                    connection.is_wild = true;
                    session.is_tainted = true;
                    connection.send(&bytes).await;
                }
            }
            Step::Save { all } => self.save(all),
            Step::FailToSave => {
                self.house.fail_to_save();
                self.is_excused = true;
            }
            Step::PullThePlug => self.pull_the_plug().await,
        }
        self.settle().await;
    }

    fn save(&mut self, all: bool) {
        self.house.save(all);
        self.is_excused &= !all;
        for client in &mut self.clients {
            if let Some(session) = &mut client.session {
                session.is_unsaved = false;
            }
        }
    }

    async fn pull_the_plug(&mut self) {
        self.house.pull_the_plug().await;
        if self.is_excused {
            // Anything older than the refusal may be back.
            for client in &mut self.clients {
                client.incarnations += 1;
                let incarnation = client.incarnations;
                client.session = Some(Session {
                    incarnation,
                    is_persistent: true,
                    was_persistent: true,
                    is_tainted: true,
                    is_uncertain: true,
                    ..Session::default()
                });
            }
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            client.connection = None;
            // A CONNACK that said so has put an end to what the disk may have had.
            if client
                .session
                .as_ref()
                .is_some_and(|session| !session.is_persistent && !session.was_persistent)
            {
                client.session = None;
                client.outgoing.clear();
            }
            if let Some(session) = &mut client.session {
                session.is_uncertain |= session.is_unsaved || !session.is_persistent;
            }
            for (number, published) in self.published.iter_mut().enumerate() {
                if published.publisher % CLIENTS.len() == index && number > 0 {
                    published.may_repeat = true;
                }
            }
        }
        self.forget_unacknowledged();
    }

    /// What clients had sent and was not acknowledged may have been forgotten with the ids: they send it
    /// again, and it is for whoever subscribes then.
    fn forget_unacknowledged(&mut self) {
        let outgoing = self.clients.iter().flat_map(|client| client.outgoing.values());
        for number in outgoing.map(|outgoing| outgoing.number as usize) {
            let published = &mut self.published[number];
            published.may_repeat = true;
            published.is_forgotten = true;
            published.narrow(&self.clients);
        }
    }

    async fn connect(
        &mut self,
        index: usize,
        version: u8,
        clean: bool,
        persistent: bool,
        (window, aliases, will): (u8, u8, bool),
    ) {
        let Some(stream) = self.house.enter() else { return };
        let five = version == 5;
        let is_persistent = if five { persistent } else { !clean };
        let window = if five { usize::from(window % 5) + 1 } else { usize::from(u16::MAX) };
        let mut connection = Connection::new(stream, version, window);
        let mut flags = if clean { 2 } else { 0 };
        let mut rest = text(CLIENTS[index]);
        if will {
            flags |= 0x0C;
            let number = self.number(0, 1, CLIENTS.len() + index);
            if five {
                rest.push(0);
            }
            rest.extend([text(TOPICS[0]), [&[0, 4], &number.to_be_bytes()[..]].concat()].concat());
        }
        let name = if version == 3 { "MQIsdp" } else { "MQTT" };
        let mut head = [text(name), vec![version, flags, 0, 0]].concat();
        if five {
            let mut properties = vec![0x21, 0, window as u8, 0x22, 0, aliases % 3];
            if persistent {
                properties.extend([0x11, 255, 255, 255, 255]);
            }
            head.push(properties.len() as u8);
            head.extend(properties);
        }
        connection.send(&packet(0x10, &[head, rest].concat())).await;
        // The old connection, if any, is taken over before it is dropped.
        let old = self.clients[index].connection.replace(connection);
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(old);
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else { return };
        let mut packets = connection.packets().await;
        if packets.is_empty() {
            // The session that it replaces must be forgotten by the disk first.
            self.save(false);
            tokio::time::sleep(Duration::from_millis(5)).await;
            let Some(connection) = &mut self.clients[index].connection else { return };
            packets = connection.packets().await;
        }
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else { return };
        let Some(Packet::Connack { present, code: 0 }) = packets.first() else {
            panic!("{packets:?} and no CONNACK");
        };
        connection.is_accepted = true;
        let is_kept = match &client.session {
            _ if clean => false,
            None => false,
            Some(session) if session.is_uncertain || session.is_tainted || version == 3 => {
                if version == 3 && !session.is_uncertain && !session.is_tainted { true } else { *present }
            }
            Some(_) => true,
        };
        if version != 3 {
            assert_eq!(*present, is_kept, "session present");
        }
        if is_kept {
            let session = client.session.as_mut().expect("it is kept");
            session.is_persistent = is_persistent;
            session.was_persistent |= is_persistent;
            if !is_persistent {
                // It ends with the power.
                session.owed.clear();
            }
        } else {
            // MQTT 3.1 does not say whether an uncertain one is lost.
            let is_lost = |session: &Session| !session.is_tainted && !clean && version != 3;
            if let Some(session) = client.session.take().filter(is_lost) {
                assert!(session.owed.is_empty(), "a session was lost that is owed {:?}", session.owed);
            }
            client.incarnations += 1;
            client.outgoing.clear();
            let incarnation = client.incarnations;
            client.session = Some(Session {
                incarnation,
                is_persistent,
                was_persistent: is_persistent,
                is_tainted: version == 3 && !clean,
                ..Session::default()
            });
        }
        if let Some(session) = &mut client.session {
            session.is_unsaved = true;
        }
        for packet in packets.into_iter().skip(1) {
            self.take(index, packet).await;
        }
        self.send_again(index).await;
    }

    /// What a client must send again, and does (section 4.4).
    async fn send_again(&mut self, index: usize) {
        // The broker owns a message only from its acknowledgement on (section 4.3). What a crash made it
        // forget comes to it now as for the first time, and so does what has QoS 1, which nobody knows again:
        // both go, and are acknowledged, by the subscriptions of now. Who has gone down to QoS 0 before this
        // need not get it.
        for outgoing in self.clients[index].outgoing.values().filter(|outgoing| !outgoing.is_received) {
            let published = &mut self.published[outgoing.number as usize];
            if std::mem::take(&mut published.is_forgotten) || outgoing.qos == 1 {
                published.narrow(&self.clients);
            }
        }
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else { return };
        for (id, outgoing) in &client.outgoing {
            let published = &mut self.published[outgoing.number as usize];
            if outgoing.is_received {
                connection.send(&packet(0x62, &id.to_be_bytes())).await;
            } else {
                published.may_repeat |= outgoing.qos == 1;
                let first = 0x38 | outgoing.qos << 1;
                let bytes = message(connection.is_five(), first, published.topic, *id, outgoing.number);
                connection.send(&bytes).await;
            }
        }
    }

    async fn leave(&mut self, index: usize, politely: bool) {
        let client = &mut self.clients[index];
        let Some(mut connection) = client.connection.take() else { return };
        if politely {
            connection.send(&[0xE0, 0]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(connection);
        if client.session.as_ref().is_some_and(|session| !session.is_persistent && !session.is_tainted) {
            client.session = None;
            client.outgoing.clear();
        }
    }

    async fn subscribe(&mut self, index: usize, filter: usize, qos: u8, retain_handling: u8) {
        let client = &mut self.clients[index];
        let (Some(connection), Some(session)) = (&mut client.connection, &mut client.session) else { return };
        let filter = FILTERS[filter];
        if let Some(old) = session.subscriptions.get_mut(filter) {
            *old = qos.min(*old);
        }
        connection.will_be_at_most(filter, qos);
        let ever = session.ever.entry(filter).or_default();
        *ever = qos.max(*ever);
        session.is_unsaved = true;
        connection.subscribes.push_back((filter, qos));
        let (properties, options): (&[u8], u8) =
            if connection.is_five() { (&[0], qos | retain_handling << 4) } else { (&[], qos) };
        connection.send(&packet(0x82, &[&[0, 9], properties, &text(filter), &[options]].concat())).await;
    }

    fn number(&mut self, topic: usize, qos: u8, publisher: usize) -> u32 {
        let (may_repeat, is_forgotten) = (false, false);
        self.published.push(Published {
            topic,
            qos,
            publisher,
            may_repeat,
            is_forgotten,
            audience: Vec::new(),
        });
        self.published.len() as u32 - 1
    }

    async fn publish(&mut self, index: usize, topic: usize, qos: u8, retain: bool, empty: bool) {
        if self.clients[index].connection.is_none() {
            return;
        }
        let number = self.number(topic, qos, index);
        if !empty && qos > 0 {
            let audience = self.clients.iter().enumerate().filter_map(|(index, client)| {
                let session = client.session.as_ref()?;
                let counts = session.is_persistent && !session.is_tainted && wants(session, topic);
                counts.then_some((index, session.incarnation))
            });
            self.published[number as usize].audience = audience.collect();
        }
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else { return };
        let mut id = 0;
        if qos > 0 {
            loop {
                client.last_id = client.last_id % 100 + 1;
                if !client.outgoing.contains_key(&client.last_id) {
                    break;
                }
            }
            id = client.last_id;
            client.outgoing.insert(id, Outgoing { number, qos, is_received: false });
        }
        let first = 0x30 | qos << 1 | u8::from(retain);
        let mut bytes = message(connection.is_five(), first, topic, id, number);
        if empty {
            bytes.truncate(bytes.len() - 4);
            bytes[1] -= 4;
        }
        connection.send(&bytes).await;
    }

    async fn acknowledge(&mut self, index: usize, which: usize) {
        let Some(connection) = &self.clients[index].connection else { return };
        let all: Vec<(u16, u8)> = connection
            .open
            .iter()
            .map(|(id, qos)| (*id, *qos))
            .chain(connection.to_complete.iter().map(|id| (*id, 3)))
            .collect();
        if let Some((id, stage)) = all.get(which % all.len().max(1)) {
            self.acknowledge_with(index, [0, 4, 5, 7][usize::from(*stage)], *id).await;
        }
    }

    async fn acknowledge_with(&mut self, index: usize, kind: u8, id: u16) {
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else { return };
        match kind {
            4 if connection.open.get(&id) == Some(&1) => drop(connection.open.remove(&id)),
            7 => connection.to_complete.retain(|other| *other != id),
            // PUBREL ends what the client itself has published.
            6 if client.outgoing.get(&id).is_some_and(|outgoing| outgoing.qos == 2) => {
                let outgoing = client.outgoing.get_mut(&id).expect("it is there");
                if !outgoing.is_received {
                    return;
                }
            }
            _ => {}
        }
        let first = if kind == 6 { 0x62 } else { kind << 4 };
        connection.send(&packet(first, &id.to_be_bytes())).await;
    }

    async fn listen(&mut self, index: usize) {
        let Some(connection) = &mut self.clients[index].connection else { return };
        let packets = connection.packets().await;
        for packet in packets {
            self.take(index, packet).await;
        }
        let client = &mut self.clients[index];
        let Some(connection) = &client.connection else { return };
        if connection.is_over {
            assert!(connection.is_wild, "the broker hung up on a good client");
            client.connection = None;
        } else if !connection.is_wild {
            assert_eq!(connection.pings, 0, "a ping was not answered");
        }
    }

    async fn take(&mut self, index: usize, packet_in: Packet) {
        let client = &mut self.clients[index];
        if self.is_traced {
            eprintln!("    to {}: {packet_in:?}", CLIENTS[index]);
        }
        let Some(connection) = &mut client.connection else { return };
        match packet_in {
            Packet::Publish(publish) => self.receive(index, publish),
            Packet::Pong => connection.pings = connection.pings.saturating_sub(1),
            Packet::Suback { codes } => {
                assert!(connection.is_wild || codes.iter().all(|code| *code < 3), "{codes:?}");
                if let (Some((filter, qos)), Some(session)) =
                    (connection.subscribes.pop_front(), &mut client.session)
                {
                    session.subscriptions.insert(filter, qos);
                }
            }
            Packet::Ack { kind: 6, id, .. } => {
                let was_received =
                    client.session.as_mut().is_some_and(|session| session.received.remove(&id).is_some());
                if connection.open.get(&id) == Some(&2) {
                    connection.open.remove(&id);
                    connection.to_complete.push(id);
                } else if was_received {
                    connection.to_complete.push(id);
                } else {
                    // It answers a PUBREC for nothing or a second one, or the client is done with it
                    // long since.
                    connection.to_complete.retain(|other| *other != id);
                    connection.send(&packet(0x70, &id.to_be_bytes())).await;
                }
            }
            Packet::Ack { kind: 7, id, .. } => drop(client.outgoing.remove(&id)),
            Packet::Ack { kind, id, code } => {
                let Some(outgoing) = client.outgoing.get_mut(&id).filter(|_| code < 0x80) else { return };
                if u8::from(kind == 5) + 1 != outgoing.qos {
                    assert!(connection.is_wild, "the wrong acknowledgement");
                    return;
                }
                let number = outgoing.number;
                if kind == 4 {
                    client.outgoing.remove(&id);
                } else {
                    outgoing.is_received = true;
                    connection.send(&packet(0x62, &id.to_be_bytes())).await;
                }
                // What a client of wild bytes is acknowledged may be a PUBLISH of those bytes, under the same id.
                if connection.is_wild || client.session.as_ref().is_some_and(|session| session.is_tainted) {
                    return;
                }
                for (index, incarnation) in self.published[number as usize].audience.clone() {
                    if let Some(session) = &mut self.clients[index].session
                        && session.incarnation == incarnation
                        && session.is_persistent
                        && !session.seen.contains(&number)
                    {
                        session.owed.insert(number);
                    }
                }
            }
            Packet::Connack { .. } => panic!("a second CONNACK"),
            Packet::Unsuback | Packet::Disconnect => {}
        }
    }

    fn receive(&mut self, index: usize, publish: Publish) {
        let client = &mut self.clients[index];
        let (Some(connection), Some(session)) = (&mut client.connection, &mut client.session) else { return };
        let topic = match publish.alias {
            Some(alias) if publish.topic.is_empty() => connection.aliases[&alias].clone(),
            Some(alias) => {
                connection.aliases.insert(alias, publish.topic.clone());
                publish.topic.clone()
            }
            None => publish.topic.clone(),
        };
        if publish.qos > 0 {
            let was_open = connection.open.insert(publish.id, publish.qos);
            if !connection.is_wild {
                assert_eq!(was_open, None, "packet id {} is in use", publish.id);
                assert!(!connection.to_complete.contains(&publish.id), "packet id {} is in use", publish.id);
                let on_their_way = connection.open.len() + connection.to_complete.len();
                assert!(on_their_way <= connection.window, "{on_their_way} at a time");
            }
        }
        let Ok(number) = <[u8; 4]>::try_from(&publish.payload[..]).map(u32::from_be_bytes) else {
            assert!(publish.payload.is_empty() || self.has_strange, "nobody has published this");
            return;
        };
        let Some(published) = self.published.get(number as usize) else { return };
        if session.is_tainted || connection.is_wild {
            session.seen.insert(number);
            return;
        }
        if topic != TOPICS[published.topic] && self.has_strange {
            return;
        }
        assert_eq!(topic, TOPICS[published.topic]);
        let best = session
            .ever
            .iter()
            .filter(|(filter, _)| matches(filter, published.topic))
            .map(|(_, qos)| *qos)
            .max();
        let best = best.unwrap_or_else(|| panic!("{topic} was not subscribed to"));
        assert!(
            publish.qos <= best.min(published.qos),
            "QoS {} of {best} and {}",
            publish.qos,
            published.qos
        );
        let has_share = session.ever.keys().any(|filter| filter.starts_with('$'));
        let is_new = publish.qos < 2 || session.received.insert(publish.id, number) != Some(number);
        if publish.retain {
            return;
        }
        if publish.qos == 2 && is_new && !published.may_repeat && !has_share {
            assert!(!session.seen.contains(&number), "a QoS 2 message came twice: {number}");
        }
        session.owed.remove(&number);
        let is_first = session.seen.insert(number);
        let last = session.last.entry((published.publisher, published.topic)).or_default();
        if is_first && !publish.dup && !published.may_repeat && !has_share {
            assert!(*last <= number, "{number} came behind {last}");
        }
        *last = (*last).max(number);
    }

    /// Everybody comes back once more and gets what is owed; then all leave for good.
    pub async fn end(mut self) {
        for index in 0..CLIENTS.len() {
            self.leave(index, true).await;
        }
        self.settle().await;
        for index in 0..CLIENTS.len() {
            if self.clients[index].session.as_ref().is_some_and(|session| !session.is_tainted) {
                self.connect(index, 5, false, true, (4, 1, false)).await;
            }
        }
        for _ in 0..2 {
            self.save(true);
            self.settle().await;
        }
        for _ in 0..2_000 {
            let mut was_busy = false;
            for index in 0..CLIENTS.len() {
                let busy = |client: &Client| {
                    client.connection.as_ref().is_some_and(|connection| {
                        !connection.open.is_empty() || !connection.to_complete.is_empty()
                    })
                };
                if busy(&self.clients[index]) {
                    was_busy = true;
                    self.acknowledge(index, 0).await;
                }
            }
            if !was_busy {
                break;
            }
            self.save(true);
            self.settle().await;
        }
        for client in &self.clients {
            if let (Some(connection), Some(session)) = (&client.connection, &client.session)
                && !session.is_tainted
                && !connection.is_wild
            {
                assert!(session.owed.is_empty(), "never came: {:?}", session.owed);
                assert!(connection.subscribes.is_empty(), "a SUBSCRIBE was not answered");
                assert!(client.outgoing.is_empty(), "never acknowledged: {:?}", client.outgoing);
            }
        }
        for index in 0..CLIENTS.len() {
            self.leave(index, true).await;
            self.connect(index, 4, true, false, (0, 0, false)).await;
            self.leave(index, true).await;
        }
        self.settle().await;
        self.save(true);
        assert_eq!(self.house.held(), Held { queued_bytes: 0, sessions: 0, on_disk: 0, rows: 0 });
    }
}

fn message(five: bool, first: u8, topic: usize, id: u16, number: u32) -> Vec<u8> {
    let id: &[u8] = if id == 0 { &[] } else { &id.to_be_bytes() };
    let properties: &[u8] = if five { &[0] } else { &[] };
    packet(first, &[&text(TOPICS[topic]), id, properties, &number.to_be_bytes()].concat())
}
