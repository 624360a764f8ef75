//! A simulated meter: a house that takes some 400 W, told in the meter's own protocol.
//!
//! Sources: the P1 companion standard 5.0.2, IEC 62056-21 (6.3, 6.4), BSI TR-03109-1, annex IV.

use std::time::Duration;

use super::{
    super::super::{
        Appliance, Frame, SimulatedLine, StandIn, Waves,
        serial::{Talker, framing::Checksum},
    },
    Meter, Protocol,
};

/// Between two telegrams of a meter that is not asked. Real ones leave from 1 to 10 s.
const PERIOD: Duration = Duration::from_secs(5);
/// What the house takes on average, and how far a day takes it from that; in W.
const POWER: (f64, f64) = (400.0, 250.0);
/// kWh on the counter at the start.
const COUNTER: f64 = 2345.678;

/// What a telegram says.
struct Readings {
    /// In kWh.
    energy: f64,
    /// In W.
    power: f64,
    /// Further codes, as the options name them.
    own: Vec<String>,
}

impl Readings {
    /// The lines of a text telegram, without its beginning and end.
    fn lines(&self) -> String {
        let Self { energy, power, own } = self;
        let (day, night) = (energy * 0.6, energy * 0.4);
        // First, so that a code that every meter has says what every meter says.
        let mut lines: String = own.iter().map(|code| format!("{code}(000.123)\r\n")).collect();
        lines += &format!(
            "1-0:1.8.0({energy:010.3}*kWh)\r\n1-0:1.8.1({day:010.3}*kWh)\r\n1-0:1.8.2({night:010.3}*kWh)\r\n\
             1-0:2.8.0(000000.000*kWh)\r\n1-0:1.7.0({:06.3}*kW)\r\n1-0:2.7.0(00.000*kW)\r\n\
             1-0:32.7.0(230.1*V)\r\n",
            power / 1000.0
        );
        lines
    }
}

fn p1(readings: &Readings) -> Vec<u8> {
    let mut telegram = format!("/ISK5\\2M550T-SIMULATED\r\n\r\n1-3:0.2.8(50)\r\n{}!", readings.lines());
    let crc = Checksum::Crc16Arc.of(telegram.as_bytes());
    telegram += &format!("{crc:04X}\r\n");
    telegram.into_bytes()
}

fn mode_d(readings: &Readings) -> Vec<u8> {
    format!("/ESY5SIMULATED\r\n\r\n{}!\r\n", readings.lines()).into_bytes()
}

/// A data readout: what stands between STX and ETX, and the exclusive or of it with the ETX.
fn mode_c(readings: &Readings) -> Vec<u8> {
    let covered = format!("{}!\r\n\x03", readings.lines());
    let bcc = Checksum::Xor8.of(covered.as_bytes()).to_be_bytes()[1];
    [b"\x02", covered.as_bytes(), &[bcc]].concat()
}

/// A value with its type and length, for what is shorter than 15 bytes.
fn sml_value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let head = kind << 4 | (bytes.len() as u8 + 1);
    [&[head], bytes].concat()
}

fn sml_list(parts: &[Vec<u8>]) -> Vec<u8> {
    [&[0x70 | parts.len() as u8], &parts.concat()[..]].concat()
}

const OCTETS: u8 = 0;
const SIGNED: u8 = 5;
const UNSIGNED: u8 = 6;

