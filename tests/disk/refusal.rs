//! A disk that says no: full, read-only, broken.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    disk::{FaultyDisk, Refusal},
    home::{AT_LEAST_ONCE, Home, house, kept},
    house::PATIENCE,
    raw::{Raw, publish, publish5},
};

#[tokio::test]
async fn what_a_disk_refuses_is_not_acknowledged_while_the_home_goes_on_and_all_heals() {
    let mut home = Home::start().await;
    let mut modern = Raw::to(home.house.port).await;
    modern.connect5("modern", true, 0).await;
    let mut acknowledged = Vec::new();
    let cases = [
        ("full", "the disk is full"),
        ("read-only", "has become read-only"),
        ("broken", "the disk reports errors"),
        ("broken when it syncs", "the disk reports errors"),
    ];
    for (number, (case, sentence)) in (1_u16..).zip(cases) {
        let before = format!("before it is {case}");
        home.sensor_says(number, &before).await;
        home.sensor_is_acknowledged(number).await;
        acknowledged.push(before);
        let refused = home.disk.refused();
        match case {
            "full" => home.disk.refuse(Refusal::Full),
            "read-only" => home.disk.refuse(Refusal::ReadOnly),
            "broken" => home.disk.refuse(Refusal::Broken),
            _ => home.disk.refuse_syncs(Refusal::Broken),
        }

        home.sensor_says(100 + number, "lost").await;
        modern.send(&publish5(AT_LEAST_ONCE, "sensors/modern", 5, &[], b"lost")).await;
        home.panel_sees("sensors/modern", "lost").await;
        let (first, body) = modern.next().await.unwrap();
        assert_eq!((first, &body[..3]), (0x40, &[0, 5, 0x83][..]), "MQTT 5 is told that it is not kept");
        assert!(home.sensor.is_quiet().await, "3.1.1 is not acknowledged on a disk that is {case}");
        assert!(home.disk.refused() > refused, "it was not the disk that refused");
        let status = home.disk_is_reported(sentence).await;
        assert!(status["verdict"]["since"].is_string() && status["verdict"]["remedy"].is_string());

        home.home_goes_on().await;
        let outcome = home.command_runs("ON").await;
        assert_eq!(outcome["status"], "applied");
        assert!(outcome["detail"].as_str().unwrap().contains("not written down"), "{outcome}");
        let with_id = format!(r#"{{"id":"c{number}","state":"ON"}}"#);
        let outcome = home.command_is_answered(&with_id).await;
        assert_eq!((&outcome["status"], &outcome["reason"]), (&"refused".into(), &"not_durable".into()));

        home.disk.heal();
        home.disk_is_well().await;
        let after = format!("after it was {case}");
        home.sensor_says(200 + number, &after).await;
        home.sensor_is_acknowledged(200 + number).await;
        acknowledged.push(after);
        let outcome = home.command_runs(&with_id).await;
        assert_eq!((&outcome["status"], &outcome["duplicate"]), (&"applied".into(), &().into()), "{outcome}");
    }
    home.disk.refuse(Refusal::Full);
    home.sensor_says(300, "lost").await;
    home.program.kill().await;
    let kept = kept(&home.house).await;
    let lost: Vec<_> = acknowledged.iter().filter(|payload| !kept.contains(*payload)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test]
async fn a_home_that_starts_on_a_read_only_disk_works_and_says_that_it_keeps_nothing() {
    let mut home = Home::start().await;
    home.sensor_says(1, "before").await;
    home.sensor_is_acknowledged(1).await;
    home.is_retained("lights/hall", "last week").await;
    home.is_retained("porch/lamp", "last week").await;
    assert!(!home.visitor_comes_and_goes().await);
    home.switch_notes("before").await;
    let Home { house, program, disk, .. } = home;
    program.kill().await;
    disk.refuse(Refusal::ReadOnly);

    let mut home = Home::start_in(house, disk).await;
    home.disk_is_reported("could not be opened").await;
    home.home_goes_on().await;
    home.is_retained("porch/lamp", "").await;
    assert!(!home.visitor_comes_and_goes().await, "sessions of before are not there meanwhile");
    home.switch_notes("meanwhile").await;
    let outcome = home.command_runs("ON").await;
    assert!(outcome["detail"].as_str().unwrap().contains("not written down"), "{outcome}");
    let outcome = home.command_is_answered(r#"{"id":"c1","state":"ON"}"#).await;
    assert_eq!(outcome["reason"], "not_durable");
    home.sensor_says(2, "lost").await;
    assert!(home.sensor.is_quiet().await, "nothing is acknowledged that is not kept");
    let process = home.program.id();

    // And all heals when the disk does, without anybody starting anything.
    home.disk.heal();
    home.disk_is_well().await;
    home.program.must_run();
    assert_eq!(home.program.id(), process, "the same process");
    home.only_kept_is_retained().await;
    assert_eq!(home.visitor_reads(2).await, ["before".to_owned(), "meanwhile".to_owned()].into());
    let Home { house, program, .. } = home;
    let mut sensor = Raw::to(house.port).await;
    sensor.connect("sensor", true).await;
    sensor.send(&publish(AT_LEAST_ONCE, "sensors/attic", 3, b"after")).await;
    assert_eq!(sensor.next().await, Some((0x40, vec![0, 3])));
    program.kill().await;
    assert_eq!(kept(&house).await, ["before".to_owned(), "after".to_owned()].into());
}

/// A home whose disk is well again while a password is away, so that its gateway tries to start anew.
async fn home_that_cannot_start_anew() -> Home {
    let (house, disk) = (house(), FaultyDisk::new());
    disk.refuse(Refusal::Full);
    let home = Home::start_in(house, disk).await;
    let password = home.house.path().join("proxy-password");
    std::fs::rename(&password, password.with_extension("away")).unwrap();
    home.disk.heal();
    let is_tried = async {
        while !home.program.last_words().contains("cannot be started anew") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_tried).await.expect("the log says why");
    home
}

#[tokio::test]
async fn a_home_that_cannot_start_anew_tries_again_until_it_can() {
    let mut home = home_that_cannot_start_anew().await;
    home.program.must_run();
    let password = home.house.path().join("proxy-password");
    std::fs::rename(password.with_extension("away"), &password).unwrap();
    home.disk_is_well().await;
    home.program.must_run();
}

#[tokio::test]
async fn a_home_that_cannot_start_anew_can_be_stopped() {
    let mut home = home_that_cannot_start_anew().await;
    home.program.must_run();
    home.program.stop().await;
}

#[tokio::test]
async fn a_home_that_never_had_a_store_starts_on_a_full_disk() {
    let (house, disk) = (house(), FaultyDisk::new());
    disk.refuse(Refusal::Full);
    let mut home = Home::start_in(house, disk).await;
    home.disk_is_reported("the disk is full").await;
    home.home_goes_on().await;
    home.sensor_says(2, "lost").await;
    assert!(home.sensor.is_quiet().await, "nothing is acknowledged that is not kept");
    assert!(!home.visitor_comes_and_goes().await);
    home.switch_notes("meanwhile").await;
    home.disk.heal();
    home.disk_is_well().await;
    home.only_kept_is_retained().await;
    assert_eq!(home.visitor_reads(1).await, ["meanwhile".to_owned()].into());
    let mut sensor = Raw::to(home.house.port).await;
    sensor.connect("sensor", true).await;
    sensor.send(&publish(AT_LEAST_ONCE, "sensors/attic", 3, b"after")).await;
    assert_eq!(sensor.next().await, Some((0x40, vec![0, 3])));
}
