//! How long the server takes from its start until it serves: at the first start, in an empty folder, it makes the sample shop
//! before; at the second start that is there. As `cargo run --release` does it: without a configuration, MongoDB or Redis.
//!
//! usage: `start quick|full REDIS_URL FOLDER`; prints `part,name,value,unit` lines.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use larder_bench::{
    contender::larder_binary,
    process::{get, peak_bytes},
    report::percentile,
    rounds::{Rounds, is_full},
};
use larder_testkit::signal;

/// The shop has 20,000 of them, 5,000 users and 60,000 reviews.
const LAST_PRODUCT: &str = "/v1/products/20000";

/// How long one start took, and what it held.
struct Started {
    printed_s: f64,
    ready_s: f64,
    peak_mib: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(3).ok_or("a folder is missing")?;
    let mut measured = Rounds::new("start");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..if is_full() { 5 } else { 2 } {
        let folder = Path::new(&folder).join(format!("start-{round}"));
        fs::create_dir(&folder)?;
        first.push(note(&mut measured, "first start (target < 10)", &one_start(&folder)?));
        second.push(note(&mut measured, "second start", &one_start(&folder)?));
        fs::remove_dir_all(&folder)?;
    }
    measured.finish();
    for (name, ready_s) in [("first start (target < 10)", first), ("second start", second)] {
        println!("start,{name}: the longest until it is ready,{},s", percentile(&ready_s, 100.0));
    }
    Ok(())
}

/// Notes what a start took, and returns how long it was until the server was ready.
fn note(measured: &mut Rounds, name: &str, started: &Started) -> f64 {
    measured.note(format!("{name}: until its addresses are printed"), started.printed_s, "s");
    measured.note(format!("{name}: until it is ready"), started.ready_s, "s");
    measured.note(format!("{name}: the most memory held"), started.peak_mib, "MiB");
    started.ready_s
}

/// Starts the server with its data in this folder, and stops it as Ctrl-C does.
fn one_start(folder: &Path) -> Result<Started, Box<dyn Error>> {
    let mut command = Command::new(larder_binary());
    command.args(["--listen", "127.0.0.1:0"]).current_dir(folder);
    let began = Instant::now();
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let started = measure(&mut server, began);
    signal("INT", server.id());
    let status = server.wait()?;
    match status.success() {
        true => started,
        false => Err(format!("larder: {status}").into()),
    }
}

fn measure(server: &mut Child, began: Instant) -> Result<Started, Box<dyn Error>> {
    let output = server.stdout.as_mut().ok_or("its output is not ours")?;
    let mut first = String::new();
    BufReader::new(output).read_line(&mut first)?;
    let printed_s = began.elapsed().as_secs_f64();
    let address = first.trim().rsplit_once("http://").ok_or("it prints no address")?.1;
    while !get(address, "/readyz")?.0 {
        if began.elapsed() > Duration::from_secs(120) {
            return Err("it does not become ready".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ready_s = began.elapsed().as_secs_f64();
    let peak_mib = peak_bytes(&server.id().to_string())? as f64 / f64::from(1 << 20);
    match get(address, LAST_PRODUCT)?.0 {
        true => Ok(Started { printed_s, ready_s, peak_mib }),
        false => Err("it is ready without its sample shop".into()),
    }
}
