//! A router that forgets what is silent for 20 seconds, and a line that is never silent for so long.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    clients::Broker,
    scene::{Button, KEEP_ALIVE, Scene, counters},
    topology::CLOUD,
};

/// How long the router remembers an established connection.
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn keep_alive_holds_the_line_where_the_router_forgets_after_20_seconds() {
    assert!(KEEP_ALIVE < TIMEOUT);
    let scene = Scene::new();
    scene.topology.set_timeout(TIMEOUT.as_secs());
    let gateway = scene.gateway();
    let button = Button::new(&scene, &scene.lan(&gateway));
    // Without it nobody would know that the router forgets anything: a connection from home that is as silent
    // as ours would be without the keep-alive.
    let silent = Broker::seen_from(&scene.topology.place("home"), CLOUD, scene.cloud.phone_port)
        .subscribe(&["-k", "600", "-q", "1", "-t", "test/silent"]);
    let forgotten = scene.topology.counter("forgotten");

    let since = Instant::now();
    while since.elapsed() < TIMEOUT * 2 + Duration::from_secs(5) {
        let status = gateway.wait_for_status("the status page answers", |_| true);
        assert_eq!(
            (&status["link"]["state"], counters(&status)),
            (&"online".into(), (1, 0)),
            "after {:?} of silence the line must be the one of the beginning",
            since.elapsed()
        );
        thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(scene.topology.counter("forgotten"), forgotten, "the router knew every packet that went out");

    button.press("after two time-outs");
    assert_eq!(counters(&gateway.wait_online()), (1, 0), "the command came on the first connection");
    eprintln!("a line with pings every {KEEP_ALIVE:?} lived through {:?} of silence", since.elapsed());

    let dropped = scene.topology.counter("dropped");
    scene.cloud.phone().publish(&["-q", "1", "-t", "test/silent", "-m", "are you there?"]);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(silent.received(), [], "the router was to forget a connection that is silent for so long");
    assert!(scene.topology.counter("dropped") > dropped, "what the cloud sends it is dropped at the router");
}
