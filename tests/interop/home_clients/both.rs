//! What the broker promises in MQTT 3.1.1 and in MQTT 5 alike.

use super::{
    house::{House, Line, Version},
    station::{Kind, Station},
    words::{Login, Message, Post, Properties, Subscription},
};

pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// Runs a claim on every transport in each of `versions`; what a failing test shows last is the line it was at.
#[track_caller]
pub fn on_every_line(kind: Kind, versions: &[Version], claim: impl Fn(&Station, Line<'_>)) {
    let house = House::start();
    let station = Station::start(kind);
    for line in house.lines(versions) {
        eprintln!("{kind:?} over {}", line.name());
        claim(&station, line);
    }
}

pub fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::text).collect()
}

pub fn access(kind: Kind) {
    on_every_line(kind, &BOTH, |station, line| {
        let [bad_password, not_authorized] = if line.version == Version::V5 { [0x86, 0x87] } else { [4, 5] };
        let refusal = |login: Login| station.try_connect(login).map(|_| "let in").unwrap_err();
        let wrong = Login { password: Some("falsch".to_owned()), ..line.login("wrong") };
        assert_eq!(refusal(wrong), bad_password);
        let unknown = Login { user: Some("nobody".to_owned()), ..line.login("unknown") };
        assert_eq!(refusal(unknown), bad_password);
        let anonymous = Login { user: None, password: None, ..line.login("anonymous") };
        assert_eq!(refusal(anonymous), not_authorized);
        let right = station.connect(line.login("right"));
        assert!(!right.was_present);
        right.disconnect();
    });
}

pub fn round_trip(kind: Kind) {
    // MQTT 3.1 too, where a library still speaks it.
    let versions: &[Version] =
        if kind == Kind::Rumqttc { &BOTH } else { &[Version::V31, Version::V311, Version::V5] };
    on_every_line(kind, versions, |station, line| {
        let client = station.connect(line.login("echo"));
        client.subscribe(&line.topic("öl/#"), 2);
        let large: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let payloads = [b"21.5 \xc2\xb0C".to_vec(), Vec::new(), (0..=255).collect(), b"\0".to_vec(), large];
        let mut sent = Vec::new();
        for qos in [0, 1, 2] {
            for (number, payload) in payloads.iter().enumerate() {
                let topic = line.topic(&format!("öl/heizung/{number}"));
                sent.push(Message {
                    topic: topic.clone(),
                    payload: payload.clone(),
                    qos,
                    retain: false,
                    properties: Properties::default(),
                });
                client.post(Post { topic, payload: payload.clone(), qos, ..Post::default() });
                // One at a time: between qualities of service no order is promised.
                let got = client.take(1);
                assert!(got == sent[sent.len() - 1..], "{qos} {number}: {} came", got.len());
            }
        }
        assert_eq!(texts(&client.drain()), [""; 0], "not one more");
        client.unsubscribe(&line.topic("öl/#"));
        client.publish(&line.topic("öl/heizung"), 1, "unheard");
        assert_eq!(texts(&client.drain()), [""; 0]);
        client.disconnect();
    });
}

pub fn order(kind: Kind) {
    const COUNT: usize = 500;
    let expected: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    on_every_line(kind, &BOTH, |station, line| {
        let subscriber = station.connect(line.login("reader"));
        let publisher = station.connect(line.login("writer"));
        for qos in [1, 2] {
            let topic = line.topic(&format!("zähler/{qos}"));
            subscriber.subscribe(&topic, qos);
            publisher.burst(&topic, qos, COUNT);
            let got = subscriber.take(COUNT);
            assert_eq!(texts(&got), expected);
            assert!(got.iter().all(|message| message.qos == qos && message.topic == topic));
        }
        assert_eq!(texts(&subscriber.drain()), [""; 0], "not one more");
        publisher.disconnect();
        subscriber.disconnect();
    });
}

pub fn retained(kind: Kind) {
    on_every_line(kind, &BOTH, |station, line| {
        let topic = line.topic("heizung/öl");
        let post = |qos, payload: &str| Post {
            topic: topic.clone(),
            payload: payload.into(),
            qos,
            retain: true,
            ..Post::default()
        };
        let publisher = station.connect(line.login("boiler"));
        publisher.subscribe(&topic, 1);
        publisher.post(post(1, "old"));
        publisher.post(post(1, "21.5"));
        // Who is there already gets both as they come, without the flag.
        let heard = publisher.drain();
        assert_eq!(texts(&heard), ["old", "21.5"]);
        assert!(heard.iter().all(|message| !message.retain), "{heard:?}");

        let late = station.connect(line.login("phone"));
        late.subscribe(&topic, 1);
        late.subscribe(&line.topic("heizung/+"), 0);
        let got = late.drain();
        assert_eq!(texts(&got), ["21.5", "21.5"], "one for each subscription");
        assert!(got.iter().all(|message| message.retain && message.topic == topic), "{got:?}");
        assert_eq!([got[0].qos, got[1].qos], [1, 0]);

        // An empty message that is not to be retained clears nothing.
        publisher.publish(&topic, 1, "");
        assert_eq!(late.drain().len(), 1);
        late.unsubscribe(&topic);
        late.subscribe(&topic, 1);
        assert_eq!(texts(&late.drain()), ["21.5"]);

        publisher.post(post(1, ""));
        late.drain();
        let later = station.connect(line.login("clock"));
        later.subscribe(&topic, 1);
        assert_eq!(texts(&later.drain()), [""; 0]);
        for client in [publisher, late, later] {
            client.disconnect();
        }
    });
}

