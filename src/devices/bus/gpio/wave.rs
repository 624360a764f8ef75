//! A waveform made by a thread.
//!
//! Limits: the thread sleeps between two levels and wakes late, by 0.1 ms on an idle machine and by many on a busy one; so
//! it is for lamps, fans and heaters, not for servos. It owns its line while it lives. Rejected: rppal's own, which
//! trembles less, but spins through the last 0.2 ms of each level, and sets low as it ends, which with `active_low` is on.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The first two levels' times.
type Times = (Duration, Duration);

/// A running waveform. Dropped, it ends within a moment, at whatever level it was.
pub(super) struct Wave {
    /// Full: the thread has ended or hangs in its driver.
    changes: Option<SyncSender<Times>>,
    thread: Option<JoinHandle<()>>,
}

impl Wave {
    /// Has `drive` set high for the first `high` of each `period`, and low for the rest.
    fn start(
        drive: impl Fn(bool) -> Result<(), String> + Send + 'static,
        period: Duration,
        high: Duration,
    ) -> Result<Self, String> {
        let (changes, receiver) = sync_channel::<Times>(64);
        let run = move || {
            let mut times = (high, period.saturating_sub(high));
            let mut is_high = true;
            let mut until = Instant::now();
            loop {
                // A chip that is gone is seen by whoever next sets a line.
                if drive(is_high).is_err() {
                    return;
                }
                until += if is_high { times.0 } else { times.1 };
                loop {
                    let now = Instant::now();
                    // Late by more than a period: what was missed is not made up for.
                    until = if now > until + times.0 + times.1 { now } else { until };
                    match receiver.recv_timeout(until.saturating_duration_since(now)) {
                        Ok(change) => times = change,
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                is_high = !is_high;
            }
        };
        let thread = thread::Builder::new().name("gpio-wave".to_owned()).spawn(run);
        let thread = thread.map_err(|problem| format!("no thread for a waveform: {problem}"))?;
        Ok(Self { changes: Some(changes), thread: Some(thread) })
    }

    /// Has the one in `place` change, or starts one there.
    pub(super) fn run(
        place: &mut Option<Self>,
        drive: impl Fn(bool) -> Result<(), String> + Send + 'static,
        period: Duration,
        high: Duration,
    ) -> Result<(), String> {
        match place {
            Some(wave) => wave.change(period, high),
            None => {
                *place = Some(Self::start(drive, period, high)?);
                Ok(())
            }
        }
    }

    /// Changes it from the next level on.
    fn change(&self, period: Duration, high: Duration) -> Result<(), String> {
        let times = (high, period.saturating_sub(high));
        match self.changes.as_ref().map(|changes| changes.try_send(times)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                Err("a waveform has ended: the chip does not answer".to_owned())
            }
        }
    }
}

impl Drop for Wave {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            // It had nothing but a level to set.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_wave_goes_up_and_down_until_it_is_dropped_or_its_chip_is_gone() {
        let (seen, levels) = channel();
        let drive = move |is_high| seen.send(is_high).map_err(|error| error.to_string());
        let (period, high) = (Duration::from_millis(4), Duration::from_millis(1));
        let mut place = None;
        Wave::run(&mut place, drive, period, high).unwrap();
        for round in 0..10 {
            assert_eq!(levels.recv_timeout(PATIENCE), Ok(round % 2 == 0));
            let another = |_| Err("one that runs is changed".to_owned());
            Wave::run(&mut place, another, period, high * 2).unwrap();
        }
        drop(place);
        // Its thread had the only sender.
        let _ = levels.try_iter().count();
        assert_eq!(levels.try_recv(), Err(TryRecvError::Disconnected), "its end was waited for");
        let wave = Wave::start(|_| Err("gone".to_owned()), period, high).unwrap();
        let since = Instant::now();
        while wave.change(period, high).is_ok() {
            assert!(since.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
