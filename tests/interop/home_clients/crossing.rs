//! Everybody hears everybody: each library and program, on each of its transports, in both versions.

use super::{
    both::BOTH,
    house::{House, Line, Version},
    mosquitto,
    station::{Client, Kind, Station},
    words::{Message, Post, Properties, Transport},
};

const KINDS: [Kind; 3] = [Kind::Paho, Kind::MqttJs, Kind::Rumqttc];

/// One end of the cross.
enum End<'a> {
    Client(Client<'a>),
    Mosquitto,
}

/// A message of one end, with properties if its version has them.
fn post(who: &str, version: Version) -> Post {
    let properties = match version {
        Version::V5 => Properties {
            user: vec![("from".to_owned(), who.to_owned()), ("ö".to_owned(), "ü".to_owned())],
            content_type: Some("text/plain".to_owned()),
            response_topic: Some(format!("answer/{who}")),
            correlation: Some("63306666".to_owned()),
            format: Some(1),
            ..Properties::default()
        },
        _ => Properties::default(),
    };
    let (topic, payload) = (format!("kreuz/{who}"), format!("von {who} für alle").into_bytes());
    Post { topic, payload, qos: 1, retain: true, properties }
}

/// What an end with this version is to get of `posts`.
fn expected(posts: &[Post], version: Version, retain: bool) -> Vec<Message> {
    let only_new = |properties: &Properties| match version {
        Version::V5 => properties.clone(),
        _ => Properties::default(),
    };
    posts
        .iter()
        .map(|post| Message {
            topic: post.topic.clone(),
            payload: post.payload.clone(),
            qos: 1,
            retain,
            properties: only_new(&post.properties),
        })
        .collect()
}

#[test]
fn every_client_hears_every_client_live_and_retained_in_both_versions() {
    let house = House::start();
    let stations = KINDS.map(Station::start);
    let lines: Vec<Line<'_>> = house.lines(&BOTH).collect();
    let mut ends: Vec<(String, Line<'_>, End<'_>)> = Vec::new();
    for line in &lines {
        for station in &stations {
            let who = format!("{:?}-{}", station.kind, line.name());
            let client = station.connect(line.login(&format!("{:?}", station.kind)));
            client.subscribe("kreuz/#", 1);
            ends.push((who, *line, End::Client(client)));
        }
        if matches!(line.transport, Transport::Tcp | Transport::Tls) {
            ends.push((format!("mosquitto-{}", line.name()), *line, End::Mosquitto));
        }
    }
    assert_eq!(ends.len(), 28);
    let listening = |line: &Line<'_>| mosquitto::subscribe(line, &["-q", "1", "-t", "kreuz/#"]);
    let subscribers: Vec<_> = ends
        .iter()
        .filter(|end| matches!(end.2, End::Mosquitto))
        .map(|end| (end.1, listening(&end.1)))
        .collect();

    let posts: Vec<Post> = ends.iter().map(|(who, line, _)| post(who, line.version)).collect();
    for ((_, line, end), post) in ends.iter().zip(&posts) {
        match end {
            End::Client(client) => client.post(post.clone()),
            End::Mosquitto => mosquitto::publish(line, post),
        }
    }
    for (who, line, end) in &ends {
        if let End::Client(client) = end {
            assert_eq!(client.drain(), expected(&posts, line.version, false), "live, {who}");
        }
    }
    for (line, subscriber) in &subscribers {
        let got = subscriber.take(posts.len());
        assert_eq!(got, expected(&posts, line.version, false), "live, mosquitto over {}", line.name());
    }
    drop(subscribers);

    // Once more, for those who come later: nobody promises an order among topics.
    let sorted = |mut messages: Vec<Message>| {
        messages.sort_by(|one, other| one.topic.cmp(&other.topic));
        messages
    };
    for (who, line, end) in &ends {
        let got = match end {
            End::Client(client) => {
                client.unsubscribe("kreuz/#");
                client.subscribe("kreuz/+", 1);
                client.drain()
            }
            End::Mosquitto => listening(line).take(posts.len()),
        };
        assert_eq!(sorted(got), sorted(expected(&posts, line.version, true)), "retained, {who}");
    }
}
