//! Modbus RTU: frames as the standard's examples have them, registers, refusals.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::testing::{confirms, device, object, plan, refuses};
use super::*;
use crate::devices::{
    WriteError,
    serial::{Heard, Talker},
};

fn on(registers: Value) -> Value {
    json!({"port": "/dev/a", "address": 17, "registers": registers})
}

fn talker(device: &dyn Device) -> Box<dyn Talker> {
    let Wiring::Serial { talker, .. } = device.wiring() else { panic!("it is on a port") };
    talker
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let one = |more: Value| {
        let mut register = object(json!({"name": "t", "register": 1}));
        register.extend(object(more));
        on(json!([register]))
    };
    let with = |more: Value| {
        let mut options = object(one(json!({})));
        options.extend(object(more));
        Value::Object(options)
    };
    refuses(
        "modbus",
        &[
            (json!({"port": "/dev/a", "registers": []}), &["missing field `address`"]),
            (with(json!({"address": 0})), &["`address`", "1 to 247"]),
            (with(json!({"data_bits": 7})), &["`data_bits`", "8"]),
            (with(json!({"answer_within": "5s"})), &["`answer_within`", "`1500ms`"]),
            (on(json!([])), &["`registers`", "at least one"]),
            (one(json!({"type": "u64"})), &["`registers[0].type`", "`u64`", "`f32`"]),
            (one(json!({"type": "u8"})), &["`registers[0].type`", "16 bits"]),
            (one(json!({"type": "u16", "table": "coil"})), &["`registers[0].type`", "is a bit"]),
            (one(json!({"table": "holdings"})), &["`registers[0].table`", "`holding`"]),
            (one(json!({"register": 65535, "type": "f32"})), &["`registers[0].register`", "needs two"]),
            (one(json!({"register": 65536})), &["`registers[0].register`"]),
            (one(json!({"writable": true, "table": "input"})), &["`registers[0].writable`", "only be read"]),
            (one(json!({"scale": 0})), &["`registers[0].scale`"]),
            (
                on(json!([{"name": "t", "register": 1}, {"name": "t", "register": 2}])),
                &["`registers[1].name`", "twice"],
            ),
        ],
    );
}

/// Question and answer of "Simply Modbus", function 03: device 17, registers 107 to 109.
const QUESTION: &[u8] = &[0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87];
const ANSWER: &[u8] = &[0x11, 0x03, 0x06, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xad];

fn asking() -> Client {
    let mut client = Client::new(17, (Duration::from_millis(500), Duration::from_secs(2)), Vec::new());
    client.begin(Instant::now());
    let step = client.tell(&Pdu::Read(3, 107, 3).frame()).unwrap();
    assert_eq!(&step.send[..], QUESTION);
    client
}

#[test]
fn an_answer_is_found_behind_noise_and_our_own_echo_however_it_is_cut() {
    let now = Instant::now();
    for before in [&[][..], &[0xff, 0x11, 0x03], QUESTION, ANSWER.split_last().unwrap().1] {
        let stream = [before, ANSWER].concat();
        for size in 1..=stream.len() {
            let mut client = asking();
            let heard: Vec<Heard> = stream.chunks(size).map(|chunk| client.hear(chunk, now)).collect();
            let frames: Vec<&Frame> = heard.iter().flat_map(|heard| &heard.frames).collect();
            assert_eq!(frames.len(), 1, "{before:x?} by {size}");
            assert_eq!(&frames[0].payload[..], &ANSWER[3..9]);
            assert!(heard.iter().any(|heard| heard.ended == Some(Ok(()))));
        }
    }
}

#[test]
fn a_damaged_answer_and_one_of_another_device_are_none() {
    let now = Instant::now();
    for bit in 0..ANSWER.len() * 8 {
        let mut damaged = ANSWER.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut client = asking();
        let heard = client.hear(&damaged, now);
        assert!(heard.frames.is_empty() && heard.ended.is_none(), "bit {bit}");
        assert_eq!(client.hear(ANSWER, now).ended, Some(Ok(())), "and the next one is heard");
    }
    let mut client = asking();
    client.hear(&[0x55; 10_000], now);
    assert_eq!(client.hear(ANSWER, now).ended, Some(Ok(())));
    assert!(client.hear(ANSWER, now).ended.is_none(), "nobody asked");
}

