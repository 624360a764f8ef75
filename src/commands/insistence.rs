//! Tries again what a sick disk refused, until the disk does it or the gateway stops.

use std::{pin::pin, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    retry::{Backoff, Policy},
    store::{Store, StoreError},
};

/// How long it is waited between two attempts.
const PAUSES: Policy = Policy::of_attempts(Duration::from_secs(1), Duration::from_secs(30));

/// Does `attempt` until it goes well. With `stop` the attempt under way, one at least, is the last, and is waited for
/// unless the disk hangs; what a disk that hangs was handed by then it still writes.
///
/// # Errors
/// What the disk was not at fault for and so will not pass, or the error of the last attempt before `stop`.
pub(super) async fn insist<F>(
    store: &Store,
    mut attempt: impl FnMut() -> F,
    stop: &CancellationToken,
) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut backoff = Backoff::new(PAUSES);
    loop {
        let mut attempt = pin!(attempt());
        // Cancel safety: the attempt goes on where it was, and `cancelled` holds nothing.
        let result = tokio::select! {
            biased;
            result = attempt.as_mut() => result,
            () = stop.cancelled() => store.unless_it_hangs(attempt).await,
        };
        match result {
            Err(error) if error.is_disk() => {
                let pause = tokio::time::sleep(backoff.after_failure(Duration::ZERO, fastrand::f64()));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}
