//! The power is cut in the middle of a write: what was acknowledged is there, whatever else of the disk is not.

use std::{collections::HashSet, time::Duration};

use tokio::time::timeout;

use crate::{
    disk::FaultyDisk,
    home::{flood, house, kept},
    house::PATIENCE,
    raw::Raw,
};

const ROUNDS: u32 = 10;
/// Messages in a round, and their size: enough for the log to be folded into the file now and then.
const MESSAGES: u16 = 600;
const SIZE: usize = 4000;

#[tokio::test]
async fn every_acknowledged_message_survives_power_cuts_in_the_middle_of_writes() {
    let seed = std::env::var("DISK_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("DISK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (house, disk) = (house(), FaultyDisk::new());
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let mut program = house.start_with(disk.environment()).await;
        let status = house.status().await.unwrap();
        assert_eq!(status["store"]["set_aside"], serde_json::json!([]), "a power cut is no damage");
        // Before the cut is due: the gateway writes by itself, too.
        let mut sensor = Raw::to(house.port).await;
        sensor.connect("flood", true).await;
        // A round of messages takes some 2500 writes and syncs; half of the cuts come early.
        let step = if round % 2 == 0 { random.u32(1..100) } else { random.u32(100..2500) };
        disk.cut_power_at(step, random.u32(..));
        let text = |number: u16| format!("{round}-{number} {:0SIZE$}", 0);
        let flooding = flood(sensor, MESSAGES, |number| text(number).into_bytes());
        let numbers = timeout(PATIENCE, flooding).await.expect("the flood ends");
        println!(
            "round {round}: cut at step {step}, {} acknowledged, {} writes undone",
            numbers.len(),
            disk.undone()
        );
        acknowledged.extend(numbers.into_iter().map(text));
        // Where the flood was over before its turn came.
        let ended = timeout(Duration::from_millis(500), program.wait()).await;
        if ended.is_err() {
            program.kill().await;
        }
        disk.heal();
        // Opened and closed in order its log is folded in, so a look in between is another history.
        if random.bool() || round == ROUNDS - 1 {
            let kept = kept(&house).await;
            let lost: Vec<_> = acknowledged.iter().filter(|text| !kept.contains(*text)).collect();
            assert!(lost.is_empty(), "DISK_SEED={seed}: {} of {} lost", lost.len(), acknowledged.len());
        }
    }
    assert!(disk.undone() > 0, "no cut was in the middle of anything");
    assert!(acknowledged.len() > 100, "hardly anything was acknowledged");
}
