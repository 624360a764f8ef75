//! Our decoders of Bluetooth advertisements beside other people's: `bthome-ble`, `xiaomi-ble`, `ruuvitag-ble`,
//! `atc-mi-interface` and Theengs, which `.ci/run` installs; without them this fails.
//!
//! Every vector of their tests (`interop/bthome/vectors.json` says where each list is from) and some ten thousand
//! advertisements made here go through both. What is left out, or is meant to differ, is named, and a name that is not
//! needed fails.
#![cfg(feature = "interop")]
#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[path = "bthome/adverts.rs"]
mod adverts;
#[path = "bthome/generated.rs"]
mod generated;
#[path = "bthome/oracle.rs"]
mod oracle;
#[path = "bthome/ours.rs"]
mod ours;

use std::{collections::BTreeSet, path::Path};

use adverts::{Advert, Case};
use serde_json::Value;

/// The published vectors for a kind.
fn vectors(kind: &'static str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/bthome/vectors.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let advert = |advert: &Value| Advert {
        address: text(&advert["address"]),
        data: adverts::bytes(&text(&advert["data"])),
        at: advert["at"].as_f64().unwrap(),
        name: String::new(),
    };
    let cases = |vector: &Value| {
        let adverts: Vec<Advert> = vector["adverts"].as_array().unwrap().iter().map(advert).collect();
        // A few of the tests have several devices.
        let devices = adverts.chunk_by(|one, next| one.address == next.address);
        let case = |adverts: &[Advert]| Case {
            name: text(&vector["test"]),
            kind,
            key: vector["key"].as_str().map(str::to_owned),
            adverts: adverts.to_vec(),
        };
        devices.map(case).collect::<Vec<_>>()
    };
    all[kind].as_array().unwrap().iter().flat_map(cases).collect()
}

/// Compares all cases and says how many advertisements were the same. `left_out` are not compared.
fn compare(cases: &[Case], oracle: &str, left_out: &[(&str, &str)]) {
    let mut unneeded: BTreeSet<&str> = left_out.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    let (mut adverts, mut values, mut left) = (0, 0, 0);
    for (case, theirs) in cases.iter().zip(oracle::ask(oracle, cases)) {
        if unneeded.remove(case.name.as_str()) || left_out.iter().any(|(name, _)| *name == case.name) {
            left += 1;
            continue;
        }
        let ours = ours::hear(case);
        assert_eq!(theirs.len(), case.adverts.len(), "{}", case.name);
        for ((advert, ours), theirs) in case.adverts.iter().zip(&ours).zip(&theirs) {
            adverts += 1;
            match oracle::differences(oracle, case, ours, theirs) {
                Ok(count) => values += count,
                Err(difference) => {
                    wrong.push(format!(
                        "{}, {}: {difference}",
                        case.name,
                        adverts::hexadecimal(&advert.data)
                    ));
                }
            }
        }
    }
    println!(
        "{oracle}: {} cases with {adverts} advertisements and {values} values compared, {left} left out, {} differ",
        cases.len() - left,
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {adverts} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    assert!(unneeded.is_empty(), "nothing of this name is left out: {unneeded:?}");
    assert!(values > 0, "nothing was compared");
}

#[test]
fn every_vector_of_bthome_ble_reads_the_same() {
    let cases = vectors("bthome");
    assert_eq!(cases.len(), 103, "all of its tests that have an advertisement");
    compare(&cases, "bthome", &[]);
}

#[test]
fn every_object_of_bthome_reads_the_same_with_any_value_plain_and_encrypted() {
    compare(&generated::bthome_objects(), "bthome", &[]);
}

#[test]
fn any_mixture_of_bthome_objects_reads_the_same_also_cut_off_and_in_a_row() {
    compare(&generated::bthome_mixtures(), "bthome", &[]);
    compare(&generated::bthome_rows(), "bthome", &[]);
}

#[test]
fn the_vectors_of_xiaomi_ble_read_the_same_but_for_locks_scales_and_what_nobody_can_check() {
    let unchecked = "MiBeacon 2 and 3 encrypt without a check";
    let lock = "a lock's state from the air is nothing to act upon";
    let scale = "it is about a person";
    compare(
        &vectors("mibeacon"),
        "mibeacon",
        &[
            ("test_Xiaomi_YLKG07YL_press", unchecked),
            ("test_Xiaomi_YLKG07YL_rotate", unchecked),
            ("test_Xiaomi_ZNMS16LM_fingerprint", lock),
            ("test_Xiaomi_ZNMS16LM_fingerprint_low_quality", lock),
            ("test_Xiaomi_ZNMS16LM_lock", lock),
            ("test_Xiaomi_Lockin_SV40_lock", lock),
            ("test_Xiaomi_Lockin_SV40_door", lock),
            ("test_Xiaomi_XMZNMS08LM_lock", lock),
            ("test_Xiaomi_XMZNMS08LM_door", lock),
            ("test_Xiaomi_DSL_C08", lock),
            ("test_Xiaomi_Scale_S200_MJTZC02YM", scale),
            ("test_Xiaomi_Scale_S400_MJTZC01YM", scale),
            ("test_Xiaomi_Scale_S400_MJTZC01YM_packet_2", scale),
            ("test_Xiaomi_Scale_S400_MJTZC01YM_socks", scale),
            ("test_Xiaomi_Scale_S400_MJTZC01YM_reset", scale),
            ("test_Xiaomi_MMC_T201_1", "its temperature is reckoned by a curve that somebody fitted"),
            ("test_Xiaomi_unknown_device_logs_product_id", "they know products, we know objects"),
        ],
    );
}

#[test]
fn objects_of_mibeacon_read_the_same_with_any_value_plain_and_encrypted() {
    compare(&generated::mibeacon_objects(), "mibeacon", &[]);
}

#[test]
fn ruuvi_tags_read_the_same_as_by_two_others() {
    compare(&vectors("ruuvi"), "ruuvi", &[]);
    compare(&generated::ruuvi(), "ruuvi", &[]);
    compare(&vectors("ruuvi"), "theengs_ruuvi", &[]);
    compare(&generated::ruuvi_of_earth(), "theengs_ruuvi", &[]);
}

#[test]
fn thermometers_with_other_firmware_read_the_same_as_by_two_others() {
    compare(&vectors("atc"), "atc", &[]);
    compare(&generated::atc(), "atc", &[]);
    compare(&generated::atc_plain(), "theengs_atc", &[]);
}

#[test]
fn theengs_reads_the_same_where_it_knows_the_device() {
    compare(&generated::bthome_of_pvvx(), "theengs_bthome", &[]);
    let plain = vectors("mibeacon").into_iter().filter(|case| case.key.is_none());
    compare(&plain.collect::<Vec<_>>(), "theengs_mibeacon", &[]);
}
