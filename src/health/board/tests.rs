//! What the board makes of what it is told.

use super::*;
use crate::{
    health::{DiskReport, Expiry, Level, UnderVoltage, WrittenReport},
    model::{Fault, FaultKind},
};

fn board() -> (Board, Clock) {
    let clock = Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
    (Board::new("home", clock.clone()), clock)
}

fn link(state: LinkState, fault: Option<FaultKind>) -> LinkReport {
    let fault = fault.map(|kind| Fault::new(kind, "no such host"));
    LinkReport { state, fault, ..LinkReport::off() }
}

#[test]
fn the_sentence_names_fault_remedy_and_the_first_moment_of_the_outage() {
    let (board, clock) = board();
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
    let first = clock.now();
    board.link(link(LinkState::Waiting, Some(FaultKind::Dns)));
    clock.set(first.plus(Duration::from_secs(60)));
    board.link(link(LinkState::Connecting, Some(FaultKind::Dns)));
    let verdict = board.snapshot().verdict;
    assert_eq!(verdict.since, Some(first));
    assert!(verdict.sentence.contains("host name cannot be resolved (no such host)"), "{}", verdict.sentence);
    assert_eq!(verdict.remedy.as_deref(), Some(FaultKind::Dns.remedy()));
    board.link(link(LinkState::Online, None));
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
}

#[test]
fn a_refusal_is_a_warning_with_its_topic_for_an_hour_after_the_last_one() {
    let (board, clock) = board();
    board.link(link(LinkState::Online, None));
    let refusal = |topic: &str, is_dropped| Refusal {
        what: crate::health::Refused::Publish,
        topic: topic.into(),
        reason: "not authorized".into(),
        is_dropped,
    };
    let first = clock.now();
    board.refused(refusal("h/g/lamp", true));
    board.refused(refusal("h/g/fan", false));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since), (Level::Warning, Some(first)));
    assert!(verdict.sentence.contains("`h/g/fan` (not authorized)"), "{}", verdict.sentence);
    assert!(verdict.sentence.contains("1 more topic"), "{}", verdict.sentence);
    clock.advance(Duration::from_secs(3601));
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
    assert_eq!(board.snapshot().refusals.topics.len(), 2, "the list stays");
}

#[test]
fn a_line_that_is_up_and_has_a_fault_is_a_warning_that_names_it() {
    let (board, clock) = board();
    let first = clock.now();
    board.link(link(LinkState::Online, Some(FaultKind::QuotaExceeded)));
    clock.advance(Duration::from_secs(60));
    board.link(link(LinkState::Online, Some(FaultKind::TooLarge)));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since), (Level::Warning, Some(first)));
    assert!(verdict.sentence.contains("but: A message is larger than"), "{}", verdict.sentence);
    assert_eq!(verdict.remedy.as_deref(), Some(FaultKind::TooLarge.remedy()));
    board.link(link(LinkState::Online, None));
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
}

#[test]
fn a_queue_of_which_nobody_has_spoken_yet_does_not_fill_when_the_store_tells_what_was_left() {
    let (board, clock) = board();
    let tells = |waiting_bytes| {
        board.store(StoreReport { waiting_bytes, max_bytes: 100 << 20, ..StoreReport::default() });
    };
    board.keep_time();
    clock.advance(Duration::from_secs(1));
    tells(50 << 20);
    clock.advance(Duration::from_secs(20 * 60));
    tells((50 << 20) + 1000);
    let rate = board.snapshot().outlook.filling_bytes_per_second.unwrap();
    assert!(rate < 1.0, "{rate} bytes a second: 1000 bytes came in 20 minutes");
}

#[test]
fn a_full_disk_comes_before_everything_else() {
    let (board, _) = board();
    board.link(link(LinkState::Waiting, Some(FaultKind::Tcp)));
    board.store(StoreReport { fault: Some("the disk is full".into()), ..StoreReport::default() });
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.sentence.contains("the disk is full")), (Level::Error, true));
}

#[test]
fn a_device_that_was_never_heard_has_said_nothing_yet_and_another_one_does_not_answer() {
    let (board, _) = board();
    let new = DeviceReport::new(DeviceId::parse("attic").unwrap(), "lan");
    board.device(new.clone());
    let verdict = board.verdict();
    assert_eq!(verdict.sentence, "The device attic has said nothing yet.");
    assert!(verdict.remedy.unwrap().starts_with("If it speaks seldom, wait"));
    board.device(DeviceReport { fields: Some(crate::model::Fields::new()), ..new });
    assert_eq!(board.verdict().sentence, "The device attic does not answer.");
}

