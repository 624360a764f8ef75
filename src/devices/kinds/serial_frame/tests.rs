//! Binary frames: numbers at their places, both ways of saying a length.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::testing::{device, object, plan, refuses};
use super::*;

fn on(more: Value) -> Value {
    let mut options = object(json!({"port": "/dev/a"}));
    options.extend(object(more));
    Value::Object(options)
}

/// What the device makes of a stream of bytes; a garbled lump is an error.
fn read(options: Value, stream: &[u8]) -> Vec<Result<Fields, String>> {
    let mut device = device("serial_frame", on(options)).unwrap();
    let Wiring::Serial { mut talker, .. } = device.wiring() else { panic!("it is on a port") };
    let frames = talker.hear(stream, Instant::now()).frames;
    let decode = |frame| device.decode(&frame, Timestamp::from_millis(0));
    frames
        .into_iter()
        .map(decode)
        .map(|read| read.map(|changes| changes.fields).map_err(|e| e.to_string()))
        .collect()
}

#[test]
fn a_bad_option_is_refused_with_what_is_possible() {
    let field = |offset: usize, kind: &str| json!([{"name": "t", "offset": offset, "type": kind}]);
    refuses(
        "serial_frame",
        &[
            (on(json!({"length": 4})), &["missing field `fields`"]),
            (on(json!({"fields": field(0, "u8")})), &["`length`", "`length_prefix`"]),
            (on(json!({"length": 4, "fields": []})), &["`fields`", "at least one"]),
            (on(json!({"length": 4, "fields": field(3, "i16")})), &["`fields[0].offset`", "ends before"]),
            (on(json!({"length": 4, "fields": field(0, "u24")})), &["`fields[0].type`", "`u24`", "`f32`"]),
            (on(json!({"length": 4, "sync": "AAA", "fields": field(0, "u8")})), &["`sync`", "hexadecimal"]),
            (on(json!({"length": 4, "sync": "+A+B", "fields": field(0, "u8")})), &["`sync`"]),
            (on(json!({"length": 2, "sync": "AA55", "fields": field(0, "u8")})), &["`length`", "from 3"]),
            (
                on(json!({"length_prefix": {"bytes": 3}, "fields": field(0, "u8")})),
                &["`length_prefix.bytes`", "1, 2 or 4"],
            ),
            (
                on(json!({"length": 4, "check": {"kind": "crc32"}, "fields": field(0, "u8")})),
                &["`check.kind`", "`crc16_modbus`"],
            ),
        ],
    );
    let device = device("serial_frame", on(json!({"length": 4, "fields": field(0, "u8")}))).unwrap();
    assert!(plan(&*device, json!({"t": 1}), json!({})).err().unwrap().to_string().contains("only tells"));
}

/// The frame of a Plantower PMS5003 dust sensor, as its data sheet (V2.3, appendix I) has it: `BM`, a length that
/// counts what follows, the sum of all bytes. Here with fewer values.
#[test]
fn a_length_prefixed_frame_becomes_fields_and_a_wrong_sum_none() {
    let options = json!({
        "sync": "424D",
        "length_prefix": {"bytes": 2, "counts": "rest"},
        "check": {"kind": "sum8"},
        "fields": [
            {"name": "pm1", "offset": 4, "type": "u16", "unit": "µg/m³"},
            {"name": "temperature", "offset": 6, "type": "i16", "scale": 0.1},
        ],
    });
    let mut frame = vec![0x42, 0x4d, 0, 5, 0, 12, 0xff, 0xce];
    frame.push(frame.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    let stream = [&[0x42, 0x00][..], &frame, &frame].concat();
    let fields = object(json!({"pm1": 12, "temperature": -5}));
    assert_eq!(read(options.clone(), &stream), [Ok(fields.clone()), Ok(fields.clone())]);
    frame[5] = 13;
    let found = read(options, &[&frame[..], &stream].concat());
    assert_eq!(found[1..], [Ok(fields.clone()), Ok(fields)]);
    assert!(found[0].as_ref().is_err_and(|error| error.contains("checksum is wrong")), "{found:?}");
}

#[test]
fn every_type_is_read_in_both_orders() {
    for (kind, bytes, order, value) in [
        ("u8", &[0xff][..], "big", json!(255)),
        ("i8", &[0xff], "big", json!(-1)),
        ("u16", &[0x12, 0x34], "big", json!(0x1234)),
        ("u16", &[0x12, 0x34], "little", json!(0x3412)),
        ("i16", &[0xff, 0xfe], "big", json!(-2)),
        ("u32", &[0xff, 0xff, 0xff, 0xff], "big", json!(4_294_967_295_u32)),
        ("i32", &[0xfe, 0xff, 0xff, 0xff], "little", json!(-2)),
        ("f32", &[0x41, 0xac, 0x00, 0x00], "big", json!(21.5)),
    ] {
        let fields = json!([{"name": "v", "offset": 0, "type": kind}]);
        let options = json!({"length": bytes.len(), "order": order, "fields": fields});
        assert_eq!(read(options, bytes), [Ok(object(json!({"v": value})))], "{kind} {order}");
    }
    let fields = json!([{"name": "v", "offset": 0, "type": "f32"}]);
    let found = read(json!({"length": 4, "fields": fields}), &[0x7f, 0xc0, 0, 0]);
    assert!(found[0].as_ref().is_err_and(|error| error.contains("not a finite number")), "{found:?}");
}
