//! TLS with a client certificate, and MQTT in WebSocket frames on top of it, for blocking threads.
//!
//! Both halves: the null broker's and that of the floor's client. Owns the framing only, and of RFC 6455 what the
//! three contenders use: binary frames, whole or in pieces, and closing. Never masks with anything but zeros. The
//! link's own stack was rejected for this side: it is what is measured.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::pki::{Authority, Identity, Validity};

/// Every certificate of a run; children find them by the folder.
pub fn make_certificates(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let authority = Authority::new(folder, "ca");
    authority.server("cloud", &["localhost", "127.0.0.1"], Validity::Now);
    authority.client("home", "home");
    authority.client("app", "app");
    Ok(())
}

/// The certificate of this name in the folder of [`make_certificates`].
pub fn identity(folder: &Path, name: &str) -> Identity {
    Identity { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
}

fn roots(folder: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    Ok(roots)
}

fn own(folder: &Path, name: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let identity = identity(folder, name);
    let chain = vec![CertificateDer::from_pem_file(identity.certificate)?];
    Ok((chain, PrivateKeyDer::from_pem_file(identity.key)?))
}

/// Trusts the run's CA and shows this certificate.
pub fn client_config(folder: &Path, name: &str) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = own(folder, name)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(folder)?)
        .with_client_auth_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// The cloud's side: asks for a certificate of the run's CA.
pub fn server_config(folder: &Path) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(folder)?), provider.clone()).build()?;
    let (chain, key) = own(folder, "cloud")?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// A client's TLS stream.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection to a port of this machine, as this identity.
pub fn dial(folder: &Path, name: &str, port: u16) -> Result<Tls> {
    let connection = ClientConnection::new(client_config(folder, name)?, ServerName::try_from("localhost")?)?;
    Ok(StreamOwned::new(connection, crate::client::dial(port)?))
}

/// A stream of bytes in binary frames.
pub struct Framed<S> {
    stream: S,
    is_client: bool,
    /// What of the frame that is being read has not been read.
    left: u64,
    is_data: bool,
    mask: [u8; 4],
    at: usize,
    out: Vec<u8>,
}

impl<S: Read + Write> Framed<S> {
    /// Waits for the request of whoever connected, and agrees.
    pub fn accept(mut stream: S) -> Result<Self> {
        let head = head(&mut stream)?;
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        });
        let key = key.context("no Sec-WebSocket-Key")? + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        let accept = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()).as_ref());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes())?;
        Ok(Self::new(stream, false))
    }

    /// Asks, and checks no more of the answer than that it agrees.
    pub fn connect(mut stream: S) -> Result<Self> {
        stream.write_all(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Protocol: mqtt\r\n\r\n",
        )?;
        let head = head(&mut stream)?;
        ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket: {head}");
        Ok(Self::new(stream, true))
    }

    fn new(stream: S, is_client: bool) -> Self {
        Self { stream, is_client, left: 0, is_data: false, mask: [0; 4], at: 0, out: Vec::new() }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let mut two = [0; 2];
        self.stream.read_exact(&mut two)?;
        let opcode = two[0] & 0x0F;
        if opcode == 8 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.is_data = opcode < 8;
        self.left = match two[1] & 0x7F {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u16::from_be_bytes(length).into()
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            length => length.into(),
        };
        self.mask = [0; 4];
        self.at = 0;
        if two[1] & 0x80 != 0 {
            self.stream.read_exact(&mut self.mask)?;
        }
        Ok(())
    }
}

/// The head of an HTTP message, to the empty line.
fn head(stream: &mut impl Read) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 16 << 10, "an endless head");
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

impl<S: Read + Write> Read for Framed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            while self.left == 0 {
                self.next_frame()?;
            }
            let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let count = self.stream.read(&mut buffer[..most])?;
            if count == 0 {
                return Ok(0);
            }
            if self.mask != [0; 4] {
                for (index, byte) in buffer[..count].iter_mut().enumerate() {
                    *byte ^= self.mask[(self.at + index) & 3];
                }
            }
            self.at += count;
            self.left -= count as u64;
            if self.is_data {
                return Ok(count);
            }
        }
    }
}

impl<S: Read + Write> Write for Framed<S> {
    /// One frame, whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.clear();
        self.out.push(0x82);
        let mask = if self.is_client { 0x80 } else { 0 };
        match bytes.len() {
            length @ 0..126 => self.out.push(mask | length as u8),
            length @ 126..65_536 => {
                self.out.push(mask | 126);
                self.out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                self.out.push(mask | 127);
                self.out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if self.is_client {
            self.out.extend_from_slice(&[0; 4]);
        }
        self.out.extend_from_slice(bytes);
        self.stream.write_all(&self.out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
