//! What holds a publisher's acknowledgement back for others: its message must be acknowledged by, or on
//! the disk for, every persistent session that it is for, and on the disk if it is retained.
//!
//! Owns nothing but the wait. Invariant: it ends when the last [`Receipt`] is gone, however that comes
//! about, so that nothing that is dropped, expired or removed can hold anybody for ever.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::Shared};
use tokio::sync::oneshot;

/// Held by whoever has still to do something about a message; dropped when that is done.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    /// Its being dropped is what it says.
    _open: Arc<oneshot::Sender<()>>,
}

/// Resolves when every receipt is gone; a client that comes back waits for the same.
pub(super) type Settling = Shared<Gone>;

/// Resolves when every receipt is gone.
#[derive(Debug)]
pub(super) struct Gone(oneshot::Receiver<()>);

/// Makes the receipts of one message. Without any it costs nothing.
#[derive(Debug, Default)]
pub(super) struct Pledge(Option<(Receipt, Gone)>);

impl Pledge {
    /// A receipt for one more who has to do something about the message.
    pub(super) fn receipt(&mut self) -> Receipt {
        let (receipt, _) = self.0.get_or_insert_with(|| {
            let (sender, receiver) = oneshot::channel();
            (Receipt { _open: Arc::new(sender) }, Gone(receiver))
        });
        receipt.clone()
    }

    /// What to wait for, if anything.
    pub(super) fn settling(self) -> Option<Settling> {
        self.0.map(|(_, gone)| gone.shared())
    }
}

impl Future for Gone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}
