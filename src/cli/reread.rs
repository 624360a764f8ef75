//! SIGHUP: the configuration is read again, and what a running gateway can take of it is taken: the certificates of the
//! broker's listeners, and how much is logged. What else has changed waits for a restart, and the log says so.
//!
//! Invariant: all of it or nothing. A file that `check` would refuse changes nothing, also not the certificates.

use std::{convert::Infallible, path::PathBuf};

use tokio::signal::unix::Signal;

use super::{configuration, logging::Loudness, service};
use crate::{
    app::{Hardware, Reload},
    config::Config,
    model::KeyEvent,
};

/// The file, and what of it is in force.
pub(super) struct Reread {
    path: PathBuf,
    hardware: Hardware,
    config: Config,
    loudness: Loudness,
}

impl Reread {
    /// Of the file at `path`, which was checked for `hardware` and had `config` in it.
    pub(super) fn new(
        path: impl Into<PathBuf>,
        hardware: Hardware,
        config: Config,
        loudness: Loudness,
    ) -> Self {
        Self { path: path.into(), hardware, config, loudness }
    }

    /// Reads it at every signal. Cancel safety: a signal that comes meanwhile is kept by its stream, and a reading that
    /// is cut off has changed nothing.
    pub(super) async fn at_every(&mut self, hangup: &mut Signal, reload: &Reload) -> Infallible {
        while let Some(()) = hangup.recv().await {
            service::reloading();
            let done = self.once(reload).await;
            service::ready();
            if let Err(error) = done {
                let event = KeyEvent::ReloadRefused;
                tracing::error!(message_id = event.id(), error = format!("{error:#}"), "{}", event.says());
            }
        }
        // No more signals: there is nothing to reload at.
        std::future::pending().await
    }

    async fn once(&mut self, reload: &Reload) -> anyhow::Result<()> {
        let (fresh, _) = configuration::examine_aside(&self.path, self.hardware).await??;
        let listeners = reload.certificates().await?;
        let (old, new) = (self.config.log.level, fresh.log.level);
        // Said at the louder of the two, so that who turns it down sees that it was heard.
        if new > old {
            self.loudness.turn(new);
        }
        let (event, restart_needed) = (KeyEvent::Reloaded, self.is_restart_needed(&fresh));
        let (log_level, overridden_by) = (new.as_str(), self.loudness.overridden_by());
        tracing::info!(
            message_id = event.id(),
            listeners,
            log_level,
            overridden_by,
            restart_needed,
            "{}",
            event.says()
        );
        self.loudness.turn(new);
        self.config.log.level = new;
        Ok(())
    }

    /// Whether the file says anything that is not in force.
    fn is_restart_needed(&self, fresh: &Config) -> bool {
        let mut config = self.config.clone();
        config.log.level = fresh.log.level;
        config != *fresh
    }
}
