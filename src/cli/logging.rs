//! The log: the journal with its fields under systemd, lines of text on standard error elsewhere.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// The variable that overrides the configured level, in `tracing`'s syntax (`debug`, `hearthlink::link=trace`).
const FILTER: &str = "HEARTHLINK_LOG";

/// Begins to log, once per process.
pub(super) fn begin(log: &Log) {
    let wanted = env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let (filter, complaint) = match wanted.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(log.level.as_str()), Some(error)),
        None => (EnvFilter::new(log.level.as_str()), None),
    };
    let is_journal = match log.format {
        LogFormat::Auto => is_journal(),
        LogFormat::Journal => true,
        LogFormat::Text => false,
    };
    let (layer, no_journal) = layer(is_journal);
    // A second time, as in tests, the first one stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if let Some(error) = complaint {
        tracing::warn!(%error, "{FILTER} is not understood, the configured level counts");
    }
    if let Some(error) = no_journal {
        tracing::warn!(%error, "the journal cannot be reached, the log goes to standard error");
    }
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S>(is_journal: bool) -> (Boxed<S>, Option<io::Error>)
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let text = || {
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).boxed()
    };
    #[cfg(target_os = "linux")]
    if is_journal {
        return match tracing_journald::layer() {
            Ok(journal) => (journal.with_field_prefix(None).boxed(), None),
            Err(error) => (text(), Some(error)),
        };
    }
    let _ = is_journal;
    (text(), None)
}

/// Whether standard error is systemd's journal: `$JOURNAL_STREAM` names its device and inode (systemd.exec(5)).
/// The variable alone does not say so: it is inherited by whoever redirects the output.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    File::from(stderr).metadata().is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}
