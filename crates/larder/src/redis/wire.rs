//! One connection to one server, shared by all who call it.

use std::{io, mem, sync::Arc};

use ::redis::{Cmd, Pipeline, PushInfo, RedisError, RedisResult, ServerError, Value};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, oneshot},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    gather::{Callers, Gathering},
    mover::Mover,
};

/// How many commands may be without a reply at once. Past it callers wait, within their own deadlines.
const MOST_UNANSWERED: usize = 16_384;
/// Down to how many before those who wait are let in again, all at once: not all are woken for each reply.
const ROOMY: usize = MOST_UNANSWERED / 2;
/// From how many bytes on that wait for the socket callers wait too.
const MOST_UNSENT_BYTES: usize = 8 << 20;

/// Sees every push message and the end of the connection. Called on the connection's own task: it must not block.
pub(super) type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// A connection in use. Clones share it; dropping the last one closes it, whatever is still under way.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    end: Arc<End>,
}

/// What all clones share, in one place: every command clones its wire.
#[derive(Debug)]
struct End {
    line: Arc<Line>,
    callers: Arc<Callers>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    /// Takes over a stream that is open.
    pub(super) fn over<S>(stream: S, on_push: OnPush) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (line, callers) = (Arc::<Line>::default(), Arc::<Callers>::default());
        let mover = Mover::new(stream, line.clone(), on_push);
        let task = tokio::spawn(Gathering::new(mover, callers.clone()));
        Self { end: Arc::new(End { line, callers, _task: AbortOnDropHandle::new(task) }) }
    }

    /// Sends one command and waits for its reply. An error reply is a value.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let _one_more = self.end.callers.one_more();
        let (to, reply) = oneshot::channel();
        self.end.line.call(|bytes| cmd.write_packed_command(bytes), Caller::One(to)).await?;
        reply.await.unwrap_or_else(|_| Err(closed(None)))
    }

    /// As [`send`](Self::send), for the question whether the server is still there: it does not wait for room among the calls,
    /// which may be what is in question.
    pub(super) async fn ask(&mut self, question: &Cmd) -> RedisResult<Value> {
        let (to, reply) = oneshot::channel();
        self.end.line.leave(&|bytes| question.write_packed_command(bytes), Caller::One(to), Room::None)?;
        reply.await.unwrap_or_else(|_| Err(closed(None)))
    }

    /// Sends all commands in one write and waits for all replies. Error replies stay in their places.
    pub(crate) async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let _one_more = self.end.callers.one_more();
        let (to, replies) = oneshot::channel();
        let write = |bytes: &mut Vec<u8>| pipeline.cmd_iter().for_each(|cmd| cmd.write_packed_command(bytes));
        let caller = Caller::All { to, count: pipeline.len(), values: Vec::with_capacity(pipeline.len()) };
        self.end.line.call(write, caller).await?;
        replies.await.unwrap_or_else(|_| Err(closed(None)))
    }
}

/// What a call needs before it may be left to the mover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    ForOneMore,
}

/// Who waits for what has been sent.
#[derive(Debug)]
pub(super) enum Caller {
    One(oneshot::Sender<RedisResult<Value>>),
    All { to: oneshot::Sender<RedisResult<Vec<Value>>>, count: usize, values: Vec<Value> },
}

impl Caller {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::All { count, .. } => *count,
        }
    }

    fn has_left(&self) -> bool {
        match self {
            Self::One(to) => to.is_closed(),
            Self::All { to, .. } => to.is_closed(),
        }
    }

    /// Takes the next reply; gives itself back if it waits for more. Whoever has left is answered in vain.
    pub(super) fn answer(self, reply: Value) -> Option<Self> {
        match self {
            Self::One(to) => {
                let _ = to.send(Ok(reply));
                None
            }
            Self::All { to, count, mut values } => {
                values.push(reply);
                if values.len() < count {
                    return Some(Self::All { to, count, values });
                }
                let _ = to.send(Ok(values));
                None
            }
        }
    }

    pub(super) fn fail(self, error: RedisError) {
        let _ = match self {
            Self::One(to) => to.send(Err(error)).is_ok(),
            Self::All { to, .. } => to.send(Err(error)).is_ok(),
        };
    }
}

