//! Advertisements that are made here: every object with extreme values, and mixtures of them.

use super::adverts::{ADDRESS, Advert, Case, address, address_on_air, atc as sealed_atc, bthome, mibeacon};

/// The objects of BTHome that have a fixed length: their bytes and their ids (bthome.io/format).
const OBJECTS: &[(usize, &[u8])] = &[
    (
        1,
        &[
            0x00, 0x01, 0x09, 0x0f, 0x10, 0x11, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e,
            0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e,
            0x2f, 0x3a, 0x46, 0x57, 0x58, 0x59, 0x60, 0x64, 0x65,
        ],
    ),
    (
        2,
        &[
            0x02, 0x03, 0x06, 0x07, 0x08, 0x0c, 0x0d, 0x0e, 0x12, 0x13, 0x14, 0x3c, 0x3d, 0x3f, 0x40, 0x41,
            0x43, 0x44, 0x45, 0x47, 0x48, 0x49, 0x4a, 0x51, 0x52, 0x56, 0x5a, 0x5d, 0x5e, 0x5f, 0x61, 0xf0,
        ],
    ),
    (3, &[0x04, 0x05, 0x0a, 0x0b, 0x42, 0x4b, 0xf2]),
    (4, &[0x3e, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x55, 0x5b, 0x5c, 0x62, 0x63, 0xf1]),
];
/// Text, raw bytes, and commands: they say their length.
const LONG: [u8; 3] = [0x53, 0x54, 0x3b];
/// Of these the other decoder has one field, which the last one wins; we have two, by their units.
const SHARED: [[&[u8]; 2]; 3] = [[&[0x06], &[0x07]], [&[0x40], &[0x41]], [&[0x47, 0x4e], &[0x48]]];

fn objects() -> Vec<(u8, usize)> {
    OBJECTS.iter().flat_map(|(length, ids)| ids.iter().map(|id| (*id, *length))).collect()
}

fn random() -> fastrand::Rng {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

fn some_bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.u8(..)).collect()
}

/// All bits off, all on, the ends of signed numbers, one, and others.
fn values(random: &mut fastrand::Rng, length: usize) -> Vec<Vec<u8>> {
    let mut values = vec![vec![0; length], vec![0xff; length]];
    for (first, last) in [(0xff, 0x7f), (0x00, 0x80), (0x01, 0x00), (0x00, 0x01), (0x01, 0x80), (0xfe, 0xff)]
    {
        let mut value = vec![first; length];
        value[length - 1] = if length == 1 { first ^ last } else { last };
        values.push(value);
    }
    values.extend((0..24).map(|_| some_bytes(random, length)));
    if length == 1 {
        values.extend((0..=255).map(|byte| vec![byte]));
    }
    values
}

fn long_object(random: &mut fastrand::Rng, id: u8) -> Vec<u8> {
    let content: Vec<u8> = match random.u8(0..4) {
        0 => "Küche 21 °C €".bytes().take(random.usize(0..16)).collect(),
        _ => {
            let length = random.usize(0..12);
            some_bytes(random, length)
        }
    };
    if id == 0x3b {
        // The upper bits are reserved, and one byte more is what to do.
        let length = u8::try_from(content.len()).unwrap() | random.u8(0..8) << 5;
        return [&[id, length, random.u8(0..6)], &content[..]].concat();
    }
    [&[id, u8::try_from(content.len()).unwrap()], &content[..]].concat()
}

fn plain_and_sealed(random: &mut fastrand::Rng, name: &str, objects: &[u8]) -> [Case; 2] {
    let counter = random.u32(..);
    [
        Case::of("bthome", name, false, bthome(objects, None)),
        Case::of("bthome", name, true, bthome(objects, Some(counter))),
    ]
}

pub fn bthome_objects() -> Vec<Case> {
    let random = &mut random();
    let mut cases = Vec::new();
    let objects = objects();
    assert_eq!(objects.len() + LONG.len(), 95, "every object id of the specification");
    for (id, length) in objects {
        for value in values(random, length) {
            cases.extend(plain_and_sealed(random, &format!("0x{id:02x}"), &[&[id], &value[..]].concat()));
        }
    }
    for id in LONG {
        for _ in 0..200 {
            let object = long_object(random, id);
            cases.extend(plain_and_sealed(random, &format!("0x{id:02x}"), &object));
        }
    }
    cases
}

