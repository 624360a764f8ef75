//! Meters: published telegrams, and what becomes of them when they are damaged.
//!
//! Sources of the samples, each as its meter sent it:
//! - `p1_*`, `iec_d_*`: the example telegrams of `dsmr_parser` (github.com/ndokter/dsmr_parser, test/example_telegrams.py,
//!   2024), which took them from the DSMR standards and from its users;
//! - `iec_c_iskra_mt174`: a comment at the end of a public Python script that reads an MT174 at 9600 bits a second (its
//!   functions are `messageverify` and `main`), with the checksum, of 27 January 2022 by the meter's clock; the index in
//!   which it was found names neither the script's repository nor its author;
//! - `sml_*`: `libsml-testing` (github.com/devZer0/libsml-testing, April 2023), the first telegram of each recording.
//!
//! A million mutations instead of some thousands: `MUTATIONS=1000000 cargo test --lib -- mutated`.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::testing::{device, object, plan, read, refuses},
    *,
};
use crate::devices::serial::{GARBLED, Heard, Step, framing::Framing};

const KAIFA: &[u8] = include_bytes!("samples/p1_kaifa_v4.txt");
const ISKRA_V5: &[u8] = include_bytes!("samples/p1_iskra_v5.txt");
const SAGEMCOM: &[u8] = include_bytes!("samples/p1_sagemcom_t210.txt");
const DSMR3: &[u8] = include_bytes!("samples/iec_d_iskra_dsmr3.txt");
const EASYMETER: &[u8] = include_bytes!("samples/iec_d_easymeter_q3d.txt");
const MT174: &[u8] = include_bytes!("samples/iec_c_iskra_mt174.txt");
const EMH: &str = include_str!("samples/sml_emh_ehz361.hex");
const HOLLEY: &str = include_str!("samples/sml_holley_dtz541.hex");
const MT631: &str = include_str!("samples/sml_iskra_mt631.hex");
const DZG: &str = include_str!("samples/sml_dzg_dvs7420_negative.hex");

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<char> = hexadecimal.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

/// Every sample whose telegrams are checked, with what checks it.
fn checked() -> Vec<(Envelope, Vec<u8>)> {
    let mut samples: Vec<_> =
        [KAIFA, ISKRA_V5, SAGEMCOM].map(|sample| (Envelope::P1, sample.to_vec())).into();
    samples.push((Envelope::ModeC, MT174.to_vec()));
    samples.extend([EMH, HOLLEY, MT631, DZG].map(|sample| (Envelope::Sml, bytes(sample))));
    samples
}

fn all() -> Vec<(Envelope, Vec<u8>)> {
    let mut samples = checked();
    samples.extend([DSMR3, EASYMETER].map(|sample| (Envelope::ModeD, sample.to_vec())));
    samples
}

fn meter(envelope: Envelope, more: Value) -> Box<dyn Device> {
    let protocol = match envelope {
        Envelope::P1 => "p1",
        Envelope::ModeD => "iec_mode_d",
        Envelope::ModeC => "iec_mode_c",
        Envelope::Sml => "sml",
    };
    let mut options = object(json!({"port": "/dev/a", "protocol": protocol}));
    options.extend(object(more));
    device("meter", Value::Object(options)).unwrap()
}

/// What the device makes of all that is whole in `stream`; garbled lumps are left out.
fn readings_with(envelope: Envelope, stream: &[u8], options: Value) -> Vec<Fields> {
    let mut meter = meter(envelope, options);
    let whole = Telegrams::new(envelope).push(stream).into_iter().flatten();
    let now = Timestamp::from_millis(0);
    whole
        .filter_map(|telegram| meter.decode(&Frame::new("frame", telegram), now).ok())
        .map(|changes| changes.fields)
        .filter(|fields| !fields.is_empty())
        .collect()
}

fn readings(envelope: Envelope, stream: &[u8]) -> Vec<Fields> {
    readings_with(envelope, stream, json!({}))
}

