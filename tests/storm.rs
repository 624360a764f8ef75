//! A cloud that restarts is not run over by its gateways: the simulation of docs/storm.md, a tenth as large.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of a simulation, far below every limit"
)]

use std::time::Duration;

use hearthlink::retry::Policy;
use simulation::{Storm, Waits, run};

#[path = "../examples/storm/simulation.rs"]
mod simulation;

/// 10,000 gateways and a cloud that lets in 200 a second.
fn storm(down: u64) -> Storm {
    Storm { gateways: 10_000, down: Duration::from_secs(down), door: 200, seed: 7 }
}

const NAIVE: Waits = Waits::Fixed(Duration::from_secs(5));

#[test]
fn after_a_minute_or_more_the_cloud_sees_hardly_more_than_it_can_take_and_all_are_back_in_six_minutes() {
    for (down, most) in [(60, 400), (600, 200)] {
        let course = run(storm(down), Waits::Ours(Policy::default()));
        assert!(course.peak() <= most, "{} connects a second after {down} s", course.peak());
        assert_eq!(course.missing, 0);
        let all = course.all.unwrap();
        assert!(all < Duration::from_secs(360), "{all:?} after {down} s");
        // Hardly anybody knocks twice.
        assert!(course.connects_in_all() < 15_000, "{}", course.connects_in_all());
    }
}

#[test]
fn a_fixed_wait_brings_all_of_them_at_once_and_ours_a_small_part() {
    let naive = run(storm(60), NAIVE);
    let ours = run(storm(60), Waits::Ours(Policy::default()));
    assert!(naive.peak() > 9_000, "{}: nearly all of them in one second", naive.peak());
    assert!(ours.peak() * 20 <= naive.peak(), "{} to {}", ours.peak(), naive.peak());
    assert!(ours.connects_in_all() * 4 < naive.connects_in_all());
}

#[test]
fn after_a_restart_of_two_seconds_it_is_the_first_wait_that_counts() {
    let first = |seconds| {
        let policy = Policy { first: Duration::from_secs(seconds), ..Policy::default() };
        run(storm(2), Waits::Ours(policy))
    };
    let (one, ten) = (first(1), first(10));
    assert!(one.peak() * 3 < 20_000, "{}: a third of them have waited longer", one.peak());
    assert!(ten.peak() * 5 < 10_000, "{}: spread over ten seconds", ten.peak());
    assert_eq!((one.missing, ten.missing), (0, 0));
    // The cloud's door is never idle: half of them are back as fast as it lets them in.
    let fastest = Duration::from_secs(10_000 / 2 / 200);
    for course in [one, ten] {
        assert!(course.half.unwrap() < fastest * 2, "{:?}", course.half);
    }
}

#[test]
fn without_jitter_doubling_leaves_most_outside_for_an_hour() {
    let doubling = Waits::Doubling(Duration::from_secs(1), Duration::from_secs(300));
    let course = run(storm(60), doubling);
    assert!(course.missing > 5_000 && course.all.is_none(), "{} missing", course.missing);
    assert_eq!(course.peak(), 10_000);
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    let [first, second] = [(); 2].map(|()| run(storm(60), Waits::Ours(Policy::default())));
    assert_eq!(first.connects, second.connects);
}
