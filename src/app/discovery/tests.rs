//! What is published, and when the announcements are made again.

use futures_util::FutureExt;

use super::*;
use crate::{app::testing::Home, broker::InProcess, clock::Clock, store::StoreOptions};

fn all() -> VecDeque<DeviceId> {
    ["a", "b", "c"].iter().map(|id| DeviceId::parse(id).unwrap()).collect()
}

/// Every device that is announced until nothing is due, with its time since the beginning.
fn play(round: &mut Round, begin: Instant) -> Vec<(String, Duration)> {
    let mut made = Vec::new();
    while let Some(due) = round.due {
        made.extend(round.next(due, all).map(|device| (device.to_string(), due - begin)));
    }
    made
}

#[test]
fn home_assistants_coming_up_is_answered_once_by_all_devices_one_after_the_other() {
    let (mut round, begin) = (Round::default(), Instant::now());
    assert!(play(&mut round, begin).is_empty());
    for jitter in [0.0, 1.0, 0.5] {
        round.want(begin, jitter);
    }
    let made = play(&mut round, begin);
    let expected = [("a", 500), ("b", 520), ("c", 540)];
    assert_eq!(made, expected.map(|(id, millis)| (id.to_owned(), Duration::from_millis(millis))));
}

#[test]
fn however_often_it_is_said_to_come_up_a_round_begins_every_ten_seconds_at_most() {
    let (mut round, begin) = (Round::default(), Instant::now());
    let mut firsts = Vec::new();
    for step in 0..3000 {
        let now = begin + Duration::from_millis(10) * step;
        round.want(now, 0.0);
        if round.due.is_some_and(|due| due <= now)
            && let Some(device) = round.next(now, all)
            && device.as_str() == "a"
        {
            firsts.push(now);
        }
    }
    assert_eq!(firsts.len(), 3, "in 30 s");
    assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= BETWEEN_ROUNDS));
}

#[test]
fn whoever_comes_up_in_the_middle_of_a_round_gets_a_whole_one() {
    let (mut round, begin) = (Round::default(), Instant::now());
    round.want(begin, 0.0);
    round.next(round.due.unwrap(), all);
    round.want(begin + Duration::from_secs(1), 0.0);
    let rest: Vec<String> = play(&mut round, begin).into_iter().map(|(device, _)| device).collect();
    assert_eq!(rest, ["b", "c", "a", "b", "c"]);
}

fn discovery(devices: &[&str]) -> Discovery {
    Discovery {
        is_enabled: true,
        prefix: Topic::parse("homeassistant").unwrap(),
        gateway: GatewayId::parse("g").unwrap(),
        devices: devices.iter().map(|id| (DeviceId::parse(id).unwrap(), "a plug")).collect(),
    }
}

/// What was published since it was last asked: the topic's device, and the components, or nothing.
fn published(ear: &mut InProcess) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(heard)) = ear.recv().now_or_never() {
        let device = heard.message.topic.as_str().split('/').nth(2).unwrap().to_owned();
        let components = match serde_json::from_slice::<Value>(&heard.message.payload) {
            Ok(announcement) => announcement["components"].as_object().unwrap().keys().cloned().collect(),
            Err(_) => Vec::new(),
        };
        all.push(format!("{device}: {}", components.join(" ")));
    }
    all
}

#[tokio::test]
async fn only_what_has_changed_is_published_and_the_next_run_knows_what_was() {
    let home = Home::new(&StoreOptions::default(), Clock::system()).await;
    let handle = home.broker.clone();
    let mut ear = handle.subscribe(&discovery(&[]).places(), 64);
    let start = |devices: &[&str]| {
        let mut announcer = Announcer::new(discovery(devices), handle.clone(), LocalTopics::default());
        announcer.read_back();
        announcer
    };
    let plug = DeviceId::parse("plug").unwrap();
    let (both, one) = ([Entity::switch("state"), Entity::sensor("power")], [Entity::switch("state")]);

    let mut first = start(&["plug", "gone"]);
    first.announce(&plug, &both);
    first.announce(&plug, &both);
    first.announce(&DeviceId::parse("gone").unwrap(), &one);
    first.announce(&DeviceId::parse("stranger").unwrap(), &one);
    assert_eq!(published(&mut ear), ["plug: power state", "gone: state"]);

    let mut second = start(&["plug"]);
    second.announce(&plug, &both);
    assert_eq!(published(&mut ear), ["gone: "], "taken back, and the other is known");
    second.announce(&plug, &one);
    assert_eq!(published(&mut ear), ["plug: power state", "plug: state"], "first that it is gone");
    second.announce(&plug, &[]);
    assert_eq!(published(&mut ear), ["plug: "]);
    second.announce(&plug, &[]);
    assert!(published(&mut ear).is_empty());
}
