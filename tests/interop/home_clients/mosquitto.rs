//! Mosquitto's programs over TCP and TLS, in MQTT 3.1, 3.1.1 and 5. Debian 12's have no WebSockets, and none of
//! them both publishes and subscribes on one connection, so no-local has nobody to judge it here.

use std::{fs, thread, time::Duration};

use super::{
    both::texts,
    house::{House, Line, USER, Version},
    station::{Kind, Station},
    words::{Message, Post, Properties, Transport, hex},
};
use crate::{
    clients::Subscriber,
    process::{PATIENCE, Process, program},
};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const FIVE: [Version; 1] = [Version::V5];

/// Everything that mosquitto_sub tells of a message; without spaces in the user properties' values.
const FORMAT: &str = "FULL\t%t\t%q\t%r\t%C\t%R\t%D\t%E\t%F\t%S\t%P\t%x";

fn parse(line: &str) -> Option<Message> {
    let parts: Vec<&str> = line.strip_prefix("FULL\t")?.split('\t').collect();
    let [
        topic,
        qos,
        retain,
        content_type,
        response_topic,
        correlation,
        expiry,
        format,
        identifier,
        user,
        payload,
    ] = parts[..]
    else {
        return None;
    };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let pairs = user.split(' ').filter_map(|pair| pair.split_once(':'));
    Some(Message {
        topic: topic.to_owned(),
        payload: hex::decode(payload)?,
        qos: qos.parse().ok()?,
        retain: retain == "1",
        properties: Properties {
            user: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            content_type: text(content_type),
            response_topic: text(response_topic),
            correlation: text(correlation).map(|text| hex::encode(text.as_bytes())),
            expiry: expiry.parse().ok(),
            format: format.parse().ok(),
            identifiers: identifier.parse().into_iter().collect(),
        },
    })
}

/// A running mosquitto_sub.
pub struct Listener(Subscriber);

/// Subscribes by mosquitto_sub; it is subscribed when this returns.
#[track_caller]
pub fn subscribe(line: &Line<'_>, options: &[&str]) -> Listener {
    Listener(line.mosquitto().subscribe(&[&["-F", FORMAT][..], options].concat()))
}

impl Listener {
    fn received(&self) -> Vec<Message> {
        self.0.process.lines().iter().filter_map(|line| parse(line)).collect()
    }

    /// Everything up to now, when there are `count` messages.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<Message> {
        self.0.process.wait_for(&format!("{count} messages"), PATIENCE, |lines| {
            let is_message = |line: &&String| line.starts_with("FULL\t");
            (lines.iter().filter(is_message).count() >= count)
                .then(|| lines.iter().filter_map(|line| parse(line)).collect())
        })
    }

    /// Ends it in order: it sends DISCONNECT.
    #[track_caller]
    fn leave(mut self) {
        self.0.process.signal("TERM");
        self.0.process.wait(PATIENCE);
    }
}

/// Publishes by mosquitto_pub.
#[track_caller]
pub fn publish(line: &Line<'_>, post: &Post) {
    let (qos, text) = (post.qos.to_string(), String::from_utf8(post.payload.clone()).expect("text"));
    let mut options = vec!["-t", &post.topic, "-q", &qos];
    options.extend(if text.is_empty() { vec!["-n"] } else { vec!["-m", &text] });
    options.extend(post.retain.then_some("-r"));
    let Properties { user, content_type, response_topic, correlation, expiry, format, .. } = &post.properties;
    let number = |number: u32| number.to_string();
    let correlation = correlation.as_ref().map(|text| hex::decode(text).expect("hexadecimal"));
    let properties = [
        ("content-type", content_type.clone()),
        ("response-topic", response_topic.clone()),
        ("correlation-data", correlation.map(|bytes| String::from_utf8(bytes).expect("text"))),
        ("message-expiry-interval", expiry.map(number)),
        ("payload-format-indicator", format.map(u32::from).map(number)),
    ];
    for (name, value) in &properties {
        options.extend(value.iter().flat_map(|value| ["-D", "publish", name, value]));
    }
    for (name, value) in user {
        options.extend(["-D", "publish", "user-property", name, value]);
    }
    line.mosquitto().publish(&options);
}

fn text(topic: &str, qos: u8, payload: &str) -> Post {
    Post { topic: topic.to_owned(), payload: payload.into(), qos, ..Post::default() }
}

