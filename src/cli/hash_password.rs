//! `hash-password`: from a password to what `broker.users[].password_hash` wants. Never an argument: those
//! are in the shell's history and in the list of processes.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, bail};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, SaltString, rand_core::OsRng},
};

use super::Exit;

pub(super) fn run() -> Exit {
    match password().and_then(|password| hash(&password)) {
        Ok(hash) => {
            super::say::say(&hash);
            if io::stdout().is_terminal() {
                eprintln!("Put this line into the configuration, in quotes: password_hash: \"{hash}\"");
            }
            Exit::Success
        }
        Err(error) => {
            eprintln!("hearthlink: {error:#}");
            Exit::Failure
        }
    }
}

/// From the terminal, unseen and twice; else the first line of standard input.
fn password() -> anyhow::Result<String> {
    let password = if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").context("failed to read the password")?;
        let again = rpassword::prompt_password("Again: ").context("failed to read the password")?;
        if first != again {
            bail!("the two passwords differ");
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("failed to read the password from standard input")?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

fn hash(password: &str) -> anyhow::Result<String> {
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
