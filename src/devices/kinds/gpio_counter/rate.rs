//! How fast pulses come, from the times between them. Pure.
//!
//! Rejected: pulses a telling by its interval. At one pulse a minute it says 0, 0, 360, 0 …

use std::time::Duration;

pub(super) struct Rate {
    idle_after: f64,
    a_second: Option<f64>,
}

impl Rate {
    /// Nothing is known; after the silence nothing flows.
    pub(super) fn new(idle_after: Duration) -> Self {
        Self { idle_after: idle_after.as_secs_f64(), a_second: None }
    }

    /// `count` pulses came, the last of them `span` seconds after the last before them; it is `silence` seconds since.
    pub(super) fn hear(&mut self, count: u64, span: Option<f64>, silence: Option<f64>) {
        if count > 0 {
            self.a_second = span.filter(|span| *span > 0.0).map(|span| count as f64 / span).or(self.a_second);
        }
        // The next pulse has not come yet, so it cannot be faster than that.
        match silence {
            Some(silence) if silence >= self.idle_after => self.a_second = Some(0.0),
            Some(silence) if silence > 0.0 => {
                self.a_second = self.a_second.map(|rate| rate.min(1.0 / silence));
            }
            _ => {}
        }
    }

    /// Pulses a second; `None`: nothing is known yet.
    pub(super) fn a_second(&self) -> Option<f64> {
        self.a_second
    }
}
