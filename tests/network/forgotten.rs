//! A router that forgets the connection and tells nobody: no reset, no answer, everything just vanishes.

use std::time::{Duration, Instant};

use super::{
    gateway::Gateway,
    scene::{ANSWER_LIMIT, Button, GRACE, Scene, counters},
    sensor::Sensor,
};

/// Longer than the answer limit: the client library gives a line up when the next ping is due, and would hide a
/// gateway that never looks at its own limit.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

#[test]
fn silent_line_that_the_router_forgot_is_noticed_within_keep_alive_and_15_seconds() {
    let scene = Scene::new().with_keep_alive(KEEP_ALIVE);
    let gateway = scene.gateway();
    let button = Button::new(&scene, &scene.lan(&gateway));
    button.press("before");

    let noticed = forget(&scene, &gateway, KEEP_ALIVE + ANSWER_LIMIT);
    button.press("on the new line");
    eprintln!("a forgotten silent line was noticed after {noticed:?}");
}

#[test]
fn busy_line_that_the_router_forgot_is_noticed_within_15_seconds_and_nothing_is_lost() {
    let scene = Scene::new().with_keep_alive(KEEP_ALIVE);
    let gateway = scene.gateway();
    let lan = scene.lan(&gateway);
    let button = Button::new(&scene, &lan);
    let sensor = Sensor::start(&scene, &lan);
    button.press("before");

    // The first reading that is not acknowledged tells; no ping has to.
    let noticed = forget(&scene, &gateway, ANSWER_LIMIT);
    button.press("on the new line");
    let (readings, twice) = sensor.judge(1);
    eprintln!(
        "a forgotten busy line was noticed after {noticed:?}; {readings} readings, none lost, {twice} twice"
    );
}

/// Has the router forget, waits until the gateway gives the line up and opens a new one, and returns how long it
/// believed in the old one: no longer than `limit`.
#[track_caller]
fn forget(scene: &Scene, gateway: &Gateway, limit: Duration) -> Duration {
    let (connects, failures) = counters(&gateway.wait_online());
    let forgotten = scene.topology.counter("forgotten");
    let since = Instant::now();
    scene.topology.forget();
    // The count stays, also when the new line is up before we ask again.
    gateway.wait_longer_for_status("the gateway gives the line up", limit * 3, |status| {
        counters(status).1 > failures
    });
    let noticed = since.elapsed();
    assert!(scene.topology.counter("forgotten") > forgotten, "the router dropped what it did not know");
    assert!(noticed <= limit + GRACE, "noticed after {noticed:?}, more than {limit:?}");
    gateway.wait_for_log("half_open");
    let status = gateway.wait_online();
    assert_eq!(counters(&status).0, connects + 1, "one new connection, {}", status["counters"]);
    noticed
}
