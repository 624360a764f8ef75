//! One GET of the running gateway's status.
//!
//! HTTP/1.0 over a plain socket: hyper's client would need a runtime, a connector and two more features
//! to ask our own server one question on loopback. A server that answers anything but 200 with a body that
//! ends with the connection is not ours.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use data_encoding::BASE64;

use crate::model::printable;

/// To connect, and then for each silence.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes: 10,000 devices fit.
const LARGEST: u64 = 16 << 20;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Nobody is there, or what is there does not speak HTTP.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer with another status than 200.
    #[error("status {status}: {body}")]
    Status {
        /// As it stands in the answer.
        status: String,
        /// What it says, without the white space around it.
        body: String,
    },
}

/// Gets `path` from `authority` (`host:port`), with the page's password if it has one.
///
/// # Errors
/// [`HttpError`].
pub(super) fn get(authority: &str, path: &str, password: Option<&str>) -> Result<String, HttpError> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return ask(stream, authority, path, password),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

fn ask(
    mut stream: TcpStream,
    authority: &str,
    path: &str,
    password: Option<&str>,
) -> Result<String, HttpError> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let login = password.map(|password| BASE64.encode(format!("hearthlink:{password}").as_bytes()));
    let login = login.map(|login| format!("Authorization: Basic {login}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n{login}\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let is_none = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(is_none)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(HttpError::Status { status: status.to_owned(), body: printable(body.trim()) }),
        None => Err(is_none().into()),
    }
}