proptest! {
    /// Noise that has its address may be an answer by chance, once in 65536 times.
    #[test]
    fn noise_is_no_answer_and_harms_nothing(
        noise in vec(vec(any::<u8>().prop_filter("not its address", |byte| *byte != 17), 0..600), 0..20),
    ) {
        let mut client = asking();
        for chunk in &noise {
            prop_assert!(client.hear(chunk, Instant::now()).ended.is_none());
        }
        prop_assert_eq!(client.hear(ANSWER, Instant::now()).ended, Some(Ok(())));
    }

    #[test]
    fn whatever_comes_does_not_panic(chunks in vec(vec(any::<u8>(), 0..40), 0..40), code in any::<u8>()) {
        let questions = [Pdu::Read(1, 0, 9), Pdu::Read(4, 65535, 1), Pdu::WriteCoil(1, true)];
        for pdu in questions {
            let mut client = asking();
            client.tell(&pdu.frame()).unwrap();
            for chunk in &chunks {
                client.hear(&[&[17, code][..], chunk].concat(), Instant::now());
            }
        }
    }
}

#[test]
fn a_refusal_and_a_silence_have_their_sentences() {
    let now = Instant::now();
    // Device 17 refuses function 3: no such register (Modbus over Serial Line, exception 2).
    let refusal = |function: u8, code: u8| sent_by_17(&[function | 0x80, code]);
    let mut client = asking();
    let heard = client.hear(&refusal(3, 2), now);
    assert_eq!(heard.frames[0].text(), Some("the device refuses: it has no such register (code 2)"));
    let certain = [1, 2, 3, 6, 10];
    for (code, is_certain) in (0..=255).map(|code| (code, certain.contains(&code))) {
        client.tell(&Pdu::WriteCoil(1, true).frame()).unwrap();
        let heard = client.hear(&refusal(5, code), now);
        assert!(heard.frames.is_empty());
        let ended = heard.ended.unwrap().unwrap_err();
        assert_eq!(matches!(ended, WriteError::NotSent(_)), is_certain, "{ended:?}");
    }
    let heard = asking().give_up();
    assert!(heard.frames[0].text().unwrap().starts_with("device 17 does not answer"));
}

#[test]
fn a_refused_register_is_named_and_stays_unread_until_it_is_read() {
    let registers = json!([{"name": "bad", "register": 2}, {"name": "good", "register": 1}]);
    let mut device = device("modbus", on(registers)).unwrap();
    let mut talker = talker(&*device);
    let now = Instant::now();
    talker.begin(now);
    assert_eq!(talker.ask(now).unwrap().send[3], 2);
    let heard = talker.give_up();
    let error = device.decode(&heard.frames[0], Timestamp::from_millis(0)).unwrap_err();
    assert!(matches!(&error, DeviceError::Unread { field, .. } if field == "bad"), "{error:?}");
}

#[test]
fn each_register_is_asked_for_at_its_interval_and_what_was_missed_is_not_made_up_for() {
    let registers =
        json!([{"name": "a", "register": 1, "every": "1s"}, {"name": "b", "register": 2, "every": "1h"}]);
    let device = device("modbus", on(registers)).unwrap();
    assert_eq!(device.presence(), Presence::Heard(Some(Duration::from_secs(3 * 3600 + 5))));
    let mut talker = talker(&*device);
    let start = Instant::now();
    talker.begin(start);
    let mut asked = |at: u64| {
        let now = start + Duration::from_secs(at);
        std::iter::from_fn(|| talker.ask(now).map(|step| step.send[3])).collect::<Vec<u8>>()
    };
    assert_eq!(asked(0), [1, 2]);
    assert_eq!(asked(0), [0; 0]);
    assert_eq!(asked(1), [1]);
    assert_eq!(asked(60), [1]);
    assert_eq!(asked(3600), [1, 2]);
}

