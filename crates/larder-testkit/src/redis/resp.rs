//! A few lines of RESP2 over a blocking socket: enough to give a test server orders.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A reply of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and other simple strings, and bulk strings. Bytes that are no UTF-8 are replaced.
    Text(String),
    /// `:1`
    Int(i64),
    /// No value.
    Nil,
    /// Several replies.
    Array(Vec<Reply>),
    /// `-ERR …`, whole.
    Error(String),
}

impl Reply {
    /// The text of a text reply, else nothing.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::Nil | Self::Array(_) | Self::Error(_) => None,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a connection, logs in if there are credentials, sends one command and returns its reply.
pub(crate) fn ask(port: u16, credentials: Option<(&str, &str)>, command: &[&str]) -> io::Result<Reply> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    if let Some((user, password)) = credentials {
        send(&mut stream, &["AUTH", user, password])?;
    }
    send(&mut stream, command)
}

fn send(stream: &mut BufReader<TcpStream>, command: &[&str]) -> io::Result<Reply> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        out.extend(format!("${}\r\n{part}\r\n", part.len()).into_bytes());
    }
    stream.get_mut().write_all(&out)?;
    read(stream)
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "not RESP");
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(garbled)?;
    let number = || rest.parse::<i64>().map_err(|_| garbled());
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()?),
        "$" | "*" if number()? < 0 => Reply::Nil,
        "$" => {
            let mut bytes = vec![0; number()? as usize + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => Reply::Array((0..number()?).map(|_| read(stream)).collect::<io::Result<_>>()?),
        _ => return Err(garbled()),
    })
}
