//! The soak: the real gateway is killed -9 again and again, at any moment, between devices that publish and act, a
//! phone that sends commands, and a cloud that dies too, on a line that is cut, hung, half open and slow. Then the
//! histories of all are compared: nothing accepted is lost, no command runs twice or late, each has its outcome.
//!
//! `cargo test --test soak` is a short one. `docs/torture.md` says how to run long ones and what was found.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod appliance;
mod bounded;
#[path = "../support/cloud.rs"]
mod cloud;
mod command_claims;
#[path = "../support/history/mod.rs"]
mod history;
mod history_claims;
mod kills;
mod lan;
#[allow(dead_code, reason = "only what a cloud is made of is used here")]
#[path = "../support/peer.rs"]
mod peer;
mod phone;
mod plan;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/proxy.rs"]
mod proxy;
mod proxy_claims;
#[allow(dead_code, reason = "only its packets are used here")]
#[path = "../support/raw.rs"]
mod raw;
mod run;
mod scene;
mod sensor;
mod sums;
mod sums_claims;

use std::{env, str::FromStr, time::Duration};

use history::{verdict::Rules, work::Work};
use scene::Size;
use tokio::sync::Mutex;

/// `cloud.window` of the gateway, and so what may come twice on a connection.
const WINDOW: usize = 64;

const RULES: Rules = Rules {
    window: WINDOW,
    tolerance: Duration::from_millis(500),
    has_id_in_payload: true,
    is_bounded: false,
};

/// What the slowest run of this rig did is many times as much, on a machine that others used too.
const WORK: Work = Work { start: Duration::from_secs(1), accepted: 10.0, applied: 0.25 };

fn wish<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => panic!("{name} is `{text}`; write a number"),
    }
}

/// After so many kills each policy of the small queue must have dropped something.
const ENOUGH: u64 = 30;

/// Both runs load the machine, and one is judged by its clock.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What the environment wants, or 12 kills; of this a share.
fn wanted(share: u64, least: u64) -> (u64, Size) {
    let seed: u64 = wish("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let minutes: Option<u64> = wish("SOAK_MINUTES");
    let kills: u64 = wish("SOAK_KILLS").unwrap_or(if minutes.is_some() { 0 } else { 12 });
    let cloud_kills = wish("SOAK_CLOUD_KILLS").unwrap_or(kills / 4);
    let size = Size {
        kills: (kills / share).max(least),
        cloud_kills: cloud_kills / share,
        length: Duration::from_secs(60 * minutes.unwrap_or(0) / share),
    };
    eprintln!("SOAK_SEED={seed}, at least {size:?}");
    (seed, size)
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing_and_run_nothing_twice_or_late() {
    let _alone = ALONE.lock().await;
    let (seed, size) = wanted(1, 0);
    let (verdict, kills) = run::run(seed, size).await;
    eprintln!("{verdict}");
    assert!(verdict.is_clean(), "SOAK_SEED={seed} found the above");
    assert!(kills.are_spread(), "SOAK_SEED={seed}: the kills fell together: {kills:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_queue_under_kills_counts_what_it_drops_and_keeps_each_lane_in_order() {
    let _alone = ALONE.lock().await;
    let (seed, size) = wanted(4, 8);
    let (verdict, kills) = bounded::run(seed, size).await;
    eprintln!("{verdict}");
    assert!(verdict.is_clean(), "SOAK_SEED={seed} found the above");
    assert!(kills.are_spread(), "SOAK_SEED={seed}: the kills fell together: {kills:?}");
    assert!(verdict.figure("dropped, and never received") > 0, "SOAK_SEED={seed}: nothing was dropped");
    for policy in sums::POLICIES.into_iter().filter(|_| size.kills >= ENOUGH) {
        let dropped = verdict.figure(&format!("counted as {policy} on the last pages of all lives"));
        assert!(dropped > 0, "SOAK_SEED={seed}: nothing was dropped as {policy}");
    }
    assert!(verdict.figure("lives whose last page agrees with the file") > 0, "SOAK_SEED={seed}");
}
