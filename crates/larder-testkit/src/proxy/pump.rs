//! One direction of one connection.

use std::{future::pending, pin::pin, sync::atomic::Ordering, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    Fault, Shared,
    steps::{Calls, Passed},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Chunks that may be on their way at once; bounds the memory of a delayed connection to 4 MiB.
const CHUNKS: usize = 256;
const CHUNK_BYTES: usize = 16 * 1024;

/// Forwards until one side closes or the fault says so. When it returns, the connection is closed; it does not return when a call
/// has come as far as it may.
pub(crate) async fn pump(
    shared: &Shared,
    direction: Direction,
    calls: Option<&Calls>,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) {
    let (queue, due) = mpsc::channel(CHUNKS);
    let fault = shared.fault.subscribe();
    let mut read = pin!(read(shared, fault.clone(), direction, calls, from, queue));
    let mut write = pin!(write(shared, fault, direction, to, due));
    tokio::select! {
        stopped = &mut read => {
            // The queue is closed now, and the writer ends when it has sent what is left in it.
            write.await;
            if let (Some(calls), true) = (calls, stopped) {
                calls.tell(direction);
                pending::<()>().await;
            }
        }
        () = &mut write => {}
    }
}

/// Returns whether a call has come as far as it may; otherwise there is nothing more to be forwarded.
async fn read(
    shared: &Shared,
    mut fault: watch::Receiver<Fault>,
    direction: Direction,
    calls: Option<&Calls>,
    from: &mut OwnedReadHalf,
    queue: mpsc::Sender<(Instant, BytesMut)>,
) -> bool {
    let mut lost_a_reply = false;
    let (mut kept, mut kept_of_calls) = (BytesMut::new(), BytesMut::new());
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        tokio::select! {
            received = from.read_buf(&mut chunk) => match received {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            },
            changed = fault.changed() => {
                if changed.is_err() || (lost_a_reply && *fault.borrow() != Fault::DropReplies) {
                    return false;
                }
                continue;
            }
        }
        let now = *fault.borrow();
        // What came together with the end of the fault, too: behind the hole it would be taken for the reply that is missing.
        if lost_a_reply && now != Fault::DropReplies {
            return false;
        }
        let delay = match (direction, now) {
            (Direction::ToClient, Fault::DropReplies) => {
                lost_a_reply = true;
                continue;
            }
            (Direction::ToClient, Fault::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        let chunk = match (direction, shared.ports.get()) {
            (Direction::ToClient, Some(ports)) => ports.translate(&mut kept, &chunk),
            _ => chunk,
        };
        let Passed { chunk, is_last } = match calls {
            Some(calls) => calls.pass(direction, &mut kept_of_calls, &chunk),
            None => Passed { chunk, is_last: false },
        };
        if queue.send((Instant::now() + delay, chunk)).await.is_err() || is_last {
            return is_last;
        }
    }
}

async fn write(
    shared: &Shared,
    mut fault: watch::Receiver<Fault>,
    direction: Direction,
    to: &mut OwnedWriteHalf,
    mut due: mpsc::Receiver<(Instant, BytesMut)>,
) {
    let mut sent_under_limit = 0;
    while let Some((at, mut chunk)) = due.recv().await {
        sleep_until(at).await;
        let Ok(now) = fault.wait_for(|fault| *fault != Fault::Silent).await.map(|fault| *fault) else {
            return;
        };
        let mut last = false;
        match now {
            Fault::CutAfter(limit) if direction == Direction::ToClient => {
                let left = usize::try_from(limit - sent_under_limit).unwrap_or(usize::MAX);
                last = chunk.len() >= left;
                chunk.truncate(left);
                sent_under_limit += chunk.len() as u64;
            }
            _ => sent_under_limit = 0,
        }
        if to.write_all(&chunk).await.is_err() || last {
            return;
        }
        let counter = match direction {
            Direction::ToServer => &shared.bytes_to_server,
            Direction::ToClient => &shared.bytes_to_client,
        };
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}
