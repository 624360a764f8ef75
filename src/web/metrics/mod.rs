//! `/metrics`: the board in the text format of Prometheus (0.0.4). `docs/metrics.md` lists every name.
//!
//! Owns the names: `hearthlink_`, base units, `_total` for what only grows. Invariants: no payload, no topic of a message
//! and no secret is in a label, nor who sent a command; every label's values are bounded, by the program (`policy`,
//! `status`, `reason`, `level`, `fault`, `event`) or by the configuration (`device`, `kind`, `lane`, `bus`). What devices
//! measure is not here: that goes over MQTT, and Prometheus wants one unit a name.
//!
//! Judged again, and still rejected: prometheus-client. Its registry would hold every number a second time, while the board
//! has them all; its collectors could read them from a snapshot, but it writes OpenMetrics only, where a counter's head has
//! no `_total`, and which `promtool check metrics` and older scrapers do not read. What it would spare is `exposition`.

mod exposition;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    health::{Board, DeviceReport, Level, OutageReport, Snapshot},
    model::{Availability, LinkState, Timestamp},
};
use exposition::{Exposition, Kind, Labels};

pub(super) async fn show(State(board): State<Board>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let make = move || ([(header::CONTENT_TYPE, content_type)], text(&board.snapshot())).into_response();
    super::aside(make).await
}