fn sml(readings: &Readings) -> Vec<u8> {
    let nothing = || vec![1];
    let entry = |code: [u8; 6], unit: u8, scaler: i8, value: i64| {
        sml_list(&[
            sml_value(OCTETS, &code),
            nothing(),
            nothing(),
            sml_value(UNSIGNED, &[unit]),
            sml_value(SIGNED, &scaler.to_be_bytes()),
            sml_value(SIGNED, &value.to_be_bytes()),
            nothing(),
        ])
    };
    // In tenths of a watt-hour, and in watts.
    let (energy, power) = ((readings.energy * 10_000.0).round() as i64, readings.power.round() as i64);
    let own = readings.own.iter().filter_map(|code| Some(entry(obis(code)?, 0, -3, 123)));
    let all = [entry([1, 0, 1, 8, 0, 255], 30, -1, energy), entry([1, 0, 16, 7, 0, 255], 27, 0, power)];
    // A list of more than 15 would need a longer head.
    let entries: Vec<Vec<u8>> = own.take(13).chain(all).collect();
    let server = sml_value(OCTETS, b"SIMULATED");
    let response =
        sml_list(&[nothing(), server, nothing(), nothing(), sml_list(&entries), nothing(), nothing()]);
    let body = sml_list(&[sml_value(UNSIGNED, &0x0701_u16.to_be_bytes()), response]);
    let zero = || sml_value(UNSIGNED, &[0]);
    let parts = [sml_value(OCTETS, &[1]), zero(), zero(), body].concat();
    // A message is a list of six: these four, its checksum, and its end.
    let mut file = [&[0x76], &parts[..]].concat();
    let crc = Checksum::Crc16X25.of(&file);
    file.extend(sml_value(UNSIGNED, &crc.to_le_bytes()));
    file.push(0);
    let fill = (4 - file.len() % 4) % 4;
    // No value here can have an escape sequence in it: 1b 1b 1b 1b would be 45 MWh.
    let mut telegram = [&[0x1b; 4], &[1; 4], &file[..], &vec![0; fill][..], &[0x1b; 4]].concat();
    telegram.extend([0x1a, fill as u8]);
    let crc = Checksum::Crc16X25.of(&telegram);
    telegram.extend(crc.to_le_bytes());
    telegram
}

/// The six numbers of a code that has no others.
fn obis(code: &str) -> Option<[u8; 6]> {
    let mut numbers: Vec<u8> = Vec::new();
    for part in code.split(['-', ':', '.', '*']) {
        numbers.push(part.parse().ok()?);
    }
    numbers.resize(6.max(numbers.len()), 255);
    numbers.try_into().ok()
}

/// What a meter in mode C says to what it hears: its name, and how fast it can; then its values.
fn answer(heard: &[u8], readings: &Readings) -> Vec<u8> {
    match heard {
        [b'/', b'?', ..] => b"/ISk5\\2MT174-SIMULATED\r\n".to_vec(),
        [6, ..] => mode_c(readings),
        _ => Vec::new(),
    }
}

pub(super) fn simulation(meter: &Meter, talker: Box<dyn Talker>) -> Box<dyn Appliance> {
    let own = meter.own.iter().map(|(code, _)| code.to_string()).collect();
    let readings = Readings { energy: COUNTER, power: POWER.0, own };
    let curve = Waves::of(&meter.id, POWER.0, POWER.1);
    let measure = move |readings: &mut Readings, round, period: Duration| {
        readings.power = curve.at(round, period).max(0.0);
        readings.energy += readings.power / 1000.0 * period.as_secs_f64() / 3600.0;
    };
    let telegram = match meter.options.protocol {
        Protocol::P1 => p1,
        Protocol::Sml => sml,
        Protocol::IecModeD => mode_d,
        Protocol::IecModeC => {
            let (interval, mut round) = (meter.interval, 0);
            let takes = move |readings: &mut Readings, frame: &Frame| {
                if frame.payload.starts_with(b"/?") {
                    measure(readings, round, interval);
                    round = round.wrapping_add(1);
                }
                Ok(vec![Frame::new("line", answer(&frame.payload, readings))])
            };
            return Box::new(SimulatedLine::new(talker, StandIn::new(readings).takes(takes)));
        }
    };
    let says = move |readings: &mut Readings, round| {
        measure(readings, round, PERIOD);
        vec![Frame::new("line", telegram(readings))]
    };
    Box::new(SimulatedLine::new(talker, StandIn::new(readings).says(says).every(PERIOD)))
}
