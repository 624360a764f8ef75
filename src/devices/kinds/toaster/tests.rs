//! The toaster's physics and frames.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::testing::{confirms, device, object, plan, read, refuses, sent};
use super::*;

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "toaster",
        &[
            (
                json!({"toasting_tme": "3s"}),
                &["`toasting_tme`", "did you mean `toasting_time`?", "`browning`"],
            ),
            (json!({"toasting_time": 3}), &["`toasting_time`", "`3s`"]),
            (json!({"browning": 7}), &["`browning`", "1 to 6"]),
        ],
    );
}

#[test]
fn the_levers_words_become_a_state() {
    for (channel, payload, fields) in [
        ("lever", "up", json!({"state": "OFF", "toast": "none", "progress": 0})),
        ("lever", "down", json!({"state": "ON", "toast": "toasting", "progress": 0})),
        ("lever", "held", json!({"state": "ON"})),
        ("lever", "popped", json!({"state": "OFF", "toast": "ready", "progress": 100})),
        ("lever", "lifted", json!({"state": "OFF", "toast": "early"})),
        ("lever", "resting", json!({"state": "OFF"})),
        ("browning", "4", json!({"browning": 4})),
        ("progress", "40", json!({"progress": 40})),
    ] {
        let mut toaster = device("toaster", Value::Null).unwrap();
        assert_eq!(
            read(toaster.as_mut(), channel, payload).unwrap().fields,
            object(fields),
            "{channel} {payload}"
        );
    }
    let mut toaster = device("toaster", Value::Null).unwrap();
    for (channel, payload) in [("lever", "sideways"), ("progress", "much"), ("crumbs", "1")] {
        assert!(read(toaster.as_mut(), channel, payload).is_err(), "{channel} {payload}");
    }
}

#[test]
fn a_request_moves_the_dial_before_the_lever_and_is_confirmed_by_both() {
    let toaster = device("toaster", json!({"toasting_time": "3s"})).unwrap();
    let both = plan(&*toaster, json!({"state": "on", "browning": 6}), json!({"state": "OFF"})).unwrap();
    assert_eq!(sent(&both), ["browning 6", "lever down"]);
    assert_eq!(both.detail.as_deref(), Some("the lever is down, the toast is ready in 6 s"));
    assert!(confirms(&both, json!({"state": "ON", "browning": 6})));
    assert!(!confirms(&both, json!({"state": "ON"})));
    assert_eq!(sent(&plan(&*toaster, json!({"state": "OFF"}), json!({})).unwrap()), ["lever up"]);
    let again = plan(&*toaster, json!({"state": "ON"}), json!({"state": "ON"})).unwrap();
    assert_eq!(again.detail.as_deref(), Some("it was toasting already and goes on"));
}

#[test]
fn an_impossible_request_names_the_field() {
    let toaster = device("toaster", Value::Null).unwrap();
    for (request, part) in [
        (json!({"state": "TOAST"}), "`ON` or `OFF`"),
        (json!({"browning": 0}), "1 to 6"),
        (json!({"browning": "dark"}), "1 to 6"),
        (json!({"butter": true}), "cannot set `butter`"),
    ] {
        let error = plan(&*toaster, request.clone(), json!({})).err().unwrap().to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
}

fn words(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| format!("{} {}", frame.channel, frame.text().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_toast_takes_the_dials_share_of_the_time_and_pops_once() {
    let mut toaster = ToasterOnTheBus::new(Duration::from_secs(3), 3);
    let now = Instant::now();
    assert_eq!(words(&toaster.start(now)), ["lever up", "browning 3"]);
    assert_eq!(toaster.next(), None);
    toaster.touch(&Frame::new("browning", "6"), now).unwrap();
    assert_eq!(words(&toaster.touch(&Frame::new("lever", "down"), now).unwrap()), ["lever down"]);
    let mut said = Vec::new();
    let mut last = now;
    while let Some(moment) = toaster.next() {
        last = moment;
        said.extend(words(&toaster.tick(moment)));
    }
    assert_eq!(last - now, Duration::from_secs(6));
    assert_eq!(said.len(), 10);
    assert_eq!(said[..2], ["progress 10", "progress 20"]);
    assert_eq!(said[9], "lever popped");
    assert_eq!(toaster.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn pressing_while_toasting_begins_no_second_toast_and_lifting_ends_it_early() {
    let mut toaster = ToasterOnTheBus::new(Duration::from_secs(3), 3);
    let now = Instant::now();
    let mut touch = |channel: &str, payload: &'static str| {
        toaster.touch(&Frame::new(channel, payload), now).map(|frames| words(&frames))
    };
    assert_eq!(touch("lever", "down").unwrap(), ["lever down"]);
    assert_eq!(touch("lever", "down").unwrap(), ["lever held"]);
    assert_eq!(touch("lever", "up").unwrap(), ["lever lifted"]);
    assert_eq!(touch("lever", "up").unwrap(), ["lever resting"]);
    assert!(touch("browning", "7").is_err());
    assert!(touch("crumbs", "out").is_err());
    assert_eq!((toaster.runs(), toaster.next()), (1, None));
}
