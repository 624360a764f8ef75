//! Addresses that change under the line: at home, as a router does it over night, and at the cloud.

use std::time::Instant;

use super::{
    gateway::Gateway,
    scene::{Button, Scene, counters},
    sensor::Sensor,
    topology::CLOUD,
};

#[test]
fn address_change_at_home_heals_without_a_restart_and_nothing_is_lost() {
    let scene = Scene::new();
    let gateway = scene.gateway();
    let lan = scene.loopback(&gateway);
    let button = Button::new(&scene, &lan);
    let sensor = Sensor::start(&scene, &lan);
    button.press("before");

    let took = heals(&gateway, || scene.topology.renumber_home("192.168.50.77"));
    button.press("from the new address");
    let (readings, twice) = sensor.judge(1);
    eprintln!(
        "another address at home: healed after {took:?}; {readings} readings, none lost, {twice} twice"
    );
}

#[test]
fn cloud_that_moved_to_another_address_is_found_without_a_restart_and_nothing_is_lost() {
    const NEW: &str = "198.51.100.40";
    let scene = Scene::new();
    let gateway = scene.gateway();
    let lan = scene.lan(&gateway);
    let button = Button::new(&scene, &lan);
    let sensor = Sensor::start(&scene, &lan);
    button.press("before");

    let took = heals(&gateway, || {
        scene.name_the_cloud(NEW);
        scene.topology.move_cloud(NEW);
    });
    button.press("at the new address");
    let (readings, twice) = sensor.judge(1);
    eprintln!("the cloud moved: found after {took:?}; {readings} readings, none lost, {twice} twice");
}

/// A cloud that is moving, or a house whose IPv6 leads nowhere: names have dead addresses for a while.
#[test]
fn cloud_is_reached_although_the_first_of_its_addresses_swallows_everything() {
    const DEAD: &str = "198.51.100.66";
    let scene = Scene::without_names();
    scene.topology.swallow(DEAD);
    scene.name_the_cloud(&format!("{DEAD} {CLOUD}"));
    let since = Instant::now();
    let gateway = scene.gateway();
    eprintln!("a dead address before the living one: online after {:?}", since.elapsed());
    Button::new(&scene, &scene.lan(&gateway)).press("at the second address");
}

/// Does what breaks the line and waits until the same process has a new one.
#[track_caller]
fn heals(gateway: &Gateway, happening: impl FnOnce()) -> std::time::Duration {
    let before = gateway.wait_online();
    let since = Instant::now();
    happening();
    gateway.wait_for_status("the old line is given up", |status| counters(status).1 > counters(&before).1);
    let after = gateway.wait_for_status("a new line is up", |status| {
        status["link"]["state"] == "online" && counters(status).0 > counters(&before).0
    });
    assert_eq!(after["started"], before["started"], "it was not restarted");
    since.elapsed()
}
