//! Values that people write with a unit or in a special shape: durations, sizes, addresses.
//!
//! Each function works for a field and for an optional field (`Option<T>: From<T>`).

use std::{fmt::Display, net::SocketAddr, time::Duration};

use serde::{Deserializer, de};

/// An error with its remedy: `decode` takes what follows the line break as the remedy.
pub(super) fn advise<E: de::Error>(what: &str, remedy: &str) -> E {
    E::custom(format_args!("{what}\n{remedy}"))
}

struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, (String, String)>,
    number: Option<fn(u64) -> T>,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|(what, remedy)| advise(&what, &remedy))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        match self.number {
            Some(take) => Ok(take(number)),
            None => Err(advise(&format!("`{number}` has no unit"), &format!("write {}", self.expected))),
        }
    }
}

/// A text that `parse` reads; its error is said together with a remedy.
fn text<T, E: Display>(parsed: Result<T, E>, remedy: impl Into<String>) -> Result<T, (String, String)> {
    parsed.map_err(|error| (error.to_string(), remedy.into()))
}

/// `45s`, `1h 30m`, `7d`.
pub(super) fn duration<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<Duration>,
{
    let expected = "a duration with a unit, for example `30s`, `5min` or `7d`";
    let parse = |word: &str| {
        text(humantime::parse_duration(word), "write a duration like `30s`, `5min`, `12h` or `7d`")
            .map_err(|(error, remedy)| (format!("`{word}` is not a duration: {error}"), remedy))
    };
    deserializer.deserialize_str(Text { expected, parse, number: None }).map(T::from)
}

/// `4 MiB`, `512 KiB`; a bare number is bytes.
pub(super) fn bytes<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<u64>,
{
    let parse = |word: &str| {
        text(word.parse::<bytesize::ByteSize>(), "write a size like `512 KiB`, `4 MiB` or `1 GiB`")
            .map(|size| size.as_u64())
            .map_err(|(_, remedy)| (format!("`{word}` is not a size"), remedy))
    };
    let visitor = Text { expected: "a size, for example `4 MiB`", parse, number: Some(|bytes| bytes) };
    deserializer.deserialize_any(visitor).map(T::from)
}

/// `127.0.0.1:1883`, `[::1]:1883`.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let parse = |word: &str| {
        word.parse().map_err(|_| {
            let remedy = match word.rsplit_once(':') {
                Some(("localhost", port)) => format!("write `127.0.0.1:{port}`"),
                None if word.parse::<std::net::IpAddr>().is_ok() => format!("add the port: `{word}:1883`"),
                _ => "write IP address and port, for example `127.0.0.1:1883` or `[::1]:1883`".to_owned(),
            };
            (format!("`{word}` is not an IP address with a port"), remedy)
        })
    };
    deserializer.deserialize_str(Text { expected: "an IP address with a port", parse, number: None })
}
