//! One GET of the running gateway's status.
//!
//! HTTP/1.0 over a plain socket: hyper's client would need a runtime, a connector and two more features
//! to ask our own server one question on loopback. A server that answers anything but 200 with a body that
//! ends with the connection is not ours.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use data_encoding::BASE64;

use crate::config::Web;

/// To connect, and then for each silence.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes: 10,000 devices fit.
const LARGEST: u64 = 16 << 20;

/// Gets `path` of the page that the configuration describes, with its password.
///
/// # Errors
/// As [`get`], and when the password's file cannot be read.
pub(super) fn get_configured(web: &Web, path: &str) -> io::Result<String> {
    let password = web.password_file.as_ref().map(fs::read_to_string).transpose()?;
    let password = password.as_deref().and_then(|text| text.lines().next());
    from(&web.address.to_string(), path, password)
}

/// Gets `path` from `authority` (`host:port`).
///
/// # Errors
/// An I/O error; `InvalidData` when the answer is not HTTP with status 200.
pub(super) fn get(authority: &str, path: &str) -> io::Result<String> {
    from(authority, path, None)
}

fn from(authority: &str, path: &str, password: Option<&str>) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return ask(stream, authority, path, password),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream, authority: &str, path: &str, password: Option<&str>) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let login = password.map(|password| BASE64.encode(format!("hearthlink:{password}").as_bytes()));
    let login = login.map(|login| format!("Authorization: Basic {login}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n{login}\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| bad("the answer is not HTTP"))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(bad(&format!("the answer has status {status}: {}", body.trim()))),
        None => Err(bad("the answer is not HTTP")),
    }
}