#[track_caller]
fn assert_reads(envelope: Envelope, stream: &[u8], expected: Value) {
    assert_eq!(readings(envelope, stream), [object(expected)]);
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let on = |more: Value| {
        let mut options = object(json!({"port": "/dev/a", "protocol": "p1"}));
        options.extend(object(more));
        Value::Object(options)
    };
    refuses(
        "meter",
        &[
            (json!({"port": "/dev/a"}), &["missing field `protocol`"]),
            (on(json!({"protocol": "p2"})), &["`protocol`", "`p1`", "`sml`", "`iec_mode_d`"]),
            (on(json!({"interval": "1min"})), &["`interval`", "iec_mode_c"]),
            (on(json!({"protocol": "iec_mode_c", "interval": "1s"})), &["`interval`", "`5s`"]),
            (on(json!({"protocol": "iec_mode_c", "address": "a!"})), &["`address`", "letters"]),
            (on(json!({"obis": [{"code": "power", "field": "p"}]})), &["`obis[0].code`", "`1-0:1.8.0`"]),
            (on(json!({"obis": [{"code": "1.8.0", "field": "a b"}]})), &["`obis[0].field`"]),
            (on(json!({"obis": [{"code": "1.8.0"}]})), &["`obis[0]`", "missing field `field`"]),
        ],
    );
    let refusal = plan(&*meter(Envelope::Sml, json!({})), json!({"power": 1}), json!({}));
    assert!(refusal.err().unwrap().to_string().contains("only measures"));
}

#[test]
fn p1_telegrams_become_fields() {
    assert_reads(
        Envelope::P1,
        KAIFA,
        json!({
            "energy_import_t1": 1581.123, "energy_import_t2": 1435.706, "energy_import_total": 3016.829,
            "energy_export_t1": 0, "energy_export_t2": 0, "energy_export_total": 0, "tariff": 2,
            "power_import": 2027, "power_export": 0, "power": 2027,
            "current_l1": 0, "current_l2": 6, "current_l3": 2,
            "power_import_l1": 170, "power_export_l1": 0, "power_import_l2": 1247, "power_export_l2": 0,
            "power_import_l3": 209, "power_export_l3": 0, "gas_total": 981.443,
        }),
    );
    let fields = &readings(Envelope::P1, ISKRA_V5)[0];
    for (name, value) in
        [("voltage_l1", 230.0), ("voltage_l3", 229.0), ("current_l2", 0.44), ("gas_total", 0.107)]
    {
        assert_eq!(fields[name].as_f64(), Some(value), "{name}");
    }
    let fields = &readings(Envelope::P1, SAGEMCOM)[0];
    assert_eq!(fields["energy_import_total"], json!(6545.766), "the meter's own total, from Wh");
    assert_eq!(fields["power"], json!(286));
}

#[test]
fn iec_telegrams_become_fields() {
    let fields = &readings(Envelope::ModeD, DSMR3)[0];
    assert_eq!(fields["energy_import_total"], json!(24691.356));
    assert_eq!((&fields["power"], &fields["gas_total"]), (&json!(1190), &json!(1.001)));
    assert_reads(
        Envelope::ModeD,
        EASYMETER,
        json!({
            "energy_import_total": 52185.7825309, "energy_export_total": 19949.3221493, "power_import": 2124.86,
            "power": 2124.86, "power_import_l1": 747.85, "power_import_l2": 737.28, "power_import_l3": 639.73,
        }),
    );
    assert_reads(
        Envelope::ModeC,
        MT174,
        json!({"energy_import_total": 502.853, "energy_export_total": 98697.318}),
    );
}

/// The values are those that `sml-rs` 0.4 gives, and the codes and units as `libsml` prints them.
#[test]
fn sml_telegrams_become_fields() {
    let reads = |sample, expected| assert_reads(Envelope::Sml, &bytes(sample), expected);
    reads(EMH, json!({"energy_export_t1": 110340.3151, "energy_export_total": 110340.3151}));
    reads(HOLLEY, json!({"energy_import_total": 2355.929, "power": 376}));
    reads(MT631, json!({"energy_import_total": 2043.1047, "energy_export_total": 0, "power": 193}));
    reads(DZG, json!({"energy_import_total": 13.2329, "energy_export_total": 1500.3213, "power": -105.5}));
    let map = json!({"obis": [{"code": "1-0:1.7.1", "field": "power"}]});
    assert_eq!(readings_with(Envelope::Sml, &bytes(EMH), map)[0]["power"], json!(-5632.1916));
}

