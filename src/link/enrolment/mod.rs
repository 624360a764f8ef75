//! How the gateway gets its certificate: a key that is made here and never leaves, a request, what comes back.
//!
//! Owns the key's file and the certificate's, and what may be put there. Never speaks to a CA: the request is carried
//! by whoever is asked to sign it. Invariants: a key is never replaced by another one but together with a certificate
//! for that; what is refused changes nothing; each file is whole at every instant. The two are two files, so a power
//! cut between them can leave the new key with the old certificate: the same import again mends that.
//!
//! Rejected: EST, SCEP and ACME. The clouds speak none of them to their devices, and whoever has a CA at home that
//! does has a client for it, which can write the same two files.

mod chain;
mod draft;
mod error;
mod key;

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

pub use chain::{Anchors, Chain, End};
pub use error::EnrolmentError;
pub use key::Key;

use crate::{
    health::Board,
    model::Timestamp,
    permissions::{exposed, remedy},
};
use draft::{Audience, Draft, beside, rename};

/// Where key and certificate are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The private key, PEM.
    pub key_file: PathBuf,
    /// The certificate and those that lead to its CA, PEM.
    pub certificate_file: PathBuf,
}

/// Where a key for a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// There was none.
    Made,
    /// It was there.
    Kept,
    /// It was made beside the one in use, and takes its place together with a certificate for it.
    MadeBeside,
    /// The same, by an earlier call.
    KeptBeside,
}

/// What an import changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Where the chain ends.
    pub end: End,
    /// Whether the key that waited for this certificate took the place of the old one.
    pub has_new_key: bool,
}

impl Enrolment {
    /// Where a new key waits for its certificate.
    pub fn waiting_key_file(&self) -> PathBuf {
        beside(&self.key_file, ".new")
    }

    /// The key to ask a certificate for; with `is_new` always one that nobody has a certificate for yet.
    ///
    /// # Errors
    /// [`EnrolmentError`] of the file that cannot be read or written.
    pub fn key(&self, is_new: bool) -> Result<(Key, Origin), EnrolmentError> {
        let waiting = self.waiting_key_file();
        let (path, origin) = match (self.key_file.exists(), is_new, waiting.exists()) {
            (false, ..) => (&self.key_file, Origin::Made),
            (true, true, _) => (&waiting, Origin::MadeBeside),
            (true, false, true) => (&waiting, Origin::KeptBeside),
            (true, false, false) => (&self.key_file, Origin::Kept),
        };
        if matches!(origin, Origin::Made | Origin::MadeBeside) {
            let draft = Draft::write(path, Key::make()?.as_bytes(), Audience::Gateway, Some(&self.key_file))?;
            // Looked at again under the draft's name, which only one enrolment has at a time.
            if origin == Origin::Made && path.exists() {
                return Ok((Key::read(path)?, Origin::Kept));
            }
            draft.place()?;
        }
        Ok((Key::read(path)?, origin))
    }

    /// Puts a certificate in its place, and the key that waited for it, if it is for that.
    ///
    /// # Errors
    /// As [`Chain::judge`]; [`EnrolmentError::NoKeyYet`]; a file that cannot be read or written. Then the old
    /// certificate is still in place.
    pub fn import(
        &self,
        chain: &Chain,
        anchors: &Anchors,
        now: Option<Timestamp>,
    ) -> Result<Imported, EnrolmentError> {
        let waiting = self.waiting_key_file();
        let waiting = if waiting.exists() { Some(Key::read(&waiting)?) } else { None };
        let waiting = waiting.filter(|key| chain.is_for(key));
        let key = match &waiting {
            Some(key) => key,
            None if !self.key_file.exists() => return Err(EnrolmentError::NoKeyYet(self.key_file.clone())),
            None => &Key::read(&self.key_file)?,
        };
        let end = chain.judge(key, anchors, now)?;
        let text = chain.text().as_bytes();
        let certificate = Draft::write(&self.certificate_file, text, Audience::Everybody, None)?;
        if let Some(key) = &waiting {
            rename(key.path(), &self.key_file)?;
        }
        certificate.place()?;
        Ok(Imported { end, has_new_key: waiting.is_some() })
    }
}

/// Writes a request, over an older one.
///
/// # Errors
/// [`EnrolmentError::Unwritable`] and `Busy`.
pub fn write_request(path: &Path, request: &str) -> Result<(), EnrolmentError> {
    Draft::write(path, request.as_bytes(), Audience::Everybody, None)?.place()
}

/// Tells the board which certificate the line shows from now on, and the log when others can read its key: the check
/// of a configuration refuses that, and a program that uses this library has none.
pub(super) fn tell(board: &Board, certificate: Option<&CertificateDer<'_>>, key_file: Option<&Path>) {
    board.certificate(certificate.and_then(chain::report));
    if let Some((path, mode)) = key_file.and_then(|path| Some((path, exposed(path)?))) {
        let (path, mode, remedy) = (path.display(), format!("{mode:04o}"), remedy(path));
        tracing::warn!(%path, mode, remedy, "others than its owner can read or change the private key of the line");
    }
}

#[cfg(test)]
mod tests;