/// `pdu` as device 17 sends it.
fn sent_by_17(pdu: &[u8]) -> Vec<u8> {
    let mut frame = [&[17][..], pdu].concat();
    let crc = crate::devices::serial::framing::Checksum::Crc16Modbus.of(&frame);
    frame.extend(crc.to_le_bytes());
    frame
}

#[test]
fn a_silent_device_is_asked_one_question_ever_more_seldom_until_it_answers() {
    let registers: Vec<Value> =
        (0..10).map(|n| json!({"name": format!("r{n}"), "register": n, "every": "2s"})).collect();
    let device = device("modbus", on(json!(registers))).unwrap();
    let mut talker = talker(&*device);
    let start = Instant::now();
    talker.begin(start);
    let mut at = Vec::new();
    while at.len() < 9 {
        let next = talker.next().unwrap();
        talker.ask(next).expect("it asks when it wanted to");
        talker.give_up();
        assert!(talker.ask(next).is_none(), "one question");
        at.push(next.duration_since(start).as_secs());
    }
    assert_eq!(at, [0, 2, 6, 14, 30, 62, 122, 182, 242]);
    // An order is sent all the same, and its silence makes it no less seldom.
    talker.tell(&Pdu::WriteCoil(1, true).frame()).unwrap();
    talker.give_up();
    assert_eq!(talker.next(), Some(start + Duration::from_secs(302)));
    // It answers: everything is asked at once, each question once.
    let now = start + Duration::from_secs(302);
    talker.ask(now).unwrap();
    assert_eq!(talker.hear(&sent_by_17(&[3, 2, 0, 1]), now).ended, Some(Ok(())));
    assert_eq!(std::iter::from_fn(|| talker.ask(now)).count(), 9);
}

#[test]
fn a_register_that_shows_its_value_late_is_asked_for_until_it_does() {
    let registers = json!([
        {"name": "setpoint", "register": 16, "writable": true, "every": "1h"},
        {"name": "state", "register": 1, "table": "coil", "writable": true, "every": "1h"},
    ]);
    let device = device("modbus", on(registers)).unwrap();
    // When it asks, in ms after the order, if the device shows it after so many.
    let asked = |request: Value, shown_after: u64| {
        let mut talker = talker(&*device);
        let start = Instant::now();
        talker.begin(start);
        while talker.ask(start).is_some() {}
        let frames = plan(&*device, request, json!({})).unwrap().frames;
        let order = frames[0].payload.clone();
        let answer = |question: &[u8], is_shown: bool| match question[0] {
            1 => sent_by_17(&[1, 1, 0xfe | u8::from(is_shown)]),
            _ => sent_by_17(&[3, 2, 0, if is_shown { order[4] } else { 0 }]),
        };
        talker.tell(&frames[0]).unwrap();
        assert_eq!(talker.hear(&sent_by_17(&order), start).ended, Some(Ok(())));
        talker.tell(&frames[1]).unwrap();
        let heard = talker.hear(&answer(&frames[1].payload, shown_after == 0), start);
        assert_eq!(heard.ended, Some(Ok(())));
        let mut at = Vec::new();
        while let Some(next) = talker.next().filter(|next| *next < start + Duration::from_secs(60)) {
            let since = next.duration_since(start).as_millis() as u64;
            let step = talker.ask(next).unwrap();
            assert_eq!(step.send[1..6], frames[1].payload[..]);
            at.push(since);
            let heard = talker.hear(&answer(&frames[1].payload, since >= shown_after), next);
            assert_eq!(heard.frames.len(), 1, "the device hears it");
        }
        at
    };
    for request in [json!({"setpoint": 43}), json!({"state": "ON"})] {
        assert_eq!(asked(request.clone(), 0), [0; 0]);
        assert_eq!(asked(request.clone(), 50), [100]);
        assert_eq!(asked(request.clone(), 400), [100, 300, 700]);
        assert_eq!(asked(request, 30_000), [100, 300, 700, 1500], "within 2 s, no longer");
    }
}

