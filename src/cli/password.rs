//! A person's password and its hash. Never an argument: those are in the shell's history and in the list
//! of processes.

use std::io::{self, BufRead};

use anyhow::{Context, bail};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, SaltString, rand_core::OsRng},
};

/// From the terminal, unseen and twice.
pub(super) fn ask() -> anyhow::Result<String> {
    let prompt = |words| {
        rpassword::prompt_password(words).context(
            "failed to ask for the password; without a terminal, write it to standard input (`--stdin`)",
        )
    };
    let (first, again) = (prompt("Password: ")?, prompt("Again: ")?);
    if first != again {
        bail!("the two passwords differ");
    }
    usable(first)
}

/// From the terminal, unseen, of somebody who has it already.
pub(super) fn ask_once() -> anyhow::Result<String> {
    usable(rpassword::prompt_password("Password: ").context("failed to ask for the password")?)
}

/// The first line of standard input.
pub(super) fn from_input() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("failed to read the password from standard input")?;
    usable(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn usable(password: String) -> anyhow::Result<String> {
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

pub(super) fn hash(password: &str) -> anyhow::Result<String> {
    // Argon2id with the crate's parameters: 19 MiB, two passes (OWASP's first choice for small machines).
    let salt = SaltString::generate(&mut OsRng);
    match Argon2::default().hash_password(password.as_bytes(), &salt) {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => bail!("failed to hash the password: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHash, PasswordVerifier};

    use super::*;

    #[test]
    fn a_hash_verifies_its_password_and_is_salted() {
        let (one, two) = (hash("toast").unwrap(), hash("toast").unwrap());
        assert_ne!(one, two);
        let parsed = PasswordHash::new(&one).unwrap();
        assert!(Argon2::default().verify_password(b"toast", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"burnt", &parsed).is_err());
    }
}
