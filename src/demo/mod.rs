//! The demonstration: a home, a cloud and a phone in one process, with no configuration and no network.
//!
//! Owns the wiring of its parts and what is told about them. Never reaches into the gateway: the
//! gateway is built from a file like any other, and the phone knows the cloud only. Invariants:
//! everything listens on loopback; the directory with keys, configuration and store goes at the end.

pub mod certificates;
mod client;
pub mod cloud;
mod collector;
mod home;
mod meter;
mod narrator;
pub mod phone;
mod story;
mod words;

use std::{io, time::Duration};

use tempfile::TempDir;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use certificates::{CertificateError, CertificateFiles};
use cloud::{Cloud, CloudError, CloudOptions};
use collector::Collector;
use home::Home;
pub use home::HomeError;
use meter::Meter;
use narrator::Narrator;
use phone::{Phone, PhoneError};
use story::{Report, Story};

use crate::{clock::Clock, model::DeviceId};

/// Below this the gateway's topics lie in the cloud: prefix and gateway id.
pub const CLOUD_ROOT: &str = "hearthlink/demo";

/// Where the phone's page is if nobody else is there.
const PHONE_PORT: u16 = 8088;
/// Where the status page is if nobody else is there.
const STATUS_PORT: u16 = 8080;
/// How long a part that only has to notice the end may take.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// The story without anybody, then the end; else until Ctrl-C.
    pub once: bool,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every step of the story held, or somebody had seen enough.
    Passed,
    /// A step failed, or the story was interrupted.
    Failed,
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No temporary directory.
    #[error("failed to make a temporary directory: {0}")]
    Directory(#[source] io::Error),
    /// Ctrl-C could not be heard.
    #[error("failed to listen for Ctrl-C: {0}")]
    Signal(#[source] io::Error),
    /// Certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The phone.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// The gateway.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Plays the demonstration and tells it on standard output.
///
/// # Errors
/// [`DemoError`] when a part cannot be started or the gateway ends by itself.
pub async fn run(options: DemoOptions) -> Result<Verdict, DemoError> {
    let (interrupted, at_once) = interruption().map_err(DemoError::Signal)?;
    // Cancel safety: cut off anywhere, every connection and the directory go; the gateway is where a
    // crash would leave it.
    tokio::select! {
        verdict = play(options, interrupted) => verdict,
        () = at_once.cancelled() => Ok(Verdict::Failed),
    }
}

async fn play(options: DemoOptions, interrupted: CancellationToken) -> Result<Verdict, DemoError> {
    let narrator = Narrator::new();
    let directory = tempfile::Builder::new().prefix("hearthlink-demo-").tempdir();
    let directory = directory.map_err(DemoError::Directory)?;
    let stage = Stage::build(narrator, &directory).await?;
    let verdict = stage.play(options, interrupted).await;
    narrator.say("Stopping in order: gateway, phone, cloud.");
    stage.strike().await?;
    narrator.say(match directory.close() {
        Ok(()) => "Everything is stopped, and the temporary directory is gone.".to_owned(),
        Err(error) => format!("Everything is stopped, but the temporary directory stays: {error}."),
    });
    Ok(verdict)
}

/// Cancelled by Ctrl-C or SIGTERM: the first token by the first, the second by another one, of somebody
/// who cannot wait.
fn interruption() -> io::Result<(CancellationToken, CancellationToken)> {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let tokens = (first.clone(), second.clone());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        for token in [first, second] {
            // Cancel safety: a signal that comes meanwhile is kept by its stream.
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(tokens)
}

/// All who play.
struct Stage {
    narrator: Narrator,
    cloud: Cloud,
    phone: Phone,
    home: Home,
    collector: Collector,
    meter: Meter,
    /// Ends phone, collector, meter and narrator.
    stop: CancellationToken,
    started: Instant,
}

impl Stage {
    async fn build(narrator: Narrator, directory: &TempDir) -> Result<Self, DemoError> {
        let path = directory.path();
        narrator.say(format_args!(
            "Making certificates in {}: a CA, the cloud's, the gateway's.",
            path.display()
        ));
        let files = CertificateFiles::make(path, "demo")?;
        let cloud = Cloud::start(CloudOptions::new(&files)).await?;
        narrator.say(format_args!(
            "The cloud listens at {} and lets in only who shows a certificate of that CA.",
            cloud.url()
        ));
        let stop = CancellationToken::new();
        let collector = Collector::start(cloud.broker_address(), &stop);
        narrator.follow(cloud.broker_address(), &cloud.line(), &stop);
        collector.listening().await;
        let clock = Clock::system();
        let phone =
            Phone::start(cloud.broker_address(), PHONE_PORT, cloud.line(), clock, stop.clone()).await?;
        let started = Instant::now();
        let text = |data_dir: &str, port| home::configuration(&cloud.url(), data_dir, port);
        let home = Home::start(path, text, STATUS_PORT).await?;
        narrator.say(format_args!("The gateway runs from {}:", home.file.display()));
        narrator.show(&home.configuration);
        narrator.say(format_args!(
            "Devices at home speak to it at mqtt://{}; a meter does, ten times a second.",
            home.broker
        ));
        let meter = Meter::start(home.broker, &stop);
        Ok(Self { narrator, cloud, phone, home, collector, meter, stop, started })
    }

    /// Until the story is over, somebody has seen enough, or the gateway ended by itself.
    async fn play(&self, options: DemoOptions, interrupted: CancellationToken) -> Verdict {
        self.narrator.say("Open these in a browser:");
        self.narrator.show(format_args!("the phone         {}", self.phone.url()));
        if let Some(address) = self.home.status_page {
            self.narrator.show(format_args!("the status page   http://{address}/"));
        }
        if !options.once {
            self.narrator.show("Ctrl-C ends the demonstration.");
        }
        let mut report = Report::default();
        // Cancel safety: a story that is dropped leaves nothing but a cut line.
        let is_whole = tokio::select! {
            () = interrupted.cancelled() => false,
            () = self.home.over.cancelled() => false,
            () = self.play_story(&mut report), if options.once => true,
        };
        if !options.once {
            return Verdict::Passed;
        }
        self.narrator.table(&report);
        if !is_whole {
            self.narrator.say("Interrupted: the story was not played to its end, so it proves nothing.");
        }
        if is_whole && report.is_kept() { Verdict::Passed } else { Verdict::Failed }
    }

    async fn play_story(&self, report: &mut Report) {
        let story = Story {
            narrator: self.narrator,
            cloud: &self.cloud,
            phone: &self.phone.app(),
            home: &self.home,
            collector: &self.collector,
            meter: &self.meter,
            started: self.started,
            toaster: DeviceId::parse("toaster").expect("a word of letters"),
        };
        story.play(report).await;
    }

    /// Ends everything in order: the home first, so that it can still say goodbye. A gateway that had
    /// ended by itself is an error here.
    async fn strike(self) -> Result<(), DemoError> {
        let Self { cloud, phone, home, meter, stop, .. } = self;
        cloud.line().restore();
        meter.stop().await;
        let stopped = home.stop().await;
        stop.cancel();
        let _ = timeout(END_LIMIT, phone.ended()).await;
        let _ = timeout(END_LIMIT, cloud.stop()).await;
        Ok(stopped?)
    }
}
