//! The MongoDB of the tests, to try things by hand: `cargo run -p larder-testkit --example mongo`. It keeps its data until
//! it is ended with Enter, Ctrl-C or the end of its input.

use std::io::{self, Write};

use larder_testkit::mongo::Server;

fn main() -> io::Result<()> {
    let server = Server::start();
    writeln!(io::stdout(), "{server}\n{}", server.url("shop"))?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
