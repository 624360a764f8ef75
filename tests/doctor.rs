//! The twenty failures of a line, each staged before the real program: the status and the page for people name it within
//! thirty seconds, in the sentence of docs/doctor.md and with its remedy, and so does `hearthlink doctor`, beside the gateway
//! that runs and, where one look can tell, without it.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "doctor/cloud.rs"]
mod cloud;
#[path = "support/house.rs"]
#[allow(dead_code, reason = "shared with the other tests of the real program")]
mod house;
#[path = "doctor/papers.rs"]
mod papers;
#[path = "support/proxy.rs"]
#[allow(dead_code, reason = "shared with the soak")]
mod proxy;
#[path = "support/raw.rs"]
#[allow(dead_code, reason = "shared with the tests of the broker")]
mod raw;
#[path = "doctor/stage.rs"]
mod stage;
#[path = "doctor/tunnel.rs"]
mod tunnel;

use std::{process::Stdio, time::Duration};

use cloud::Manner;
use hearthlink::model::FaultKind;
use house::{House, program::unescaped};
use proxy::{Way, Weather};
use raw::Raw;
use serde_json::Value;
use stage::{Staged, Staging};

/// One failure.
struct Case {
    name: &'static str,
    staging: Staging,
    kind: FaultKind,
    /// The doctor's line that names it, beside the running gateway.
    step: &'static str,
    /// The same without it; `None`: one look cannot tell.
    alone: Option<&'static str>,
    /// What the detail must name.
    words: &'static str,
}

const fn case(
    name: &'static str,
    staging: Staging,
    kind: FaultKind,
    step: &'static str,
    words: &'static str,
) -> Case {
    Case { name, staging, kind, step, alone: Some(step), words }
}

impl Case {
    const fn alone(self, alone: Option<&'static str>) -> Self {
        Self { alone, ..self }
    }
}

const SILENCE: Duration = Duration::from_secs(3);

const CASES: &[Case] = &[
    case("no DNS", Staging::NoName, FaultKind::Dns, "dns", "nowhere.invalid"),
    case("wrong port: nobody listens", Staging::NobodyListens, FaultKind::Tcp, "tcp", "refused"),
    case("wrong port: no TLS", Staging::NoTls, FaultKind::NotTls, "tls", "InvalidContentType"),
    case("proxy is not there", Staging::NoProxy, FaultKind::ProxyUnreachable, "tcp", "refused"),
    case(
        "proxy refuses",
        Staging::Proxy("HTTP/1.1 403 Forbidden\r\n\r\n"),
        FaultKind::ProxyRefused,
        "proxy",
        "403 Forbidden",
    ),
    case(
        "proxy wants a password",
        Staging::Proxy("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"),
        FaultKind::ProxyCredentials,
        "proxy",
        "user name",
    ),
    case("intercepted TLS", Staging::Interception, FaultKind::TlsIntercepted, "tls", "Office Firewall"),
    case("unknown CA", Staging::UnknownCa, FaultKind::ServerCertificateUntrusted, "tls", "Another CA"),
    case("expired CA", Staging::ExpiredCa, FaultKind::ServerCertificateExpired, "tls", "CN=Expired CA"),
    case("wrong name", Staging::WrongName, FaultKind::ServerNameMismatch, "tls", "other.example"),
    case("clock in 1970", Staging::Clock1970, FaultKind::OwnClock, "clock", ""),
    case(
        "unknown client certificate",
        Staging::UnknownClient,
        FaultKind::ClientCertificateRefused,
        "upgrade",
        "",
    ),
    case(
        "revoked client certificate",
        Staging::RevokedClient,
        FaultKind::ClientCertificateRefused,
        "upgrade",
        "",
    ),
    case("wrong path", Staging::Cloud(Manner::Status(404)), FaultKind::WrongPath, "upgrade", "404"),
    case(
        "subprotocol refused",
        Staging::Cloud(Manner::NoSubprotocol),
        FaultKind::Subprotocol,
        "upgrade",
        "no subprotocol",
    ),
    case(
        "CONNACK 4",
        Staging::Cloud(Manner::OldConnack(4)),
        FaultKind::Credentials,
        "connack",
        "BadUserNamePassword",
    ),
    case(
        "CONNACK 5",
        Staging::Cloud(Manner::OldConnack(5)),
        FaultKind::NotAuthorized,
        "connack",
        "NotAuthorized",
    ),
    case("banned client id", Staging::Cloud(Manner::Connack(0x8a)), FaultKind::Banned, "connack", "Banned"),
    case(
        "duplicate client id",
        Staging::Rival(Manner::OneClient),
        FaultKind::DuplicateClientId,
        "connack",
        "SessionTakenOver",
    )
    .alone(None),
    case(
        "duplicate client id on 3.1.1",
        Staging::Rival(Manner::OneOldClient),
        FaultKind::DuplicateClientId,
        "connack",
        "several good connections",
    )
    .alone(None),
    case(
        "SUBACK refused",
        Staging::Cloud(Manner::Suback(0x87)),
        FaultKind::SubscriptionRefused,
        "subscribe",
        "/set",
    )
    .alone(None),
    case(
        "quota exceeded",
        Staging::Cloud(Manner::Connack(0x97)),
        FaultKind::QuotaExceeded,
        "connack",
        "QuotaExceeded",
    ),
    case(
        "quota exceeded by what is published",
        Staging::Reading(Manner::Puback(0x97), 10),
        FaultKind::QuotaExceeded,
        "round_trip",
        "publishing to",
    )
    .alone(None),
    case(
        "payload too large",
        Staging::Reading(Manner::MaxPacket(4_000), 8_000),
        FaultKind::TooLarge,
        "round_trip",
        "sensors/size",
    )
    .alone(None),
    case(
        "server's keep-alive is shorter and it says so too late",
        Staging::Cloud(Manner::KicksTheSilent(SILENCE)),
        FaultKind::KeepAlive,
        "connack",
        "KeepAliveTimeout",
    )
    .alone(None),
    case(
        "idle cut by a middlebox",
        Staging::Cloud(Manner::CutsTheSilent(SILENCE)),
        FaultKind::IdleCut,
        "connack",
        "3 s of silence",
    )
    .alone(None),
    case("half-open line", Staging::HalfOpen, FaultKind::HalfOpen, "connack", "PUBLISH").alone(None),
];