#[test]
fn a_bus_that_is_ill_is_the_reason_and_not_the_devices_on_it() {
    let (board, clock) = board();
    let bus = |name: &str, fault: Option<&str>| {
        board.bus(BusReport { name: name.into(), fault: fault.map(str::to_owned), counts: Vec::new() });
    };
    board.device(DeviceReport {
        fault: Some("it is not plugged in".into()),
        ..DeviceReport::new(DeviceId::parse("valve").unwrap(), "ble_gatt")
    });
    assert!(board.snapshot().verdict.sentence.contains("valve"));
    let first = clock.now();
    bus("the Bluetooth adapter hci1", None);
    bus("the Bluetooth adapter", Some("it is not plugged in"));
    clock.advance(Duration::from_secs(60));
    bus("the Bluetooth adapter", Some("it is blocked; unblock it"));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since, verdict.remedy), (Level::Warning, Some(first), None));
    assert_eq!(verdict.sentence, "The Bluetooth adapter has a fault: it is blocked; unblock it.");
    bus("the Bluetooth adapter hci1", Some("it is off"));
    let verdict = board.snapshot().verdict;
    assert!(verdict.sentence.contains("; so has the Bluetooth adapter hci1"), "{}", verdict.sentence);
    bus("the Bluetooth adapter hci1", None);
    bus("the Bluetooth adapter", None);
    assert!(board.snapshot().verdict.sentence.contains("valve"));
}

#[test]
fn a_flash_budget_that_is_exceeded_is_a_warning_and_everything_else_comes_before_it() {
    let (board, clock) = board();
    let report = |written: u64| StoreReport {
        written: WrittenReport {
            days: vec![written, 1 << 40],
            budget: Some(500 << 20),
            floor: Duration::from_secs(3),
        },
        ..StoreReport::default()
    };
    board.store(report(500 << 20));
    assert_eq!(board.snapshot().verdict.level, Level::Ok, "all of it may be spent");
    let first = clock.now();
    board.store(report(600 << 20));
    clock.advance(Duration::from_secs(60));
    board.store(report(601 << 20));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since), (Level::Warning, Some(first)));
    assert!(verdict.sentence.starts_with("601.0 MiB were written to the disk today"), "{}", verdict.sentence);
    board.link(link(LinkState::Waiting, Some(FaultKind::Dns)));
    assert_eq!(board.snapshot().verdict.level, Level::Error);
    board.link(link(LinkState::Online, None));
    // The next day.
    board.store(report(0));
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
}

#[test]
fn a_machine_that_is_hot_weak_or_full_is_a_warning_and_whatever_is_ill_on_it_comes_before() {
    let (board, clock) = board();
    let hot = HostReport { temperature_celsius: Some(84.2), ..HostReport::default() };
    board.host(HostReport { temperature_celsius: Some(79.9), ..HostReport::default() });
    assert_eq!(board.verdict().level, Level::Ok);
    let weak = HostReport { under_voltage: Some(UnderVoltage { now: true, since_boot: true }), ..hot };
    let was_weak = UnderVoltage { now: false, since_boot: true };
    board.host(HostReport { under_voltage: Some(was_weak), ..HostReport::default() });
    assert_eq!(
        board.verdict().level,
        Level::Ok,
        "what was is in its row, or nothing else would be said for weeks"
    );
    let first = clock.now();
    board.host(hot);
    clock.advance(Duration::from_secs(60));
    board.host(weak);
    let verdict = board.verdict();
    assert_eq!((verdict.level, verdict.since), (Level::Warning, Some(first)));
    assert_eq!(verdict.sentence, "This machine gets too little voltage.");
    assert_eq!(verdict.remedy.as_deref(), Some("Use a stronger power supply."));
    board.host(HostReport { disk: Some(DiskReport { free_bytes: 1 << 20, total_bytes: 1 << 30 }), ..weak });
    assert_eq!(board.verdict().sentence, "The disk is nearly full: 1.0 MiB of 1.0 GiB are free.");
    board.link(link(LinkState::Waiting, Some(FaultKind::Dns)));
    assert_eq!(board.verdict().level, Level::Error);
    board.link(link(LinkState::Online, None));
    board.host(hot);
    assert_eq!(board.verdict().sentence, "This machine is too hot (84.2 °C) and slows down.");
    board.host(HostReport::default());
    assert_eq!(board.verdict().level, Level::Ok);
}

