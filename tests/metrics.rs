//! What programs read: `/metrics` by its format, its documentation and its dashboard; `/api/status` by its schema.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

#[path = "metrics/house.rs"]
mod house;
#[path = "support/json_schema.rs"]
mod json_schema;

use std::collections::{BTreeMap, BTreeSet};

use hearthlink::model::FaultKind;
use house::{House, SECRET, names};
use json_schema::{Members, faults};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../docs/metrics.md");
const DASHBOARD: &str = include_str!("../deploy/grafana/hearthlink.json");
const SCHEMA: &str = include_str!("../docs/status.schema.json");

async fn furnished() -> House {
    let house = House::new().await;
    house.furnish();
    house
}

/// A sample's name, its labels as they stand there, its value.
fn sample(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, rest)) = series.split_once('{') else { return (series, Vec::new(), value) };
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let escaped =
            |at: usize| after[..at].chars().rev().take_while(|character| *character == '\\').count() % 2 == 1;
        let end = after
            .match_indices('"')
            .map(|(at, _)| at)
            .find(|at| !escaped(*at))
            .unwrap_or_else(|| panic!("{line}"));
        labels.push((label, &after[..end]));
        rest = after[end + 1..].trim_start_matches(',');
    }
    (name, labels, value)
}

#[tokio::test]
async fn every_line_of_the_metrics_is_a_head_or_a_sample_of_the_head_before_it() {
    let house = furnished().await;
    let text = house.get("/metrics").await;
    assert!(text.ends_with('\n') && !text.contains(SECRET), "{text}");
    let (mut heads, mut series) = (BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut current) = ("", "");
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').unwrap();
            assert!(help.ends_with('.'), "{line}");
            helped = name;
        } else if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            assert_eq!(name, helped, "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(heads.insert(name, kind), None, "twice: {line}");
            current = name;
        } else {
            let (name, labels, value) = sample(line);
            assert_eq!(name, current, "{line}");
            assert!(value.is_finite(), "{line}");
            assert!(series.insert((name, labels)), "twice: {line}");
        }
    }
    let value = |wanted: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(wanted));
        sample(lines.next().unwrap_or_else(|| panic!("no {wanted}"))).2
    };
    for (wanted, expected) in [
        ("hearthlink_cloud_round_trip_seconds", 0.031),
        ("hearthlink_cloud_down_seconds", 90.0),
        ("hearthlink_cloud_received_bytes_total", 1000.0),
        ("hearthlink_cloud_fault{fault=\"quota_exceeded\"}", 1.0),
        ("hearthlink_device_battery_ratio{device=\"attic\"}", 0.87),
        ("hearthlink_device_stale{device=\"kettle\"}", 1.0),
        ("hearthlink_commands_total{origin=\"cloud\",status=\"refused\",reason=\"not_allowed\"}", 2.0),
        ("hearthlink_queue_dropped_total{policy=\"drop_oldest\"}", 3.0),
        ("hearthlink_bus_events_total{bus=\"the \\\"odd\\\" adapter\\\\hci0\",event=\"power_cycles\"}", 2.0),
        ("hearthlink_host_under_voltage_since_boot", 1.0),
    ] {
        assert_eq!(value(wanted), expected, "{wanted}");
    }
    // A thousand bytes a minute into a mebibyte.
    assert!((value("hearthlink_queue_full_seconds") - 59_400.0).abs() < 1_200.0, "{text}");
}

#[tokio::test]
async fn a_gateway_without_cloud_devices_and_thermometer_has_no_numbers_of_them() {
    let house = House::new().await;
    let text = house.get("/metrics").await;
    for absent in ["_cloud_", "_device_", "_host_", "_bus_", "commands_total", "queue_full", "queue_oldest"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[tokio::test]
async fn the_documentation_lists_every_metric_with_its_kind_and_no_other() {
    let house = furnished().await;
    let text = house.get("/metrics").await;
    let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeMap<&str, &str> = heads.collect();
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`'), cells.next()?))
    });
    let listed: BTreeMap<&str, &str> = rows.collect();
    assert_eq!(served, listed);
}

#[tokio::test]
async fn every_metric_that_the_dashboard_asks_for_is_served() {
    let house = furnished().await;
    let served = names(&house.get("/metrics").await);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() > 40, "{}", expressions.len());
    for expression in expressions {
        let asked = names(expression);
        assert!(!asked.is_empty() && asked.is_subset(&served), "{expression}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        assert!(names(variable["definition"].as_str().unwrap()).is_subset(&served), "{variable}");
    }
    // Alarms of the documentation, too.
    assert!(names(PAGE).is_subset(&served), "{:?}", names(PAGE).difference(&served));
}

#[tokio::test]
async fn the_status_is_as_its_schema_says_in_an_empty_house_and_in_a_full_one() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let house = House::new().await;
    let mut statuses = vec![house.get("/api/status").await];
    house.furnish();
    statuses.push(house.get("/api/status").await);
    for status in &statuses {
        let status: Value = serde_json::from_str(status).unwrap();
        assert_eq!(faults(&schema, &status, Members::OnlyDescribed), [""; 0]);
    }
    // And is no schema that lets everything pass.
    let full: Value = serde_json::from_str(&statuses[1]).unwrap();
    for (pointer, wrong) in [
        ("/store/waiting", json!("many")),
        ("/line_history/outages/0/fault", json!("bad_luck")),
        ("/line_history/outages/0/from", json!("yesterday")),
        ("/devices/0/number/history", json!(vec![1; 49])),
        ("/store/dropped/0", json!(["max_age"])),
        ("/host/load", json!([1, 2])),
        ("/commands/0", json!({})),
        ("/verdict", json!({"level": "ok", "sentence": "x", "remedy": null, "since": null, "more": 1})),
    ] {
        let mut status = full.clone();
        *status.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = wrong;
        assert_ne!(faults(&schema, &status, Members::OnlyDescribed), [""; 0], "{pointer}");
    }
    let kinds: Vec<Value> = FaultKind::ALL.iter().map(|kind| kind.name().into()).collect();
    assert_eq!(schema["$defs"]["fault_kind"]["enum"], Value::Array(kinds));
}

/// By Debian's `prometheus`.
#[cfg(feature = "interop")]
#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    let house = furnished().await;
    for text in [house.get("/metrics").await, House::new().await.get("/metrics").await] {
        let promtool = |text: &str| {
            let mut child = Command::new("promtool")
                .args(["check", "metrics"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("promtool is Debian's package prometheus");
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8(said).unwrap())
        };
        assert_eq!(promtool(&text), (true, String::new()), "{text}");
        let spoilt =
            text.replacen("# TYPE hearthlink_start_time_seconds gauge\n", "", 1) + "hearthlink_x{ 1\n";
        assert!(!promtool(&spoilt).0, "it finds what is wrong");
    }
}