/// Some objects in any order, and sometimes several of a name; at the end sometimes half a one or an unknown one.
fn mixture(random: &mut fastrand::Rng) -> Vec<u8> {
    let known = self::objects();
    let left_out = SHARED.map(|pair| pair[random.usize(0..2)]);
    let mut objects = Vec::new();
    for _ in 0..random.usize(1..9) {
        let (id, length) = known[random.usize(1..known.len())];
        if left_out.iter().any(|ids| ids.contains(&id)) {
            continue;
        }
        match random.u8(0..12) {
            0 => {
                let id = LONG[random.usize(0..3)];
                objects.extend(long_object(random, id));
            }
            1 => {
                // Twice the same.
                objects.push(id);
                objects.extend(some_bytes(random, length));
                objects.push(id);
                objects.extend(some_bytes(random, length));
            }
            _ => {
                objects.push(id);
                objects.extend(some_bytes(random, length));
            }
        }
    }
    match random.u8(0..8) {
        0 => objects.truncate(objects.len() - random.usize(0..=objects.len().min(3))),
        1 => objects.extend([0x70, 1, 2, 3]),
        _ => {}
    }
    objects
}

pub fn bthome_mixtures() -> Vec<Case> {
    let random = &mut random();
    let mut cases = Vec::new();
    while cases.len() < 6000 {
        let objects = mixture(random);
        // They want two bytes at least where they decrypt.
        if objects.len() > 1 {
            cases.extend(plain_and_sealed(random, "mixture", &objects));
        }
    }
    cases
}

/// Several advertisements of one device, with packet ids and counters that go on, stay or go back.
pub fn bthome_rows() -> Vec<Case> {
    let random = &mut random();
    let row = |random: &mut fastrand::Rng| {
        let is_sealed = random.bool();
        let (mut packet, mut counter, mut at) = (random.u8(..), random.u32(1000..), 0.0);
        let mut case = Case::of("bthome", "row", is_sealed, Vec::new());
        case.adverts.clear();
        for _ in 0..random.usize(2..9) {
            // Repeated, gone on, gone back, far away.
            // The other decoder counts the four seconds from what it refused, too; so a sealed one goes on.
            let steps = if is_sealed { [1; 9] } else { [0, 1, 1, 1, 2, 255, 200, 63, 64] };
            packet = packet.wrapping_add(steps[random.usize(0..9)]);
            counter = counter.wrapping_add([1, 1, 1, 7, 1000][random.usize(0..5)]).max(1000);
            // Not on the edge of the four seconds for which a packet id stands for one advertisement.
            at += [0.1, 0.5, 1.3, 6.0][random.usize(0..4)];
            let mut objects = vec![0x00, packet, 0x02];
            objects.extend(some_bytes(random, 2));
            objects.extend([0x3a, random.u8(0..7)]);
            let data = bthome(&objects, is_sealed.then_some(counter));
            case.adverts.push(Advert::new(data.clone(), at));
            if is_sealed && random.u8(0..3) == 0 {
                // An old one comes again, with everything right but its counter.
                let old = bthome(&objects, Some(counter.saturating_sub(1).max(100)));
                case.adverts.push(Advert::new(old, at + 0.05));
            }
        }
        case
    };
    (0..1500).map(|_| row(random)).collect()
}

pub fn mibeacon_objects() -> Vec<Case> {
    let random = &mut random();
    // What all products have in common, by their bytes.
    let objects: &[(usize, &[u16])] = &[
        (
            1,
            &[
                0x1008, 0x100a, 0x1012, 0x1013, 0x1014, 0x1015, 0x1018, 0x1019, 0x101b, 0x4802, 0x4803,
                0x4804, 0x4806, 0x480c, 0x483c, 0x484e, 0x4851, 0x4852, 0x4a01, 0x4a0f, 0x4a12, 0x4a13,
                0x4a1a, 0x4c02, 0x4c03, 0x4e01, 0x5003, 0x5422, 0x5810, 0x6461,
            ],
        ),
        (2, &[0x000a, 0x1004, 0x1005, 0x1006, 0x1009, 0x1010, 0x4818]),
        (4, &[0x100d, 0x1017, 0x483d, 0x483e]),
    ];
    let objects = objects.iter().flat_map(|(length, ids)| ids.iter().map(|id| (*id, *length)));
    let mut cases = Vec::new();
    for (id, length) in objects {
        for value in values(random, length) {
            let length = u8::try_from(length).unwrap();
            // A body's temperature of 0 they leave out.
            if id == 0x000a && value == [0, 0] {
                continue;
            }
            // Of these they make a truth that is neither true nor false.
            if [0x5810, 0x6461].contains(&id) && value[0] > 1 {
                continue;
            }
            let object = [&id.to_le_bytes()[..], &[length], &value].concat();
            let name = format!("0x{id:04x}");
            let counter = random.u32(..);
            cases.push(Case::of("mibeacon", &name, false, mibeacon(0x01aa, &object, None)));
            cases.push(Case::of("mibeacon", &name, true, mibeacon(0x01aa, &object, Some(counter))));
        }
    }
    cases
}

