//! The manual pages of section 5: hearthlink(5), every setting, and hearthlink-devices(5), every kind of device.
//!
//! The first is printed from `config::reference`, as docs/configuration.md is. The second is the manual's own pages of
//! devices: they are what says which options a kind has. They are packed into the program, 45 KB, so that `hearthlink
//! man` needs nothing beside it.

use super::{
    commands::end,
    page::{Page, Title, cells, sentence},
};
use crate::{
    cli::DEFAULT_FILE,
    config::{
        self,
        reference::{RULES, Section, Takes, reference},
    },
    devices::KINDS,
};

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../docs/devices/", $name, ".md")))),*]
    };
}

/// What the kinds on a bus have in common, and each kind behind its bus. `tests/pages.rs` says when one is missing.
const DEVICES: [(&str, &str); 24] = pages![
    "toaster",
    "thermometer",
    "gpio",
    "gpio_output",
    "gpio_input",
    "gpio_counter",
    "gpio_pwm",
    "bluetooth",
    "ble_gatt",
    "bthome",
    "mibeacon",
    "atc",
    "ruuvi",
    "ibeacon",
    "serial",
    "serial_line",
    "meter",
    "serial_frame",
    "modbus",
    "mqtt",
    "tasmota",
    "shelly",
    "esphome",
    "lan",
];

/// The table of the kinds, with what each tells and takes.
const TABLE: &str = include_str!("../../../docs/devices.md");
/// What the pages of devices say instead of a row of the table.
const IN_THE_TABLE: &str = "Its state and commands are in [the table](../devices.md#the-kinds).";

/// A configuration that does something. `tests/pages.rs` checks it.
const EXAMPLE: &str = "\
gateway:
  id: home
cloud:
  url: wss://broker.example.org/mqtt
  username: home
  password_file: /run/credentials/hearthlink.service/cloud.password
devices:
  - id: toaster
    kind: toaster
commands:
  allow:
    - device: toaster
      set:
        state: [\"ON\", \"OFF\"]
";

/// hearthlink(5).
pub(super) fn settings(date: &str) -> String {
    let schema = config::json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
    let mut page = begin("hearthlink", "configuration of the home-side MQTT gateway", date);
    page.section("SYNOPSIS");
    page.paragraph(&format!("`{DEFAULT_FILE}`"));
    page.section("DESCRIPTION");
    page.paragraph(
        "The configuration is one YAML file. Only `gateway.id` must be there; what has a default may be left out. \
         `hearthlink check` says what is wrong with it, and where. `hearthlink config schema` prints a schema by which an \
         editor completes and explains it.",
    );
    page.markdown(&RULES.map(|rule| format!("- {rule}")).join("\n"));
    page.section("EXAMPLES");
    page.paragraph("A toaster that the cloud may switch:");
    page.code(EXAMPLE);
    page.section("SETTINGS");
    for section in reference(&schema) {
        settings_of(&mut page, &section);
    }
    end(&mut page, &["hearthlink(8)", "hearthlink-check(8)", "hearthlink-devices(5)"]);
    page.into_text()
}

fn settings_of(page: &mut Page, section: &Section) {
    page.subsection(&section.heading);
    page.paragraph(&sentence(&section.about));
    for setting in &section.settings {
        let mut about = sentence(&setting.about);
        if let Some(takes) = words(&setting.takes, &section.heading) {
            about = format!("{about} Takes {takes}.");
        }
        match &setting.default {
            _ if setting.is_required => about.push_str(" Must be there."),
            Some(default) => about = format!("{about} Default `{default}`."),
            None => {}
        }
        page.term(&format!("`{}`", setting.name), &about);
    }
    if !section.kinds.is_empty() {
        page.subsection("kinds");
        page.paragraph("Their options: `hearthlink-devices`(5).");
    }
    for (kind, about) in &section.kinds {
        page.term(&format!("`{kind}`"), &sentence(about));
    }
}

/// What may stand there; `None`: any text, which the description says well enough.
fn words(takes: &Takes, around: &str) -> Option<String> {
    let own = |takes: &Takes| match takes {
        Takes::Section(path) => Some(format!("the settings of `{path}`, below")),
        Takes::Sections(path) => Some(format!("a list of `{}`, below", path.trim_end_matches("[]"))),
        Takes::Like(heading) if heading == around => Some("the same".to_owned()),
        Takes::Examples(_) => Some(format!("a value {}", takes.words(&|_| None))),
        Takes::Kind => Some("the name of one of the kinds below".to_owned()),
        _ => None,
    };
    (*takes != Takes::Text).then(|| takes.words(&own))
}

/// hearthlink-devices(5).
pub(super) fn devices(date: &str) -> String {
    let mut page =
        begin("hearthlink-devices", "kinds of devices and their options in Hearthlink's configuration", date);
    page.section("DESCRIPTION");
    page.paragraph(
        "Each entry of `devices` in hearthlink(5) has an `id`, a `kind`, and the `options` that are told here. What the \
         kinds on a bus have in common stands in front of them, below the name of the bus in capitals.",
    );
    for (name, text) in DEVICES {
        let text = text.split_once('\n').map_or(text, |(_, below)| below);
        match row(name) {
            Some(told) => {
                page.section(name);
                page.markdown(&text.replace(IN_THE_TABLE, &told));
            }
            None => {
                page.section(&name.to_uppercase());
                page.markdown(text);
            }
        }
    }
    end(&mut page, &["hearthlink(5)", "hearthlink-check(8)", "hearthlink-run(8)"]);
    page.into_text()
}

/// What a kind tells and takes, as the table of the kinds has it; `None` for a bus.
fn row(name: &str) -> Option<String> {
    let row = TABLE.lines().find(|line| line.starts_with(&format!("| [`{name}`](")))?;
    match &cells(row)[..] {
        [_, _, state, takes] => Some(format!("It tells {state}. It takes {takes}.")),
        _ => None,
    }
}

fn begin(name: &str, about: &str, date: &str) -> Page {
    let mut page = Page::new(Title { name, section: 5, date });
    page.section("NAME");
    page.name(name, about);
    page
}
