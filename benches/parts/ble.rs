//! Bluetooth advertisements: BTHome, plain and encrypted, each of them news.

use std::hint::black_box;

use aes::Aes128;
use ccm::{
    Ccm,
    aead::{Aead, KeyInit, Nonce},
    consts::{U4, U13},
};
use hearthlink::{
    devices::{Device, DeviceSpec, Frame, KINDS},
    model::{DeviceId, Timestamp},
};
use serde_json::json;

use super::part::{Part, Work};

pub const PARTS: &[Part] =
    &[Part::pure("ble/bthome plain", plain), Part::pure("ble/bthome encrypted", encrypted)];

const ADDRESS: [u8; 6] = [0x54, 0x48, 0xe6, 0x8f, 0x80, 0xa5];
const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
const KEY_BYTES: u128 = 0x231d_39c1_d7cc_1ab1_aee2_24cd_096d_b932;
type Cipher = Ccm<Aes128, U4, U13>;

/// Signal of -60 dBm, before what was advertised.
const SIGNAL: u8 = -60_i8 as u8;

fn sensor(mut options: serde_json::Value) -> Box<dyn Device> {
    options["address"] = "54:48:E6:8F:80:A5".into();
    let kind = KINDS.iter().find(|kind| kind.name == "bthome").expect("the kind is there");
    let id = DeviceId::parse("climate").expect("an id");
    (kind.build)(&DeviceSpec { id, kind: "bthome".to_owned(), options }).expect("its options are right")
}

/// Battery, temperature and humidity, the temperature another each time.
fn objects(counter: u32) -> [u8; 8] {
    let [low, high] = ((counter % 3_000) as u16).to_le_bytes();
    [0x01, 87, 0x02, low, high, 0x03, 0xbf, 0x13]
}

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").expect("a time")
}

fn plain() -> Box<dyn Work> {
    let (mut sensor, now, mut counter) = (sensor(json!({})), now(), 0);
    Box::new(move || {
        counter += 1;
        let frame = Frame::new("service_data/fcd2", [&[SIGNAL, 0x40][..], &objects(counter)].concat());
        let changes = sensor.decode(black_box(&frame), now).expect("it is BTHome");
        assert_eq!(changes.fields.len(), 4);
    })
}

/// Sealed outside of what is measured: the gateway never does that.
struct Encrypted {
    sensor: Box<dyn Device>,
    frames: std::collections::VecDeque<Frame>,
    counter: u32,
}

fn encrypted() -> Box<dyn Work> {
    Box::new(Encrypted { sensor: sensor(json!({"bind_key": KEY})), frames: [].into(), counter: 0 })
}

impl Work for Encrypted {
    fn prepare(&mut self) {
        self.counter += 1;
        let counter = self.counter.to_le_bytes();
        // bthome.io/encryption: address, service, information, counter.
        let nonce = [&ADDRESS[..], &[0xd2, 0xfc, 0x41], &counter].concat();
        let nonce = Nonce::<Cipher>::try_from(&nonce[..]).expect("13 bytes");
        let sealed = Cipher::new(&KEY_BYTES.to_be_bytes().into())
            .encrypt(&nonce, &objects(self.counter)[..])
            .expect("so few bytes are never too many");
        let (ciphertext, check) = sealed.split_at(sealed.len() - 4);
        let data = [&[SIGNAL, 0x41][..], ciphertext, &counter, check].concat();
        self.frames.push_back(Frame::new("service_data/fcd2", data));
    }

    fn run(&mut self) {
        let frame = self.frames.pop_front().expect("one was prepared");
        let changes = self.sensor.decode(black_box(&frame), now()).expect("it is BTHome");
        assert_eq!(changes.fields.len(), 5);
    }
}
