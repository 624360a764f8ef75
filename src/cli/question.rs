//! Questions to a person at a terminal.
//!
//! Never asks where nobody can answer: whoever calls this has looked whether standard input is a terminal. Every question
//! says what the answer is when somebody only presses Enter; after a few answers that cannot be understood it gives up.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};

/// How often a question is asked.
const TRIES: u8 = 5;

/// Somebody who is asked.
pub(super) struct Dialogue<R, W> {
    input: R,
    output: W,
}

/// Whether there is somebody at a terminal, who sees what is asked.
pub(super) fn is_anybody_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The person at this terminal. Asked on standard error, for standard output may go into a file.
pub(super) fn person() -> Dialogue<io::StdinLock<'static>, io::Stderr> {
    Dialogue { input: io::stdin().lock(), output: io::stderr() }
}

impl<R: BufRead, W: Write> Dialogue<R, W> {
    #[cfg(test)]
    pub(super) fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Says something, on a line of its own.
    ///
    /// # Errors
    /// Whatever the terminal says.
    pub(super) fn tell(&mut self, words: &str) -> anyhow::Result<()> {
        writeln!(self.output, "{words}").context("failed to write to the terminal")
    }

    /// Asks until the answer can be read; nothing means `default`.
    ///
    /// # Errors
    /// Nobody answers, or never so that it can be read.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        for _ in 0..TRIES {
            let asked = write!(self.output, "{question} [{default}]: ").and_then(|()| self.output.flush());
            asked.context("failed to ask")?;
            let mut line = String::new();
            if self.input.read_line(&mut line).context("failed to read the answer")? == 0 {
                let _ = writeln!(self.output);
                bail!("nobody answers; nothing was changed");
            }
            let answer = Some(line.trim()).filter(|answer| !answer.is_empty()).unwrap_or(default);
            match read(answer) {
                Ok(value) => return Ok(value),
                Err(problem) => self.tell(&format!("  {}.", problem.replace('\n', "; ")))?,
            }
        }
        bail!("none of {TRIES} answers can be understood; nothing was changed")
    }

    /// Asks whether something is to be done; nothing means no.
    ///
    /// # Errors
    /// As [`Dialogue::ask`].
    pub(super) fn is_sure(&mut self, question: &str) -> anyhow::Result<bool> {
        self.ask(&format!("{question} (yes or no)"), "no", |answer| {
            match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("answer yes or no".to_owned()),
            }
        })
    }
}

/// Asks whether something that cannot be undone is to be done, unless the command line says `--yes` already.
///
/// # Errors
/// Nobody is there to be asked, or answers.
pub(super) fn is_sure(question: &str, is_said: bool) -> anyhow::Result<bool> {
    if is_said {
        return Ok(true);
    }
    if !is_anybody_there() {
        bail!("there is no terminal to ask at; say `--yes` to do it without a question");
    }
    person().is_sure(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_is_asked_for_again_and_silence_changes_nothing() {
        let mut output = Vec::new();
        let mut dialogue = Dialogue::new(&b"maybe\nYES\n\n"[..], &mut output);
        assert!(dialogue.is_sure("Really?").unwrap());
        assert!(!dialogue.is_sure("Really?").unwrap(), "Enter is no");
        let error = dialogue.is_sure("Really?").unwrap_err().to_string();
        assert!(error.contains("nobody answers"), "{error}");
        let output = String::from_utf8(output).unwrap();
        assert!(output.starts_with("Really? (yes or no) [no]:   answer yes or no.\n"), "{output}");
        let mut dialogue = Dialogue::new(&b"a\nb\nc\nd\ne\nyes\n"[..], io::sink());
        assert!(dialogue.is_sure("Really?").is_err(), "after five answers it gives up");
    }
}
