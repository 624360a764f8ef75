//! What only MQTT 5 promises.

use std::{thread, time::Duration};

use super::{
    both::{on_every_line, texts},
    house::{House, Version},
    station::{Kind, Station},
    words::{Login, Post, Properties, Subscription},
};

const FIVE: [Version; 1] = [Version::V5];

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

pub fn properties(kind: Kind) {
    on_every_line(kind, &FIVE, |station, line| {
        let (topic, client) = (line.topic("full"), station.connect(line.login("echo")));
        client.subscribe(&topic, 2);
        let full = Properties {
            // A name twice, and out of the alphabet's order.
            user: vec![pair("räume", "küche"), pair("b", "2"), pair("b", "1"), pair("a", "")],
            content_type: Some("application/json; charset=utf-8".to_owned()),
            response_topic: Some(line.topic("antwort/öl")),
            correlation: Some("0001ff7f80".to_owned()),
            expiry: None,
            format: Some(1),
            identifiers: Vec::new(),
        };
        for (qos, retain) in [(0, false), (1, false), (2, false), (1, true)] {
            let (topic, payload, properties) = (topic.clone(), b"{}".to_vec(), full.clone());
            client.post(Post { topic, payload, qos, retain, properties });
            let got = client.take(1);
            assert_eq!((got.len(), got[0].qos, got[0].text().as_str()), (1, qos, "{}"));
            assert_eq!(got[0].properties, full);
        }
        // A retained message keeps them for later, and a message without any gets none of another's.
        client.subscribe(&topic, 1);
        let got = client.drain();
        assert_eq!(got.len(), 1);
        assert!(got[0].retain && got[0].properties == full, "{got:?}");
        client.publish(&topic, 1, "bare");
        assert_eq!(client.take(1)[0].properties, Properties::default());
        client.disconnect();
    });
}

pub fn request(kind: Kind) {
    on_every_line(kind, &FIVE, |station, line| {
        let (asks, answers) = (station.connect(line.login("asks")), station.connect(line.login("answers")));
        let (question, answer) = (line.topic("toaster/get"), line.topic("answers/asks"));
        answers.subscribe(&question, 1);
        asks.subscribe(&answer, 1);
        for number in 0..3_u8 {
            let properties = Properties {
                response_topic: Some(answer.clone()),
                correlation: Some(format!("00{number:02x}")),
                ..Properties::default()
            };
            let topic = question.clone();
            asks.post(Post { topic, payload: b"state?".to_vec(), qos: 1, properties, ..Post::default() });
            let got = answers.take(1).remove(0);
            let topic = got.properties.response_topic.expect("where to answer");
            let properties = Properties { correlation: got.properties.correlation, ..Properties::default() };
            answers.post(Post { topic, payload: b"idle".to_vec(), qos: 1, properties, ..Post::default() });
            let got = asks.take(1).remove(0);
            assert_eq!((got.topic.as_str(), got.text().as_str()), (answer.as_str(), "idle"));
            assert_eq!(got.properties.correlation, Some(format!("00{number:02x}")));
        }
        asks.disconnect();
        answers.disconnect();
    });
}

pub fn expiry(kind: Kind) {
    let (house, station) = (House::start(), Station::start(kind));
    let lines: Vec<_> = house.lines(&FIVE).collect();
    // All lines grow old together.
    for line in &lines {
        let keeper = station.connect(line.lasting("keeper"));
        keeper.subscribe(&line.topic("old/#"), 1);
        keeper.disconnect();
        let publisher = station.connect(line.login("writer"));
        for (name, expiry) in [("lasts", Some(1_000)), ("ends", Some(1)), ("stays", None)] {
            for retain in [false, true] {
                let topic = line.topic(&format!("old/{name}"));
                let properties = Properties { expiry, ..Properties::default() };
                let payload = format!("{name} {retain}").into_bytes();
                publisher.post(Post { topic, payload, qos: 1, retain, properties });
            }
        }
        publisher.disconnect();
    }
    thread::sleep(Duration::from_millis(2_200));
    for line in &lines {
        eprintln!("{kind:?} over {}", line.name());
        // As the queue of a client that was away, and as retained messages.
        let keeper = station.connect(line.lasting("keeper"));
        let queued = keeper.drain();
        assert_eq!(texts(&queued), ["lasts false", "lasts true", "stays false", "stays true"]);
        keeper.subscribe(&line.topic("old/+"), 1);
        let retained = keeper.drain();
        assert_eq!(texts(&retained), ["lasts true", "stays true"]);
        for message in queued.iter().chain(&retained) {
            match message.properties.expiry {
                Some(left) => {
                    assert!(message.text().starts_with("lasts"), "{message:?}");
                    assert!((900..=998).contains(&left), "2 s are gone: {left}");
                }
                None => assert!(message.text().starts_with("stays"), "{message:?}"),
            }
        }
        keeper.disconnect();
    }
}

