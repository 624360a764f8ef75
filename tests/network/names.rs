//! A power cut at home: the gateway is up before the router's resolver is.

use std::time::Instant;

use super::{
    scene::{Button, Scene, counters},
    topology::CLOUD,
};

#[test]
fn gateway_that_starts_before_the_resolver_says_so_and_comes_up_by_itself() {
    let scene = Scene::without_names();
    let gateway = scene.start_gateway();
    let status =
        gateway.wait_for_status("the status names DNS", |status| status["link"]["fault"]["kind"] == "dns");
    let sentence = status["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("host name cannot be resolved"), "{sentence}");
    assert!(
        status["verdict"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()),
        "{}",
        status["verdict"]
    );
    assert_eq!(counters(&status).0, 0, "no line without a name");
    scene.wait_for_resolver("not answered");

    // Home works meanwhile: the plug is there before the line is.
    let button = Button::new(&scene, &scene.lan(&gateway));
    let since = Instant::now();
    scene.name_the_cloud(CLOUD);
    let online = gateway.wait_online();
    eprintln!("the line was up {:?} after the resolver; before: {sentence}", since.elapsed());
    assert_eq!(online["started"], status["started"], "it was not restarted");
    assert_eq!(online["verdict"]["level"], "ok", "{}", online["verdict"]);
    button.press("with a name");
}
