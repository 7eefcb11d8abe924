//! What clients really send: the server's own account of every command.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use super::Server;

/// No command for this long means that none is under way.
const QUIET: Duration = Duration::from_millis(150);

/// Listens to a server with `MONITOR`. Commands that a script calls are left out: they cost no round trip.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<TcpStream>,
}

impl Monitor {
    /// Begins to listen.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn start(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server is up");
        stream.set_read_timeout(Some(QUIET)).expect("the timeout is not zero");
        stream.write_all(b"MONITOR\r\n").expect("the server is up");
        let mut lines = BufReader::new(stream);
        let mut ok = String::new();
        lines.read_line(&mut ok).expect("the server answers");
        assert_eq!(ok.trim(), "+OK");
        Self { lines }
    }

    /// The commands since the last call, each as its words, once there has been none for a moment. Signs of life
    /// (`PING`) and what a connection says of itself are left out.
    ///
    /// # Panics
    /// If the server goes away.
    pub fn commands_until_quiet(&self) -> Vec<Vec<String>> {
        let mut stream = BufReader::new(self.lines.get_ref().try_clone().expect("the socket is open"));
        let mut commands = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(_) => commands.extend(command_of(&line)),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return commands;
                }
                Err(error) => panic!("the monitored server went away: {error}"),
            }
        }
    }
}

/// `+1700000000.1 [0 127.0.0.1:5] "GET" "k"`; a script's own calls have `lua` for the address.
fn command_of(line: &str) -> Option<Vec<String>> {
    let (head, words) = line.trim_end().split_once("] ")?;
    if head.ends_with(" lua") {
        return None;
    }
    let words: Vec<String> = words.trim_matches('"').split("\" \"").map(str::to_owned).collect();
    let housekeeping = ["PING", "CLIENT", "HELLO", "SELECT", "INFO", "SCRIPT"];
    (!housekeeping.iter().any(|name| words[0].eq_ignore_ascii_case(name))).then_some(words)
}