/// What `hearthlink doctor --json` says, and its exit code.
async fn doctor(house: &House, staged: &Staged) -> (i32, Value) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_hearthlink"))
        .args(["doctor", "--json", "--config"])
        .arg(house.path().join("home.yaml"))
        .envs(staged.environment())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn first_failure(report: &Value) -> Option<&Value> {
    report["lines"].as_array().unwrap().iter().find(|line| line["verdict"] == "bad")
}

/// The doctor's first failure is this one, with its remedy, and what needs it was not tried.
fn must_name(case: &Case, step: &str, (code, report): &(i32, Value)) {
    let line = first_failure(report).unwrap_or_else(|| panic!("{}: {report:#}", case.name));
    assert_eq!(
        (line["step"].as_str(), line["fault"].as_str()),
        (Some(step), Some(&*case.kind.name())),
        "{report:#}"
    );
    assert_eq!(line["remedy"], case.kind.remedy(), "{}", case.name);
    let seen = line["seen"].as_str().unwrap();
    assert!(seen.starts_with(case.kind.sentence()) && seen.contains(case.words), "{}: {seen}", case.name);
    assert_eq!(*code, 1, "{}", case.name);
    let lines = report["lines"].as_array().unwrap();
    let at = lines.iter().position(|line| line["verdict"] == "bad").unwrap();
    let later = lines[at + 1..].iter().filter(|line| {
        ["tcp", "proxy", "tls", "upgrade", "connack", "subscribe", "round_trip"]
            .contains(&line["step"].as_str().unwrap())
    });
    // The clock does not keep the doctor from trying TLS, which then says the same.
    let later = later.filter(|line| case.kind != FaultKind::OwnClock || line["step"] != "tls");
    for line in later.filter(|line| case.kind != FaultKind::OwnClock || line["step"] != "tcp") {
        assert_eq!(line["verdict"], "not_tried", "{}: {report:#}", case.name);
    }
}

/// The connection that is up carries nothing back any more, and nobody is told; new ones go on when the line is clear.
async fn kill_quietly(line: &proxy::Proxy, house: &House) {
    let published = |status: &Value| status["counters"]["published"].as_u64().unwrap();
    let is_up = |status: &Value| status["link"]["echoed"] == true && status["store"]["waiting"] == 0;
    let before = published(&house.status_when("online, and nothing waits", is_up).await);
    line.set(Weather::HalfOpen(Way::Back));
    let mut sensor = Raw::to(house.port).await;
    sensor.connect("sensor", true).await;
    sensor.send(&raw::publish(2, "sensors/size", 1, b"22.5")).await;
    house.status_when("published", |status| published(status) > before).await;
    // Its answer must disappear before the line carries anything again; the gateway waits for it three times as long.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // It may dial again at once, and what the last connection died of stands on the status until the next one is good.
    line.set(Weather::Hung);
}

