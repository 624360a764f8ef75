//! `/metrics`: the board in the text format of Prometheus (0.0.4).
//!
//! Owns the names: `hearthlink_`, base units, `_total` for what only grows. No payload and no id of a device is in a
//! label. Rejected, while it is so few: prometheus-client; its registry would hold every number a second time, and the
//! board has them all.

use std::fmt::{Display, Write};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    health::{Board, Snapshot},
    model::LinkState,
};

pub(super) async fn show(State(board): State<Board>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text(&board.snapshot())).into_response()
}

fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Display| {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP hearthlink_{name} {help}\n# TYPE hearthlink_{name} {kind}\nhearthlink_{name} {value}\n"
        );
    };
    let seconds = |millis: i64| millis.div_euclid(1000);
    let started = seconds(snapshot.started.as_millis());
    family("start_time_seconds", "gauge", "When the gateway started, Unix time.", &started);
    let is_trusted = u8::from(snapshot.clock_trusted);
    family("clock_trusted", "gauge", "Whether the machine's clock can be believed.", &is_trusted);
    if snapshot.link.state != LinkState::Off {
        let is_up = matches!(snapshot.link.state, LinkState::CatchingUp | LinkState::Online);
        family("cloud_up", "gauge", "Whether the line to the cloud is up.", &u8::from(is_up));
    }
    if let Some(status) = &snapshot.certificate {
        let help = "When the gateway's own certificate for the cloud expires, Unix time.";
        let until = seconds(status.certificate.not_after.as_millis());
        family("cloud_certificate_expiry_timestamp_seconds", "gauge", help, &until);
    }
    let waiting = snapshot.store.waiting;
    family("queue_messages", "gauge", "Messages that wait for the cloud.", &waiting);
    let counters = &snapshot.counters;
    for (name, help, value) in [
        ("cloud_connections_total", "Connections that the cloud accepted.", counters.connects),
        ("cloud_failures_total", "Attempts and connections that failed.", counters.failures),
        ("cloud_acknowledged_total", "Publishes that the cloud acknowledged.", counters.acknowledged),
    ] {
        family(name, "counter", help, &value);
    }
    text
}