#[test]
fn any_code_becomes_a_field_by_the_map() {
    let map = json!({"obis": [
        {"code": "0-0:96.7.21", "field": "failures"},
        {"code": "1-0:1.8.1*255", "field": "night"},
        {"code": "0-0:96.1.1", "field": "number"},
        {"code": "1-0:99.99.0", "field": "never"},
    ]});
    let fields = &readings_with(Envelope::P1, KAIFA, map)[0];
    assert_eq!((&fields["failures"], &fields["night"]), (&json!(15), &json!(1581.123)));
    assert!(fields.contains_key("number") && !fields.contains_key("never"));
    let map = json!({"obis": [{"code": "1-0:96.1.0", "field": "number"}]});
    assert_eq!(readings_with(Envelope::Sml, &bytes(HOLLEY), map)[0]["number"], json!("0a01484c5902000d6be6"));
}

/// A P1 telegram with these lines, and its checksum.
fn p1(lines: &str) -> Vec<u8> {
    let telegram = format!("/ISk5\\MT\r\n\r\n{lines}\r\n!");
    let crc = crate::devices::serial::framing::Checksum::Crc16Arc.of(telegram.as_bytes());
    format!("{telegram}{crc:04X}\r\n").into_bytes()
}

#[test]
fn numbers_that_are_names_stay_as_they_are_written() {
    let map = json!({"obis": [{"code": "0-0:96.1.1", "field": "number"}]});
    for (written, value) in [
        ("4530303334303036", json!("4530303334303036")),
        ("00339226", json!("00339226")),
        ("12E4", json!("12E4")),
        ("00015", json!(15)),
        ("123456789012345", json!(123_456_789_012_345_u64)),
    ] {
        let fields = &readings_with(Envelope::P1, &p1(&format!("0-0:96.1.1({written})")), map.clone())[0];
        assert_eq!(fields["number"], value);
    }
    // What has a name of ours, or a unit, is a measure.
    let lines = "1-0:1.8.0(0012345*kWh)\r\n1-0:32.7.0(0000230)";
    assert_reads(Envelope::P1, &p1(lines), json!({"energy_import_total": 12345, "voltage_l1": 230}));
}

#[test]
fn units_are_read_in_either_case() {
    let map = json!({"obis": [{"code": "1-0:3.7.0", "field": "q"}, {"code": "1-0:3.8.0", "field": "e"}]});
    let lines = "1-0:3.7.0(01.5*kVAr)\r\n1-0:3.8.0(2580.5*kVArh)\r\n1-0:1.8.0(1500*WH)";
    let fields = &readings_with(Envelope::P1, &p1(lines), map)[0];
    assert_eq!((&fields["q"], &fields["e"]), (&json!(1500), &json!(2580.5)));
    assert_eq!(fields["energy_import_total"], json!(1.5));
}

#[test]
fn a_scaler_that_no_meter_has_is_no_value_and_no_panic() {
    let file = |scaler: &[u8]| {
        let mut file = vec![0x74, 1, 1, 1, 0x72, 0x63, 7, 1, 0x75, 1, 1, 1, 1, 0x71, 0x77];
        file.extend([7, 1, 0, 1, 8, 0, 0xff, 1, 1, 0x62, 0x1e]);
        file.extend(scaler);
        file.extend([0x62, 5, 1]);
        file
    };
    let items = sml::items(&file(&[0x52, 0xff])).unwrap();
    assert_eq!(items[0].value, json!(0.5));
    for scaler in [&[0x55, 0x80, 0, 0, 0][..], &[0x53, 0x7f, 0xff]] {
        assert_eq!(sml::items(&file(scaler)), Ok(Vec::new()));
    }
}

