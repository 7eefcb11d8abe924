//! As much of MongoDB's wire protocol as it takes to set a server up: one command, one answer, one connection.
//! The tests themselves use the real driver; this keeps the driver out of the test kit.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use bson::{Bson, Document};

const OP_MSG: i32 = 2013;
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a command and returns the answer, which may be an error document.
pub(super) fn command(port: u16, database: &str, mut command: Document) -> io::Result<Document> {
    command.insert("$db", database);
    let body = command.to_vec().map_err(io::Error::other)?;
    let length = i32::try_from(16 + 4 + 1 + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(body.len() + 21);
    for field in [length, 1, 0, OP_MSG, 0] {
        message.extend(field.to_le_bytes());
    }
    message.push(0);
    message.extend(body);

    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&message)?;
    let mut header = [0; 21];
    stream.read_exact(&mut header)?;
    Document::from_reader(stream).map_err(io::Error::other)
}

/// Runs a command that has to succeed.
///
/// # Panics
/// If it does not.
pub(super) fn must(port: u16, database: &str, body: Document) -> Document {
    let shown = body.clone();
    match command(port, database, body) {
        Ok(answer) if is_ok(&answer) => answer,
        other => panic!("the MongoDB of the tests refused {shown}: {other:?}"),
    }
}

/// Whether an answer says that its command was done.
pub(super) fn is_ok(answer: &Document) -> bool {
    matches!(
        answer.get("ok"),
        Some(Bson::Double(1.0) | Bson::Int32(1) | Bson::Int64(1) | Bson::Boolean(true))
    )
}
