//! What every run of the soak stands on: a cloud behind a line that can be cut, the gateway's papers and files, and its
//! ports, which stay the same over all its lives.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hearthlink::demo::certificates::{Authority, LOOPBACK_NAMES, Wish};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{WINDOW, kills::Kills, plan::Plan};
use crate::{
    cloud::Cloud,
    history::{Diary, Event, verdict::Verdict},
    program::{Port, Program},
    proxy::{End, Proxy, Weather},
};

/// How much is to be done; all of it, at least. Kills of the gateway count under load only.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub kills: u64,
    pub cloud_kills: u64,
    pub length: Duration,
}

impl Size {
    /// The longest life of a gateway.
    pub fn longest_life(self) -> Duration {
        if self.length.is_zero() { Duration::from_secs(4) } else { Duration::from_secs(40) }
    }
}

pub struct Scene {
    pub directory: tempfile::TempDir,
    pub diary: Diary,
    pub cloud: Cloud,
    pub proxy: Arc<Proxy>,
    pub lan: Port,
    pub page: Port,
    config: PathBuf,
}

impl Scene {
    /// With a cloud that is there.
    pub async fn new(random: &mut fastrand::Rng) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("soak").unwrap();
        authority.write(&directory.path().join("ca.pem")).unwrap();
        // None for the gateway: it would say at each start how long that lasts, and each message is counted here.
        let server = authority.issue(&Wish::server(LOOPBACK_NAMES)).unwrap();
        let server = server.write(directory.path(), "server").unwrap();
        let diary = Diary::new();
        let cloud = Cloud::new(&server, "hearthlink/home/", diary.clone(), random.u64(..));
        let proxy = Arc::new(Proxy::start(cloud.revive().await).await);
        let config = directory.path().join("hearthlink.yaml");
        Self { directory, diary, cloud, proxy, lan: Port::reserve(), page: Port::reserve(), config }
    }

    /// Writes the gateway's configuration: where everything is, what more is wanted of the line (`cloud`, members of a
    /// flow mapping), and further sections.
    pub fn configure(&self, cloud: &str, sections: &str) {
        let (lan, page, port) = (self.lan.address(), self.page.address(), self.proxy.address().port());
        let text = format!(
            "gateway: {{ id: home, data_dir: data }}\n\
             broker: {{ listeners: [ {{ address: \"{lan}\" }} ] }}\n\
             web: {{ address: \"{page}\" }}\n\
             cloud:\n  url: wss://127.0.0.1:{port}/mqtt\n  ca_file: ca.pem\n  \
             window: {WINDOW}\n  keep_alive: 5s\n  answer_limit: 1s\n  \
             connect_limit: 2s\n  backoff: {{ first: 20ms, longest: 300ms, stable_after: 60s }}\n{cloud}{sections}"
        );
        std::fs::write(&self.config, text).unwrap();
    }

    /// Starts the gateway.
    pub fn start(&self) -> Program {
        self.diary.write(Event::Started);
        Program::start::<&str>(&self.config, [])
    }

    /// Nothing is in the way any more.
    pub fn clear(&self) {
        self.proxy.set(Weather::Clear);
        self.proxy.cut(End::Reset);
        self.diary.mark("everything heals");
    }

    /// Kills the cloud and brings it back, again and again; counts its deaths. It is alive when this returns.
    pub fn kill_the_cloud(
        &self,
        plan: Arc<Mutex<Plan>>,
        deaths: Arc<AtomicU64>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (cloud, proxy) = (self.cloud.clone(), self.proxy.clone());
        async move {
            loop {
                let death = plan.lock().await.death();
                if stop.run_until_cancelled(sleep(death.after)).await.is_none() {
                    return;
                }
                cloud.kill(death.keeps_session);
                sleep(death.down).await;
                proxy.aim(cloud.revive().await);
                deaths.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Adds to the verdict what the rig did, and keeps the diary of one that is not clean.
    pub fn finish(
        &self,
        verdict: &mut Verdict,
        name: &str,
        (kills, deaths, started): (&Kills, u64, Instant),
        last_words: &str,
    ) {
        if !verdict.is_clean() {
            let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
            self.diary.keep(&path);
            eprintln!("the whole diary is in {}\nthe gateway's last words:\n{last_words}", path.display());
        }
        for (line, count) in [
            ("under load", kills.under_load()),
            ("of these with the line up", kills.up),
            ("of these with line or cloud down", kills.down),
            ("of these with the line flapping", kills.flapping),
            ("of these with the line ill otherwise or not found yet", kills.others),
            ("beside them, before anything was accepted", kills.idle),
        ] {
            verdict.add(&format!("kills of the gateway: {line}"), count);
        }
        verdict.add("kills of the cloud", deaths);
        verdict.add("connections that the gateway opened", self.proxy.accepted());
        verdict.add("seconds", started.elapsed().as_secs());
    }
}
