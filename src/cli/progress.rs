//! That work goes on, for whoever waits before a terminal: on standard error, and gone when it is done. Where that is no
//! terminal, nothing is written.

use std::{fmt::Write, time::Duration};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// How often it moves.
const TICK: Duration = Duration::from_millis(100);
/// How wide a bar is, in characters.
const CELLS: u128 = 20;

/// Shown until it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Work of which nobody knows how long it takes: what is done, and for how long already.
    pub(super) fn of(what: &'static str) -> Self {
        Self::show("{spinner} {msg} … {elapsed}", what, |style| style)
    }

    /// Work that takes so long: a bar.
    pub(super) fn lasting(what: &'static str, time: Duration) -> Self {
        let bar = move |state: &ProgressState, text: &mut dyn Write| {
            let full = (state.elapsed().as_millis() * CELLS / time.as_millis().max(1)).min(CELLS);
            // Writing to a text cannot fail.
            let _ = text
                .write_str(&(0..CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect::<String>());
        };
        Self::show("{bar_of_time} {msg} … {elapsed}", what, |style| style.with_key("bar_of_time", bar))
    }

    fn show(template: &str, what: &'static str, more: impl FnOnce(ProgressStyle) -> ProgressStyle) -> Self {
        let progress = ProgressBar::new_spinner();
        // Ours are good; one that is not would only be plain.
        if let Ok(style) = ProgressStyle::with_template(template) {
            progress.set_style(more(style));
        }
        progress.set_message(what);
        progress.enable_steady_tick(TICK);
        Self(progress)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
