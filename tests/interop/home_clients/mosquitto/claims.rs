//! What the broker promises to Mosquitto's programs over TCP and TLS, in MQTT 3.1, 3.1.1 and 5.
//!
//! Debian 12's have no WebSockets. None of them publishes and subscribes on one connection, so nobody judges
//! no-local here.

use std::{fs, process::Command, thread, time::Duration};

use super::{FORMAT, Listener, parse, publish, subscribe};
use crate::{
    home_clients::{
        both::texts,
        house::{House, Line, USER, Version},
        station::{Kind, Station},
        words::{Message, Post, Properties, Transport, hex},
    },
    process::{PATIENCE, Process, eventually, program},
};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const FIVE: [Version; 1] = [Version::V5];

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
        // The exit code is CONNACK's.
        assert_eq!(code, if line.version == Version::V5 { 0x86 } else { 4 }, "{said}");
        assert!(said.to_lowercase().contains("bad user name or password"), "{said}");
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
fn a_will_is_published_for_who_dies_and_for_who_leaves_with_it() {
    on_every_line(&ALL, |line| {
        let topic = line.topic("status");
        let watcher = subscribe(&line, &["-q", "1", "-t", &topic]);
        let device = |name: &str| {
            let will = ["--will-topic", &topic, "--will-payload", name, "--will-qos", "1"];
            line.mosquitto().with(&will).subscribe(&["-t", "nothing"])
        };
        Listener(device("leaves")).leave();
        // Asked to end, mosquitto_sub says goodbye; in MQTT 5 "with will message" (0x04), as can be seen on the wire.
        let mut expected = if line.version == Version::V5 { vec!["leaves"] } else { Vec::new() };
        watcher.take(expected.len());
        device("dies").process.kill();
        expected.push("dies");
        watcher.take(expected.len());
        publish(&line, &text(&topic, 1, "end"));
        expected.push("end");
        assert_eq!(texts(&watcher.take(expected.len())), expected);
    });
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
        eventually("all jobs are taken", PATIENCE, || (counts().iter().sum::<usize>() >= 40).then_some(()));
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
        let mut command = Command::new(program("mosquitto_rr"));
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