/// What goes from the callers to the mover.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Held for as long as it takes to write down a command. Never held while anything is awaited.
    queue: Mutex<Queue>,
    pub(super) mover: AtomicWaker,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Commands as they are to be sent.
    bytes: Vec<u8>,
    /// Who waits for them, in their order, and where in `bytes` each one's end.
    waiting: Vec<(Caller, usize)>,
    /// Replies that are missing, sent for or not.
    unanswered: usize,
    /// Whether callers have to wait, until there is room again for many.
    is_crowded: bool,
    /// Why there will be no more replies.
    ended: Option<RedisError>,
}

impl Line {
    /// Leaves a call to the mover, once there is room for it.
    async fn call(&self, write: impl Fn(&mut Vec<u8>), caller: Caller) -> RedisResult<()> {
        let Some(mut caller) = self.leave(&write, caller, Room::ForOneMore)? else { return Ok(()) };
        loop {
            // Before the next attempt: room that is made after it wakes us.
            let room = self.room.notified();
            match self.leave(&write, caller, Room::ForOneMore)? {
                None => return Ok(()),
                Some(back) => caller = back,
            }
            room.await;
        }
    }

    /// Gives the caller back if there is no room.
    fn leave(
        &self,
        write: &impl Fn(&mut Vec<u8>),
        caller: Caller,
        needed: Room,
    ) -> RedisResult<Option<Caller>> {
        let mut queue = self.queue.lock();
        if let Some(error) = &queue.ended {
            return Err(error.clone());
        }
        queue.is_crowded |= queue.unanswered >= MOST_UNANSWERED || queue.bytes.len() >= MOST_UNSENT_BYTES;
        if queue.is_crowded && needed == Room::ForOneMore {
            return Ok(Some(caller));
        }
        write(&mut queue.bytes);
        let end = queue.bytes.len();
        queue.unanswered += caller.count();
        queue.waiting.push((caller, end));
        drop(queue);
        self.mover.wake();
        Ok(None)
    }

    /// Moves what was left to `bytes`, which is empty, and to the end of `callers`, but for what nobody waits for any more.
    /// `answered` replies have come since the last time.
    pub(super) fn collect(&self, answered: usize, bytes: &mut Vec<u8>, callers: &mut impl Extend<Caller>) {
        let mut queue = self.queue.lock();
        queue.unanswered -= answered;
        if queue.waiting.iter().any(|(caller, _)| caller.has_left()) {
            queue.drop_what_is_of_no_use();
        }
        mem::swap(bytes, &mut queue.bytes);
        callers.extend(queue.waiting.drain(..).map(|(caller, _)| caller));
        if queue.is_crowded && queue.unanswered <= ROOMY {
            queue.is_crowded = false;
            drop(queue);
            self.room.notify_waiters();
        }
    }

    /// There will be no more replies. Returns who waits for what was never sent.
    pub(super) fn end(&self, error: &RedisError) -> Vec<Caller> {
        let mut queue = self.queue.lock();
        queue.ended.get_or_insert_with(|| error.clone());
        let waiting = mem::take(&mut queue.waiting);
        drop(queue);
        self.room.notify_waiters();
        waiting.into_iter().map(|(caller, _)| caller).collect()
    }
}

impl Queue {
    /// Callers who have left are spared their commands, and so is a server that has fallen behind.
    fn drop_what_is_of_no_use(&mut self) {
        let (left, waiting) = (mem::take(&mut self.bytes), mem::take(&mut self.waiting));
        let mut begin = 0;
        for (caller, end) in waiting {
            let commands = &left[mem::replace(&mut begin, end)..end];
            if caller.has_left() {
                self.unanswered -= caller.count();
            } else {
                self.bytes.extend_from_slice(commands);
                self.waiting.push((caller, self.bytes.len()));
            }
        }
    }
}