/// A message without properties.
fn plain(topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Message {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Message { topic, payload, qos, retain, properties: Properties::default() }
}

fn on_every_line(versions: &[Version], claim: impl Fn(Line<'_>)) {
    let house = House::start();
    for transport in [Transport::Tcp, Transport::Tls] {
        for &version in versions {
            let line = house.line(transport, version);
            eprintln!("mosquitto over {}", line.name());
            claim(line);
        }
    }
}

#[test]
fn a_wrong_password_is_refused_by_its_code() {
    on_every_line(&ALL, |line| {
        let message = ["-t", &line.topic("x"), "-m", "x", "-q", "1"];
        let (code, said) = line.mosquitto().with(&["-u", USER, "-P", "falsch"]).try_publish(&message);
        let (expected, reason) = match line.version {
            Version::V5 => (0x86, "bad username or password"),
            _ => (4, "bad user name or password"),
        };
        // The exit code is CONNACK's.
        assert_eq!(code, expected, "{said}");
        assert!(said.to_lowercase().contains(reason), "{said}");
        line.mosquitto().publish(&message);
    });
}

#[test]
fn every_qos_brings_any_topic_and_payload_over() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let large: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let file = folder.path().join("large");
    fs::write(&file, &large).expect("written");
    let file = file.display().to_string();
    on_every_line(&ALL, |line| {
        let listener = subscribe(&line, &["-q", "2", "-t", &line.topic("öl/#")]);
        let topic = line.topic("öl/heizung");
        let mut sent = Vec::new();
        for qos in [0, 1, 2] {
            for payload in ["21.5 °C", ""] {
                publish(&line, &text(&topic, qos, payload));
                sent.push(plain(&topic, qos, false, payload.as_bytes()));
                assert!(listener.take(sent.len()) == sent);
            }
            line.mosquitto().publish(&["-t", &topic, "-q", &qos.to_string(), "-f", &file]);
            sent.push(plain(&topic, qos, false, &large));
            assert!(listener.take(sent.len()) == sent);
        }
    });
}

#[test]
fn five_hundred_messages_come_once_and_in_order() {
    const COUNT: usize = 500;
    on_every_line(&ALL, |line| {
        for qos in ["1", "2"] {
            let topic = line.topic(qos);
            let listener = subscribe(&line, &["-q", "2", "-t", &topic]);
            let mut publisher = line.mosquitto().publisher(&["-t", &topic, "-q", qos, "-l"]);
            publisher.say(&(0..COUNT).map(|number| format!("{number}\n")).collect::<String>());
            assert!(publisher.wait(PATIENCE).success());
            publish(&line, &text(&topic, 2, "end"));
            let expected: Vec<String> =
                (0..COUNT).map(|number| number.to_string()).chain(["end".to_owned()]).collect();
            assert_eq!(texts(&listener.take(COUNT + 1)), expected);
        }
    });
}

#[test]
fn a_retained_message_waits_until_it_is_cleared() {
    on_every_line(&ALL, |line| {
        let (topic, end) = (line.topic("heizung"), line.topic("heizung/end"));
        publish(&line, &Post { retain: true, ..text(&topic, 1, "21.5") });
        let late = subscribe(&line, &["-q", "1", "-t", &line.topic("heizung/#")]);
        assert_eq!(late.take(1), [plain(&topic, 1, true, b"21.5")]);
        publish(&line, &Post { retain: true, ..text(&topic, 1, "") });
        assert_eq!(late.take(2)[1], plain(&topic, 1, false, b""));
        let later = subscribe(&line, &["-q", "1", "-t", &line.topic("heizung/#")]);
        publish(&line, &text(&end, 1, "nothing before this"));
        assert_eq!(later.take(1), [plain(&end, 1, false, b"nothing before this")]);
    });
}

#[test]
fn a_will_is_published_for_who_dies() {
    on_every_line(&ALL, |line| {
        let topic = line.topic("status");
        let watcher = subscribe(&line, &["-q", "1", "-t", &topic]);
        let will = ["--will-topic", &topic, "--will-payload", "gone", "--will-qos", "1"];
        let device = |id| line.mosquitto().with(&will).with(&["-i", id]).subscribe(&["-t", "nothing"]);
        Listener(device("leaves")).leave();
        device("dies").process.kill();
        publish_after(&line, &watcher, &topic);
        assert_eq!(texts(&watcher.take(2)), ["gone", "end"]);
    });
}

/// Marks the end, behind the first message.
fn publish_after(line: &Line<'_>, watcher: &Listener, topic: &str) {
    watcher.take(1);
    publish(line, &text(topic, 1, "end"));
}

#[test]
fn a_lasting_session_gets_what_it_missed_as_long_as_it_was_to_last() {
    on_every_line(&ALL, |line| {
        let topic = line.topic("news");
        let id = line.name();
        let keeper = |life: &str| {
            let life = if line.version == Version::V5 { vec!["-x", life] } else { Vec::new() };
            subscribe(&line, &[&["-i", &id, "-c", "-q", "1", "-t", &topic][..], &life].concat())
        };
        keeper("600").leave();
        for word in ["one", "two", "three"] {
            publish(&line, &text(&topic, 1, word));
        }
        let again = keeper("1");
        assert_eq!(texts(&again.take(3)), ["one", "two", "three"]);
        again.leave();
        if line.version == Version::V5 {
            publish(&line, &text(&topic, 1, "missed"));
            // A second, and the broker looks once a second.
            thread::sleep(Duration::from_millis(2_500));
            let late = keeper("0");
            publish(&line, &text(&topic, 1, "after"));
            assert_eq!(texts(&late.take(1)), ["after"]);
        }
    });
}

#[test]
fn properties_arrive_as_they_were_sent_and_expiry_counts_down() {
    on_every_line(&FIVE, |line| {
        let topic = line.topic("full");
        let properties = Properties {
            user: [("räume", "küche"), ("b", "2"), ("b", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            content_type: Some("application/json".to_owned()),
            response_topic: Some(line.topic("antwort/öl")),
            correlation: Some(hex::encode("c-1 ü".as_bytes())),
            expiry: Some(1_000),
            format: Some(1),
            identifiers: Vec::new(),
        };
        let options = ["-q", "1", "-t", &topic, "-D", "subscribe", "subscription-identifier", "77"];
        let now = subscribe(&line, &options);
        publish(&line, &Post { retain: true, properties: properties.clone(), ..text(&topic, 1, "{}") });
        let soon = Properties { expiry: Some(1), ..Properties::default() };
        let short = line.topic("short");
        publish(&line, &Post { retain: true, properties: soon, ..text(&short, 1, "short") });
        thread::sleep(Duration::from_millis(2_200));
        let late = subscribe(&line, &[&options[..], &["-t", &short]].concat());
        publish(&line, &text(&topic, 1, "end"));
        for (listener, oldest) in [(now, 1_000), (late, 998)] {
            let mut got = listener.take(2);
            assert_eq!(texts(&got), ["{}", "end"]);
            let left = got[0].properties.expiry.take().expect("what is left of its life");
            assert!((900..=oldest).contains(&left), "{left}");
            let identifiers = vec![77];
            assert_eq!(got[0].properties, Properties { expiry: None, identifiers, ..properties.clone() });
        }
    });
}

#[test]
fn two_subscribers_share_and_retain_as_published_keeps_the_flag() {
    on_every_line(&FIVE, |line| {
        let topic = line.topic("jobs");
        let shared = format!("$share/workers/{topic}");
        let workers = [(); 2].map(|()| subscribe(&line, &["-q", "1", "-t", &shared]));
        let watcher = subscribe(&line, &["-q", "1", "-t", &topic, "--retain-as-published"]);
        let options = ["-t", &topic, "-q", "1", "-r", "-m", "job", "--repeat", "40"];
        line.mosquitto().publish(&options);
        let got = watcher.take(40);
        assert!(got.len() == 40 && got.iter().all(|message| message.retain));
        let counts = || workers.each_ref().map(|worker| worker.received().len());
        crate::process::eventually("all jobs are taken", PATIENCE, || {
            (counts().iter().sum::<usize>() >= 40).then_some(())
        });
        assert!(counts().iter().sum::<usize>() == 40 && !counts().contains(&0), "{:?}", counts());
    });
}

#[test]
fn a_request_of_mosquitto_rr_is_answered_by_another_library() {
    let station = Station::start(Kind::Rumqttc);
    on_every_line(&FIVE, |line| {
        let (question, answer) = (line.topic("toaster/get"), line.topic("answers/rr"));
        let answers = station.connect(line.login("answers"));
        answers.subscribe(&question, 1);
        let mut command = std::process::Command::new(program("mosquitto_rr"));
        let correlation = ["-D", "publish", "correlation-data", "c7"];
        command.args(line.mosquitto().options());
        command.args(["-t", &question, "-e", &answer, "-m", "state?", "-q", "1", "-F", FORMAT, "-W", "20"]);
        let mut asks = Process::start("mosquitto_rr", command.args(correlation));
        let got = answers.take(1).remove(0);
        assert_eq!(got.properties.response_topic.as_deref(), Some(answer.as_str()));
        let properties =
            Properties { correlation: got.properties.correlation.clone(), ..Properties::default() };
        answers.post(Post { properties, ..text(&answer, 1, "idle") });
        assert!(asks.wait(PATIENCE).success());
        let heard: Vec<Message> = asks.lines().iter().filter_map(|line| parse(line)).collect();
        assert_eq!(texts(&heard), ["idle"]);
        assert_eq!(heard[0].properties.correlation, Some(hex::encode(b"c7")));
        answers.disconnect();
    });
}