#[test]
fn behind_a_checksum_a_line_that_means_nothing_costs_only_itself() {
    for line in
        ["0-0:(1)", "MANUFACTURER", "1-0:1.8.0 00052)", "(00001.001)", "1-0:2.8.0(1)(2(3))", "odd(1)\r\n(7)"]
    {
        let lines = format!("{line}\r\n1-0:1.7.0(01.5*kW)");
        assert_reads(Envelope::P1, &p1(&lines), json!({"power_import": 1500, "power": 1500}));
        let lines = format!("1-0:1.7.0(01.5*kW)\r\nodd\r\n{line}");
        if !line.starts_with('(') {
            assert_reads(Envelope::P1, &p1(&lines), json!({"power_import": 1500, "power": 1500}));
        }
        let inner = format!("{lines}\r\n!\r\n\x03");
        let bcc = inner.bytes().fold(0, |bcc, byte| bcc ^ byte);
        let telegram = [b"\x02", inner.as_bytes(), &[bcc]].concat();
        assert_eq!(readings(Envelope::ModeC, &telegram).len(), 1, "{line}");
    }
}

#[test]
fn of_several_groups_the_one_with_a_unit_is_the_value() {
    let map = json!({"obis": [{"code": "1.6.0", "field": "most"}]});
    let fields = &readings_with(Envelope::P1, &p1("1-0:1.6.0(1.23*kW)(2201011215)"), map)[0];
    assert_eq!(fields["most"], json!(1230));
}

#[test]
fn a_line_that_lost_something_makes_the_whole_telegram_unreadable() {
    for line in ["1-0:1.8.0*255(0005", "1-0:1.8.0 00052)", "1-0:(1)", "(1)x", "1-0:1.8.0(1)(2(3))"] {
        let telegram = format!("/ESY5Q3\r\n\r\n{line}\r\n1-0:1.7.0(1*W)\r\n!\r\n");
        assert!(readings(Envelope::ModeD, telegram.as_bytes()).is_empty(), "{line}");
    }
}

#[test]
fn halves_and_noise_are_left_out_and_what_is_whole_is_found() {
    for (envelope, sample) in all() {
        let whole = readings(envelope, &sample);
        assert_eq!(whole.len(), 1, "{envelope:?}");
        for cut in 0..sample.len() {
            // Cut off, and begun anew; opened in the midst, and whole afterwards.
            for half in [&sample[..cut], &sample[cut..]] {
                let stream = [half, &sample[..], &sample[..]].concat();
                let found = readings(envelope, &stream);
                assert!(found.ends_with(&whole) && found.iter().all(|fields| *fields == whole[0]), "{cut}");
            }
        }
        let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let stream = [&noise[..], &sample[..], &sample[..]].concat();
        assert_eq!(readings(envelope, &stream).last(), Some(&whole[0]), "{envelope:?} after noise");
    }
}

#[test]
fn an_old_telegram_without_checksum_is_no_reading_and_the_sentence_says_what_to_write() {
    let pieces = Telegrams::new(Envelope::P1).push(DSMR3);
    let [Err(garbled)] = &pieces[..] else { panic!("{pieces:?}") };
    assert!(garbled.0.contains("`protocol: iec_mode_d`"), "{garbled:?}");
    let mut meter = meter(Envelope::P1, json!({}));
    let error = read(meter.as_mut(), GARBLED, &garbled.0).unwrap_err().to_string();
    assert!(error.starts_with("device `d`: cannot read `telegram`: a telegram has no checksum"), "{error}");
}

