//! A connection that notes what its reader takes, so that a slow reader can be told from one that is gone.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Writes up to this many bytes say nothing of a reader: HTTP/2 asks one that is silent whether it is there, and confirms
/// what it sends, in frames of 9 to 17 bytes. A piece of an answer that had to wait for its reader is far larger.
const SMALL_WRITE_BYTES: usize = 64;

/// How many bytes were taken so far, small writes aside. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, bytes: usize) {
        if bytes > SMALL_WRITE_BYTES {
            self.0.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// A stream whose writes are noted.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    stream: S,
    taken: Taken,
}

impl<S> Noted<S> {
    pub(crate) fn new(stream: S, taken: Taken) -> Self {
        Self { stream, taken }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.taken.note(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces))?;
        self.taken.note(written);
        Poll::Ready(Ok(written))
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn only_what_is_taken_counts_and_no_ping() {
        let (near, mut far) = duplex(1_000);
        let taken = Taken::default();
        let mut noted = Noted::new(near, taken.clone());
        noted.write_all(&[0; 17]).await.unwrap();
        assert_eq!(taken.bytes(), 0, "a ping of HTTP/2");
        far.read_exact(&mut [0; 17]).await.unwrap();
        assert_eq!(noted.write(&[0; 3_000]).await.unwrap(), 1_000, "as much as there is room for");
        assert!(noted.write(&[0; 2_000]).now_or_never().is_none());
        assert_eq!(taken.bytes(), 1_000);
        far.read_exact(&mut [0; 500]).await.unwrap();
        assert_eq!(noted.write_vectored(&[IoSlice::new(&[0; 2_000])]).await.unwrap(), 500);
        assert_eq!(taken.bytes(), 1_500);
    }
}
