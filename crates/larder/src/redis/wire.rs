//! One connection to one server, shared by all who call it.

use std::sync::Arc;

use ::redis::{Cmd, Pipeline, PushInfo, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::{
    caller::{Caller, Reply},
    gather::Gathering,
    line::{Line, Room, given_up},
    mover::Mover,
};

/// Sees every push message and the end of the connection. Called on the connection's own task: it must not block.
pub(super) type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// A connection in use. Clones share it; dropping the last one closes it, and fails the calls that are under way.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    line: Arc<Line>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// What can be sent: one command, or several at once.
pub(super) trait Sent {
    type Replies;

    fn write(&self, bytes: &mut Vec<u8>);

    fn caller(&self) -> (Caller, Reply<Self::Replies>);
}

impl Sent for Cmd {
    type Replies = Value;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.write_packed_command(bytes);
    }

    fn caller(&self) -> (Caller, Reply<Value>) {
        Caller::of_one()
    }
}

impl Sent for Pipeline {
    type Replies = Vec<Value>;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.cmd_iter().for_each(|cmd| cmd.write_packed_command(bytes));
    }

    fn caller(&self) -> (Caller, Reply<Vec<Value>>) {
        Caller::of_all(self.len())
    }
}

impl Wire {
    /// Takes over a stream that is open.
    pub(super) fn over<S>(stream: S, on_push: OnPush) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let line = Arc::<Line>::default();
        let mover = Mover::new(stream, line.clone(), on_push);
        let task = tokio::spawn(Gathering::new(mover, line.clone()));
        Self { line, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Leaves a call to the connection, at once; its reply needs nothing of this wire any more. `None` if there is no room.
    pub(super) fn leave<C: Sent>(&self, call: &C) -> RedisResult<Option<Reply<C::Replies>>> {
        self.leave_given(Room::ForOneMore, call)
    }

    fn leave_given<C: Sent>(&self, needed: Room, call: &C) -> RedisResult<Option<Reply<C::Replies>>> {
        self.line.leave(needed, |bytes| call.write(bytes), || call.caller())
    }

    /// Leaves a call once there is room, and waits for its reply.
    pub(super) async fn send<C: Sent>(&self, call: &C) -> RedisResult<C::Replies> {
        loop {
            // Before the attempt: room that is made after it wakes us.
            let room = self.line.room();
            if let Some(reply) = self.leave(call)? {
                return heard(reply).await;
            }
            room.await;
        }
    }

    /// Sends one command and waits for its reply. An error reply is a value.
    ///
    /// Does not wait for room among the calls: this is for what is asked on a new connection, and for the question whether the
    /// server is still there, which must not wait for what may be in question.
    pub(crate) async fn ask(&self, question: &Cmd) -> RedisResult<Value> {
        self.ask_given(question).await
    }

    /// Sends all commands in one write and waits for all replies, as [`ask`](Self::ask). Error replies stay in their places.
    pub(crate) async fn ask_all(&self, questions: &Pipeline) -> RedisResult<Vec<Value>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        self.ask_given(questions).await
    }

    async fn ask_given<C: Sent>(&self, question: &C) -> RedisResult<C::Replies> {
        let reply = self.leave_given(Room::None, question)?.ok_or_else(given_up)?;
        heard(reply).await
    }

    /// How many replies have come.
    pub(super) fn replies(&self) -> u64 {
        self.line.replies()
    }
}

