//! What a running gateway takes from the disk again: the certificates of the broker's listeners.
//!
//! Invariant: all of it or nothing; a file that cannot be used leaves everything as it was.

use crate::broker::{BrokerError, BrokerHandle};

/// Reloads a gateway that was built.
#[derive(Debug, Clone)]
pub struct Reload {
    broker: BrokerHandle,
}

impl Reload {
    pub(super) fn new(broker: BrokerHandle) -> Self {
        Self { broker }
    }

    /// Reads the certificates again, for the clients to come. Gives how many listeners have some.
    ///
    /// # Errors
    /// [`BrokerError::Certificate`] with the first file that cannot be used.
    pub async fn certificates(&self) -> Result<usize, BrokerError> {
        self.broker.reload_certificates().await
    }
}