fn text(snapshot: &Snapshot) -> String {
    let mut text = Exposition::default();
    program(&mut text, snapshot);
    if snapshot.link.state != LinkState::Off {
        cloud(&mut text, snapshot);
        history(&mut text, snapshot);
    }
    queue(&mut text, snapshot);
    store(&mut text, snapshot);
    broker(&mut text, snapshot);
    devices(&mut text, snapshot);
    buses_and_commands(&mut text, snapshot);
    host(&mut text, snapshot);
    text.into_text()
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_millis().div_euclid(1000) as f64
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A word of a bounded set, as `/api/status` has it.
fn word(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn program(text: &mut Exposition, snapshot: &Snapshot) {
    let version = (vec![("version", snapshot.version)], 1.0);
    text.family(Kind::Gauge, "build_info", "The program's version.", [version]);
    text.gauge("start_time_seconds", "When the gateway started, Unix time.", seconds(snapshot.started));
    let trusted = flag(snapshot.clock_trusted);
    text.gauge("clock_trusted", "Whether the machine's clock can be believed.", trusted);
    let levels = [("ok", Level::Ok), ("warning", Level::Warning), ("error", Level::Error)];
    let levels = levels.map(|(name, level)| (vec![("level", name)], flag(snapshot.verdict.level == level)));
    text.family(Kind::Gauge, "status", "How things are: 1 at the level that holds.", levels);
}

fn cloud(text: &mut Exposition, snapshot: &Snapshot) {
    let (link, counters) = (&snapshot.link, &snapshot.counters);
    let is_up = matches!(link.state, LinkState::CatchingUp | LinkState::Online);
    text.gauge("cloud_up", "Whether the line to the cloud is up.", flag(is_up));
    let fault = link.fault.as_ref().map(|fault| fault.kind.name());
    let fault = fault.as_deref().map(|fault| (vec![("fault", fault)], 1.0));
    text.family(Kind::Gauge, "cloud_fault", "What is wrong with the line, if anything.", fault);
    let since = link.connected_since.map(seconds);
    text.gauge("cloud_connected_timestamp_seconds", "When the connection was accepted, Unix time.", since);
    let keep_alive = link.keep_alive.map(|keep_alive| keep_alive.as_secs_f64());
    text.gauge("cloud_keep_alive_seconds", "How often the line is tested, while connected.", keep_alive);
    let until = snapshot.certificate.as_ref().map(|status| seconds(status.certificate.not_after));
    let help = "When the gateway's own certificate for the cloud expires, Unix time.";
    text.gauge("cloud_certificate_expiry_timestamp_seconds", help, until);
    let refused = snapshot.refusals.topics.iter().map(|refusal| refusal.count).sum::<u64>();
    for (name, help, value) in [
        ("cloud_connections_total", "Connections that the cloud accepted.", counters.connects),
        ("cloud_failures_total", "Attempts and connections that failed.", counters.failures),
        ("cloud_published_total", "Publishes sent, sent again included.", counters.published),
        ("cloud_resent_total", "Publishes sent again after a lost connection.", counters.resent),
        ("cloud_acknowledged_total", "Publishes that the cloud acknowledged.", counters.acknowledged),
        ("cloud_received_total", "Messages that came in.", counters.received),
        (
            "cloud_refused_total",
            "Publishes and subscriptions that the cloud did not take.",
            refused + snapshot.refusals.forgotten,
        ),
    ] {
        text.counter(name, help, value);
    }
}

fn history(text: &mut Exposition, snapshot: &Snapshot) {
    let history = &snapshot.line_history;
    let last = history.round_trip.last.map(|last| last.as_secs_f64());
    text.gauge("cloud_round_trip_seconds", "How long the cloud took for its last answer.", last);
    let down =
        |outage: &OutageReport| outage.to.unwrap_or(snapshot.now).since(outage.from).unwrap_or_default();
    let down: f64 = history.outages.iter().map(|outage| down(outage).as_secs_f64()).sum();
    let number = history.outages.len() as f64 + history.outages_forgotten as f64;
    text.gauge("cloud_outages", "Times without a line in the last seven days.", number);
    text.gauge("cloud_down_seconds", "How long they were together.", down);
    let traffic = &history.traffic;
    let help = "Bytes from the cloud, with TLS and all attempts.";
    text.counter("cloud_received_bytes_total", help, traffic.received_bytes);
    text.counter("cloud_sent_bytes_total", "Bytes to the cloud, likewise.", traffic.sent_bytes);
}

fn queue(text: &mut Exposition, snapshot: &Snapshot) {
    let store = &snapshot.store;
    text.gauge("queue_messages", "Messages that wait for the cloud.", store.waiting as f64);
    text.gauge("queue_bytes", "Their size.", store.waiting_bytes as f64);
    text.gauge("queue_limit_bytes", "What they may take.", store.max_bytes as f64);
    let help = "When the oldest of them was accepted, Unix time.";
    text.gauge("queue_oldest_timestamp_seconds", help, store.oldest.map(seconds));
    let full = snapshot.outlook.full_in.map(|full| full.as_secs_f64());
    text.gauge("queue_full_seconds", "How long until the queue is full, while it fills.", full);
    text.counter("queue_accepted_total", "Messages taken for the cloud.", store.accepted);
    text.counter("queue_acknowledged_total", "Messages that the cloud has.", store.acknowledged);
    let dropped = store.dropped.iter().map(|(policy, count)| (vec![("policy", *policy)], *count as f64));
    text.family(Kind::Counter, "queue_dropped_total", "Messages dropped or refused, by policy.", dropped);
    let mut lanes = |kind, name, help, value: fn(&crate::health::LaneReport) -> u64| {
        let samples = store.lanes.iter().map(|lane| (vec![("lane", lane.name.as_str())], value(lane) as f64));
        text.family(kind, name, help, samples);
    };
    lanes(Kind::Gauge, "queue_lane_messages", "Messages that wait in a part of the queue.", |lane| {
        lane.waiting
    });
    lanes(Kind::Gauge, "queue_lane_bytes", "Their size.", |lane| lane.waiting_bytes);
    let help = "Dropped or not kept by the policies of a part of the queue.";
    lanes(Kind::Counter, "queue_lane_dropped_total", help, |lane| lane.dropped);
}

fn store(text: &mut Exposition, snapshot: &Snapshot) {
    let (store, written) = (&snapshot.store, &snapshot.store.written);
    text.gauge("store_fault", "Whether the disk keeps nothing now.", flag(store.fault.is_some()));
    let aside = store.set_aside.len() as f64;
    text.gauge("store_damaged_files", "Damaged files of the store that still lie there.", aside);
    let today = written.days.first().map(|bytes| *bytes as f64);
    text.gauge("store_written_today_bytes", "Written to the disk today.", today);
    let budget = written.budget.map(|bytes| bytes as f64);
    text.gauge("store_written_budget_bytes", "What may be written a day.", budget);
    let floor = written.floor.as_secs_f64();
    text.gauge("store_commit_floor_seconds", "The least time between two commits.", floor);
}

fn broker(text: &mut Exposition, snapshot: &Snapshot) {
    let broker = &snapshot.broker;
    for (name, help, value) in [
        ("broker_clients", "Connected clients at home.", broker.clients),
        ("broker_sessions", "Sessions, those of absent clients included.", broker.sessions),
        ("broker_retained_messages", "Retained messages.", broker.retained),
        ("broker_queued_bytes", "What waits in all sessions' queues.", broker.queued_bytes),
        ("broker_memory_limit_bytes", "What clients can make the broker hold.", broker.memory_limit),
    ] {
        text.gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        ("broker_dropped_total", "Messages dropped because a session's queue was full.", broker.dropped),
        ("broker_connections_refused_total", "Connections refused.", broker.refused),
        ("broker_denied_total", "Publishes and subscriptions that a client may not make.", broker.denied),
        ("broker_not_retained_total", "Messages not retained for want of room.", broker.not_retained),
        ("broker_sessions_ended_early_total", "Sessions ended for want of room.", broker.ended_early),
    ] {
        text.counter(name, help, value);
    }
}

fn devices(text: &mut Exposition, snapshot: &Snapshot) {
    fn by_device<'a>(
        devices: &'a [DeviceReport],
        value: impl Fn(&DeviceReport) -> Option<f64>,
    ) -> impl Iterator<Item = (Labels<'a>, f64)> {
        devices.iter().filter_map(move |device| Some((vec![("device", device.id.as_str())], value(device)?)))
    }
    let devices = &snapshot.devices;
    let kinds = devices
        .iter()
        .map(|device| (vec![("device", device.id.as_str()), ("kind", device.kind.as_str())], 1.0));
    text.family(Kind::Gauge, "device_info", "Each device's kind.", kinds);
    let up = by_device(devices, |device| Some(flag(device.availability == Availability::Online)));
    text.family(Kind::Gauge, "device_up", "Whether a device can be reached.", up);
    let stale = by_device(devices, |device| Some(flag(device.stale)));
    text.family(Kind::Gauge, "device_stale", "Whether its state is of an earlier time.", stale);
    let fault = by_device(devices, |device| Some(flag(device.fault.is_some())));
    text.family(Kind::Gauge, "device_fault", "Whether something is wrong with it.", fault);
    let seen = by_device(devices, |device| device.last_seen.map(seconds));
    let help = "When it last said something, Unix time.";
    text.family(Kind::Gauge, "device_last_seen_timestamp_seconds", help, seen);
    let battery = by_device(devices, |device| device.battery_percent.map(|percent| percent / 100.0));
    text.family(Kind::Gauge, "device_battery_ratio", "What is left of its battery, 0 to 1.", battery);
    let signal = by_device(devices, |device| device.signal_dbm);
    text.family(Kind::Gauge, "device_signal_dbm", "How well it is heard.", signal);
    let restarts = by_device(devices, |device| Some(f64::from(device.restarts)));
    text.family(Kind::Counter, "device_restarts_total", "Restarts of its part after a panic.", restarts);
}

fn buses_and_commands(text: &mut Exposition, snapshot: &Snapshot) {
    let buses = snapshot.buses.iter();
    let fault = buses.clone().map(|bus| (vec![("bus", bus.name.as_str())], flag(bus.fault.is_some())));
    text.family(Kind::Gauge, "bus_fault", "Whether something is wrong with a bus.", fault);
    let events = buses.flat_map(|bus| {
        let labels = |event: &'static str| vec![("bus", bus.name.as_str()), ("event", event)];
        bus.counts.iter().map(move |(event, count)| (labels(event), *count as f64))
    });
    text.family(Kind::Counter, "bus_events_total", "What was counted on a bus.", events);
    let counts = snapshot.command_counts.iter();
    let counts: Vec<_> = counts
        .map(|count| (count.origin, count.status.as_str(), count.reason.map(word), count.count))
        .collect();
    let samples = counts.iter().map(|(origin, status, reason, count)| {
        // An empty label is none.
        let reason = ("reason", reason.as_deref().unwrap_or_default());
        (vec![("origin", *origin), ("status", *status), reason], *count as f64)
    });
    text.family(Kind::Counter, "commands_total", "Commands, by who asked and what became of them.", samples);
}

fn host(text: &mut Exposition, snapshot: &Snapshot) {
    let host = &snapshot.host;
    text.gauge("host_temperature_celsius", "Of the processor.", host.temperature_celsius);
    let low = host.under_voltage;
    text.gauge("host_under_voltage", "Whether the supply is too weak now.", low.map(|low| flag(low.now)));
    let was_low = low.map(|low| flag(low.since_boot));
    text.gauge("host_under_voltage_since_boot", "Whether it was since the boot.", was_low);
    let synchronised = host.clock_synchronised.map(flag);
    text.gauge("host_clock_synchronised", "Whether systemd-timesyncd has set the clock.", synchronised);
    let (free, size) = host.disk.map(|disk| (disk.free_bytes as f64, disk.total_bytes as f64)).unzip();
    text.gauge("host_disk_free_bytes", "What the store's file system has left.", free);
    text.gauge("host_disk_size_bytes", "What it holds.", size);
    let memory = host.memory.map(|memory| (memory.available_bytes as f64, memory.total_bytes as f64));
    let (available, size) = memory.unzip();
    text.gauge("host_memory_available_bytes", "Memory that programs can still have.", available);
    text.gauge("host_memory_size_bytes", "All memory.", size);
    let load = host.load.into_iter().flatten().zip(["1", "5", "15"]);
    let load = load.map(|(load, minutes)| (vec![("minutes", minutes)], load));
    text.family(Kind::Gauge, "host_load", "Tasks that ran or wanted to, on average.", load);
}
