//! An HTTP proxy that opens tunnels, or does not.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// What it does when it is asked to connect.
#[derive(Clone)]
pub enum Will {
    /// Answers so, and hangs up.
    Refuse(&'static str),
    /// Opens the tunnel, and shows a certificate of its own in it.
    Intercept(TlsAcceptor),
    /// Connects.
    Connect(SocketAddr),
}

/// A running proxy; dropped, it ends.
pub struct Tunnel {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Tunnel {
    pub async fn start(will: Will) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let will = will.clone();
                tokio::spawn(async move { serve(stream, will).await });
            }
        });
        Self { address, task }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, will: Will) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    assert!(request.starts_with(b"CONNECT localhost:"), "{}", String::from_utf8_lossy(&request));
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    match will {
        Will::Refuse(answer) => stream.write_all(answer.as_bytes()).await,
        Will::Intercept(acceptor) => {
            stream.write_all(established).await?;
            acceptor.accept(stream).await.map(drop)
        }
        Will::Connect(target) => {
            let mut far = TcpStream::connect(target).await?;
            stream.write_all(established).await?;
            copy_bidirectional(&mut stream, &mut far).await.map(drop)
        }
    }
}