pub fn will(kind: Kind) {
    let house = House::start();
    let (watching, doomed) = (Station::start(kind), Station::start(kind));
    let with_will = |line: &Line<'_>, name: &str| {
        let will = Post {
            topic: line.topic(&format!("status/{name}")),
            payload: b"offline \xe2\x98\xa0".to_vec(),
            qos: 1,
            retain: true,
            ..Post::default()
        };
        Login { will: Some(will), ..line.login(name) }
    };
    let lines: Vec<Line<'_>> = house.lines(&BOTH).collect();
    let watchers: Vec<_> = lines
        .iter()
        .map(|line| {
            let watcher = watching.connect(line.login("watcher"));
            watcher.subscribe(&line.topic("status/+"), 1);
            doomed.connect(with_will(line, "leaves")).disconnect();
            doomed.connect(with_will(line, "dies"));
            assert_eq!(texts(&watcher.drain()), [""; 0], "too early for a will");
            watcher
        })
        .collect();
    doomed.kill();
    for (line, watcher) in lines.iter().zip(&watchers) {
        eprintln!("{kind:?} over {}", line.name());
        let mut got = watcher.take(1);
        got.extend(watcher.drain());
        let expected = |retain| Message {
            topic: line.topic("status/dies"),
            payload: b"offline \xe2\x98\xa0".to_vec(),
            qos: 1,
            retain,
            properties: Properties::default(),
        };
        assert_eq!(got, [expected(false)]);
        watcher.subscribe(&line.topic("status/#"), 1);
        assert_eq!(watcher.drain(), [expected(true)], "the will was retained");
    }
}

pub fn persistence(kind: Kind) {
    on_every_line(kind, &BOTH, |station, line| {
        let topic = line.topic("news");
        let forgetful = line.login("forgetful");
        for login in [line.lasting("keeper"), forgetful.clone()] {
            let client = station.connect(login);
            assert!(!client.was_present);
            client.subscribe_with(Subscription { filter: topic.clone(), qos: 2, ..Subscription::default() });
            client.disconnect();
        }
        let publisher = station.connect(line.login("writer"));
        for (qos, text) in [(1, "one"), (2, "two"), (1, "three"), (2, "four")] {
            publisher.publish(&topic, qos, text);
        }
        let keeper = station.connect(line.lasting("keeper"));
        assert!(keeper.was_present, "CONNACK says that the session is there");
        let mut got = keeper.take(4);
        got.extend(keeper.drain());
        got.sort_by_key(|message| message.qos);
        // Each quality of service in its order.
        assert_eq!(texts(&got), ["one", "three", "two", "four"]);
        assert_eq!(got.iter().map(|message| message.qos).collect::<Vec<_>>(), [1, 1, 2, 2]);

        let client = station.connect(forgetful);
        assert!(!client.was_present);
        assert_eq!(texts(&client.drain()), [""; 0]);
        keeper.disconnect();
        // A clean start ends the old session for good.
        station.connect(line.login("keeper")).disconnect();
        let keeper = station.connect(line.lasting("keeper"));
        assert!(!keeper.was_present);
        publisher.publish(&topic, 1, "unheard");
        assert_eq!(texts(&keeper.drain()), [""; 0]);
        for client in [client, keeper, publisher] {
            client.disconnect();
        }
    });
}

pub fn survival(kind: Kind) {
    let (house, station) = (House::start(), Station::start(kind));
    let properties = |line: &Line<'_>| match line.version {
        Version::V5 => {
            let user = vec![("räume".to_owned(), "küche".to_owned())];
            Properties { user, content_type: Some("text/plain".to_owned()), ..Properties::default() }
        }
        _ => Properties::default(),
    };
    let words =
        [(1, false, "one"), (2, false, "two"), (1, false, "three"), (2, false, "four"), (1, true, "kept")];
    for line in house.lines(&BOTH) {
        let keeper = station.connect(line.lasting("keeper"));
        keeper.subscribe(&line.topic("news"), 2);
        keeper.disconnect();
        let publisher = station.connect(line.login("writer"));
        for (qos, retain, text) in words {
            let (topic, properties) = (line.topic("news"), properties(&line));
            publisher.post(Post { topic, payload: text.into(), qos, retain, properties });
        }
        publisher.disconnect();
    }
    // Whatever was acknowledged is there after a power cut.
    let house = house.crash();
    for line in house.lines(&BOTH) {
        eprintln!("{kind:?} over {}", line.name());
        let keeper = station.connect(line.lasting("keeper"));
        assert!(keeper.was_present);
        let mut got = keeper.drain();
        got.sort_by_key(|message| message.qos);
        assert_eq!(texts(&got), ["one", "three", "kept", "two", "four"]);
        keeper.subscribe(&line.topic("+"), 1);
        let retained = keeper.drain();
        assert_eq!(texts(&retained), ["kept"]);
        assert!(retained[0].retain && got.iter().all(|message| !message.retain));
        assert!(
            got.iter().chain(&retained).all(|message| message.properties == properties(&line)),
            "{got:?}"
        );
        keeper.disconnect();
    }
}
