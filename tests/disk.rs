//! Promises 2 to 5 on the real program, with a disk under its store that refuses, hangs, loses its power or has
//! been scribbled over, or with a store of another version on it.
#![cfg(all(feature = "demo", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "disk/damage.rs"]
mod damage;
#[path = "support/disk.rs"]
#[allow(dead_code, reason = "shared with the latencies")]
mod disk;
#[path = "upgrade/golden.rs"]
#[allow(dead_code, reason = "shared with the tests of upgrades")]
mod golden;
#[path = "disk/hang.rs"]
mod hang;
#[path = "disk/home.rs"]
mod home;
#[path = "support/house.rs"]
#[allow(dead_code, reason = "shared with the other tests of the real program")]
mod house;
#[path = "disk/later.rs"]
mod later;
#[path = "disk/power.rs"]
mod power;
#[path = "support/raw.rs"]
#[allow(dead_code, reason = "shared with the tests of the broker")]
mod raw;
#[path = "disk/refusal.rs"]
mod refusal;
#[path = "disk/upgrade.rs"]
mod upgrade;
