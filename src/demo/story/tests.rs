//! The steps of the story where they must fail: a home that was tampered with, a toast out of turn.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::Clock,
    demo::{certificates::CertificateFiles, cloud::CloudOptions, home, phone::Phone},
};

#[tokio::test]
async fn a_story_in_which_nothing_was_measured_proves_nothing() {
    let scene = scene(|configuration| configuration).await;
    let story = scene.story();
    let silent = Meter::start(SocketAddr::from(([127, 0, 0, 1], 9)), &scene.stop);
    let story = Story { meter: &silent, ..story };
    let cut = a_cut(story.tally(), CommandId::parse("nobody-sent-it").unwrap());
    let seen = story.readings_arrive(&cut, soon(1)).await.unwrap_err();
    assert!(seen.contains("no reading was accepted"), "{seen}");
    scene.end().await;
}

/// Everybody who plays, with a configuration that was tampered with.
struct Scene {
    _directory: TempDir,
    cloud: Cloud,
    phone: App,
    home: Home,
    collector: Collector,
    meter: Meter,
    stop: CancellationToken,
    started: Instant,
}

async fn scene(tamper: impl Fn(String) -> String) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles::make(directory.path(), "demo").unwrap();
    let cloud = Cloud::start(CloudOptions::new(&files)).await.unwrap();
    let stop = CancellationToken::new();
    let broker = cloud.broker_address();
    let collector = Collector::start(broker, &stop);
    collector.listening().await;
    let phone = Phone::start(broker, 0, cloud.line(), Clock::system(), stop.clone()).await.unwrap();
    let started = Instant::now();
    let configuration = |data_dir: &str, port| tamper(home::configuration(&cloud.url(), data_dir, port));
    let home = Home::start(directory.path(), configuration, 0).await.unwrap();
    let meter = Meter::start(home.broker, &stop);
    Scene { _directory: directory, cloud, phone: phone.app(), home, collector, meter, stop, started }
}

impl Scene {
    fn story(&self) -> Story<'_> {
        Story {
            narrator: Narrator::new(),
            cloud: &self.cloud,
            phone: &self.phone,
            home: &self.home,
            collector: &self.collector,
            meter: &self.meter,
            started: self.started,
            toaster: DeviceId::parse("toaster").unwrap(),
        }
    }

    async fn end(self) {
        self.home.stop().await.unwrap();
        self.stop.cancel();
        self.cloud.stop().await;
    }
}

fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn a_cut(before: Tally, late: CommandId) -> Cut {
    Cut { restored: Instant::now(), late: Ok(late), before }
}

#[tokio::test]
async fn a_home_that_allows_nothing_and_routes_nothing_fails_where_it_should() {
    let scene = scene(|configuration| {
        let (head, rest) = configuration.split_once("commands:").unwrap();
        let (_, web) = rest.split_once("web:").unwrap();
        format!("{head}web:{web}")
    })
    .await;
    let story = scene.story();
    story.comes_online(soon(10)).await.unwrap();
    let seen = story.toast(soon(5)).await.unwrap_err();
    assert!(seen.contains("`refused`"), "{seen}");
    let seen = story.twice(soon(5)).await.unwrap_err();
    assert!(seen.contains("`refused`"), "{seen}");
    assert_eq!(story.tally(), Tally { said: story.tally().said, ..Tally::default() });

    let accepted = || scene.meter.accepted().sequences.len();
    while accepted() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    let cut = a_cut(story.tally(), CommandId::parse("nobody-sent-it").unwrap());
    let seen = story.readings_arrive(&cut, soon(1)).await.unwrap_err();
    assert!(seen.contains("missing, the first is number 1"), "{seen}");
    let seen = story.late_command(&cut, soon(1)).await.unwrap_err();
    assert!(seen.contains("no outcome"), "{seen}");
    scene.end().await;
}

#[tokio::test]
async fn a_toast_out_of_turn_or_a_line_that_stays_cut_is_noticed() {
    let scene = scene(|configuration| configuration).await;
    let story = scene.story();
    story.comes_online(soon(10)).await.unwrap();
    let before = story.tally();
    let id = scene.phone.press(LIFE).await.unwrap();
    let seen = story.late_command(&a_cut(before, id.clone()), soon(5)).await.unwrap_err();
    assert!(seen.contains("the toaster was touched 1 time"), "{seen}");

    scene.cloud.line().cut();
    let gone = |view: &View| view.home == Some(Availability::Offline);
    assert!(until(&mut scene.phone.view(), soon(5), gone).await.is_ok());
    let seen = story.finds_back(&a_cut(before, id), soon(1)).await.unwrap_err();
    assert!(seen.contains("offline"), "{seen}");
    let mut report = Report::default();
    report.judge("The home finds back", async { Err(seen) }).await;
    assert!(!report.is_kept());
    scene.end().await;
}
