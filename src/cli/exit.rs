//! The exit codes, in one place. Numbers from 64 on are those of `sysexits.h`.

use std::process::ExitCode;

/// The codes and their meanings, as hearthlink(8) has them. The second is clap's own.
pub(super) const MEANINGS: [(u8, &str); 5] = [
    (0, "all is well"),
    (1, "something failed, or `status` or `doctor` reports an error"),
    (2, "the command line is wrong"),
    (69, "no gateway answers"),
    (78, "the configuration is bad"),
];

/// What `--help` says of them.
pub(super) fn help() -> String {
    let meanings = MEANINGS.map(|(code, meaning)| format!("{code} {meaning}"));
    format!("Exit codes: {}.", meanings.join("; "))
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Success,
    /// Something failed, or the gateway that was asked reports an error.
    Failure,
    /// EX_UNAVAILABLE: no gateway answers.
    Unavailable,
    /// EX_CONFIG: the configuration is bad; starting again does not help (`RestartPreventExitStatus=78`).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Unavailable => 69,
            Exit::Config => 78,
        })
    }
}
