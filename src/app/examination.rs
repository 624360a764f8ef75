//! `hearthlink doctor`'s walk: from the name of the cloud to the last device, one line each.
//!
//! Owns the order, and which part is asked for each line. Never disturbs a gateway that runs: what only a connection in its
//! name could tell, it is asked for (its status page). Invariants: a line that failed is followed by no line that needs it;
//! every wait has a limit.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

use super::build::{self, BuildError};
use crate::{
    clock::Clock,
    config::Config,
    health::{HostReport, unanswering_remedy},
    host::Host,
    link::{self, Depth, LinkStep, Walk},
    model::{Fault, FaultKind, Timestamp},
    store::{StoreError, StoreFinding, examine_store, free_space},
};

/// How long a listener at home may take to answer.
const LISTENER_LIMIT: Duration = Duration::from_secs(2);
/// How long the look at the store may take: an SD card reads hundreds of MiB in it.
const STORE_LIMIT: Duration = Duration::from_secs(60);
/// How long the look at the machine may take.
const MACHINE_LIMIT: Duration = Duration::from_secs(5);
/// With less room on the disk than this, in bytes, SQLite's log may not fit.
const LEAST_ROOM: u64 = 32 << 20;
/// A fault that healed is told for so long.
const RECENT: Duration = Duration::from_secs(600);

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Good,
    /// It is not.
    Bad,
    /// It was not tried, or there is nothing to try.
    NotTried,
}

/// One line of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at: `dns`, `clock`, …
    pub step: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// The kind of the fault, as in `/api/status`, where it is one of the line to the cloud.
    pub fault: Option<FaultKind>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Line {
    fn good(step: &'static str, seen: impl Into<String>) -> Self {
        Self { step, verdict: Verdict::Good, seen: seen.into(), fault: None, remedy: None }
    }

    fn not_tried(step: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotTried, ..Self::good(step, why) }
    }

    fn bad(step: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, remedy: Some(remedy.into()), ..Self::good(step, seen) }
    }

    fn fault(step: &'static str, fault: &Fault) -> Self {
        Self { fault: Some(fault.kind), ..Self::bad(step, said(fault), fault.kind.remedy()) }
    }
}

fn said(fault: &Fault) -> String {
    format!("{} ({})", fault.kind.sentence(), fault.detail)
}

/// The steps of the line to the cloud, in the order in which they are shown; the clock stands behind the first.
const STEPS: [(LinkStep, &str); 9] = [
    (LinkStep::Access, "access"),
    (LinkStep::Dns, "dns"),
    (LinkStep::Tcp, "tcp"),
    (LinkStep::Proxy, "proxy"),
    (LinkStep::Tls, "tls"),
    (LinkStep::Upgrade, "upgrade"),
    (LinkStep::Connack, "connack"),
    (LinkStep::Subscribe, "subscribe"),
    (LinkStep::RoundTrip, "round_trip"),
];

/// The part of a running gateway's `/api/status` that the doctor reads.
#[derive(Debug, Clone, Deserialize)]
pub struct Running {
    gateway: String,
    now: Timestamp,
    link: RunningLine,
    link_last_fault: Option<PastFault>,
    store: RunningStore,
    devices: Vec<RunningDevice>,
}