/// As people read it, without the marks for what is code.
fn plain(sentence: &str) -> String {
    sentence.replace('`', "")
}

/// What people read in the first paragraph of a class.
fn text_of(page: &str, class: &str) -> String {
    let Some((_, rest)) = page.split_once(&format!("<p class=\"{class}\"")) else { return String::new() };
    let inner = rest.split_once("</p>").map_or(rest, |(paragraph, _)| paragraph);
    let pieces = inner.split('<').filter_map(|piece| piece.split_once('>'));
    unescaped(&pieces.map(|(_, text)| text).collect::<String>())
}

async fn play(case: &Case) {
    let house = House::new("");
    let staged = Staged::begin(&case.staging, &house).await;
    let alone = doctor(&house, &staged).await;
    match case.alone {
        Some(step) => must_name(case, step, &alone),
        None => assert_eq!(alone.0, 0, "{}: one look finds nothing: {:#}", case.name, alone.1),
    }
    let gateway = house.start_with(staged.environment()).await;
    let rival = staged.rival().await;
    if let Staging::Reading(_, size) = case.staging {
        let mut sensor = Raw::to(house.port).await;
        sensor.connect("sensor", true).await;
        sensor.send(&raw::publish(2, "sensors/size", 1, &vec![b'x'; size])).await;
    }
    if let Some(line) = &staged.line {
        kill_quietly(line, &house).await;
    }
    let name = case.kind.name();
    let status = house.status_when(case.name, |status| {
        let verdict = &status["verdict"];
        status["link"]["fault"]["kind"] == *name
            && verdict["sentence"].as_str().unwrap().contains(case.kind.sentence())
            && verdict["remedy"] == case.kind.remedy()
    });
    let status = status.await;
    let on_the_page = |page: &String| {
        let [sentence, remedy] = ["sentence", "remedy"].map(|class| text_of(page, class));
        sentence.contains(&plain(case.kind.sentence())) && remedy.ends_with(&plain(case.kind.remedy()))
    };
    house.page_when(case.name, on_the_page).await;
    if let Some(line) = &staged.line {
        line.set(Weather::Clear);
    }
    assert!(
        status["verdict"]["sentence"].as_str().unwrap().contains(case.words),
        "{}: {status:#}",
        case.name
    );
    let named = doctor(&house, &staged).await;
    if matches!(case.kind, FaultKind::HalfOpen | FaultKind::KeepAlive) {
        // The next connection is good, for a while at least, and what the last one died of is still told.
        let (_, report) = named;
        let lines = report["lines"].as_array().unwrap();
        let connack = lines.iter().find(|line| line["step"] == case.step).unwrap();
        assert_eq!(connack["fault"], *name, "{report:#}");
        assert_eq!(connack["remedy"], case.kind.remedy());
        assert!(connack["seen"].as_str().unwrap().contains(case.kind.sentence()), "{connack}");
    } else {
        must_name(case, case.step, &named);
    }
    drop((rival, gateway));
}