/// Waits for a reply.
pub(super) async fn heard<T>(reply: Reply<T>) -> RedisResult<T> {
    reply.await.unwrap_or_else(|_| Err(given_up()))
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
    use crate::redis::line::{MOST_UNANSWERED, MOST_UNSENT_BYTES};

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
        let (one, many, last) = (wire.clone(), wire.clone(), wire);
        let (first, second, third) = (echo("1"), echo("2"), echo("3"));
        let mut both = pipe();
        both.add_command(first.clone()).add_command(second.clone());
        let answering = async {
            sent(&mut server, &[&first, &first, &second, &third]).await;
            let replies =
                b"|1\r\n+about\r\n+a\r\n+a\r\n>3\r\n+sunsubscribe\r\n+c\r\n:0\r\n-ERR b\r\n|1\r\n+about\r\n+it\r\n>2\r\n+smessage\r\n+x\r\n+c\r\n+d\r\n";
            server.write_all(replies).await.unwrap();
        };
        let calls = async { tokio::join!(one.send(&first), many.send(&both), last.send(&third)) };
        let ((one, many, last), ()) = timeout(LONG, async { tokio::join!(calls, answering) }).await.unwrap();
        let text = |text: &str| Value::SimpleString(text.to_owned());
        assert_eq!((one.unwrap(), last.unwrap()), (text("a"), text("d")));
        let many = many.unwrap();
        assert!(matches!(&many[..], [Value::ServerError(_), last] if *last == text("c")), "{many:?}");
        assert_eq!(pushed.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn a_confirmed_subscription_is_a_reply_and_a_push() {
        let (wire, mut server, pushed) = wire(1 << 16);
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
            let (wire, cmd) = (wire.clone(), cmd.clone());
            tokio::spawn(async move { wire.send(&cmd).await })
        };
        let _first = call(&first);
        assert_eq!(timeout(LONG, server.read_u8()).await.unwrap().unwrap(), b'*');
        let leaver = call(&gone);
        while wire.line.state().0 == 0 {
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
            while wire.line.state().1 > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, none_is_missing).await.expect("whoever left is not waited for");
    }

    #[tokio::test]
    async fn callers_wait_for_room_for_their_bytes_and_hear_of_the_end() {
        let (wire, mut server, _) = wire(1);
        let large = Arc::new(echo(&"x".repeat(MOST_UNSENT_BYTES)));
        let call = || {
            let (wire, large) = (wire.clone(), large.clone());
            tokio::spawn(async move { wire.send(&*large).await })
        };
        let first = call();
        assert_eq!(timeout(LONG, server.read_u8()).await.unwrap().unwrap(), b'*');
        let (second, third) = (call(), call());
        while !wire.line.state().2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.line.state().0, 1, "the third is not in the queue");
        drop(server);
        for call in [first, second, third] {
            let failed = timeout(LONG, call).await.unwrap().unwrap();
            assert!(failed.is_err(), "whoever waits for room hears of the end as well");
        }
    }

    #[tokio::test]
    async fn the_last_word_of_a_server_is_why_the_connection_ended() {
        let (wire, mut server, _) = wire(1 << 16);
        server.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        // Until the mover has looked.
        while wire.line.mover.take().is_none() {
            tokio::task::yield_now().await;
        }
        drop(server);
        let failed = timeout(LONG, wire.send(&cmd("PING"))).await.unwrap();
        let failed = failed.unwrap_err();
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
        let filling = wire.clone();
        let filling = tokio::spawn(async move { filling.send(&many).await });
        sent(&mut server, &[&ping]).await;
        let waiting = wire.clone();
        let waiting = tokio::spawn(async move { waiting.send(&cmd("PING")).await });
        while !wire.line.state().2 {
            tokio::task::yield_now().await;
        }
        let asking = wire.clone();
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
        let (wire, mut server, _) = wire(1 << 16);
        let (first, second) = (echo("1"), echo("2"));
        let answering = async {
            sent(&mut server, &[&first]).await;
            server.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        };
        let (reply, ()) = timeout(LONG, async { tokio::join!(wire.send(&first), answering) }).await.unwrap();
        let second = timeout(LONG, wire.send(&second)).await.unwrap();
        for failed in [reply, second] {
            assert_eq!(failed.unwrap_err().kind(), ::redis::ErrorKind::Parse);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_replies_are_for_nobody() {
        let (wire, mut server, _) = wire(1 << 16);
        let (one, mut both, four) = (echo("1"), pipe(), echo("4"));
        both.add_command(echo("2")).add_command(echo("3"));
        let patience = Duration::from_millis(100);
        let (first, second) =
            tokio::join!(timeout(patience, wire.send(&one)), timeout(patience, wire.send(&both)));
        assert!(first.is_err() && second.is_err(), "nobody has answered");
        let answering = async {
            sent(&mut server, &[&echo("1"), &echo("2"), &echo("3"), &echo("4")]).await;
            server.write_all(b"+1\r\n+2\r\n+3\r\n+4\r\n").await.unwrap();
        };
        let (reply, ()) = tokio::join!(wire.send(&four), answering);
        assert_eq!(reply.unwrap(), Value::SimpleString("4".to_owned()));
        assert_eq!(wire.line.state(), (0, 0, false), "no reply is missing");
    }
}
