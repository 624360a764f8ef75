//! Who may share an adapter and a peripheral, and who contradicts whom.

use std::time::Duration;

use super::*;
use crate::{
    devices::{
        DeviceError,
        bus::{Buses, Wiring},
    },
    model::DeviceId,
};

const SENSOR: BleAddress = BleAddress([0xa4, 0xc1, 0x38, 1, 2, 3]);
const VALVE: BleAddress = BleAddress([0xc0, 0xff, 0xee, 0, 0, 1]);

fn advertiser(address: BleAddress) -> BlePeer {
    BlePeer::Advertiser { address, hears: vec![BleChannel::Name] }
}

fn peripheral(address: BleAddress) -> BlePeer {
    BlePeer::Peripheral { address, characteristics: Vec::new() }
}

fn anyone() -> BlePeer {
    BlePeer::Anyone { channel: BleChannel::Name, prefix: Default::default(), silent_after: None }
}

fn hang(
    buses: &mut Buses,
    id: &str,
    adapter: Option<&str>,
    watchdog: Option<u64>,
    peer: BlePeer,
) -> Result<usize, DeviceError> {
    let settings =
        BleSettings { adapter: adapter.map(str::to_owned), watchdog: watchdog.map(Duration::from_secs) };
    buses.hang(&DeviceId::parse(id).unwrap(), Wiring::Ble { settings, peer })
}

#[track_caller]
fn refused(result: Result<usize, DeviceError>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "`{error}` lacks `{part}`"));
}

#[test]
fn devices_share_an_adapter_and_each_adapter_is_a_bus_of_its_own() {
    let mut buses = Buses::default();
    let first = hang(&mut buses, "a", Some("hci0"), None, advertiser(SENSOR)).unwrap();
    assert_eq!(hang(&mut buses, "b", Some("hci0"), Some(60), peripheral(VALVE)).unwrap(), first);
    assert_eq!(hang(&mut buses, "c", Some("hci0"), None, advertiser(SENSOR)).unwrap(), first);
    assert_ne!(hang(&mut buses, "d", Some("hci1"), Some(90), anyone()).unwrap(), first);
}

#[test]
fn who_contradicts_another_is_refused_with_what_to_write() {
    let mut buses = Buses::default();
    hang(&mut buses, "a", None, None, advertiser(SENSOR)).unwrap();
    hang(&mut buses, "b", None, Some(60), peripheral(VALVE)).unwrap();
    let other = BleAddress([1; 6]);
    refused(
        hang(&mut buses, "c", None, Some(90), advertiser(other)),
        &["`watchdog`", "`a`", "60 s", "same for both"],
    );
    refused(
        hang(&mut buses, "c", Some("hci0"), None, advertiser(other)),
        &["`adapter`", "`a`", "`adapter: hci0`"],
    );
    refused(
        hang(&mut buses, "c", None, None, peripheral(VALVE)),
        &["`address`", "`b` connects", "into one device"],
    );
    refused(
        hang(&mut buses, "c", None, None, advertiser(VALVE)),
        &["`address`", "`b` connects", "one of the two"],
    );
    refused(
        hang(&mut buses, "c", None, None, peripheral(SENSOR)),
        &["`address`", "this one connects", "advertise"],
    );
    hang(&mut buses, "c", None, Some(60), anyone()).unwrap();
    // Nobody has two connections to give, whichever adapter asks.
    let mut buses = Buses::default();
    hang(&mut buses, "a", Some("hci0"), None, peripheral(VALVE)).unwrap();
    refused(hang(&mut buses, "b", Some("hci1"), None, peripheral(VALVE)), &["`address`", "`a` connects"]);
}
