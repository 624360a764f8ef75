//! The secret that a sensor encrypts its advertisements with, and what it opens.
//!
//! Owns how the key comes out of the options or out of a file of its own. Never shows it: neither `Debug` nor an error
//! has a digit of it.

use std::{fmt, fs, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

use aes::Aes128;
use ccm::{
    Ccm, NonceSize,
    aead::{Aead, KeyInit, Nonce, Payload, array::ArraySize},
    consts::{U4, U11, U12, U13},
};
use serde::{Deserialize, Deserializer, de};

use super::super::super::{DeviceError, DeviceSpec};
use crate::permissions::{exposed_mode, remedy};

/// Bytes of the message integrity check of all the formats here.
pub(in super::super) const MIC: usize = 4;
/// `O_NONBLOCK`: the opening of a pipe does not wait for whoever writes into it. The same on every Linux that we run on.
const NONBLOCK: i32 = 0o4000;

type Cipher<N> = Ccm<Aes128, U4, N>;

/// A key of 128 bits.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct BindKey([u8; 16]);

impl BindKey {
    /// The key that a device's options give, in one of the two ways.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when both are given, or the file cannot be read or holds something else, or others
    /// than its owner may read it.
    pub(super) fn given(
        spec: &DeviceSpec,
        key: Option<Self>,
        file: Option<&Path>,
    ) -> Result<Option<Self>, DeviceError> {
        let bad = |option: &str, problem: String| DeviceError::bad_option(&spec.id, option, problem);
        match (key, file) {
            (Some(_), Some(_)) => {
                Err(bad("bind_key_file", "`bind_key` is given, too; leave one of them out".to_owned()))
            }
            (key, None) => Ok(key),
            (None, Some(path)) => Self::read(path).map(Some).map_err(|problem| bad("bind_key_file", problem)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 16];
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }

    /// The key in the first line of a file.
    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let unreadable = |error: std::io::Error| format!("cannot read `{name}`: {error}");
        let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(format!("`{name}` is no file"));
        }
        if let Some(mode) = exposed_mode(path, &metadata) {
            return Err(format!(
                "others than its owner can read or change the secret `{name}` (mode {mode:04o}); run `{}`",
                remedy(path)
            ));
        }
        let mut text = String::new();
        file.take(256).read_to_string(&mut text).map_err(unreadable)?;
        let key = text.lines().next().unwrap_or_default().trim();
        Self::parse(key).ok_or_else(|| format!("the first line of `{name}` is no key: {SHAPE}"))
    }

    /// What the key opens: nothing that was not sealed with it, for this nonce and with this in front. The last
    /// [`MIC`] bytes of `sealed` are the integrity check (RFC 3610).
    pub(in super::super) fn open(&self, nonce: &[u8], in_front: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        match nonce.len() {
            13 => self.open_with::<U13>(nonce, in_front, sealed),
            12 => self.open_with::<U12>(nonce, in_front, sealed),
            11 => self.open_with::<U11>(nonce, in_front, sealed),
            _ => None,
        }
    }

    /// Seals as a sensor does, for what stands in for one: the other way round of [`BindKey::open`].
    pub(in super::super) fn seal(&self, nonce: &[u8], in_front: &[u8], opened: &[u8]) -> Option<Vec<u8>> {
        match nonce.len() {
            13 => self.seal_with::<U13>(nonce, in_front, opened),
            12 => self.seal_with::<U12>(nonce, in_front, opened),
            11 => self.seal_with::<U11>(nonce, in_front, opened),
            _ => None,
        }
    }

    fn seal_with<N: ArraySize + NonceSize>(
        &self,
        nonce: &[u8],
        in_front: &[u8],
        opened: &[u8],
    ) -> Option<Vec<u8>> {
        let nonce: &Nonce<Cipher<N>> = nonce.try_into().ok()?;
        Cipher::<N>::new(&self.0.into()).encrypt(nonce, Payload { msg: opened, aad: in_front }).ok()
    }

    fn open_with<N: ArraySize + NonceSize>(
        &self,
        nonce: &[u8],
        in_front: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let nonce: &Nonce<Cipher<N>> = nonce.try_into().ok()?;
        Cipher::<N>::new(&self.0.into()).decrypt(nonce, Payload { msg: sealed, aad: in_front }).ok()
    }
}

const SHAPE: &str = "write 32 hexadecimal digits, in quotes";

impl fmt::Debug for BindKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for BindKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any value at all: serde's own words for a wrong type would show it, and a key of digits alone is a number
        // where the quotes are missing.
        let value = serde_json::Value::deserialize(deserializer)?;
        value.as_str().and_then(Self::parse).ok_or_else(|| de::Error::custom(SHAPE))
    }
}