pub fn ruuvi() -> Vec<Case> {
    let random = &mut random();
    let mut cases = Vec::new();
    for (format, length) in [(5, 23), (3, 13)] {
        let mut one =
            |data: Vec<u8>| cases.push(Case::of("ruuvi", "made", false, [&[format], &data[..]].concat()));
        values(random, length).into_iter().for_each(&mut one);
        for at in 0..length - 1 {
            for ends in [[0x80, 0x00], [0xff, 0xff], [0x7f, 0xff], [0x00, 0x00]] {
                let mut data = some_bytes(random, length);
                data[at..at + 2].copy_from_slice(&ends);
                one(data);
            }
        }
        (0..1500).for_each(|_| one(some_bytes(random, length)));
    }
    cases
}

/// Format 5 with what can be: another decoder takes nothing else.
pub fn ruuvi_of_earth() -> Vec<Case> {
    let random = &mut random();
    let one = |random: &mut fastrand::Rng| {
        let mut data = vec![5];
        data.extend((random.i16(-8000..12000)).to_be_bytes());
        data.extend((random.u16(0..40000)).to_be_bytes());
        data.extend((random.u16(30000..60000)).to_be_bytes());
        (0..3).for_each(|_| data.extend(random.i16(-16000..16000).to_be_bytes()));
        data.extend((random.u16(0..2047) << 5 | random.u16(0..31)).to_be_bytes());
        data.push(random.u8(0..255));
        data.extend(random.u16(0..65535).to_be_bytes());
        data.extend(address());
        Case::of("ruuvi", "earth", false, data)
    };
    (0..500).map(|_| one(random)).collect()
}

pub fn atc_plain() -> Vec<Case> {
    let random = &mut random();
    let one = |random: &mut fastrand::Rng| {
        let (battery, counter) = (random.u8(0..=100), random.u8(..));
        let millivolts = random.u16(2000..3300);
        let data = if random.bool() {
            let mut data = address();
            data.extend(random.i16(-400..850).to_be_bytes());
            data.extend([random.u8(0..=100), battery]);
            data.extend(millivolts.to_be_bytes());
            data.push(counter);
            data
        } else {
            let mut data = address_on_air();
            data.extend(random.i16(-4000..8500).to_le_bytes());
            data.extend(random.u16(0..=10000).to_le_bytes());
            data.extend(millivolts.to_le_bytes());
            data.extend([battery, counter, random.u8(0..32)]);
            data
        };
        Case::of("atc", "plain", false, data)
    };
    (0..1000).map(|_| one(random)).collect()
}

pub fn atc() -> Vec<Case> {
    let random = &mut random();
    let mut cases = atc_plain();
    for _ in 0..1000 {
        let battery = random.u8(0..=100);
        // Up to 23.5 °C: above, the other decoder takes the unsigned byte for a signed one.
        let half = [random.u8(0..128), random.u8(0..=200), battery];
        cases.push(Case::of("atc", "atc1441, sealed", true, sealed_atc(&half, random.u8(..))));
        let [a, b] = random.i16(-4000..8500).to_le_bytes();
        let [c, d] = random.u16(0..=10000).to_le_bytes();
        let whole = [a, b, c, d, battery, random.u8(0..32)];
        cases.push(Case::of("atc", "pvvx, sealed", true, sealed_atc(&whole, random.u8(..))));
    }
    cases
}

/// BTHome as PVVX's firmware sends it, by which Theengs knows it.
pub fn bthome_of_pvvx() -> Vec<Case> {
    let random = &mut random();
    let one = |random: &mut fastrand::Rng| {
        let mut objects = vec![0x00, random.u8(..), 0x01, random.u8(0..=100), 0x02];
        objects.extend(random.i16(-4000..8500).to_le_bytes());
        objects.push(0x03);
        objects.extend(random.u16(0..=10000).to_le_bytes());
        let mut case = Case::of("bthome", "pvvx", false, bthome(&objects, None));
        let end: String = ADDRESS.chars().filter(|digit| *digit != ':').skip(6).collect();
        case.adverts[0].name = format!("ATC_{end}");
        case
    };
    (0..500).map(|_| one(random)).collect()
}
