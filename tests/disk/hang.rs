//! A disk that takes its time, or all of it.

use std::time::{Duration, Instant};

use crate::home::{Home, kept};

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody_at_home_and_what_was_given_up_is_taken_back() {
    let mut home = Home::start().await;
    home.disk.hang_syncs();
    // Each of these finds a disk of which nobody knows yet that it hangs.
    let outcome = home.command_is_answered(r#"{"id":"c1","state":"ON"}"#).await;
    assert_eq!((&outcome["status"], &outcome["reason"]), (&"refused".into(), &"not_durable".into()));
    home.sensor_says(1, "waits").await;
    home.disk_is_reported("the disk does not answer").await;

    home.home_goes_on().await;
    for _ in 0..3 {
        let outcome = home.command_runs("ON").await;
        assert_eq!(outcome["status"], "applied");
        assert!(outcome["detail"].as_str().unwrap().contains("not written down"), "{outcome}");
    }
    assert!(home.sensor.is_quiet().await, "nothing is acknowledged that is not on the disk");

    home.disk.heal();
    home.sensor_is_acknowledged(1).await;
    home.disk_is_well().await;
    // The disk has taken its id after it was refused; that is taken back, so it is no repetition now.
    let outcome = home.command_runs(r#"{"id":"c1","state":"ON"}"#).await;
    assert_eq!((&outcome["status"], &outcome["duplicate"]), (&"applied".into(), &().into()), "{outcome}");

    // And the same for one from home without an id, which runs.
    home.disk.hang_syncs();
    let outcome = home.command_runs("ON").await;
    assert!(outcome["detail"].as_str().unwrap().contains("not written down"), "{outcome}");
    home.disk_is_reported("the disk does not answer").await;
    home.disk.heal();
    home.disk_is_well().await;
    let outcome = home.command_runs("ON").await;
    assert_eq!(outcome["detail"], "the relay shows ON", "the journal is used again");
    home.program.kill().await;
    assert!(kept(&home.house).await.contains("waits"));
    let interrupted = home.house.open_store().await.interrupted().await.unwrap();
    assert_eq!(interrupted, [], "nothing is reported as interrupted that was not");
}

#[tokio::test]
async fn a_slow_disk_holds_back_the_acknowledgement_and_nothing_else() {
    let mut home = Home::start().await;
    let slow = Duration::from_millis(300);
    home.disk.slow_syncs(slow);
    for number in 1..=3 {
        let began = Instant::now();
        home.sensor_says(number, "slow").await;
        home.home_goes_on().await;
        home.sensor_is_acknowledged(number).await;
        assert!(began.elapsed() >= slow, "acknowledged before it was on the disk");
    }
    let outcome = home.command_runs(r#"{"id":"c1","state":"ON"}"#).await;
    assert_eq!((&outcome["status"], &outcome["detail"]), (&"applied".into(), &"the relay shows ON".into()));
    let (_, syncs) = home.disk.made();
    assert!(syncs > 0);
}
