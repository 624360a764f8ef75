//! What goes out, what comes in, and what is kept meanwhile, on a real cloud.

use std::{thread, time::Duration};

use super::{Scene, process::PATIENCE};

/// How long we look for something that must not come.
const SILENCE: Duration = Duration::from_millis(500);

#[test]
fn the_cloud_reaches_the_house_where_a_route_says_so_and_nowhere_else() {
    let scene = Scene::new();
    let gateway = scene.gateway(
        "routes:\n  - {local: alarm/+/state, cloud: \"{prefix}/{gateway}/alarms/{1}\"}\n\
         routes_in:\n  - {cloud: \"{prefix}/{gateway}/news/#\", local: \"paper/{1}\", retain: true}\n",
    );
    let (phone, home) = (scene.cloud.phone(), gateway.lan());
    let reader = home.subscribe(&["-t", "#"]);
    let alarms = phone.subscribe(&["-t", "hearthlink/home/alarms/#"]);
    let keeper = ["-i", "keeper", "-c", "-q", "1", "-t", "paper/#"];
    drop(home.subscribe(&keeper));

    home.publish(&["-t", "alarm/attic/state", "-m", "fire"]);
    alarms.wait_for("the alarm", |message| message.topic == "hearthlink/home/alarms/attic");
    for (topic, text) in [("news/today/page", "1"), ("news", "2"), ("old/today", "3"), ("news/set", "4")] {
        phone.publish(&["-q", "1", "-t", &format!("hearthlink/home/{topic}"), "-m", text]);
    }
    let page = reader.wait_for("the page", |message| message.topic == "paper/today/page");
    assert_eq!((&page.payload[..], page.retained), ("1", false));
    reader.wait_for("the paper itself", |message| message.topic == "paper" && message.payload == "2");
    thread::sleep(SILENCE);
    let other = reader.received().into_iter().filter(|message| ["3", "4"].contains(&&message.payload[..]));
    assert_eq!(other.collect::<Vec<_>>(), []);

    // Acknowledged to the cloud means kept at home: for who comes later, and for who was away.
    gateway
        .wait_for_status("all is acknowledged", |status| status["counters"]["received"].as_u64() >= Some(3));
    thread::sleep(SILENCE);
    let gateway = gateway.crash();
    let late = gateway.lan().subscribe(&["-t", "paper/#"]);
    late.wait_for("what was retained", |message| message.topic == "paper/today/page" && message.retained);
    let keeper = gateway.lan().subscribe(&keeper);
    keeper.wait_for("what waited", |message| message.topic == "paper/today/page" && message.payload == "1");
}

#[test]
fn after_an_outage_each_route_sends_what_it_was_to_keep_and_the_newest_first_where_it_says_so() {
    let mut scene = Scene::new();
    let gateway = scene.gateway(
        "routes:\n  - {local: all/#, queue: {live_first: true}}\n  - {local: latest/#, queue: {keep: latest}}\n\
         \x20 - {local: every/#, queue: {keep: {every: 1h}}}\n  - {local: none/#, queue: {keep: none}}\n",
    );
    let home = gateway.lan();
    let say = |count: std::ops::Range<usize>| {
        for route in ["all", "latest", "every", "none"] {
            let mut device = home.publisher(&["-q", "1", "-t", &format!("{route}/x"), "-l"]);
            for number in count.clone() {
                device.say(&format!("{number}\n"));
            }
            assert!(device.wait(PATIENCE).success(), "every one is acknowledged, kept or not");
        }
    };
    scene.cloud.save();
    scene.cloud.kill();
    gateway.wait_for_status("the gateway notices", |status| status["link"]["state"] != "online");
    say(0..200);
    let status =
        gateway.wait_for_status("all is told", |status| status["store"]["lanes"][3]["dropped"] == 200);
    let lanes: Vec<_> = status["store"]["lanes"].as_array().expect("a list").iter().collect();
    let numbers =
        |what: &str| lanes.iter().map(|lane| lane[what].as_u64().expect("a number")).collect::<Vec<_>>();
    assert_eq!(numbers("waiting"), [200, 1, 1, 0], "{status}");
    assert_eq!(numbers("dropped"), [0, 199, 199, 200]);

    // The watcher is there before the gateway.
    scene.cloud.restart();
    let watcher = scene.cloud.phone().subscribe(&["-q", "1", "-t", "hearthlink/home/+/x"]);
    gateway.wait_online();
    say(900..901);
    let received = watcher.wait_for_count(206, PATIENCE);
    let on = |route: &str| {
        let topic = format!("hearthlink/home/{route}/x");
        let on = received.iter().filter(move |message| message.topic == topic);
        on.map(|message| message.payload.parse().expect("a number")).collect::<Vec<usize>>()
    };
    assert_eq!(on("latest"), [199, 900]);
    assert_eq!(on("every"), [0, 900]);
    assert_eq!(on("none"), [900]);
    let mut all = on("all");
    all.sort_unstable();
    assert_eq!(all, (0..200).chain([900]).collect::<Vec<_>>());
}
