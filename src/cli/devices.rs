//! `devices`: every device of the running gateway in a line.

use clap::Args;

use super::{
    Exit,
    gateway::{Status, Which},
    say::say,
    status::value_words,
};
use crate::{model::printable, web::words};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print them as a JSON list, as in `/api/status`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let gateway = match arguments.which.find() {
        Ok(gateway) => gateway,
        Err(exit) => return exit,
    };
    let (body, status) = match gateway.ask() {
        Ok(answer) => answer,
        Err(error) => return error.show(),
    };
    if arguments.json {
        // All that the page says of them, not only what is printed here.
        let all: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        say(&all["devices"]);
    } else {
        say(table(&status).trim_end());
    }
    Exit::Success
}

const TITLES: [&str; 5] = ["DEVICE", "KIND", "STATE", "LAST SEEN", "VALUE"];

fn table(status: &Status) -> String {
    if status.devices.is_empty() {
        return "There are no devices; they stand in `devices` of the configuration.".to_owned();
    }
    let rows = status.devices.iter().map(|device| {
        let value = value_words(device);
        let fault = device.fault.as_ref().map(|fault| format!("! {fault}"));
        let said: Vec<String> = [value].into_iter().filter(|value| !value.is_empty()).chain(fault).collect();
        [
            device.id.clone(),
            device.kind.clone(),
            device.availability.clone(),
            device.last_seen.map_or("never".to_owned(), |seen| words::ago(status.now, seen)),
            said.join("  "),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(TITLES.map(str::to_owned)).chain(rows).collect();
    lines(&rows)
}

/// Rows in columns as wide as what stands in them; the last one is as long as it is. Nothing in them speaks to the terminal.
pub(super) fn lines<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_line_with_what_it_said_and_what_is_wrong() {
        let status = serde_json::json!({
            "version": "1", "gateway": "home", "now": "2026-11-30T12:00:10Z",
            "verdict": {"level": "ok", "sentence": "", "remedy": null, "since": null},
            "link": {"state": "off", "endpoint": "", "protocol": null, "connected_since": null},
            "store": {"waiting": 0, "waiting_bytes": 0, "oldest": null, "dropped": []},
            "devices": [
                {"id": "attic", "kind": "thermometer", "availability": "online",
                 "fields": {"temperature": 21.5}, "units": {"temperature": "°C"}, "last_seen": "2026-11-30T12:00:00Z", "fault": null},
                {"id": "valve", "kind": "ble_gatt", "availability": "offline",
                 "fields": null, "last_seen": null, "fault": "there is no adapter"},
            ],
        });
        let mut status: Status = serde_json::from_value(status).unwrap();
        let expected = "DEVICE  KIND         STATE    LAST SEEN       VALUE\n\
                        attic   thermometer  online   10 seconds ago  temperature 21.5 °C\n\
                        valve   ble_gatt     offline  never           ! there is no adapter\n";
        assert_eq!(table(&status), expected);
        status.devices.clear();
        assert!(table(&status).starts_with("There are no devices"));
    }
}