#[test]
fn a_meter_in_mode_c_is_asked_agreed_with_and_read() {
    let mut talker = ModeC::new("", 300, MINUTE);
    let now = Instant::now();
    talker.begin(now);
    assert_eq!(talker.next(), Some(now), "at once");
    let asked = talker.ask(now).unwrap();
    assert_eq!((&asked.send[..], asked.baud_before, asked.baud_after), (&b"/?!\r\n"[..], Some(300), None));
    assert_eq!(talker.next(), Some(now + MINUTE));
    let none = |heard: Heard| heard.frames.is_empty() && heard.next.is_none() && heard.ended.is_none();
    assert!(none(talker.hear(b"/?!\r\n/ISk5MT1", now)), "our own echo, and half a name");
    let Heard { next: Some(Step { send, baud_after, .. }), .. } = talker.hear(b"74-0002\r\n", now) else {
        panic!("it did not agree");
    };
    assert_eq!((&send[..], baud_after), (&b"\x06050\r\n"[..], Some(9600)));
    let telegram = &MT174[MT174.iter().position(|byte| *byte == 2).unwrap()..];
    let (half, rest) = telegram.split_at(40);
    assert!(none(talker.hear(half, now)));
    let heard = talker.hear(rest, now);
    assert_eq!(heard.ended, Some(Ok(())));
    let mut meter = meter(Envelope::ModeC, json!({}));
    let fields = meter.decode(&heard.frames[0], Timestamp::from_millis(0)).unwrap().fields;
    assert_eq!(fields["energy_import_total"], json!(502.853));
    assert!(none(talker.hear(telegram, now)), "what it was not asked for");
}

#[test]
fn noise_before_a_meters_name_does_not_hide_it() {
    for noise in [&[0][..], &[0xff], b"\0\xff\x00", b"/", b"/?!\r\n\0"] {
        let mut talker = ModeC::new("", 300, MINUTE);
        let now = Instant::now();
        talker.begin(now);
        talker.ask(now).unwrap();
        let heard = talker.hear(&[noise, b"/ISk5MT174-0002\r\n"].concat(), now);
        assert_eq!(heard.next.expect("it agrees").send, &b"\x06050\r\n"[..], "{noise:?}");
    }
}

#[test]
fn a_readout_ends_by_the_silence_behind_it_and_never_goes_on_for_ever() {
    let telling = |now: Instant| {
        let mut talker = ModeC::new("", 300, MINUTE);
        talker.begin(now);
        talker.ask(now).unwrap();
        let step = talker.hear(b"/ISk5MT174-0002\r\n", now).next.unwrap();
        assert!(step.answer_within <= Some(Duration::from_secs(5)), "its first character");
        talker
    };
    let now = Instant::now();
    // The STX, or the ETX, is lost.
    for damaged in [&b"?1.8.0(1)\r\n!\r\n\x03\x00"[..], b"\x021.8.0(1)\r\n!\r\n?\x00"] {
        let heard = telling(now).hear(damaged, now);
        assert!(heard.ended.is_none() && heard.awaits <= Some(Duration::from_secs(3)));
        assert!(heard.awaits >= Some(Duration::from_millis(1500)), "the standard's longest pause of a meter");
    }
    let mut talker = telling(now);
    let ended =
        (0..1000).find(|second| talker.hear(b"noise", now + Duration::from_secs(*second)).ended.is_some());
    assert_eq!(ended, Some(150));
}

#[test]
fn a_meter_in_mode_c_that_does_not_play_along_is_a_fault() {
    let sentence = |talk: &dyn Fn(&mut ModeC) -> Heard| {
        let mut talker = ModeC::new("123", 300, MINUTE);
        talker.begin(Instant::now());
        assert_eq!(&talker.ask(Instant::now()).unwrap().send[..], b"/?123!\r\n");
        let heard = talk(&mut talker);
        assert_eq!((&*heard.frames[0].channel, &heard.ended), (GARBLED, &Some(Ok(()))));
        heard.frames[0].text().unwrap().to_owned()
    };
    let now = Instant::now();
    assert!(sentence(&|talker| talker.give_up()).contains("did not answer"));
    assert!(sentence(&|talker| talker.hear(b"/ISkAMT174\r\n", now)).contains("mode A or B"));
    assert!(sentence(&|talker| talker.hear(b"/I\r\n", now)).contains("too short"));
    assert!(sentence(&|talker| talker.hear(&[0xff; 300], now)).contains("garbled"));
    let damaged = |talker: &mut ModeC| {
        talker.hear(b"/ISk5MT174-0002\r\n", now);
        talker.hear(b"\x021.8.0(1)\r\n!\r\n\x03\x00", now)
    };
    assert!(sentence(&damaged).contains("checksum is wrong"));
}

