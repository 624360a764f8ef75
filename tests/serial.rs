//! Devices on serial ports, over pseudo-terminals: unplugged and plugged in again. `SERIAL_SEED=…` plays a day again.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[path = "serial/house.rs"]
mod house;
#[path = "serial/port.rs"]
mod port;

use std::time::Duration;

use hearthlink::model::{Availability, DeviceEvent, OutcomeStatus};
use house::{House, PATIENCE};
use port::{Plug, Port};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unplugged_device_is_offline_with_the_sentence_and_heals_when_it_is_plugged_in() {
    let port = Port::new();
    let options = json!({
        "port": port.path(), "pattern": "L=(?P<level>[0-9]+)", "commands": ["SET {level}"],
        "confirm_within": "10s",
    });
    let mut house = House::start(&[("dimmer", "serial_line", options)]);
    house.becomes(Availability::Offline).await;
    let sentence = format!("the port {} is not there; is it plugged in?", port.path().display());
    assert_eq!(house.report("dimmer").fault, Some(sentence.clone()));

    for round in 0..3 {
        let mut plug = port.plug();
        plug.opened().await;
        // What comes in the first 100 ms may be the end of something: this ends it.
        plug.say(b"\n");
        plug.say(format!("L={round}\n").as_bytes());
        assert_eq!(house.reading().await["level"], json!(round));
        assert_eq!(house.report("dimmer").availability, Availability::Online);
        assert_eq!(house.report("dimmer").fault, None);

        let answer = house.send("dimmer", json!({"level": 7}));
        let plug = tokio::task::spawn_blocking(move || {
            assert_eq!(plug.hear(), b"SET 7\n");
            plug.say(b"L=7\n");
            plug
        });
        let plug = plug.await.unwrap();
        assert_eq!(answer.await.unwrap().status, OutcomeStatus::Applied);

        drop(plug);
        house.becomes(Availability::Offline).await;
        // First it is lost, and then, when it was looked for, not there.
        let looked_for = async {
            while house.report("dimmer").fault.as_ref() != Some(&sentence) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked_for).await.expect("it is never missed");
        let refused = house.send("dimmer", json!({"level": 8})).await.unwrap();
        assert_eq!(refused.status, OutcomeStatus::Failed, "surely nothing happened: {refused:?}");
        assert_eq!(refused.detail, Some(sentence.clone()));
        assert_eq!(house.report("dimmer").fields, Some(object(json!({"level": 7}))));
    }
    assert_eq!(house.report("dimmer").restarts, 0, "an unplugged port is no failure of its bus");
    house.end().await;
}

/// A P1 telegram of the meter when it has counted `watt_hours`; its CRC by another way than ours (bits of the
/// polynomial 0x8005, turned round at the ends).
fn telegram(watt_hours: u32) -> Vec<u8> {
    let mut text = format!(
        "/TST5\\253710000_A\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(221006155014S)\r\n\
         1-0:1.8.0({:06}.{:03}*kWh)\r\n1-0:1.7.0(00.286*kW)\r\n1-0:32.7.0(230.1*V)\r\n!",
        watt_hours / 1000,
        watt_hours % 1000,
    )
    .into_bytes();
    let mut crc = 0_u16;
    for byte in &text {
        crc ^= u16::from(byte.reverse_bits()) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 };
        }
    }
    text.extend(format!("{:04X}\r\n", crc.reverse_bits()).bytes());
    text
}

