//! The log: the journal with its fields under systemd, lines of text or of JSON on standard error elsewhere.
//!
//! Owns where it goes and how much of it; what is said is everybody's own, and `model::KeyEvent` names what has a
//! `MESSAGE_ID`. Invariant: the environment's word on the level stands until the end, whatever the file says.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, registry::LookupSpan, reload, util::SubscriberInitExt,
};

use self::text::WithoutIds;
use crate::config::{Log, LogFormat, LogLevel};

mod text;

/// The variable that overrides the configured level, in `tracing`'s syntax (`debug`, `hearthlink::link=trace`).
const FILTER: &str = "HEARTHLINK_LOG";

/// How much is logged, to be changed while the program runs.
#[derive(Debug)]
pub(super) struct Loudness {
    filter: reload::Handle<EnvFilter, Registry>,
    is_fixed: bool,
}

impl Loudness {
    /// Logs as much as `level` says from now on, if nothing has a word before the file's.
    pub(super) fn turn(&self, level: LogLevel) {
        if self.overridden_by().is_none() {
            // Fails only where another log was begun before, as in tests: that one is nobody's to turn.
            let _ = self.filter.reload(EnvFilter::new(level.as_str()));
        }
    }

    /// What has the last word instead of the file, for the log.
    pub(super) fn overridden_by(&self) -> Option<&'static str> {
        self.is_fixed.then_some(FILTER)
    }
}

/// Begins to log, once per process.
pub(super) fn begin(log: &Log) -> Loudness {
    let wanted = env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let configured = || EnvFilter::new(log.level.as_str());
    let (filter, is_fixed, complaint) = match wanted.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, true, None),
        Some(Err(error)) => (configured(), false, Some(error)),
        None => (configured(), false, None),
    };
    let (layer, no_journal) = layer(log.format);
    let (filter, handle) = reload::Layer::new(filter);
    // A second time, as in tests, the first one stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if let Some(error) = complaint {
        tracing::warn!(%error, "{FILTER} is not understood, the configured level counts");
    }
    if let Some(error) = no_journal {
        tracing::warn!(%error, "the journal cannot be reached, the log goes to standard error");
    }
    Loudness { filter: handle, is_fixed }
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S>(format: LogFormat) -> (Boxed<S>, Option<io::Error>)
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = || tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let text = || lines().with_ansi(io::stderr().is_terminal()).fmt_fields(WithoutIds).boxed();
    match format {
        // Not flattened: a field may be called `level`, too.
        LogFormat::Json => {
            return (lines().json().with_current_span(false).with_span_list(false).boxed(), None);
        }
        LogFormat::Text => return (text(), None),
        LogFormat::Auto if !is_journal() => return (text(), None),
        LogFormat::Auto | LogFormat::Journal => {}
    }
    #[cfg(target_os = "linux")]
    return match tracing_journald::layer() {
        Ok(journal) => (journal.with_field_prefix(None).boxed(), None),
        Err(error) => (text(), Some(error)),
    };
    #[cfg(not(target_os = "linux"))]
    (text(), Some(io::ErrorKind::Unsupported.into()))
}

/// Whether standard error is systemd's journal: `$JOURNAL_STREAM` names its device and inode (systemd.exec(5)).
/// The variable alone does not say so: it is inherited by whoever redirects the output.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    File::from(stderr).metadata().is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}
