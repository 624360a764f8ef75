//! A line that must not come up: each reason has its own sentence, and the sentence names the remedy.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Authority, Cloud, Line, Plan, Validity};

/// Starts a gateway on `line` and returns what it says is wrong: kind, sentence and remedy.
#[track_caller]
fn fault(name: &str, folder: &std::path::Path, line: &Line) -> (String, String) {
    let gateway = Plan::new(&folder.join(name), Some(line), "").start();
    let status =
        gateway.wait_for_status("a fault is named", |status| status["link"]["fault"]["kind"].is_string());
    assert_ne!(status["link"]["state"], "online", "{status}");
    let kind = status["link"]["fault"]["kind"].as_str().expect("a word").to_owned();
    let verdict = &status["verdict"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sentence = format!("{} {}", text(&verdict["sentence"]), text(&verdict["remedy"]));
    gateway.wait_for_log(&kind);
    (kind, sentence)
}

#[test]
fn each_reason_to_refuse_a_line_has_its_own_sentence_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path();
    let (ca, stranger) = (Authority::new(path, "ca"), Authority::new(path, "stranger"));
    let (known, unknown) = (ca.client("home", "home"), stranger.client("unknown", "home"));
    let good = ca.server("good", &["localhost"], Validity::Now);
    let misnamed = ca.server("misnamed", &["cloud.example"], Validity::Now);
    let expired = ca.server("expired", &["localhost"], Validity::Over);
    let [good, misnamed, expired] =
        [good, misnamed, expired].map(|server| Cloud::start(path, &server, &ca.certificate));

    let line = |cloud: &Cloud| Line { port: cloud.gateway_port, ca: &ca.certificate, identity: &known };
    let mut sentences = BTreeSet::new();
    for (name, line, kind, remedy) in [
        (
            "wrong-ca",
            Line { ca: &stranger.certificate, ..line(&good) },
            "server_certificate_untrusted",
            "cloud.ca_file",
        ),
        ("wrong-name", line(&misnamed), "server_name_mismatch", "cloud.url"),
        ("expired", line(&expired), "server_certificate_expired", "renew"),
        (
            "unknown-client",
            Line { identity: &unknown, ..line(&good) },
            "client_certificate_refused",
            "cloud.certificate_file",
        ),
    ] {
        let (named, sentence) = fault(name, path, &line);
        assert_eq!(named, kind, "{name}: {sentence}");
        assert!(sentence.contains(remedy), "{name} names the remedy {remedy:?}: {sentence}");
        assert!(sentences.insert(sentence.clone()), "{name} has another's sentence: {sentence}");
    }
    for cloud in [&good, &misnamed, &expired] {
        let said = cloud.log();
        assert!(!said.iter().any(|line| line.contains("New client connected")), "{said:#?}");
    }

    // The same cloud, the right papers: it was not the test's fault.
    Plan::new(&path.join("right"), Some(&line(&good)), "").start().wait_online();
}
