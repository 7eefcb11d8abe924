//! The task of a connection: sends what callers left, and hands the replies out in their order.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::redis::{PushInfo, PushKind, RedisError, RedisResult, ServerError, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    caller::{Answered, Caller, Taken},
    line::{Line, closed, given_up},
    reply::{Inbox, KEPT_BYTES},
    wire::OnPush,
};

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
    /// Who is to hear next that all replies are there.
    answered: Vec<Answered>,
    /// An error that was no reply: why the server is about to close the connection.
    last_word: Option<ServerError>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mover<S> {
    pub(super) fn new(stream: S, line: Arc<Line>, on_push: OnPush) -> Self {
        Self {
            stream,
            line,
            on_push,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            sent: 0,
            is_unflushed: false,
            in_flight: VecDeque::new(),
            answered: Vec::new(),
            last_word: None,
        }
    }

    /// Reads until nothing more is there; ready if there will never be more.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            let mut room = ReadBuf::new(self.inbox.room());
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(context, &mut room)) {
                return Poll::Ready(self.last_word.take().map_or(error.into(), |word| closed(Some(&word))));
            }
            let count = room.filled().len();
            if count == 0 {
                return Poll::Ready(closed(self.last_word.as_ref()));
            }
            self.inbox.received(count);
            if let Err(error) = self.hand_out() {
                return Poll::Ready(error);
            }
        }
    }

    /// Takes the replies that have come whole, and then tells those who wait for them.
    fn hand_out(&mut self) -> RedisResult<()> {
        let mut count = 0;
        let outcome = loop {
            match self.inbox.next() {
                Ok(Some(reply)) => count += usize::from(self.take(reply)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if count > 0 {
            self.line.answered(count);
        }
        self.answered.drain(..).for_each(Answered::tell);
        outcome
    }

    /// Whether somebody waited for this.
    fn take(&mut self, mut reply: Value) -> bool {
        // What a server says about a reply is for nobody here.
        while let Value::Attribute { data, .. } = reply {
            reply = *data;
        }
        if let Value::Push { kind, data } = reply {
            if !is_confirmation(&kind) {
                (self.on_push)(PushInfo { kind, data });
                return false;
            }
            (self.on_push)(PushInfo { kind: kind.clone(), data: data.clone() });
            reply = Value::Push { kind, data };
        }
        let Some(caller) = self.in_flight.pop_front() else {
            // Such as that it has too many clients.
            if let Value::ServerError(word) = reply {
                self.last_word = Some(word);
            }
            return false;
        };
        match caller.take(reply) {
            Taken::More(caller) => self.in_flight.push_front(caller),
            Taken::Last(answered) => self.answered.push(answered),
        }
        true
    }

    /// Sends until all is sent or the socket takes no more; ready if it never will.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            // Not before: what the socket does not take stays with the line, which has a bound.
            if self.sent == self.outbox.len() {
                self.outbox.clear();
                self.outbox.shrink_to(KEPT_BYTES);
                self.sent = 0;
                self.line.collect(&mut self.outbox, &mut self.in_flight);
            }
            if self.outbox.is_empty() {
                return self.poll_flush(context);
            }
            let rest = &self.outbox[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(closed(None)),
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
        self.fail_all(&given_up());
    }
}

/// A push that is the reply to a command as well. That of an end of a subscription is not: nobody asks for one, it comes when a
/// slot moves away.
fn is_confirmation(kind: &PushKind) -> bool {
    matches!(kind, PushKind::Subscribe | PushKind::PSubscribe | PushKind::SSubscribe)
}