#[derive(Debug, Clone, Deserialize)]
struct RunningLine {
    state: String,
    protocol: Option<String>,
    fault: Option<KnownFault>,
    keep_alive_seconds: Option<f64>,
    echoed: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct KnownFault {
    kind: String,
    detail: String,
}

#[derive(Debug, Clone, Deserialize)]
struct PastFault {
    kind: String,
    detail: String,
    at: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
struct RunningStore {
    waiting: u64,
    fault: Option<String>,
    set_aside: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct RunningDevice {
    id: String,
    availability: String,
    fault: Option<String>,
}

/// Walks. `running` is what the gateway that runs on this configuration says, if one does.
///
/// # Errors
/// [`BuildError`]: a file that the configuration names cannot be used.
pub async fn examine(
    config: &Config,
    running: Option<Running>,
    clock: &Clock,
) -> Result<Vec<Line>, BuildError> {
    let running = running.filter(|running| running.gateway == config.gateway.id.as_str());
    let store = look_at_store(config).await;
    let is_running = running.is_some() || matches!(store, Ok(StoreFinding::InUse));
    // Only where it is sure that nobody has the store: another connection by this name would throw the gateway out.
    let is_alone = !is_running && matches!(store, Ok(StoreFinding::NotYet | StoreFinding::Sound { .. }));
    let mut lines = match build::link_options(config)? {
        None => vec![Line::not_tried("cloud", "no cloud is configured"), of_clock(clock)],
        Some(options) => {
            let depth = if is_alone { Depth::RoundTrip } else { Depth::Line };
            let (keep_alive, echoes) = (options.keep_alive, options.limits.echoes);
            let mut lines = match link::examine(options, depth, clock).await {
                Ok(walks) => {
                    let mut lines = of_walks(&walks, clock);
                    if is_running && walks.last().is_some_and(Walk::is_good) {
                        lines.extend(of_running_line(running.as_ref(), keep_alive, echoes));
                    }
                    lines
                }
                // The gateway that runs may have kept them out, and goes on with the old ones.
                Err(error) => vec![Line::fault("access", &error.fault()), of_clock(clock)],
            };
            complete(&mut lines, echoes);
            lines
        }
    };
    lines.push(of_listeners(config, is_running).await);
    lines.push(of_store(config, store, running.as_ref()));
    lines.push(of_devices(config, running.as_ref()));
    lines.extend(of_machine(&look_at_machine(config).await));
    Ok(lines)
}

/// Of a machine whose disk does not answer nothing is told here: the store's line says so.
async fn look_at_machine(config: &Config) -> HostReport {
    let mut host = Host::new(&build::store_file(config));
    let look = tokio::task::spawn_blocking(move || host.look());
    timeout(MACHINE_LIMIT, look).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// A machine that is well needs no line.
fn of_machine(host: &HostReport) -> impl Iterator<Item = Line> {
    host.troubles().into_iter().map(|(sentence, remedy)| Line::bad("machine", sentence, remedy))
}

fn of_clock(clock: &Clock) -> Line {
    if clock.is_trusted() {
        return Line::good("clock", clock.now().to_string());
    }
    Line::fault("clock", &Fault::new(FaultKind::OwnClock, format!("it says {}", clock.now())))
}

/// Ways that failed before another one was good are told in one line each.
fn of_walks(walks: &[Walk], clock: &Clock) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some((last, others)) = walks.split_last() else { return lines };
    // When none is good, the preferred one is what is to be mended.
    let (shown, others) = match walks.first() {
        Some(first) if !last.is_good() => (first, &walks[1..]),
        _ => (last, others),
    };
    for walk in others {
        if let Some((_, Err(fault))) = walk.steps.last() {
            lines.push(Line {
                step: "way",
                seen: format!("{}: {}", walk.way, said(fault)),
                ..Line::fault("way", fault)
            });
        }
    }
    for (step, result) in &shown.steps {
        let name = STEPS.iter().find(|(known, _)| known == step).map_or("line", |(_, name)| *name);
        match result {
            // There is nothing to see of what went well.
            Ok(_) if *step == LinkStep::Access => {}
            Ok(seen) => lines.push(Line::good(name, seen.clone())),
            Err(fault) => lines.push(Line::fault(name, fault)),
        }
        if *step == LinkStep::Dns {
            lines.push(of_clock(clock));
        }
    }
    lines
}

/// Why no message of the gateway's own is awaited.
const NO_ECHO: &str = "this cloud sends nothing back that the gateway published";

/// Adds the steps that were not tried, and puts all into their order.
fn complete(lines: &mut Vec<Line>, echoes: bool) {
    let has_failed =
        lines.iter().any(|line| line.verdict == Verdict::Bad && line.step != "way" && line.step != "clock");
    for (step, name) in STEPS {
        if step == LinkStep::Access || lines.iter().any(|line| line.step == name) {
            continue;
        }
        let why = match step {
            _ if has_failed => "not tried",
            LinkStep::Proxy => "none on this way",
            LinkStep::Upgrade => "none on this way, it is MQTT in TLS",
            LinkStep::RoundTrip if !echoes => NO_ECHO,
            _ => "not tried",
        };
        lines.push(Line::not_tried(name, why));
    }
    let place = |line: &Line| match line.step {
        "way" => 0,
        "clock" => 5,
        name => 2 * STEPS.iter().position(|(_, step)| *step == name).unwrap_or(STEPS.len()) + 2,
    };
    lines.sort_by_key(place);
}

/// CONNACK, subscription and round trip by the word of the gateway that runs.
fn of_running_line(running: Option<&Running>, keep_alive: Duration, echoes: bool) -> Vec<Line> {
    let Some(running) = running else {
        let why =
            "a gateway runs and its status page does not answer; to connect in its name would throw it out";
        return ["connack", "subscribe", "round_trip"].map(|step| Line::not_tried(step, why)).into();
    };
    let line = &running.link;
    let fault = line.fault.as_ref().and_then(|fault| known(&fault.kind, &fault.detail));
    let is_up = matches!(line.state.as_str(), "online" | "catchingup");
    if !is_up {
        return match fault {
            Some(fault) if fault.kind == FaultKind::SubscriptionRefused => {
                vec![Line::good("connack", "by the running gateway"), Line::fault("subscribe", &fault)]
            }
            Some(fault) => vec![Line::fault("connack", &fault)],
            None => vec![Line::not_tried("connack", format!("the running gateway is {}", line.state))],
        };
    }
    let mut words = format!("by the running gateway: {}", line.protocol.as_deref().unwrap_or("connected"));
    let theirs = line.keep_alive_seconds.and_then(|theirs| Duration::try_from_secs_f64(theirs).ok());
    words += &theirs.map_or(String::new(), |theirs| link::shorter_keep_alive(theirs, keep_alive));
    let mut connack = Line::good("connack", words);
    let past = running.link_last_fault.as_ref();
    let age = past.and_then(|past| running.now.since(past.at)).filter(|age| *age < RECENT);
    if let (Some(past), Some(age)) = (past, age)
        && let Some(fault) = known(&past.kind, &past.detail)
    {
        connack.seen += &format!("; {} s ago: {}", age.as_secs(), said(&fault));
        connack.fault = Some(fault.kind);
        connack.remedy = Some(fault.kind.remedy().to_owned());
    }
    let mut subscribe = Line::good("subscribe", "by the running gateway");
    let mut round_trip = if !echoes {
        Line::not_tried("round_trip", NO_ECHO)
    } else if line.echoed {
        Line::good("round_trip", "by the running gateway: its own message came back")
    } else if line.state != "online" {
        Line::not_tried("round_trip", "the running gateway waits for its own message")
    } else {
        let remedy = "Let the cloud's policy allow the gateway to publish and to receive its own topic `…/bridge/fence`.";
        Line::bad(
            "round_trip",
            "the running gateway's own message did not come back on this connection",
            remedy,
        )
    };
    match &fault {
        Some(fault) if is_about_messages(fault.kind) => round_trip = Line::fault("round_trip", fault),
        Some(fault) => {
            connack = Line::fault("connack", fault);
            let why = "not tried";
            (subscribe, round_trip) = (Line::not_tried("subscribe", why), Line::not_tried("round_trip", why));
        }
        None => {}
    }
    vec![connack, subscribe, round_trip]
}

/// A fault of a line that is up is about what was published, unless it is about the line itself.
fn is_about_messages(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NotAuthorized
            | FaultKind::QuotaExceeded
            | FaultKind::TooLarge
            | FaultKind::ServerUnavailable
            | FaultKind::Protocol
    )
}

/// A fault by its name; of a later version's kinds nothing is known.
fn known(name: &str, detail: &str) -> Option<Fault> {
    let kind = FaultKind::ALL.iter().find(|kind| kind.name() == name)?;
    Some(Fault::new(*kind, detail))
}

async fn of_listeners(config: &Config, is_running: bool) -> Line {
    let mut answered = Vec::new();
    for listener in &config.broker.listeners {
        let address = reachable(listener.address);
        let is_open = matches!(timeout(LISTENER_LIMIT, TcpStream::connect(address)).await, Ok(Ok(_)));
        answered.push((listener.address, is_open));
    }
    let list = |wanted: bool| {
        let those = answered.iter().filter(|(_, is_open)| *is_open == wanted);
        those.map(|(address, _)| address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (open, closed) = (list(true), list(false));
    match (is_running, open.is_empty(), closed.is_empty()) {
        (true, _, true) => Line::good("listeners", format!("{open} answer")),
        (true, _, false) => {
            let remedy = "Look into the log: `journalctl -u hearthlink`; after a change of `broker.listeners` restart it.";
            Line::bad("listeners", format!("nobody answers at {closed}, though a gateway runs"), remedy)
        }
        (false, true, _) => Line::not_tried("listeners", format!("{closed} are free, no gateway runs")),
        (false, false, _) => {
            let remedy =
                "Stop that program (`ss -tlnp` names it), or give `broker.listeners` another address.";
            Line::bad("listeners", format!("another program already answers at {open}"), remedy)
        }
    }
}

/// Where a listener on every address can be reached from here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// What is wrong with the store, and what to do.
type StoreTrouble = (String, &'static str);

async fn look_at_store(config: &Config) -> Result<StoreFinding, StoreTrouble> {
    const REPAIR: &str = "Let the user that runs Hearthlink write there, and look at the disk (`dmesg`); a damaged file is set \
                          aside at the next start.";
    const LATER: &str = "Install the later Hearthlink again: what waits is still there. docs/upgrades.md says what else can be \
                         done.";
    let path = build::store_file(config);
    let look = tokio::task::spawn_blocking(move || examine_store(&path));
    match timeout(STORE_LIMIT, look).await {
        Ok(Ok(Err(error @ StoreError::FromTheFuture { .. }))) => Err((error.to_string(), LATER)),
        Ok(Ok(found)) => found.map_err(|error| (error.to_string(), REPAIR)),
        Ok(Err(error)) => Err((error.to_string(), REPAIR)),
        Err(_) => Err((format!("the disk did not answer within {} s", STORE_LIMIT.as_secs()), REPAIR)),
    }
}

fn of_store(config: &Config, found: Result<StoreFinding, StoreTrouble>, running: Option<&Running>) -> Line {
    let file = build::store_file(config);
    let free = free_space(&file);
    let bytes = |number: u64| bytesize::ByteSize(number).display().iec().to_string();
    let room = free.map_or(String::new(), |free| format!(", {} free", bytes(free)));
    match (found, running) {
        (Err((error, remedy)), _) => Line::bad("store", error, remedy),
        (Ok(_), Some(Running { store: RunningStore { fault: Some(fault), .. }, .. })) => Line::bad(
            "store",
            fault.clone(),
            "Make room on the disk, or replace it; home goes on working meanwhile.",
        ),
        (Ok(_), _) if free.is_some_and(|free| free < LEAST_ROOM) => {
            let seen =
                format!("only {} are free beside `{}`", bytes(free.unwrap_or_default()), file.display());
            Line::bad("store", seen, "Make room on the disk.")
        }
        (Ok(_), Some(Running { store, .. })) => {
            let aside = match store.set_aside.last() {
                Some(name) => format!("; a damaged file is set aside as `{name}`"),
                None => String::new(),
            };
            Line::good(
                "store",
                format!("in use by the running gateway, {} waiting{room}{aside}", store.waiting),
            )
        }
        (Ok(StoreFinding::InUse), None) => Line::good("store", format!("in use by a running gateway{room}")),
        (Ok(StoreFinding::NotYet), None) => {
            Line::good("store", format!("`{}` will be made at the first start{room}", file.display()))
        }
        (Ok(StoreFinding::Sound { size, waiting }), None) => {
            Line::good("store", format!("sound, {}, {waiting} waiting{room}", bytes(size)))
        }
    }
}

fn of_devices(config: &Config, running: Option<&Running>) -> Line {
    let Some(running) = running else {
        let count = config.devices.len();
        let why = format!(
            "{count} are configured and their options are good; no running gateway to ask about them"
        );
        return Line::not_tried("devices", why);
    };
    let ill: Vec<String> = running
        .devices
        .iter()
        .filter_map(|device| match &device.fault {
            Some(fault) => Some(format!("{}: {fault}", device.id)),
            None => (device.availability == "offline").then(|| format!("{}: does not answer", device.id)),
        })
        .collect();
    if ill.is_empty() {
        return Line::good("devices", format!("{} without a fault", running.devices.len()));
    }
    Line::bad("devices", ill.join("; "), unanswering_remedy(ill.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(way: &str, steps: Vec<link::Seen>) -> Walk {
        Walk { way: way.to_owned(), steps }
    }

    fn trusted() -> Clock {
        Clock::manual(Timestamp::parse_rfc3339("2026-11-30T12:00:00Z").unwrap())
    }

    #[test]
    fn a_cloud_without_an_echo_is_asked_for_none_and_its_refusal_is_told_all_the_same() {
        let running = |fault: &str| -> Running {
            let text = format!(
                r#"{{"gateway": "g", "now": "2026-11-30T12:00:00Z", "link_last_fault": null, "devices": [],
                    "link": {{"state": "online", "protocol": "MQTT 5", "fault": {fault}, "keep_alive_seconds": 30, "echoed": true}},
                    "store": {{"waiting": 0, "fault": null, "set_aside": []}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let limit = Duration::from_secs(45);
        let lines = of_running_line(Some(&running("null")), limit, false);
        assert_eq!((lines[2].verdict, lines[2].seen.as_str()), (Verdict::NotTried, NO_ECHO));
        assert!(
            lines[0].seen.contains("a keep-alive of 30 s, shorter than `cloud.keep_alive` (45 s)"),
            "{:?}",
            lines[0]
        );
        let refused = running(r#"{"kind": "not_authorized", "detail": "publishing to `a`"}"#);
        let lines = of_running_line(Some(&refused), limit, false);
        assert_eq!((lines[2].verdict, lines[2].fault), (Verdict::Bad, Some(FaultKind::NotAuthorized)));
        assert_eq!(of_running_line(Some(&running("null")), limit, true)[2].verdict, Verdict::Good);
    }

    #[test]
    fn a_machine_in_trouble_is_told_by_the_same_rule_as_on_the_page() {
        let hot = HostReport { temperature_celsius: Some(84.2), ..HostReport::default() };
        let lines: Vec<_> = of_machine(&hot).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((lines[0].step, lines[0].verdict), ("machine", Verdict::Bad));
        assert_eq!(lines[0].seen, "This machine is too hot (84.2 °C) and slows down.");
        assert_eq!(of_machine(&HostReport::default()).count(), 0);
    }

    #[test]
    fn what_comes_after_the_failure_is_not_tried_and_everything_is_in_its_order() {
        let fault = Fault::new(FaultKind::Tcp, "refused");
        let walks = [walk(
            "wss://a",
            vec![(LinkStep::Dns, Ok("`a` is 192.0.2.1".into())), (LinkStep::Tcp, Err(fault))],
        )];
        let mut lines = of_walks(&walks, &trusted());
        complete(&mut lines, true);
        let shape: Vec<_> = lines.iter().map(|line| (line.step, line.verdict)).collect();
        use Verdict::{Bad, Good, NotTried};
        assert_eq!(
            shape,
            [
                ("dns", Good),
                ("clock", Good),
                ("tcp", Bad),
                ("proxy", NotTried),
                ("tls", NotTried),
                ("upgrade", NotTried),
                ("connack", NotTried),
                ("subscribe", NotTried),
                ("round_trip", NotTried)
            ]
        );
    }

    #[test]
    fn a_way_that_failed_before_a_good_one_is_told_beside_it_and_without_a_good_one_the_first_is_shown() {
        let bad = |way| walk(way, vec![(LinkStep::Dns, Err(Fault::new(FaultKind::Dns, "no such host")))]);
        let good = walk("wss://b", vec![(LinkStep::Dns, Ok("fine".into()))]);
        let lines = of_walks(&[bad("wss://a"), good], &trusted());
        assert_eq!((lines[0].step, lines[1].step), ("way", "dns"));
        assert!(lines[0].seen.starts_with("wss://a: "), "{}", lines[0].seen);
        let lines = of_walks(&[bad("wss://a"), bad("wss://b")], &trusted());
        let seen: Vec<_> = lines.iter().map(|line| (line.step, line.verdict)).collect();
        assert_eq!(seen[..2], [("way", Verdict::Bad), ("dns", Verdict::Bad)]);
        assert!(lines[0].seen.starts_with("wss://b: "), "{}", lines[0].seen);
    }
}
