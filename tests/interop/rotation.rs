//! Certificates that are replaced while the gateway runs: the new one is tried on a second connection, and is the line
//! or is kept out.
//!
//! How long the line was down is judged by the cloud: a reading a millisecond comes in, and the longest silence between
//! two of them at a watcher there is at least as long.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Identity, Scene, clients::Received, exactly_once::End, pki::Authority};

const PACE: Duration = Duration::from_millis(2);
const ROTATIONS: usize = 20;
/// What the issue allows (issue 6).
const LONGEST_SILENCE: Duration = Duration::from_secs(1);

/// Puts `new` where `old` lies, the key first, as a tool for it would: by renaming.
fn replace(old: &Identity, new: &Identity) {
    for (new, old) in [(&new.key, &old.key), (&new.certificate, &old.certificate)] {
        let beside = old.with_extension("next");
        fs::copy(new, &beside).expect("a copy");
        fs::rename(&beside, old).expect("the same folder");
    }
}

/// How often the cloud has let the gateway in since it started.
fn let_in(scene: &Scene) -> usize {
    scene.cloud.log().iter().filter(|line| line.contains(" as home (")).count()
}

#[test]
fn twenty_new_certificates_under_load_lose_nothing_and_keep_the_line_down_for_less_than_a_second_each() {
    let scene = Scene::new();
    // The time when it came in place of the properties.
    let watched =
        ["-q", "1", "-i", "watcher", "-t", "hearthlink/home/sensors/#", "-F", "MSG\t%t\t%q\t%r\t%U\t%p"];
    let presence = scene.cloud.phone().subscribe(&["-i", "presence", "-t", "hearthlink/home/bridge/state"]);
    let watcher = scene.cloud.phone().subscribe_into(&scene.path().join("watcher.log"), &watched);
    let gateway = scene.gateway("routes:\n  - local: sensors/#\n");
    let mut sensor = gateway.lan().publisher(&["-i", "sensor", "-q", "1", "-t", "sensors/attic", "-l"]);
    let (is_over, said, started) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        let (is_over, said, sensor) = (&is_over, &said, &mut sensor);
        let load = scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                sensor.say(&format!("{}\n", said.fetch_add(1, Ordering::Relaxed)));
                thread::sleep(PACE);
            }
            // It ends by itself once the gateway has acknowledged every one.
            assert!(sensor.wait(Duration::from_secs(60)).success());
        });
        let end = End(is_over);
        for rotation in 0..ROTATIONS {
            let before = let_in(&scene);
            let next = scene.authority.client(&format!("home-{rotation}"), "home");
            replace(&scene.identity, &next);
            super::process::eventually("the new certificate is the line's", Duration::from_secs(30), || {
                (let_in(&scene) > before).then_some(())
            });
            gateway.wait_online();
        }
        drop(end);
        load.join().expect("the sensor published everything");
    });
    let count = said.into_inner();
    let all = watcher.process.wait_for("everything", Duration::from_secs(60), |lines| {
        let received: Vec<_> = lines.iter().filter_map(|line| Received::parse(line)).collect();
        let mut numbers: Vec<usize> =
            received.iter().filter_map(|message| message.payload.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() == count).then_some(received)
    });
    let times: Vec<f64> = all.iter().map(|message| message.properties.parse().expect("a time")).collect();
    let silence = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    let again = all.len() - count;
    eprintln!(
        "{ROTATIONS} certificates in {:.0?}: {count} readings, 0 lost, {again} came again, the longest silence at the \
         cloud {:.0} ms",
        started.elapsed(),
        silence * 1000.0
    );
    let status = gateway.wait_online();
    assert_eq!(status["counters"]["failures"], 0, "no attempt failed: {}", status["counters"]);
    assert!(silence < LONGEST_SILENCE.as_secs_f64(), "the line was down for {silence} s");
    let offline = presence.received().iter().filter(|message| message.payload == "offline").count();
    assert_eq!(offline, 0, "nobody is told that the gateway is gone");
    // The one that counts is the last one: the cloud starts anew, and the gateway shows it again.
    let last = status["certificate"]["fingerprint_sha256"].as_str().map(str::to_owned);
    assert!(last.is_some(), "{}", status["certificate"]);
    let shown = super::gateway::hearthlink()
        .args(["enroll", "--show", "--json", "--certificate"])
        .arg(&scene.identity.certificate)
        .arg("--key")
        .arg(&scene.identity.key)
        .output()
        .expect("our own program");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["fingerprint_sha256"].as_str().map(str::to_owned), last, "{shown}");
}

#[test]
fn a_certificate_that_the_cloud_refuses_is_kept_out_and_the_line_stays() {
    let scene = Scene::new();
    let good = scene.authority.client("spare", "home");
    let gateway = scene.gateway("");
    let before = let_in(&scene);
    let stranger = Authority::new(scene.path(), "stranger").client("unknown", "home");
    replace(&scene.identity, &stranger);
    let kept_out = |status: &serde_json::Value| status["link"]["kept_out"]["kind"].is_string();
    let status = gateway.wait_longer_for_status("it is kept out", Duration::from_secs(40), kept_out);
    assert_eq!(status["link"]["kept_out"]["kind"], "client_certificate_refused", "{}", status["link"]);
    assert_eq!((&status["link"]["state"], let_in(&scene)), (&"online".into(), before), "the line stays");
    let sentence = status["verdict"]["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("are kept out"), "{sentence}");
    gateway.wait_for_log("kept out");

    // Half of a pair is not tried at all.
    fs::copy(&good.key, &scene.identity.key).expect("a copy");
    let is_half = |status: &serde_json::Value| status["link"]["kept_out"]["kind"] == "credential_files";
    let status = gateway.wait_longer_for_status("it does not fit", Duration::from_secs(40), is_half);
    assert_eq!((&status["link"]["state"], let_in(&scene)), (&"online".into(), before), "the line stays");

    fs::copy(&good.certificate, &scene.identity.certificate).expect("a copy");
    let is_taken = |status: &serde_json::Value| status["link"]["kept_out"].is_null();
    gateway.wait_longer_for_status("the good one is taken", Duration::from_secs(40), is_taken);
    super::process::eventually("the cloud lets it in", Duration::from_secs(30), || {
        (let_in(&scene) > before).then_some(())
    });
    gateway.wait_online();
}