proptest! {
    /// A CRC-16 finds up to three wrong bits, and any burst within 16 bits, in telegrams of this length; the
    /// exclusive or finds one.
    #[test]
    fn damaged_bytes_never_become_another_reading(
        which in any::<Index>(),
        flips in vec(any::<Index>(), 1..=3),
        (at, burst) in (any::<Index>(), 1_u16..),
    ) {
        let (envelope, sample) = which.get(&checked()).clone();
        let whole = readings(envelope, &sample);
        let mut flipped = sample.clone();
        let flips = if envelope == Envelope::ModeC { &flips[..1] } else { &flips[..] };
        for flip in flips {
            let bit = flip.index(sample.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        let mut burst_in = sample.clone();
        let at = at.index(sample.len() - 1);
        let burst = if envelope == Envelope::ModeC { burst & 0xff } else { burst }.to_be_bytes();
        burst_in[at] ^= burst[0];
        burst_in[at + 1] ^= burst[1];
        for damaged in [flipped, burst_in] {
            // Whoever writes a checksum's digits in small letters has not changed it.
            for fields in readings(envelope, &damaged) {
                prop_assert_eq!(&fields, &whole[0]);
            }
            let stream = [&damaged[..], &sample[..], &sample[..]].concat();
            let found = readings(envelope, &stream);
            prop_assert_eq!(found.last(), Some(&whole[0]));
        }
    }

    #[test]
    fn telegrams_come_out_however_the_bytes_are_cut(which in any::<Index>(), cuts in vec(1_usize..200, 1..20)) {
        let (envelope, sample) = which.get(&all()).clone();
        let stream = sample.repeat(3);
        let (mut telegrams, mut rest, mut cuts) = (Telegrams::new(envelope), &stream[..], cuts.iter().cycle());
        let mut whole = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            whole.extend(telegrams.push(head));
            rest = tail;
        }
        prop_assert_eq!(whole, Telegrams::new(envelope).push(&stream));
    }
}

/// Damages a telegram as no wire would.
fn mutate(random: &mut fastrand::Rng, sample: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.u8(..)),
            4 => drop(bytes.drain(at..(at + random.usize(..20)).min(bytes.len()))),
            _ => {
                let from = random.usize(..other.len());
                let piece = other[from..(from + random.usize(..60)).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn mutated_telegrams_do_not_panic_and_hold_no_memory() {
    let count: u64 = std::env::var("MUTATIONS").map_or(4000, |count| count.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let samples = all();
    let mut meters: Vec<_> = (samples.iter())
        .map(|(envelope, _)| (Telegrams::new(*envelope), meter(*envelope, json!({}))))
        .collect();
    let now = Timestamp::from_millis(0);
    for _ in 0..count {
        let which = random.usize(..samples.len());
        let (_, other) = &samples[random.usize(..samples.len())];
        let mutated = mutate(&mut random, &samples[which].1, other);
        let (telegrams, meter) = &mut meters[which];
        for chunk in mutated.chunks(random.usize(1..400)) {
            for piece in telegrams.push(chunk) {
                let frame = match piece {
                    Ok(telegram) => Frame::new("frame", telegram),
                    Err(garbled) => Frame::new(GARBLED, garbled.0),
                };
                let _ = meter.decode(&frame, now);
            }
        }
        assert!(telegrams.held() <= 8192, "seed {seed}");
        // Past the checksum, as a meter with a fault of its own would.
        let _ = meter.decode(&Frame::new("frame", mutated), now);
    }
}

#[test]
fn a_list_that_claims_to_be_endless_takes_no_memory() {
    for file in [vec![0xff, 0x8f, 0x8f, 0x0f], vec![0x7f; 5000], vec![0xf1; 5000], vec![0x8f; 5000]] {
        assert!(sml::items(&file).is_err());
    }
}
