//! A stand-in for the credentials provider of AWS IoT: HTTPS that wants a client certificate, and sells temporary keys
//! which the stand-in for AWS IoT then knows.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hearthlink::{clock::Clock, link::Role};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    aws::{Aws, Key},
    gateway::Papers,
    peer,
};

/// How long keys are good.
pub const LIFE: Duration = Duration::from_secs(3600);

/// What it does with whoever asks.
#[derive(Clone)]
pub enum Mood {
    Sells,
    /// Status line and body.
    Refuses(&'static str, &'static str),
    Silent,
}

pub struct KeyProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    aws: Aws,
    clock: Clock,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    stop: CancellationToken,
}

impl Drop for KeyProvider {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl KeyProvider {
    pub async fn start(papers: &Papers, aws: Aws, clock: Clock) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let acceptor = peer::acceptor(&papers.server, Some(&papers.ca), &versions);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, asked, stop) = (Mutex::new(Mood::Sells), AtomicUsize::new(0), CancellationToken::new());
        let shared = Arc::new(Shared { aws, clock, mood, asked, stop });
        let server = shared.clone();
        tokio::spawn(async move {
            let stop = server.stop.clone();
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (server, acceptor, stop) = (server.clone(), acceptor.clone(), stop.clone());
                tokio::spawn(async move { stop.run_until_cancelled(server.serve(stream, acceptor)).await });
            }
        });
        Self { address, shared }
    }

    /// What the gateway is to ask for.
    pub fn role(&self) -> Role {
        Role {
            host: "localhost".to_owned(),
            port: self.address.port(),
            alias: "home".to_owned(),
            thing: Some("gateway".to_owned()),
        }
    }

    pub fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How often somebody with a certificate asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream, acceptor: TlsAcceptor) {
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let mood = self.mood.lock().unwrap().clone();
        let (status, body) = match mood {
            _ if !head.starts_with("get /role-aliases/home/credentials http/1.1\r\n") => {
                ("404 Not Found", r#"{"message":"Role alias does not exist"}"#.to_owned())
            }
            _ if !head.contains("\r\nx-amzn-iot-thingname: gateway\r\n") => {
                ("400 Bad Request", r#"{"message":"Invalid thing name passed"}"#.to_owned())
            }
            Mood::Refuses(status, body) => (status, body.to_owned()),
            Mood::Silent => std::future::pending().await,
            Mood::Sells => ("200 OK", self.sell(number)),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
        // Until the other end has read it.
        let _ = stream.read(&mut [0]).await;
    }

    fn sell(&self, number: usize) -> String {
        let expires = self.clock.now().plus(LIFE);
        let (id, secret, token) =
            (format!("ASIA{number}"), format!("secret/{number}+"), format!("token=/{number}+"));
        let key = Key { secret: secret.clone(), token: Some(token.clone()), expires: Some(expires) };
        self.aws.knows(&id, key);
        serde_json::json!({"credentials": {
            "accessKeyId": id, "secretAccessKey": secret, "sessionToken": token, "expiration": expires,
        }})
        .to_string()
    }
}
