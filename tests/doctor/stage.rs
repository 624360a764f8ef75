//! How each failure is staged: a cloud, what is between it and the gateway, and the configuration that leads there.

use std::{any::Any, ffi::OsString, path::Path, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    cloud::{Cloud, Manner},
    house::{House, Program, free_port},
    papers::{Authority, Clients, Papers},
    proxy::Proxy,
    tunnel::{Tunnel, Will},
};

/// What is wrong.
pub enum Staging {
    NoName,
    NobodyListens,
    NoTls,
    NoProxy,
    /// The proxy's answer.
    Proxy(&'static str),
    Interception,
    /// Nothing: the proxy opens its tunnel.
    Tunnel,
    UnknownCa,
    ExpiredCa,
    WrongName,
    Clock1970,
    UnknownClient,
    RevokedClient,
    Cloud(Manner),
    /// A second gateway with the same client id.
    Rival(Manner),
    /// A reading of so many bytes.
    Reading(Manner, usize),
    HalfOpen,
}

/// What stands there; dropped, it is gone.
pub struct Staged {
    environment: Vec<(&'static str, OsString)>,
    more: String,
    rival: Option<House>,
    /// The line that can be ill.
    pub line: Option<Proxy>,
    _keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl Staged {
    /// Stages it, and writes the house's configuration.
    pub async fn begin(staging: &Staging, house: &House) -> Self {
        let papers = Papers::write(house.path());
        let mut staged = Self {
            environment: vec![("NO_PROXY", "*".into())],
            more: String::new(),
            rival: None,
            line: None,
            _keep: Vec::new(),
        };
        let url = staged.url(staging, house, &papers).await;
        let quick =
            if matches!(staging, Staging::HalfOpen) { ", keep_alive: 5s, answer_limit: 3s" } else { "" };
        staged.more = format!(
            "cloud: {{url: \"{url}\", ca_file: ca.pem, certificate_file: home.pem, key_file: home.key, \
             backoff: {{first: 50ms, longest: 500ms, stable_after: 60s}}{quick}}}\nroutes: [{{local: \"sensors/#\"}}]\n\
             devices: [{{id: plug, kind: lan, options: {{command_topic: plug/set}}}}]\n"
        );
        house.configure(&staged.more);
        if matches!(staging, Staging::Rival(_)) {
            let rival = House::new(&staged.more);
            for name in ["ca.pem", "home.pem", "home.key"] {
                std::fs::copy(house.path().join(name), rival.path().join(name)).unwrap();
            }
            staged.rival = Some(rival);
        }
        staged
    }

    /// What both programs have in their environment.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        self.environment.clone()
    }

    /// The second gateway, where there is one.
    pub async fn rival(&self) -> Option<Program> {
        match &self.rival {
            Some(rival) => Some(rival.start_with(self.environment()).await),
            None => None,
        }
    }

    async fn url(&mut self, staging: &Staging, house: &House, papers: &Papers) -> String {
        let ca = &papers.ca;
        let localhost = |port: u16| format!("wss://localhost:{port}");
        let acceptor = match staging {
            Staging::NoName => return "wss://nowhere.invalid".to_owned(),
            Staging::NobodyListens => return format!("wss://127.0.0.1:{}", free_port()),
            Staging::NoTls => return localhost(self.no_tls().await),
            Staging::NoProxy => {
                self.through(format!("127.0.0.1:{}", free_port()));
                return localhost(443);
            }
            Staging::Proxy(answer) => {
                self.tunnel(Will::Refuse(answer)).await;
                return localhost(443);
            }
            Staging::Interception => {
                let firewall = Authority::new("Office Firewall");
                self.tunnel(Will::Intercept(firewall.server("localhost", None, None))).await;
                return localhost(443);
            }
            Staging::UnknownCa => Authority::new("Another CA").server("localhost", None, None),
            Staging::ExpiredCa => ca.server("localhost", Some(&ca.expired_below("Expired CA")), None),
            Staging::WrongName => ca.server("other.example", None, None),
            Staging::Clock1970 => {
                self.environment.push(("LD_PRELOAD", clock_1970(house.path())));
                ca.server("localhost", None, None)
            }
            Staging::UnknownClient => {
                let other = Authority::new("Another CA");
                ca.server("localhost", None, Some(Clients { of: &other, are_revoked: false }))
            }
            Staging::RevokedClient => {
                ca.server("localhost", None, Some(Clients { of: ca, are_revoked: true }))
            }
            Staging::Tunnel
            | Staging::Cloud(_)
            | Staging::Rival(_)
            | Staging::Reading(..)
            | Staging::HalfOpen => ca.server("localhost", None, Some(Clients { of: ca, are_revoked: false })),
        };
        let manner = match staging {
            Staging::Cloud(manner) | Staging::Rival(manner) | Staging::Reading(manner, _) => *manner,
            _ => Manner::Good,
        };
        let cloud = Cloud::start(acceptor, manner).await;
        let mut port = cloud.address.port();
        if matches!(staging, Staging::HalfOpen) {
            let line = Proxy::start(cloud.address).await;
            port = line.address().port();
            self.line = Some(line);
        }
        if matches!(staging, Staging::Tunnel) {
            self.tunnel(Will::Connect(cloud.address)).await;
        }
        self._keep.push(Box::new(cloud));
        localhost(port)
    }

    /// A server that speaks something else: it answers what it does not understand as a web server does.
    async fn no_tls(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut some = [0; 16];
                    let _ = stream.read(&mut some).await;
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                });
            }
        });
        self._keep.push(Box::new(tokio_util::task::AbortOnDropHandle::new(task)));
        port
    }

    async fn tunnel(&mut self, will: Will) {
        let tunnel = Tunnel::start(will).await;
        self.through(tunnel.address.to_string());
        self._keep.push(Box::new(tunnel));
    }

    fn through(&mut self, proxy: String) {
        self.environment = vec![("HTTPS_PROXY", format!("http://{proxy}").into()), ("NO_PROXY", "".into())];
    }
}

/// Compiled on the spot, as the faulty disk is.
fn clock_1970(directory: &Path) -> OsString {
    let library = directory.join("clock_1970.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctor/clock_1970.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .expect("a C compiler, which the project needs anyway");
    assert!(compiled.success(), "clock_1970.c does not compile");
    library.into()
}