#[test]
fn a_certificate_that_runs_out_is_warned_of_hides_no_fault_and_is_one_when_it_is_over() {
    let (board, clock) = board();
    let moment = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    board.link(link(LinkState::Online, None));
    board.certificate(Some(CertificateReport {
        subject: "CN=home".into(),
        issuer: "CN=CA".into(),
        serial: "01".into(),
        fingerprint_sha256: "AB".into(),
        not_before: moment("2026-01-01T00:00:00Z"),
        not_after: moment("2027-01-01T00:00:00Z"),
    }));
    assert_eq!(board.snapshot().verdict.level, Level::Ok);
    clock.set(moment("2026-12-26T12:00:00Z"));
    let snapshot = board.snapshot();
    let (certificate, verdict) = (snapshot.certificate.unwrap(), snapshot.verdict);
    assert_eq!(board.verdict(), verdict, "with all that is on the board");
    assert_eq!((certificate.days_left, certificate.expiry), (Some(5), Some(Expiry::Week)));
    assert_eq!((verdict.level, verdict.since), (Level::Warning, Some(moment("2026-12-25T00:00:00Z"))));
    let sentence = "This gateway's certificate for the cloud expires in 5 days (2027-01-01T00:00:00Z).";
    assert_eq!(verdict.sentence, sentence);
    assert!(verdict.remedy.unwrap().contains("hearthlink enroll"));

    let bus = |fault: Option<&str>| {
        board.bus(BusReport {
            name: "the adapter".into(),
            fault: fault.map(str::to_owned),
            counts: Vec::new(),
        });
    };
    bus(Some("it is off"));
    assert!(board.snapshot().verdict.sentence.contains("it is off"), "no fault is hidden by a warning");
    clock.set(moment("2027-01-03T12:00:00Z"));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since), (Level::Error, Some(moment("2027-01-01T00:00:00Z"))));
    assert!(verdict.sentence.contains("expired 2 days ago"), "{}", verdict.sentence);
    board.link(link(LinkState::Waiting, Some(FaultKind::Dns)));
    assert!(board.snapshot().verdict.sentence.contains("host name"), "the line that is down comes first");
    board.link(link(LinkState::Online, None));
    bus(None);
    clock.set_trusted(false);
    let snapshot = board.snapshot();
    assert_eq!(snapshot.verdict.level, Level::Ok, "nobody knows what time it is");
    assert_eq!(snapshot.certificate.unwrap().expiry, None);
}

#[test]
fn a_damaged_store_is_reported_until_its_file_is_moved_away() {
    let (board, clock) = board();
    let first = clock.now();
    board.link(link(LinkState::Waiting, Some(FaultKind::Tcp)));
    let report = |set_aside: &[&str]| StoreReport {
        set_aside: set_aside.iter().map(|&name| name.to_owned()).collect(),
        ..StoreReport::default()
    };
    board.store(report(&["hearthlink.db.damaged-1"]));
    clock.set(first.plus(std::time::Duration::from_secs(60)));
    board.store(report(&["hearthlink.db.damaged-1"]));
    let verdict = board.snapshot().verdict;
    assert_eq!((verdict.level, verdict.since), (Level::Error, Some(first)));
    assert!(verdict.sentence.contains("`hearthlink.db.damaged-1`"), "{}", verdict.sentence);
    assert!(verdict.remedy.unwrap().contains("Move the file away"));
    board.store(report(&[]));
    assert!(!board.snapshot().verdict.sentence.contains("damaged"));
}

#[test]
fn the_start_is_right_as_soon_as_the_clock_is_set() {
    let moment = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let clock = Clock::manual(moment("1970-01-01T00:00:07Z"));
    clock.advance(Duration::from_secs(2));
    let board = Board::new("home", clock.clone());
    clock.advance(Duration::from_secs(10));
    assert_eq!(board.snapshot().started, moment("1970-01-01T00:00:09Z"));
    clock.set(moment("2026-11-22T12:00:00Z"));
    assert_eq!(board.snapshot().started, moment("2026-11-22T11:59:50Z"));
}

#[test]
fn outages_are_known_since_the_first_run_that_had_a_line() {
    let (board, clock) = board();
    let first = clock.now();
    assert_eq!(board.snapshot().line_history.outages_known_since, None, "no cloud is configured");
    board.link(link(LinkState::Connecting, None));
    clock.advance(Duration::from_secs(3600));
    let note = board.line_note().unwrap();
    let later = Board::new("home", clock.clone());
    later.link(link(LinkState::Connecting, None));
    assert_eq!(later.snapshot().line_history.outages_known_since, Some(clock.now()));
    later.restore_line(&note).unwrap();
    assert_eq!(later.snapshot().line_history.outages_known_since, Some(first));
}

#[test]
fn every_report_wakes_those_who_wait_but_counting_does_not() {
    let (board, _) = board();
    let mut watch = board.watch();
    watch.mark_unchanged();
    board.link_counters(|counters| counters.published += 1);
    assert!(!watch.has_changed().unwrap());
    board.broker(BrokerReport::default());
    assert!(watch.has_changed().unwrap());
    assert_eq!(board.snapshot().counters.published, 1);
}
