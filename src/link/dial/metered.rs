//! A TCP connection whose bytes are counted: with TLS and what is said to a proxy, without the headers of TCP and IP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::health::Traffic;

/// A stream with its counter.
pub(super) struct Metered<S> {
    stream: S,
    traffic: Traffic,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, traffic: Traffic) -> Self {
        Self { stream, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.traffic.received(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Metered<S> {
    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.traffic.sent(bytes);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::health::TrafficDay;

    #[tokio::test]
    async fn what_is_read_and_written_is_counted_and_what_could_not_be_is_not() {
        // Room for eight bytes: the rest is not written before these are read.
        let (near, mut far) = duplex(8);
        let traffic = Traffic::default();
        let mut near = Metered::new(near, traffic.clone());
        far.write_all(b"seven b").await.unwrap();
        let mut three = [0; 3];
        near.read_exact(&mut three).await.unwrap();
        assert_eq!(traffic.sums(), TrafficDay { received_bytes: 3, sent_bytes: 0 });
        assert_eq!(near.write(b"more than eight").await.unwrap(), 8);
        near.flush().await.unwrap();
        assert_eq!(traffic.sums(), TrafficDay { received_bytes: 3, sent_bytes: 8 });
        near.read_exact(&mut [0; 4]).await.unwrap();
        near.shutdown().await.unwrap();
        assert!(near.write(b"x").await.is_err());
        assert_eq!(traffic.sums(), TrafficDay { received_bytes: 7, sent_bytes: 8 });
    }
}
