//! Answers do not wait for the floor between commits, and a flood of them costs no more flash for that.
//!
//! Owns how often a commit is hurried for an answer: [`EVERY`]. One hurry is for all answers that were handed to the
//! store before it, so nobody waits longer than that for his.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The least time between two commits that answers are hurried by: four a second.
const EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// How many there were.
    count: u64,
    at: Option<Instant>,
}

#[derive(Default)]
pub(super) struct Haste(Mutex<Last>);

impl Haste {
    /// Waits for `kept`, which was handed to the store, and has it kept by `hurry` as soon as that may be. Dropped, it
    /// hurries nobody.
    pub(super) async fn wait<T>(&self, kept: impl Future<Output = T>, hurry: impl Fn()) -> T {
        let before = self.last().count;
        let mut kept = pin!(kept);
        while let Some(due) = self.due(before, &hurry) {
            // Cancel safety: `kept` goes on where it was.
            tokio::select! {
                biased;
                kept = kept.as_mut() => return kept,
                () = sleep_until(due) => {}
            }
        }
        kept.await
    }

    /// Hurries if nobody has since there were `before`; later, if somebody did so just before.
    fn due(&self, before: u64, hurry: impl Fn()) -> Option<Instant> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.count > before {
            return None;
        }
        let now = Instant::now();
        match last.at.map(|at| at + EVERY) {
            Some(due) if due > now => Some(due),
            Some(_) | None => {
                *last = Last { count: last.count + 1, at: Some(now) };
                hurry();
                None
            }
        }
    }

    fn last(&self) -> Last {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        sync::watch,
        task::JoinSet,
        time::{advance, sleep},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_answers_hurries_four_times_a_second_and_none_waits_longer_than_that() {
        let haste = Arc::new(Haste::default());
        let (hurried, commits) = watch::channel(0_u64);
        let hurried = Arc::new(hurried);
        let mut answers = JoinSet::new();
        for _ in 0..10_000 {
            let (haste, hurried, mut commits) = (haste.clone(), hurried.clone(), commits.clone());
            commits.mark_unchanged();
            answers.spawn(async move {
                let asked = Instant::now();
                haste.wait(commits.changed(), || hurried.send_modify(|count| *count += 1)).await.unwrap();
                asked.elapsed()
            });
            sleep(Duration::from_millis(1)).await;
        }
        while let Some(waited) = answers.join_next().await {
            assert!(waited.unwrap() <= EVERY + Duration::from_millis(1));
        }
        let count = *commits.borrow();
        assert!((40..=41).contains(&count), "{count} hurries in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_commit_keeps_hurries_nobody_and_what_comes_after_a_hurry_is_not_forgotten() {
        let haste = Haste::default();
        let hurries = std::cell::Cell::new(0);
        let hurry = || hurries.set(hurries.get() + 1);
        haste.wait(std::future::ready(()), hurry).await;
        assert_eq!(hurries.get(), 1, "nobody can know that it is kept already");
        haste.wait(std::future::ready(()), hurry).await;
        assert_eq!(hurries.get(), 1, "it was kept before its turn");
        let late = Duration::from_millis(300);
        haste.wait(sleep(late), hurry).await;
        assert_eq!(hurries.get(), 2, "at the same moment as the one before, and behind it");
        advance(late).await;
        haste.wait(sleep(late), hurry).await;
        assert_eq!(hurries.get(), 3);
    }
}
