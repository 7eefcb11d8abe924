//! The task of a connection: sends what callers left, and hands the replies out in their order.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::redis::{PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    reply::Inbox,
    wire::{Caller, Line, OnPush, closed},
};

/// What one command of a large value left behind is given back; what the next ones need is kept.
const KEPT_BYTES: usize = 256 << 10;

/// Runs until the connection ends. Dropping it closes the connection, and fails whoever waits.
pub(super) struct Mover<S> {
    stream: S,
    line: Arc<Line>,
    on_push: OnPush,
    inbox: Inbox,
    /// On its way, and how much of it the socket has taken.
    outbox: Vec<u8>,
    sent: usize,
    /// Whether the stream may still hold back a part of that.
    is_unflushed: bool,
    /// Who waits for a reply to what was sent, in the order of the replies.
    in_flight: VecDeque<Caller>,
    /// Replies since the line was told.
    answered: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mover<S> {
    pub(super) fn new(stream: S, line: Arc<Line>, on_push: OnPush) -> Self {
        let (inbox, outbox, in_flight) = (Inbox::default(), Vec::new(), VecDeque::new());
        Self { stream, line, on_push, inbox, outbox, sent: 0, is_unflushed: false, in_flight, answered: 0 }
    }

    /// Reads until nothing more is there; ready if there will never be more.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            let mut room = ReadBuf::new(self.inbox.room());
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut room)) {
                return Poll::Ready(error.into());
            }
            let count = room.filled().len();
            if count == 0 {
                return Poll::Ready(closed());
            }
            self.inbox.received(count);
            if let Err(error) = self.hand_out() {
                return Poll::Ready(error);
            }
        }
    }

    fn hand_out(&mut self) -> RedisResult<()> {
        while let Some(reply) = self.inbox.next()? {
            if let Value::Push { kind, data } = &reply {
                (self.on_push)(PushInfo { kind: kind.clone(), data: data.clone() });
                if !is_confirmation(kind) {
                    continue;
                }
            }
            // A reply that nobody asked for is the server's last word, such as that it has too many clients.
            let Some(caller) = self.in_flight.pop_front() else { continue };
            self.answered += 1;
            if let Some(caller) = caller.answer(reply) {
                self.in_flight.push_front(caller);
            }
        }
        Ok(())
    }

    /// Sends until all is sent or the socket takes no more; ready if it never will.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            // Not before: what the socket does not take stays with the line, which has a bound.
            if self.sent == self.outbox.len() {
                self.outbox.clear();
                self.outbox.shrink_to(KEPT_BYTES);
                self.sent = 0;
                self.line.collect(mem::take(&mut self.answered), &mut self.outbox, &mut self.in_flight);
            }
            if self.outbox.is_empty() {
                return self.poll_flush(context);
            }
            let rest = &self.outbox[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(closed()),
                Ok(count) => self.sent += count,
                Err(error) => return Poll::Ready(error.into()),
            }
            self.is_unflushed = true;
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        if self.is_unflushed {
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(context)) {
                return Poll::Ready(error.into());
            }
            self.is_unflushed = false;
        }
        Poll::Pending
    }
}

impl<S> Mover<S> {
    fn fail_all(&mut self, error: &RedisError) {
        let unsent = self.line.end(error);
        self.in_flight.drain(..).chain(unsent).for_each(|caller| caller.fail(error.clone()));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Mover<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Before it looks: what is left to it after that wakes it.
        self.line.mover.register(context.waker());
        // Both in each turn: a server that is not read from stops reading.
        let error = match self.poll_receive(context) {
            Poll::Ready(error) => error,
            Poll::Pending => ready!(self.poll_send(context)),
        };
        self.fail_all(&error);
        (self.on_push)(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        Poll::Ready(())
    }
}

impl<S> Drop for Mover<S> {
    fn drop(&mut self) {
        // Nobody, unless the runtime ends before them.
        self.fail_all(&closed());
    }
}

/// A push that is the reply to a command as well. That of an end of a subscription is not: nobody asks for one, it comes when a
/// slot moves away.
fn is_confirmation(kind: &PushKind) -> bool {
    matches!(kind, PushKind::Subscribe | PushKind::PSubscribe | PushKind::SSubscribe)
}