/// A day of the meter, a telegram each 10 simulated seconds as fast as the port takes them, and unplugged every two
/// to eight simulated minutes: behind a whole telegram; in the midst of one; and at any byte without a wait.
///
/// What the kernel still has when a port goes is lost with it; it was not read. So the claim is about what was read:
/// with a wait, everything that was sent whole; without, everything up to the last that came, without a gap, for
/// what comes later in a stream was read later. Never anything that was not sent, never anything twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_a_meter_that_is_unplugged_every_few_minutes_loses_nothing_that_was_read_whole() {
    const TELEGRAMS: u32 = 24 * 360;
    let seed = std::env::var("SERIAL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SERIAL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let port = Port::new();
    let mut house = House::start(&[("meter", "meter", json!({"port": port.path(), "protocol": "p1"}))]);
    let (mut sent, mut read, mut unplugged) = (0, 0, 0_u32);
    house.becomes(Availability::Offline).await;
    while sent < TELEGRAMS {
        let mut plug = port.plug();
        plug.opened().await;
        let first = sent;
        sent = (sent + random.u32(12..=48)).min(TELEGRAMS);
        let mut stream: Vec<u8> = (first..sent).flat_map(telegram).collect();
        let (is_cut, waits) = (unplugged % 3 != 0, unplugged % 3 != 2);
        // The last telegram, or all of them, at any byte; its checksum's line end is not needed.
        let last = stream.len() - telegram(sent - 1).len();
        match (is_cut, waits) {
            (false, _) => {}
            (true, true) => stream.truncate(random.usize(last..stream.len() - 2)),
            (true, false) => stream.truncate(random.usize(1..stream.len() - 2)),
        }
        // In pieces, as the wire brings them.
        let size = random.usize(1..500);
        let sending = tokio::task::spawn_blocking(move || {
            stream.chunks(size).for_each(|piece| plug.say(piece));
            plug
        });
        let plug: Plug = sending.await.unwrap();
        let mut next = first;
        let whole = if is_cut { sent - 1 } else { sent };
        let mut take = |fields: hearthlink::model::Fields| {
            let count = f64::from(next) / 1000.0;
            assert_eq!(fields["energy_import_total"].as_f64(), Some(count), "a gap, or what was not sent");
            next += 1;
        };
        if waits {
            for _ in first..whole {
                take(house.reading().await);
            }
        }
        drop(plug);
        loop {
            match house.event().await {
                DeviceEvent::Reading(reading) => take(reading.fields),
                DeviceEvent::Availability(_, Availability::Offline) => break,
                DeviceEvent::Happened(_)
                | DeviceEvent::Availability(_, Availability::Online)
                | DeviceEvent::Entities(..) => {}
            }
        }
        assert!(next <= whole, "what was cut off became a reading");
        unplugged += 1;
        read += next - first;
    }
    println!("{sent} telegrams, {unplugged} unpluggings, {read} read whole, none of them lost");
    assert!(unplugged >= 24 * 60 / 8 && read > TELEGRAMS / 2);
    assert_eq!(house.report("meter").restarts, 0);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_in_mode_c_is_asked_and_read_and_a_stuck_one_is_told_apart_from_a_missing_one() {
    let port = Port::new();
    let options = json!({
        "port": port.path(), "protocol": "iec_mode_c", "interval": "5s", "offline_after": "300ms",
    });
    let mut plug = port.plug();
    let mut house = House::start(&[("meter", "meter", options)]);
    plug.opened().await;
    let plug = tokio::task::spawn_blocking(move || {
        assert_eq!(plug.hear(), b"/?!\r\n");
        plug.say(b"/ISk5MT174-0002\r\n");
        assert_eq!(plug.hear(), b"\x06050\r\n");
        plug.say(include_bytes!("../src/devices/kinds/meter/samples/iec_c_iskra_mt174.txt").as_slice());
        plug
    });
    let plug = plug.await.unwrap();
    while !house.reading().await.contains_key("energy_import_total") {}
    house.becomes(Availability::Offline).await;
    let stuck = house.report("meter").fault.unwrap();
    assert_eq!(stuck, "its bus works, but nothing was heard of it for 0.3 s");
    drop(plug);
    let missing = format!("the port {} is not there; is it plugged in?", port.path().display());
    let sentence = async {
        while house.report("meter").fault.as_ref() != Some(&missing) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sentence).await.expect("the sentence does not change");
    house.end().await;
}

/// A silence that was the port's fault is not the device's; one that begins when the port is back is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_port_was_away_has_its_whole_time_to_speak_again() {
    let port = Port::new();
    let options = json!({"port": port.path(), "pattern": "L=(?P<level>[0-9]+)", "offline_after": "2s"});
    let mut house = House::start(&[("dimmer", "serial_line", options)]);
    let mut plug = port.plug();
    plug.opened().await;
    plug.say(b"\nL=1\n");
    house.reading().await;
    drop(plug);
    house.becomes(Availability::Offline).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let missing = house.report("dimmer").fault;
    assert!(missing.as_ref().is_some_and(|fault| fault.contains("is not there")), "{missing:?}");
    let plug = port.plug();
    plug.opened().await;
    let mut faults = vec![missing];
    let begun = tokio::time::Instant::now();
    while faults.len() < 3
        && !faults.last().unwrap().as_ref().is_some_and(|fault| fault.contains("nothing was heard"))
    {
        assert!(begun.elapsed() < PATIENCE, "it is not told to be silent: {faults:?}");
        let fault = house.report("dimmer").fault;
        if faults.last() != Some(&fault) {
            faults.push(fault);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let silent = "its bus works, but nothing was heard of it for 2 s".to_owned();
    assert_eq!(faults[1..], [None, Some(silent)]);
    house.end().await;
}

fn object(value: Value) -> hearthlink::model::Fields {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is not an object"),
    }
}
