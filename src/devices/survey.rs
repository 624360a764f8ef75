//! What hangs on this machine, or is in the air around it: for whoever writes a first configuration.
//!
//! Owns the look at serial ports, GPIO chips and Bluetooth adapters, and the guess of a sensor's kind by what it
//! advertises. Opens no port, claims no line, connects to nobody; what cannot be looked at is left out, for a survey is a
//! help and nothing depends on it. Every list is bounded.
//!
//! A sensor's kind is asked of the kinds themselves: the one whose device reads the advertisement has it. Rejected: a
//! second table of what sensors look like, which would know other formats than the kinds do.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{
    DeviceSpec, KINDS,
    ble::{BleAddress, BleChannel, channel},
    build,
    bus::ble::neighbours,
    gpio,
};
use crate::model::{DeviceId, Timestamp};

/// The most of each sort that are told of.
const MOST: usize = 32;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Serial ports, as below `/dev/serial/by-id`, in the order of their names.
    pub serial_ports: Vec<PathBuf>,
    /// GPIO chips.
    pub chips: Vec<FoundChip>,
    /// Bluetooth adapters: `hci0`.
    pub adapters: Vec<String>,
    /// Sensors that were heard, if anybody listened.
    pub sensors: Vec<FoundSensor>,
}

/// A GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundChip {
    /// `/dev/gpiochip0`.
    pub path: PathBuf,
    /// What its driver calls it: `pinctrl-bcm2711`.
    pub label: String,
    /// How many lines it has.
    pub lines: u32,
    /// It is the header of a Raspberry Pi, which devices have when they name no chip.
    pub is_of_pi: bool,
}

/// A Bluetooth sensor that advertises in a format that a kind knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSensor {
    /// Its address.
    pub address: BleAddress,
    /// The kind that knows it.
    pub kind: &'static str,
    /// What it calls itself.
    pub name: Option<String>,
    /// What it says can be read without a key.
    pub is_plain: bool,
}

/// What somebody advertises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Advertised {
    pub(super) name: Option<String>,
    pub(super) parts: BTreeMap<BleChannel, Vec<u8>>,
}

/// Looks at the machine whose file system is at `root`, which is `/` but for tests. Reads directories; some milliseconds.
pub fn look(root: &Path) -> Survey {
    Survey {
        serial_ports: names(&root.join("dev/serial/by-id"))
            .map(|name| Path::new("/dev/serial/by-id").join(name))
            .collect(),
        chips: gpio::chips_found().into_iter().take(MOST).collect(),
        // Beside adapters there are connections: `hci0:64`.
        adapters: names(&root.join("sys/class/bluetooth")).filter(|name| !name.contains(':')).collect(),
        sensors: Vec::new(),
    }
}

/// What is in a directory that may not be there, sorted. Names that no file of ours could hold are left out.
fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.chars().any(char::is_control))
        .collect();
    names.sort();
    names.truncate(MOST);
    names.into_iter()
}

/// Listens for Bluetooth sensors for so long, at the first adapter that works.
///
/// # Errors
/// Why nothing could be heard and what to do, as a sentence without a full stop.
pub async fn listen(time: Duration) -> Result<Vec<FoundSensor>, String> {
    let heard = neighbours::heard(time).await?;
    Ok(heard.into_iter().filter_map(|(address, said)| sensor(address, said)).take(MOST).collect())
}

/// The sensor behind an advertisement, if a kind knows it.
fn sensor(address: BleAddress, said: Advertised) -> Option<FoundSensor> {
    /// Kinds and what they listen to. iBeacons have random addresses; a person must say which is whose.
    const KNOWN: [(&str, BleChannel); 4] = [
        ("bthome", BleChannel::service(0xfcd2)),
        ("atc", BleChannel::service(0x181a)),
        ("mibeacon", BleChannel::service(0xfe95)),
        ("ruuvi", BleChannel::ManufacturerData(0x0499)),
    ];
    let (kind, channel, data) =
        KNOWN.iter().find_map(|(kind, channel)| Some((*kind, channel, said.parts.get(channel)?)))?;
    let spec = DeviceSpec {
        id: DeviceId::parse("found").ok()?,
        kind: kind.to_owned(),
        options: json!({ "address": address.to_string() }),
    };
    let mut device = build(KINDS, &spec).ok()?;
    let read = device.decode(&channel::frame(channel, None, data), Timestamp::from_millis(0));
    let is_plain = read.is_ok_and(|changes| !changes.fields.is_empty());
    let name = said.name.filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
    Some(FoundSensor { address, kind, name, is_plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_adapters_are_found_by_their_lasting_names_and_nothing_missing_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let survey = look(root.path());
        assert!(survey.serial_ports.is_empty() && survey.adapters.is_empty() && survey.sensors.is_empty());
        for name in ["dev/serial/by-id/usb-B", "dev/serial/by-id/usb-A", "sys/class/bluetooth/hci1"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        fs::create_dir_all(root.path().join("sys/class/bluetooth/hci1:64")).unwrap();
        fs::create_dir_all(root.path().join("dev/serial/by-id/usb\nevil: 1")).unwrap();
        let survey = look(root.path());
        let ports = ["/dev/serial/by-id/usb-A", "/dev/serial/by-id/usb-B"].map(PathBuf::from);
        assert_eq!(survey.serial_ports, ports);
        assert_eq!(survey.adapters, ["hci1"]);
    }

    #[test]
    fn a_sensors_kind_is_the_one_that_reads_it_and_a_sealed_one_is_known_to_need_a_key() {
        let address = BleAddress([0xa4, 0xc1, 0x38, 1, 2, 3]);
        let said = |channel, data: &[u8]| Advertised {
            name: Some("Attic".to_owned()),
            parts: BTreeMap::from([(channel, data.to_vec())]),
        };
        // bthome.io/format: 25.06 °C and 50.55 %.
        let plain = said(BleChannel::service(0xfcd2), &[0x40, 0x02, 0xca, 0x09, 0x03, 0xbf, 0x13]);
        let found = sensor(address, plain).unwrap();
        assert_eq!((found.kind, found.is_plain, found.name.as_deref()), ("bthome", true, Some("Attic")));
        let sealed = said(BleChannel::service(0xfcd2), &[0x41, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let found = sensor(address, sealed).unwrap();
        assert_eq!((found.kind, found.is_plain), ("bthome", false));
        assert_eq!(sensor(address, said(BleChannel::ManufacturerData(0x004c), &[2, 0x15])), None);
    }
}