/// The cases that are staged so, one after the other.
async fn play_all(wanted: impl Fn(&Staging) -> bool) {
    for case in CASES.iter().filter(|case| wanted(&case.staging)) {
        play(case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_tls_is_named_by_the_status_and_by_the_doctor() {
    play_all(|staging| {
        use Staging::{NoName, NoProxy, NoTls, NobodyListens, Proxy};
        matches!(staging, NoName | NobodyListens | NoTls | NoProxy | Proxy(_))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_tls_is_named_by_the_status_and_by_the_doctor() {
    play_all(|staging| {
        use Staging::{
            Clock1970, ExpiredCa, Interception, RevokedClient, UnknownCa, UnknownClient, WrongName,
        };
        matches!(
            staging,
            Interception | UnknownCa | ExpiredCa | WrongName | Clock1970 | UnknownClient | RevokedClient
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_refuses_is_named_by_the_status_and_by_the_doctor() {
    play_all(|staging| {
        let is_slow =
            |manner: &Manner| matches!(manner, Manner::KicksTheSilent(_) | Manner::CutsTheSilent(_));
        matches!(staging, Staging::Cloud(manner) if !is_slow(manner))
            || matches!(staging, Staging::Reading(..))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_shows_in_time_is_named_by_the_status_and_by_the_doctor() {
    play_all(|staging| {
        use Manner::{CutsTheSilent, KicksTheSilent};
        use Staging::{Cloud, HalfOpen, Rival};
        matches!(staging, Rival(_) | HalfOpen | Cloud(KicksTheSilent(_) | CutsTheSilent(_)))
    })
    .await;
}

#[test]
fn every_case_is_played_and_the_twenty_of_the_order_are_there() {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    for wanted in [
        "no DNS",
        "wrong port",
        "proxy refuses",
        "proxy wants a password",
        "intercepted TLS",
        "expired CA",
        "wrong name",
        "clock in 1970",
        "revoked client certificate",
        "unknown client certificate",
        "wrong path",
        "subprotocol refused",
        "CONNACK 4",
        "CONNACK 5",
        "banned client id",
        "duplicate client id",
        "SUBACK refused",
        "quota exceeded",
        "payload too large",
        "server's keep-alive is shorter",
        "idle cut by a middlebox",
        "half-open line",
    ] {
        assert!(names.iter().any(|name| name.starts_with(wanted)), "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keep_alive_that_the_cloud_announces_is_obeyed_and_told() {
    let house = House::new("");
    let staged = Staged::begin(&Staging::Cloud(Manner::WantsKeepAlive(7)), &house).await;
    let is_told = |report: &Value| {
        let lines = report["lines"].as_array().unwrap();
        let connack = lines.iter().find(|line| line["step"] == "connack").unwrap();
        connack["seen"]
            .as_str()
            .unwrap()
            .contains("keep-alive of 7 s, shorter than `cloud.keep_alive` (45 s)")
    };
    let (code, report) = doctor(&house, &staged).await;
    assert!(code == 0 && is_told(&report), "{report:#}");
    let gateway = house.start_with(staged.environment()).await;
    let is_online = |status: &Value| status["link"]["state"] == "online";
    let status = house.status_when("online", is_online).await;
    assert_eq!(status["link"]["keep_alive_seconds"], 7.0);
    let (code, report) = doctor(&house, &staged).await;
    assert!(code == 0 && is_told(&report), "{report:#}");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_well_is_well_to_the_last_device_and_the_running_gateway_keeps_its_connection() {
    let house = House::new("");
    // A cloud that lets in one client at a time: a doctor that said CONNECT would be seen.
    let staged = Staged::begin(&Staging::Cloud(Manner::OneClient), &house).await;
    let steps = |report: &Value| {
        let lines = report["lines"].as_array().unwrap();
        let steps = lines.iter().map(|line| (line["step"].clone(), line["verdict"].clone()));
        steps
            .map(|(step, verdict)| format!("{} {}", step.as_str().unwrap(), verdict.as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let line = [
        "dns good",
        "clock good",
        "tcp good",
        "proxy not_tried",
        "tls good",
        "upgrade good",
        "connack good",
        "subscribe good",
        "round_trip good",
    ];
    let (code, report) = doctor(&house, &staged).await;
    assert_eq!((code, &steps(&report)[..9]), (0, &line.map(str::to_owned)[..]), "{report:#}");
    assert_eq!(steps(&report)[9..], ["listeners not_tried", "store good", "devices not_tried"], "{report:#}");
    let gateway = house.start_with(staged.environment()).await;
    let is_online = |status: &Value| status["link"]["state"] == "online" && status["link"]["echoed"] == true;
    house.status_when("online", is_online).await;
    let (code, report) = doctor(&house, &staged).await;
    assert_eq!((code, &steps(&report)[..9]), (0, &line.map(str::to_owned)[..]), "{report:#}");
    assert_eq!(steps(&report)[9..], ["listeners good", "store good", "devices good"], "{report:#}");
    let status = house.status().await.unwrap();
    assert_eq!(
        (status["counters"]["connects"].as_u64(), status["link_last_fault"].is_null()),
        (Some(1), true)
    );
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_opens_a_tunnel_has_its_line() {
    let house = House::new("");
    let staged = Staged::begin(&Staging::Tunnel, &house).await;
    let (code, report) = doctor(&house, &staged).await;
    let lines = report["lines"].as_array().unwrap();
    let proxy = lines.iter().find(|line| line["step"] == "proxy").unwrap();
    assert_eq!((code, proxy["verdict"].as_str()), (0, Some("good")), "{report:#}");
    assert!(proxy["seen"].as_str().unwrap().contains("tunnel to localhost:"), "{proxy}");
}

#[test]
fn the_page_about_the_doctor_has_every_kind_with_its_sentence_and_its_remedy() {
    let page = include_str!("../docs/doctor.md");
    for kind in FaultKind::ALL {
        let row = format!("| `{}` | {}. | {} |", kind.name(), kind.sentence(), kind.remedy());
        assert!(page.contains(&row), "docs/doctor.md lacks or misquotes:\n{row}");
    }
    let (_, table) = page.split_once("## Every fault of the line").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, FaultKind::ALL.len(), "docs/doctor.md has a kind that there is not");
}
