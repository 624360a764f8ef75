//! Keys and what they open, and whatever else may come by air.
//!
//! The advertisements are those of `tests/interop/bthome/vectors.json`, which says where they are from. A million
//! mutations instead of some thousands: `MUTATIONS=1000000 cargo test --lib -- mutated`.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::testing::{bytes, device, hears, refuses},
    *,
};
use crate::{devices::Device, model::Timestamp};

const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
const KINDS_WITH_KEYS: [&str; 3] = ["atc", "bthome", "mibeacon"];

fn with(more: Value) -> Value {
    let mut options = json!({"address": "54:48:E6:8F:80:A5"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    for kind in KINDS_WITH_KEYS {
        refuses(
            kind,
            &[
                (json!({}), &["missing field `address`"]),
                (json!({"address": "54:48:E6"}), &["`address`", "A4:C1:38:01:02:03"]),
                (with(json!({"encrypted": true})), &["`bind_key`", "missing"]),
                (with(json!({"encrypted": false, "bind_key": KEY})), &["`encrypted`", "leave one"]),
                (with(json!({"bind_key": KEY, "bind_key_file": "/x"})), &["`bind_key_file`", "leave one"]),
                (with(json!({"bind_key_file": "/nowhere/key"})), &["`bind_key_file`", "/nowhere/key"]),
                (with(json!({"bindkey": KEY})), &["`bindkey`", "did you mean `bind_key`?"]),
                (with(json!({"adapter": "usb"})), &["`adapter`", "hci0"]),
            ],
        );
        assert!(device(kind, with(json!({"bind_key": KEY, "encrypted": true}))).is_ok());
        assert!(device(kind, with(json!({"encrypted": false, "offline_after": "5min"}))).is_ok());
    }
    let remembers = with(json!({"replay_protection": "sometimes"}));
    refuses("bthome", &[(remembers.clone(), &["`replay_protection`", "`strict`"])]);
    refuses("atc", &[(remembers, &["no option `replay_protection`"])]);
    refuses("ruuvi", &[(with(json!({"bind_key": KEY})), &["no option `bind_key`"])]);
}

#[test]
fn a_key_that_is_none_is_refused_and_not_shown() {
    for secret in [
        json!("231d39c1d7cc1ab1aee224cd096db93"),
        json!("231d39c1d7cc1ab1aee224cd096db9322"),
        json!("231d39c1d7cc1ab1aee224cd096db93g"),
        json!("+31d39c1d7cc1ab1aee224cd096db932"),
        json!(11_112_222_333_344_445_u64),
        json!(1.5e300),
        json!(["231d39c1d7cc1ab1aee224cd096db932"]),
    ] {
        let error = device("bthome", with(json!({"bind_key": secret}))).err().unwrap().to_string();
        assert!(error.contains("`bind_key`: write 32 hexadecimal digits, in quotes"), "{error}");
        let digits: String = secret.to_string().chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        assert!(!error.contains(&digits), "{error}");
    }
    let key: BindKey = serde_json::from_value(json!(KEY)).unwrap();
    assert_eq!(format!("{key:?}"), "***");
    let options: SealedOptions = serde_json::from_value(with(json!({"bind_key": KEY}))).unwrap();
    assert!(!format!("{options:?}").contains("231d"));
}

#[test]
fn a_key_in_a_file_is_read_if_only_its_owner_may() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let build =
        || device("bthome", with(json!({"bind_key_file": path}))).map(drop).map_err(|e| e.to_string());
    std::fs::write(&path, format!("  {KEY}\nand a note\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let error = build().unwrap_err();
    assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(build(), Ok(()));
    for text in ["", "\n231d39c1d7cc1ab1aee224cd096db932", "231d39c1d7cc1ab1aee224cd096db9", "\u{e4}\u{f6}"] {
        std::fs::write(&path, text).unwrap();
        let error = build().unwrap_err();
        assert!(error.contains("no key") && !error.contains("231d"), "{error}");
    }
    std::fs::write(&path, [0xff; 64]).unwrap();
    assert!(build().unwrap_err().contains("cannot read"));
    let error = device("bthome", with(json!({"bind_key_file": directory.path()}))).err().unwrap();
    assert!(error.to_string().contains("is no file"), "{error}");
}

#[test]
fn numbers_are_rounded_as_home_assistant_does() {
    // Halves as they are in binary: 0.35 is a little less, 2.5 is one.
    for (number, decimals, rounded_to) in [
        (0.35, 1, 0.3),
        (1.05, 1, 1.1),
        (2.5, 0, 2.0),
        (3.5, 0, 4.0),
        (-7.7, 1, -7.7),
        (-0.25, 1, -0.2),
        (1e17, 2, 1e17),
    ] {
        assert_eq!(rounded(number, decimals), rounded_to, "{number}");
    }
}

#[test]
fn what_stands_in_for_a_device_is_read_by_its_own_kind_plain_and_encrypted() {
    let plain = with(json!({}));
    let keyed = with(json!({"bind_key": KEY}));
    let cases = [("ruuvi", &plain), ("atc", &plain), ("bthome", &plain), ("mibeacon", &plain)];
    for (kind, options) in cases.into_iter().chain(KINDS_WITH_KEYS.map(|kind| (kind, &keyed))) {
        let mut device = device(kind, options.clone()).unwrap();
        let mut simulation = device.simulation();
        let mut frames = simulation.start(Instant::now());
        (0..40).for_each(|_| frames.extend(simulation.tick(Instant::now())));
        assert_eq!(frames.len(), 41);
        for (round, frame) in frames.iter().enumerate() {
            let now = Timestamp::from_millis(i64::try_from(round).unwrap() * 10_000);
            let fields = device.decode(frame, now).unwrap().fields;
            let is_within = |name: &str, range: std::ops::Range<f64>| {
                assert!(range.contains(&fields[name].as_f64().unwrap()), "{kind}: {fields:?}");
            };
            is_within("temperature", 17.0..25.0);
            is_within("humidity", 30.0..60.0);
            is_within("signal", -80.0..-50.0);
            assert_eq!(
                fields.contains_key("encryption_counter"),
                options == &keyed && kind != "atc",
                "{kind}"
            );
        }
        assert!(simulation.touch(&frames[0], Instant::now()).is_err());
    }
}

/// A published advertisement, and the device that sent it.
struct Sample {
    kind: &'static str,
    key: Option<String>,
    address: String,
    data: Vec<u8>,
}

impl Sample {
    fn all() -> Vec<Self> {
        let all = include_str!("../../../../tests/interop/bthome/vectors.json");
        let all: Value = serde_json::from_str(all).unwrap();
        let mut samples = Vec::new();
        for kind in ["atc", "bthome", "mibeacon", "ruuvi"] {
            for vector in all[kind].as_array().unwrap() {
                for advert in vector["adverts"].as_array().unwrap() {
                    samples.push(Self {
                        kind,
                        key: vector["key"].as_str().filter(|key| key.len() == 32).map(str::to_owned),
                        address: advert["address"].as_str().unwrap().to_owned(),
                        data: bytes(advert["data"].as_str().unwrap()),
                    });
                }
            }
        }
        samples
    }

    fn device(&self) -> Box<dyn Device> {
        let mut options = json!({"address": self.address});
        if let Some(key) = &self.key {
            options["bind_key"] = json!(key);
        }
        device(self.kind, options).unwrap()
    }

    fn channel(&self) -> BleChannel {
        match self.kind {
            "atc" => BleChannel::service(0x181a),
            "bthome" => BleChannel::service(0xfcd2),
            "mibeacon" => BleChannel::service(0xfe95),
            _ => BleChannel::ManufacturerData(0x0499),
        }
    }

    /// Whether its device reads it as something that was encrypted.
    fn is_read_and_sealed(&self) -> bool {
        let read = hears(&mut *self.device(), self.channel(), &self.data, 0);
        self.key.is_some() && read.is_ok_and(|changes| !changes.fields.is_empty())
    }
}

/// A cut, a splice with another one, some bytes written over, or some bits turned.
fn mutate(random: &mut fastrand::Rng, sample: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..6) {
            0 => bytes.truncate(at),
            1 => {
                bytes.truncate(at);
                bytes.extend(&other[random.usize(0..=other.len())..]);
            }
            2 => bytes.insert(at, random.u8(..)),
            3 => bytes.extend((0..random.usize(0..40)).map(|_| random.u8(..))),
            4 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            _ if at < bytes.len() => bytes[at] = [0x00, 0x7f, 0x80, 0xff, random.u8(..)][random.usize(0..5)],
            _ => {}
        }
    }
    bytes
}

#[test]
fn mutated_advertisements_do_not_panic_and_say_nothing_endless() {
    let count: u64 = std::env::var("MUTATIONS").map_or(8000, |count| count.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let samples = Sample::all();
    // Each with its key, and once more without: what is inside is then read as it comes.
    let mut devices: Vec<_> = samples
        .iter()
        .map(|sample| {
            let plain = device(sample.kind, json!({"address": sample.address})).unwrap();
            (sample.device(), plain)
        })
        .collect();
    let mut beacon = device("ibeacon", json!({"uuid": "2f234454-cf6d-4a0f-adf2-f4911ba9ffa6"})).unwrap();
    let mut read = 0;
    for round in 0..count {
        let which = random.usize(..samples.len());
        let other = &samples[random.usize(..samples.len())];
        let mutated = mutate(&mut random, &samples[which].data, &other.data);
        let now = i64::try_from(round).unwrap() * 100;
        let (keyed, plain) = &mut devices[which];
        for device in [keyed, plain] {
            if let Ok(changes) = hears(&mut **device, samples[which].channel(), &mutated, now) {
                read += usize::from(!changes.fields.is_empty());
                assert!(changes.fields.len() <= mutated.len() + 12, "seed {seed}");
                // What it would tell people of it.
                assert!(device.entities(&changes.fields).len() <= 2 * mutated.len() + 64, "seed {seed}");
            }
        }
        let _ = hears(&mut *beacon, BleChannel::ManufacturerData(0x4c), &mutated, now);
    }
    println!("{count} mutations, {read} of them read as something");
    assert!(read > 0, "not one in {count} was read; nothing was tried");
}

/// Of MiBeacon's head some bits are under no seal, such as whether the device is bound: what they leave is what was sent.
#[test]
fn what_is_encrypted_and_garbled_on_the_way_never_becomes_another_reading() {
    let samples: Vec<Sample> = Sample::all().into_iter().filter(Sample::is_read_and_sealed).collect();
    let kinds: std::collections::BTreeSet<_> = samples.iter().map(|sample| sample.kind).collect();
    assert_eq!(kinds, KINDS_WITH_KEYS.into(), "each kind has one");
    let strategy = (0..samples.len(), prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..5));
    proptest!(ProptestConfig::with_cases(2000), |((which, changes) in strategy)| {
        let sample = &samples[which];
        let mut garbled = sample.data.clone();
        for (at, bits) in changes {
            let at = at.index(garbled.len());
            garbled[at] ^= bits;
        }
        prop_assume!(garbled != sample.data);
        let hear = |data: &[u8]| {
            let said = hears(&mut *sample.device(), sample.channel(), data, 0);
            said.map(|changes| changes.fields).unwrap_or_default()
        };
        let fields = hear(&garbled);
        let is_sent = sample.kind == "mibeacon" && fields == hear(&sample.data);
        prop_assert!(fields.is_empty() || is_sent, "{:?} from {:?}", fields, garbled);
    });
}

#[test]
fn what_comes_the_other_way_than_the_options_say_is_refused_with_what_to_do() {
    for sample in Sample::all() {
        let (key, channel) = (json!({"address": sample.address, "bind_key": KEY}), sample.channel());
        let refusal = |options: Value| {
            let heard = hears(&mut *device(sample.kind, options).unwrap(), channel, &sample.data, 0);
            heard.err().map(|error| error.to_string()).unwrap_or_default()
        };
        if sample.is_read_and_sealed() {
            let error = refusal(json!({"address": sample.address}));
            assert!(error.contains("this device sends encrypted; give `bind_key`"), "{error}");
            let error = refusal(key);
            assert!(sample.key.as_deref() == Some(KEY) || error.contains("cannot be decrypted"), "{error}");
        } else if sample.key.is_none() && KINDS_WITH_KEYS.contains(&sample.kind) {
            let plain = hears(&mut *sample.device(), channel, &sample.data, 0);
            if plain.is_ok_and(|changes| !changes.fields.is_empty()) {
                let error = refusal(key);
                assert!(error.contains("unencrypted") && error.contains("not believed"), "{error}");
            }
        }
    }
}
