//! Whether a part of the gateway still turns: it is called, and answers from its own loop.
//!
//! Owns the way there and back. Invariants: nothing but the part's own task or thread answers a call, so one that is
//! stuck cannot seem to turn; nobody waits to call.
//!
//! Rejected: a counter that each part raises as it turns. An idle part turns seldom, and then looks as one that is stuck.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{mpsc, oneshot};

/// A call that waits for its part.
#[derive(Debug)]
pub struct Call(oneshot::Sender<()>);

impl Call {
    /// The part turns.
    pub fn answer(self) {
        // Who asked may have gone away.
        let _ = self.0.send(());
    }
}

/// Resolves when the part has answered; never when it is gone. Cancel safe.
#[derive(Debug)]
#[must_use = "a call that nobody waits for says nothing"]
pub struct Answer(Option<oneshot::Receiver<()>>);

impl Future for Answer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(receiver) = &mut self.0 else { return Poll::Pending };
        match Pin::new(receiver).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_)) => {
                // It must not be asked again.
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Calls one part; cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<dyn Fn(Call) + Send + Sync>);

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Caller")
    }
}

impl Caller {
    /// Of a part that hears calls on a way of its own. `deliver` never waits; a call that it drops is not answered.
    pub fn new(deliver: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self(Arc::new(deliver))
    }

    /// Calls.
    pub fn call(&self) -> Answer {
        let (sender, receiver) = oneshot::channel();
        (self.0)(Call(sender));
        Answer(Some(receiver))
    }
}

/// The part's ear.
#[derive(Debug)]
pub struct Calls(mpsc::Receiver<Call>);

impl Calls {
    /// A part's ear, and who calls it.
    pub fn channel() -> (Caller, Self) {
        // Full: an earlier call is not answered yet, so this one would not be either.
        let (sender, calls) = mpsc::channel(1);
        (Caller::new(move |call| drop(sender.try_send(call))), Self(calls))
    }

    /// The next call; for ever nothing when there is nobody to call. Cancel safe.
    pub async fn next(&mut self) -> Call {
        match self.0.recv().await {
            Some(call) => call,
            None => std::future::pending().await,
        }
    }

    /// Answers every call, for as long as the part awaits this beside what it else waits for. Cancel safe.
    pub async fn answer(&mut self) -> Infallible {
        loop {
            self.next().await.answer();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_part_itself_answers_and_one_that_is_gone_never_does() {
        let (caller, mut calls) = Calls::channel();
        let answer = caller.call();
        calls.next().await.answer();
        answer.await;

        let (first, second) = (caller.call(), caller.call());
        assert!(timeout(Duration::from_secs(60), first).await.is_err(), "nobody listens");
        calls.next().await.answer();
        assert!(timeout(Duration::from_secs(60), second).await.is_err(), "one waits at most");
        drop(calls);
        assert!(timeout(Duration::from_secs(60), caller.call()).await.is_err(), "the part is gone");
    }
}