#[test]
fn registers_are_read_by_type_scale_and_word_order() {
    for (register, data, value) in [
        (json!({}), &[0xff, 0xfe][..], json!(65534)),
        (json!({"type": "i16", "scale": 0.1, "unit": "°C"}), &[0xff, 0xce], json!(-5)),
        (json!({"type": "u32"}), &[0, 1, 0, 2], json!(65538)),
        (json!({"type": "u32", "words": "little"}), &[0, 2, 0, 1], json!(65538)),
        (json!({"type": "i32", "words": "little", "scale": 0.001}), &[0xff, 0xff, 0xff, 0xff], json!(-0.001)),
        (json!({"type": "f32", "table": "input"}), &[0x43, 0x66, 0x80, 0], json!(230.5)),
        (json!({"table": "coil"}), &[1], json!("ON")),
        (json!({"table": "discrete"}), &[0xfe], json!("OFF")),
    ] {
        let mut options = object(json!({"name": "v", "register": 7}));
        options.extend(object(register));
        let mut device = device("modbus", on(json!([options]))).unwrap();
        let mut talker = talker(&*device);
        talker.begin(Instant::now());
        let question = talker.ask(Instant::now()).unwrap().send;
        let channel = rtu::channel(&question[1..6]);
        let frame = Frame::new(&channel, data.to_vec());
        let changes = device.decode(&frame, Timestamp::from_millis(0)).unwrap();
        assert_eq!(changes.fields, object(json!({"v": value})));
    }
    let mut device = device("modbus", on(json!([{"name": "v", "register": 7, "type": "f32"}]))).unwrap();
    let nan = Frame::new(&rtu::channel(&Pdu::Read(3, 7, 2).bytes()), vec![0x7f, 0xc0, 0, 0]);
    assert!(device.decode(&nan, Timestamp::from_millis(0)).is_err());
}

#[test]
fn an_order_is_written_read_back_and_confirmed_by_that_alone() {
    let registers = json!([
        {"name": "setpoint", "register": 16, "type": "i16", "scale": 0.5, "writable": true},
        {"name": "limit", "register": 32, "type": "f32", "words": "little", "writable": true},
        {"name": "state", "register": 1, "table": "coil", "writable": true},
        {"name": "power", "register": 64, "table": "input"},
    ]);
    let device = device("modbus", on(registers)).unwrap();
    let frames = |request: Value| -> Vec<Vec<u8>> {
        let plan = plan(&*device, request, json!({})).unwrap();
        plan.frames.iter().map(|frame| frame.payload.to_vec()).collect()
    };
    assert_eq!(frames(json!({"setpoint": 21.5})), [vec![6, 0, 16, 0, 43], vec![3, 0, 16, 0, 1]]);
    assert_eq!(
        frames(json!({"limit": 230.5})),
        [vec![16, 0, 32, 0, 2, 4, 0x80, 0, 0x43, 0x66], vec![3, 0, 32, 0, 2]]
    );
    assert_eq!(frames(json!({"state": "ON"})), [vec![5, 0, 1, 0xff, 0], vec![1, 0, 1, 0, 1]]);
    for (request, part) in [
        (json!({"setpoint": 21.3}), "steps of 0.5"),
        (json!({"setpoint": 99_999}), "does not fit"),
        (json!({"setpoint": "warm"}), "a number"),
        (json!({"state": "TOGGLE"}), "`ON` or `OFF`"),
        (json!({"power": 1}), "not `writable`"),
        (json!({"volume": 1}), "no such register"),
    ] {
        let error = plan(&*device, request.clone(), json!({})).err().unwrap().to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
    let set = plan(&*device, json!({"setpoint": 21.5, "state": true}), json!({})).unwrap();
    assert!(confirms(&set, json!({"setpoint": 21.5, "state": "ON"})));
    assert!(!confirms(&set, json!({"setpoint": 21, "state": "ON"})));
    assert!(!confirms(&set, json!({"setpoint": 21.5})));
}
