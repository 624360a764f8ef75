//! Presence by an iBeacon.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::{
        super::ble::{BleAddress, BlePeer, channel},
        testing::{bytes, device, refuses},
    },
    *,
};

const UUID: &str = "2f234454-cf6d-4a0f-adf2-f4911ba9ffa6";

fn beacon(more: Value) -> Box<dyn Device> {
    let mut options = json!({"uuid": UUID});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    device("ibeacon", options).unwrap()
}

/// What is said when somebody with this address sends this, after so many seconds.
fn hears(device: &mut dyn Device, address: u8, data: &str, seconds: i64) -> Result<Value, DeviceError> {
    let address = BleAddress([0xd0, 0, 0, 0, 0, address]);
    let frame = channel::frame_of(BleChannel::ManufacturerData(COMPANY), Some(-71), address, &bytes(data));
    let heard = device.decode(&frame, Timestamp::from_millis(seconds * 1000));
    heard.map(|changes| Value::Object(changes.fields))
}

fn advertisement(numbers: &str) -> String {
    format!("0215 2f234454cf6d4a0fadf2f4911ba9ffa6 {numbers} c5")
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    refuses(
        "ibeacon",
        &[
            (json!({}), &["missing field `uuid`"]),
            (json!({"uuid": "2f234454"}), &["`uuid`", "no UUID", "`2f234454-cf6d-"]),
            (json!({"uuid": UUID, "minor": 1}), &["`minor`", "`major`"]),
            (json!({"uuid": UUID, "major": 65536}), &["`major`", "65536"]),
            (json!({"uuid": UUID, "away_after": "5s"}), &["`away_after`", "`10s`"]),
            (json!({"uuid": UUID, "address": "A4:C1:38:01:02:03"}), &["no option `address`"]),
        ],
    );
    assert!(device("ibeacon", json!({"uuid": "2F234454CF6D4A0FADF2F4911BA9FFA6"})).is_ok());
}

#[test]
fn it_is_known_by_its_numbers_whatever_its_address() {
    let peer = |more: Value| match beacon(more).wiring() {
        Wiring::Ble { peer: BlePeer::Anyone { channel, prefix, silent_after }, .. } => {
            assert_eq!(channel, BleChannel::ManufacturerData(0x004c));
            (prefix.to_vec(), silent_after)
        }
        _ => panic!("it listens to anyone"),
    };
    let start = bytes("0215 2f234454cf6d4a0fadf2f4911ba9ffa6");
    assert_eq!(peer(json!({})), (start.clone(), Some(Duration::from_secs(180))));
    let (prefix, silence) = peer(json!({"major": 1, "minor": 258, "away_after": "1min"}));
    assert_eq!((prefix, silence), ([&start[..], &[0, 1, 1, 2]].concat(), Some(Duration::from_secs(60))));

    let mut beacon = beacon(json!({"major": 1}));
    let home = json!({"presence": "home", "major": 1, "minor": 258, "signal": -71});
    assert_eq!(hears(&mut *beacon, 1, &advertisement("0001 0102"), 0), Ok(home));
    for (data, part) in [
        (advertisement("0002 0102"), "another beacon"),
        ("0215 2f234454".to_owned(), "no iBeacon"),
        ("1005 0b1c 0203".to_owned(), "no iBeacon"),
        (advertisement("0001 0102").replace("0215", "0315"), "another beacon"),
    ] {
        let error = hears(&mut *beacon, 1, &data, 0).unwrap_err().to_string();
        assert!(error.contains(part), "{data}: {error}");
    }
}

#[test]
fn it_is_away_after_a_silence_and_home_again_at_once() {
    let mut beacon = beacon(json!({}));
    let mut hear = |seconds| hears(&mut *beacon, 1, &advertisement("0001 0102"), seconds).unwrap();
    assert_eq!(hear(0)["presence"], json!("home"));
    assert_eq!(hear(1), json!({}), "it lives, and there is nothing new");
    assert_eq!(hear(29), json!({}));
    assert_eq!(hear(30)["signal"], json!(-71), "how strong it is, now and then");
    assert_eq!(hear(10)["presence"], json!("home"), "the clock was set back");
    let silence = channel::frame_of(channel::SILENCE, None, BleAddress([0; 6]), &[]);
    let said = beacon.decode(&silence, Timestamp::from_millis(11_000)).unwrap();
    assert_eq!(Value::Object(said.fields), json!({"presence": "away"}));
    assert_eq!(hears(&mut *beacon, 2, &advertisement("0001 0102"), 12).unwrap()["presence"], json!("home"));
    assert_eq!(beacon.presence(), Presence::Assumed, "to be away is no fault");
}

#[test]
fn what_stands_in_for_it_comes_and_goes() {
    let mut beacon = beacon(json!({"major": 7}));
    let mut simulation = beacon.simulation();
    let mut frames = vec![simulation.start(Instant::now())];
    frames.extend((0..59).map(|_| simulation.tick(Instant::now())));
    let mut presence = |round: usize| {
        let now = Timestamp::from_millis(i64::try_from(round).unwrap() * 10_000);
        let said: Vec<_> =
            frames[round].iter().map(|frame| beacon.decode(frame, now).unwrap().fields).collect();
        said.first().and_then(|fields| fields.get("presence").cloned())
    };
    assert_eq!(presence(0), Some(json!("home")));
    assert_eq!(presence(29), Some(json!("home")));
    assert_eq!(presence(30), Some(json!("away")));
    assert_eq!(presence(59), None);
}
