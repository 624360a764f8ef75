//! The text of a first configuration: what was answered, and beside it in comments what else there could be.
//!
//! Pure. Invariant: the text is a configuration that `hearthlink check` takes, for all answers that `answers` lets through.

use std::fmt::Write;

use super::{
    answers::{Answers, Line, Login},
    offers::{Offer, quoted},
};

/// What else the text says.
pub(super) struct Setting<'a> {
    /// Everything that could be a device.
    pub(super) offers: &'a [Offer],
    /// Bluetooth adapters that are there.
    pub(super) adapters: &'a [String],
    /// Where the local broker listens on loopback.
    pub(super) broker_port: u16,
    /// `gateway.data_dir`, where it is not the usual one.
    pub(super) data_dir: Option<&'a str>,
    /// What the gateway needs to log in is there.
    pub(super) can_log_in: bool,
}

/// The whole file.
pub(super) fn text(answers: &Answers, setting: &Setting<'_>) -> String {
    let mut text = String::from(
        "# Hearthlink's configuration, written by `hearthlink init`. `hearthlink check` says whether it is good.\n\
         # Everything that can stand here, with its default, is in config.example.yaml.\n\n",
    );
    text += &format!(
        "gateway:\n  # A level of every topic in the cloud.\n  id: {}\n",
        quoted(answers.name.as_str())
    );
    if let Some(data_dir) = setting.data_dir {
        text += &format!(
            "  # Where the queue and the journal live. As a service: /var/lib/hearthlink.\n  data_dir: {data_dir}\n"
        );
    }
    text += &format!(
        "\n# Where the devices at home connect.\nbroker:\n  listeners:\n    - address: 127.0.0.1:{}\n    \
         # Only programs on this machine reach that one. For the rest of the house, first a user (`hearthlink user add \
         NAME`), then:\n    # - address: 0.0.0.0:8883\n    #   tls: {{ certificate_file: broker.pem, key_file: \
         broker.key }}\n",
        setting.broker_port
    );
    text += "\n";
    text += &match &answers.line {
        Some(line) => cloud(line, setting.can_log_in),
        None => "# Without a line to a cloud everything works at home only. With one (docs/clouds.md):\n\
                 # cloud:\n#   url: wss://broker.example.org/mqtt\n#   username: home\n#   password_file: cloud-password\n"
            .to_owned(),
    };
    text += "\n";
    devices(&mut text, answers, setting);
    text += "\n# What the cloud may do at home. Nothing else ever reaches a device (docs/commands.md). For example:\n\
             # commands:\n#   allow:\n#     - { device: lamp, set: { state: [\"ON\", \"OFF\"] } }\n\
             \n# Further local topics that go to the cloud (docs/routes.md):\n\
             # routes:\n#   - local: sensors/#\n";
    text += &format!(
        "\n# The status page, on this machine only. From another one: ssh -L {port}:127.0.0.1:{port} <this machine>\n\
         web:\n  address: 127.0.0.1:{port}\n",
        port = answers.port
    );
    text
}

/// What stands in the section `cloud`.
fn cloud(line: &Line, can_log_in: bool) -> String {
    let mut section = format!("cloud:\n  url: {}\n", quoted(&line.url));
    section += "  # The CA that signed the cloud's certificate, if it is none that this machine trusts:\n  # ca_file: cloud-ca.pem\n";
    match &line.login {
        Login::Certificate => {
            for (name, file) in ["certificate_file", "key_file"].iter().zip(line.files()) {
                let _ = writeln!(section, "  {name}: {}", quoted(&file));
            }
        }
        Login::Password => {
            let username = quoted(&line.username);
            section += &format!("  username: {username}\n  password_file: {}\n", line.files().concat());
        }
        Login::Token => section += &format!("  token_file: {}\n", line.files().concat()),
        Login::None => {
            section += "  # It logs in with nothing but its name. Other ways: docs/access.md.\n";
        }
    }
    let head = "# The one line out: MQTT in TLS, verified, always.\n";
    if can_log_in {
        return format!("{head}{section}");
    }
    let files = line.files().join(" and ");
    let mut waiting = format!(
        "{head}# It is not dialled yet, for {files} is not there. Then take the `# ` off the lines from `cloud:` on.\n"
    );
    for line in section.lines() {
        let _ = writeln!(waiting, "# {line}");
    }
    waiting
}

fn devices(text: &mut String, answers: &Answers, setting: &Setting<'_>) {
    let is_taken = |place: usize| answers.devices.contains(&place);
    *text += "# The devices at home; docs/devices.md has them all. Each has its topics below home/<id>.\n";
    *text += if answers.devices.is_empty() { "devices: []\n" } else { "devices:\n" };
    for (_, offer) in setting.offers.iter().enumerate().filter(|(place, _)| is_taken(*place)) {
        *text += &entry(offer, "");
    }
    let left = setting.offers.iter().enumerate().filter(|(place, _)| !is_taken(*place));
    let left: Vec<&Offer> = left.map(|(_, offer)| offer).collect();
    if !left.is_empty() {
        *text += "  # What else was found, or could be:\n";
    }
    for offer in left {
        *text += &entry(offer, "# ");
    }
    if !setting.adapters.is_empty() {
        let adapters = setting.adapters.join(", ");
        *text += &format!(
            "  # Bluetooth ({adapters}) is there for sensors and peripherals: docs/devices/bluetooth.md\n"
        );
    }
}

fn entry(offer: &Offer, mark: &str) -> String {
    let Offer { id, kind, options, about, .. } = offer;
    let mut entry = format!("  {mark}- id: {id}  # {about}\n  {mark}  kind: {kind}\n");
    if !options.is_empty() {
        entry += &format!("  {mark}  options: {options}\n");
    }
    entry
}