pub fn identifiers(kind: Kind) {
    on_every_line(kind, &FIVE, |station, line| {
        let client = station.connect(line.login("reader"));
        // 268,435,455 is the largest.
        for (filter, identifier) in [("a/b", Some(7)), ("a/+", Some(268_435_455)), ("#", None)] {
            let filter = line.topic(filter);
            client.subscribe_with(Subscription { filter, qos: 1, identifier, ..Subscription::default() });
        }
        for (topic, expected) in [("a/b", vec![7, 268_435_455]), ("a/c", vec![268_435_455]), ("x", vec![])] {
            client.publish(&line.topic(topic), 1, topic);
            let got = client.drain();
            assert_eq!(texts(&got), [topic], "once, by however many subscriptions");
            let mut identifiers = got[0].properties.identifiers.clone();
            identifiers.sort_unstable();
            assert_eq!(identifiers, expected);
        }
        client.disconnect();
    });
}

pub fn options(kind: Kind) {
    on_every_line(kind, &FIVE, |station, line| {
        let (client, other) = (station.connect(line.login("one")), station.connect(line.login("other")));
        let (filter, topic) = (line.topic("chat/+"), line.topic("chat/küche"));
        let subscription = Subscription { filter, qos: 1, no_local: true, ..Subscription::default() };
        client.subscribe_with(subscription.clone());
        client.publish(&topic, 1, "own");
        other.publish(&topic, 1, "another's");
        assert_eq!(texts(&client.drain()), ["another's"]);

        let retained = |text: &str| Post {
            topic: topic.clone(),
            payload: text.into(),
            qos: 1,
            retain: true,
            ..Post::default()
        };
        other.post(retained("without the flag"));
        client.subscribe_with(Subscription { retain_as_published: true, ..subscription });
        other.post(retained("with the flag"));
        let got = client.drain();
        assert_eq!(texts(&got), ["without the flag", "without the flag", "with the flag"]);
        // The second one is the retained message for the new subscription.
        assert_eq!(got.iter().map(|message| message.retain).collect::<Vec<_>>(), [false, true, true]);
        client.disconnect();
        other.disconnect();
    });
}

pub fn sharing(kind: Kind) {
    const COUNT: usize = 60;
    on_every_line(kind, &FIVE, |station, line| {
        let workers = ["left", "right"].map(|name| {
            let worker = station.connect(line.login(name));
            worker.subscribe(&format!("$share/workers/{}", line.topic("jobs")), 1);
            worker
        });
        let watcher = station.connect(line.login("watcher"));
        watcher.subscribe(&line.topic("jobs"), 1);
        watcher.burst(&line.topic("jobs"), 1, COUNT);
        assert_eq!(watcher.take(COUNT).len(), COUNT, "who does not share gets all");
        let shares = workers.each_ref().map(|worker| texts(&worker.drain()));
        assert!(shares.iter().all(|share| !share.is_empty()), "nobody is left out");
        let mut all: Vec<usize> =
            shares.concat().iter().map(|text| text.parse().expect("a number")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
        // Who leaves leaves its share to the other.
        let [left, right] = workers;
        left.disconnect();
        watcher.burst(&line.topic("jobs"), 1, COUNT);
        assert_eq!(right.take(COUNT).len(), COUNT);
        right.disconnect();
        watcher.disconnect();
    });
}

pub fn session_expiry(kind: Kind) {
    let (house, station) = (House::start(), Station::start(kind));
    let lines: Vec<_> = house.lines(&FIVE).collect();
    let lives = [("none", None), ("zero", Some(0)), ("second", Some(1)), ("minutes", Some(600))];
    let login = |line: &super::house::Line<'_>, (name, session_expiry): (&str, Option<u32>)| Login {
        clean: false,
        session_expiry,
        ..line.login(name)
    };
    for line in &lines {
        for life in lives {
            let client = station.connect(login(line, life));
            assert!(!client.was_present);
            client.subscribe(&line.topic("x"), 1);
            client.disconnect();
        }
        // At once: only the one that asked for none is gone already.
        let zero = station.connect(login(line, lives[1]));
        assert!(!zero.was_present);
        zero.disconnect();
    }
    // A second, and the broker looks once a second.
    thread::sleep(Duration::from_millis(2_500));
    for line in &lines {
        eprintln!("{kind:?} over {}", line.name());
        for (life, is_there) in lives.into_iter().zip([false, false, false, true]) {
            let client = station.connect(login(line, life));
            assert_eq!(client.was_present, is_there, "{life:?}");
            client.disconnect();
        }
    }
}
