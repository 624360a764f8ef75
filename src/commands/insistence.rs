//! Tries again what a sick disk refused, until the disk does it or the gateway stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    retry::{Backoff, Policy},
    store::StoreError,
};

/// How long it is waited between two attempts.
const PAUSES: Policy = Policy {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    // Never: each attempt is over at once.
    stable_after: Duration::MAX,
};

/// Does `attempt` until it goes well. With `stop` it is begun once at least, and what it has handed to the store by
/// then is still written.
///
/// # Errors
/// What the disk was not at fault for and so will not pass, or the last error before `stop`.
pub(super) async fn insist<F>(
    mut attempt: impl FnMut() -> F,
    stop: &CancellationToken,
) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut backoff = Backoff::new(PAUSES);
    loop {
        // Cancel safety: what the store was handed it keeps, and nobody asks again after a stop.
        let result = tokio::select! {
            biased;
            result = attempt() => result,
            () = stop.cancelled() => Err(StoreError::Hangs),
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