/// The connection has ended, after this.
pub(super) fn closed(last_word: Option<&ServerError>) -> RedisError {
    let why = last_word.map(|word| format!(": {} {}", word.code(), word.details().unwrap_or_default()));
    let message = format!("the server closed the connection{}", why.unwrap_or_default());
    io::Error::new(io::ErrorKind::BrokenPipe, message).into()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Duration,
    };

    use ::redis::{PushKind, cmd, pipe};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A wire, the server's end of it, and a count of what was pushed.
    fn wire(room_bytes: usize) -> (Wire, DuplexStream, Arc<AtomicUsize>) {
        let (client, server) = duplex(room_bytes);
        let pushed = Arc::new(AtomicUsize::new(0));
        let count = pushed.clone();
        let on_push = move |push: PushInfo| {
            if push.kind != PushKind::Disconnection {
                count.fetch_add(1, SeqCst);
            }
        };
        (Wire::over(client, Box::new(on_push)), server, pushed)
    }

    fn echo(text: &str) -> Cmd {
        let mut echo = cmd("ECHO");
        echo.arg(text);
        echo
    }

    async fn sent(server: &mut DuplexStream, expected: &[&Cmd]) {
        let expected: Vec<u8> = expected.iter().flat_map(|cmd| cmd.get_packed_command()).collect();
        let mut bytes = vec![0; expected.len()];
        timeout(LONG, server.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    }

    #[tokio::test]
    async fn replies_go_to_their_callers_in_their_order_and_pushes_to_nobody() {
        let (wire, mut server, pushed) = wire(1 << 16);
        let (mut one, mut many, mut last) = (wire.clone(), wire.clone(), wire);
        let (first, second, third) = (echo("1"), echo("2"), echo("3"));
        let mut both = pipe();
        both.add_command(first.clone()).add_command(second.clone());
        let answering = async {
            sent(&mut server, &[&first, &first, &second, &third]).await;
            let replies =
                b"|1\r\n+about\r\n+a\r\n+a\r\n>3\r\n+sunsubscribe\r\n+c\r\n:0\r\n-ERR b\r\n|1\r\n+about\r\n+it\r\n>2\r\n+smessage\r\n+x\r\n+c\r\n+d\r\n";
            server.write_all(replies).await.unwrap();
        };
        let calls = async { tokio::join!(one.send(&first), many.send_all(&both), last.send(&third)) };
        let ((one, many, last), ()) = timeout(LONG, async { tokio::join!(calls, answering) }).await.unwrap();
        let text = |text: &str| Value::SimpleString(text.to_owned());
        assert_eq!((one.unwrap(), last.unwrap()), (text("a"), text("d")));
        let many = many.unwrap();
        assert!(matches!(&many[..], [Value::ServerError(_), last] if *last == text("c")), "{many:?}");
        assert_eq!(pushed.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn a_confirmed_subscription_is_a_reply_and_a_push() {
        let (mut wire, mut server, pushed) = wire(1 << 16);
        let subscribe = cmd("SSUBSCRIBE");
        let answering = async {
            sent(&mut server, &[&subscribe]).await;
            server.write_all(b">3\r\n+ssubscribe\r\n+c\r\n:1\r\n").await.unwrap();
        };
        let (reply, ()) =
            timeout(LONG, async { tokio::join!(wire.send(&subscribe), answering) }).await.unwrap();
        assert!(matches!(reply.unwrap(), Value::Push { .. }));
        assert_eq!(pushed.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_sent() {
        // The server takes one byte, so the first command keeps the others back.
        let (wire, mut server, _) = wire(1);
        let (first, gone, last) = (echo("first"), echo("gone"), echo("last"));
        let call = |cmd: &Cmd| {
            let (mut wire, cmd) = (wire.clone(), cmd.clone());
            tokio::spawn(async move { wire.send(&cmd).await })
        };
        let _first = call(&first);
        assert_eq!(timeout(LONG, server.read_u8()).await.unwrap().unwrap(), b'*');
        let leaver = call(&gone);
        while wire.end.line.queue.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        leaver.abort();
        assert!(leaver.await.unwrap_err().is_cancelled());
        let last_call = call(&last);
        let mut rest = vec![0; first.get_packed_command().len() - 1];
        timeout(LONG, server.read_exact(&mut rest)).await.unwrap().unwrap();
        sent(&mut server, &[&last]).await;
        server.write_all(b"+1\r\n+2\r\n").await.unwrap();
        let reply = timeout(LONG, last_call).await.unwrap().unwrap().unwrap();
        assert_eq!(reply, Value::SimpleString("2".to_owned()));
        let none_is_missing = async {
            while wire.end.line.queue.lock().unanswered > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, none_is_missing).await.expect("whoever left is not waited for");
    }

    #[tokio::test]
    async fn callers_wait_for_room_and_go_on_when_there_is_some() {
        let (wire, mut server, _) = wire(1);
        let large = Arc::new(echo(&"x".repeat(MOST_UNSENT_BYTES)));
        let call = || {
            let (mut wire, large) = (wire.clone(), large.clone());
            tokio::spawn(async move { wire.send(&large).await })
        };
        let first = call();
        assert_eq!(timeout(LONG, server.read_u8()).await.unwrap().unwrap(), b'*');
        let (second, third) = (call(), call());
        while !wire.end.line.queue.lock().is_crowded {
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.end.line.queue.lock().waiting.len(), 1, "the third is not in the queue");
        drop(server);
        for call in [first, second, third] {
            let failed = timeout(LONG, call).await.unwrap().unwrap();
            assert!(failed.is_err(), "whoever waits for room hears of the end as well");
        }
    }

    #[tokio::test]
    async fn the_last_word_of_a_server_is_why_the_connection_ended() {
        let (mut wire, mut server, _) = wire(1 << 16);
        server.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        // Until the mover has looked.
        while wire.end.line.mover.take().is_none() {
            tokio::task::yield_now().await;
        }
        drop(server);
        let failed = timeout(LONG, wire.send(&cmd("PING"))).await.unwrap().unwrap_err();
        assert!(failed.to_string().contains("max number of clients reached"), "{failed}");
    }

    #[tokio::test]
    async fn room_is_made_by_replies_too() {
        let (wire, mut server, _) = wire(1 << 16);
        let ping = cmd("PING");
        let mut many = pipe();
        (0..MOST_UNANSWERED).for_each(|_| {
            many.add_command(ping.clone());
        });
        let mut filling = wire.clone();
        let filling = tokio::spawn(async move { filling.send_all(&many).await });
        sent(&mut server, &[&ping]).await;
        let mut waiting = wire.clone();
        let waiting = tokio::spawn(async move { waiting.send(&cmd("PING")).await });
        while !wire.end.line.queue.lock().is_crowded {
            tokio::task::yield_now().await;
        }
        let mut asking = wire.clone();
        let asked = tokio::spawn(async move { asking.ask(&cmd("ROLE")).await });
        let commands = ping.get_packed_command().len() * (MOST_UNANSWERED - 1);
        let mut rest = vec![0; commands];
        timeout(LONG, server.read_exact(&mut rest)).await.unwrap().unwrap();
        sent(&mut server, &[&cmd("ROLE")]).await;
        assert!(!waiting.is_finished(), "the question alone came before the calls that wait");
        server.write_all(&b"+PONG\r\n".repeat(MOST_UNANSWERED + 1)).await.unwrap();
        assert!(timeout(LONG, asked).await.unwrap().unwrap().is_ok());
        assert_eq!(timeout(LONG, filling).await.unwrap().unwrap().unwrap().len(), MOST_UNANSWERED);
        sent(&mut server, &[&ping]).await;
        server.write_all(b"+PONG\r\n").await.unwrap();
        assert!(timeout(LONG, waiting).await.unwrap().unwrap().is_ok());
    }

    #[tokio::test]
    async fn after_bytes_that_are_no_resp_all_calls_fail() {
        let (mut wire, mut server, _) = wire(1 << 16);
        let (first, second) = (echo("1"), echo("2"));
        let answering = async {
            sent(&mut server, &[&first]).await;
            server.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        };
        let (reply, ()) = timeout(LONG, async { tokio::join!(wire.send(&first), answering) }).await.unwrap();
        let later = timeout(LONG, wire.send(&second)).await.unwrap();
        for failed in [reply, later] {
            assert_eq!(failed.unwrap_err().kind(), ::redis::ErrorKind::Parse);
        }
    }
}
