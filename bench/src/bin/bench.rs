//! Runs the benchmarks and writes `runs/DATE/{README.md, raw.csv, summary.md, cpu.svg}`.
//!
//! usage: `bench [--quick] [--only PART]…`; parts: http and the [`PARTS`].
//! A quick run has fewer rounds and smaller numbers and is for finding mistakes, not for publishing.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use larder_bench::{
    contender::{self, Contender, Kind, Lab},
    documents,
    process::Process,
    report::{self, Figure, Sample},
};

const CONNECTIONS: usize = 32;
/// After how many rounds the servers of `http` are started anew.
const ROUNDS_A_START: usize = 3;
/// Those that are programs of their own, in their order.
const PARTS: [&str; 13] = [
    "start",
    "micro",
    "tags",
    "stampede",
    "memory",
    "import",
    "batch",
    "visible",
    "behind",
    "hung",
    "patterns",
    "modes",
    "staleness",
];

struct Plan {
    quick: bool,
    only: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::parse()?;
    let folder = tempfile::tempdir()?;
    let redis = Process::redis(folder.path())?;
    let lab = Lab {
        folder: folder.path().to_owned(),
        documents: folder.path().join("documents.ndjson"),
        redis_url: format!("redis://127.0.0.1:{}", redis.port),
    };
    documents::write(&lab.documents)?;
    // Before anything is measured: a part that fails at the end loses its figures.
    if plan.needs_peers() {
        install_peers()?;
    }
    let run = run_folder(&plan)?;
    let samples = if plan.wants("http") { http(&plan, &lab)? } else { Vec::new() };
    let (mut figures, mut rounds) = (Vec::new(), Vec::new());
    write(&run, &plan, &samples, &figures, &rounds)?;
    for part in PARTS.into_iter().filter(|part| plan.wants(part)) {
        let lines = program(part, &plan, &lab)?;
        figures.extend(lines.iter().filter_map(|line| Figure::parse(line)));
        // What has a field more is one round of a figure.
        rounds.extend(lines.into_iter().filter(|line| line.split(',').count() == 5));
        // After each part, so that a failure of the next does not lose it.
        write(&run, &plan, &samples, &figures, &rounds)?;
    }
    println!("\n{}\nwritten to {}", report::summary(&samples, &figures), run.display());
    Ok(())
}

fn write(
    run: &Path,
    plan: &Plan,
    samples: &[Sample],
    figures: &[Figure],
    rounds: &[String],
) -> io::Result<()> {
    report::write_raw(&run.join("raw.csv"), samples, figures, rounds)?;
    fs::write(run.join("summary.md"), report::summary(samples, figures))?;
    fs::write(run.join("README.md"), circumstances(plan))?;
    if !samples.is_empty() {
        fs::write(run.join("cpu.svg"), report::plot(samples))?;
    }
    Ok(())
}

impl Plan {
    fn parse() -> Result<Self, String> {
        let mut plan = Self { quick: false, only: Vec::new() };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => plan.quick = true,
                "--only" => plan.only.push(words.next().ok_or("--only needs a part")?),
                _ => return Err(format!("unknown argument {word}; known: --quick, --only PART")),
            }
        }
        Ok(plan)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == part)
    }

    /// Whether something is measured beside programs for Node.
    fn needs_peers(&self) -> bool {
        self.wants("http") || self.wants("staleness")
    }

    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 21 }
    }

    fn requests(&self, kind: Kind) -> usize {
        // Enough for two seconds of processor time, against a clock that ticks every 10 ms.
        let full = match kind {
            Kind::Axum | Kind::Larder | Kind::LarderOneThread => 120_000,
            Kind::Fastify => 50_000,
            Kind::Express => 20_000,
        };
        if self.quick { full / 5 } else { full }
    }
}

/// Every contender once a round, so that a slow minute of the machine falls on all of them; and all of them started anew every
/// few rounds, since one start of a program differs from the next.
fn http(plan: &Plan, lab: &Lab) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut samples = Vec::new();
    let mut servers = Vec::new();
    for round in 1..=plan.rounds() {
        if (round - 1) % ROUNDS_A_START == 0 {
            // The old ones have ended before the new ones start: both at once would share the cores.
            servers.clear();
            servers = start_all(plan, lab)?;
        }
        for (contender, server) in &servers {
            samples.push(one_round(*contender, server, plan.requests(contender.kind), round)?);
        }
        eprintln!("round {round} of {}", plan.rounds());
    }
    Ok(samples)
}

fn start_all(plan: &Plan, lab: &Lab) -> Result<Vec<(Contender, Process)>, Box<dyn Error>> {
    let mut servers = Vec::new();
    for contender in contender::ALL {
        eprintln!("starting {}", contender.name());
        servers.push((contender, contender.start(lab)?));
    }
    for (contender, server) in &servers {
        load(server, plan.requests(contender.kind) / 4)?;
    }
    Ok(servers)
}

fn one_round(contender: Contender, server: &Process, requests: usize, round: usize) -> io::Result<Sample> {
    // It has stood idle while the others had their turns.
    load(server, requests / 4)?;
    let before = server.cpu()?;
    let [seconds, p50_us, p99_us] = load(server, requests)?;
    let used: Duration = server.cpu()? - before;
    Ok(Sample {
        contender,
        round,
        cpu_us: used.as_secs_f64() * 1e6 / requests as f64,
        requests_per_second: requests as f64 / seconds,
        p50_us,
        p99_us,
    })
}

/// Seconds, median and 99th percentile in µs, from a client in a process of its own.
fn load(server: &Process, requests: usize) -> io::Result<[f64; 3]> {
    let arguments = [usize::from(server.port), CONNECTIONS, requests].map(|number| number.to_string());
    let output = Command::new(sibling("load")?).args(arguments).stderr(Stdio::inherit()).output()?;
    let numbers: Vec<f64> = String::from_utf8_lossy(&output.stdout)
        .trim()
        .split(',')
        .filter_map(|word| word.parse().ok())
        .collect();
    numbers.try_into().map_err(|_| io::Error::other("the load generator failed"))
}

fn install_peers() -> Result<(), Box<dyn Error>> {
    let written = |file| fs::metadata(contender::peers().join(file)).and_then(|file| file.modified());
    let installed = written("node_modules/.package-lock.json");
    // Older than the list of what there is to be, something in it may be missing.
    if installed.is_ok_and(|installed| written("package-lock.json").is_ok_and(|listed| listed <= installed)) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(contender::peers());
    match npm.status()?.success() {
        true => Ok(()),
        false => Err("npm ci failed in bench/peers/node".into()),
    }
}

/// Runs the program of one part, and returns the lines it prints: its figures, and perhaps their single rounds.
fn program(part: &str, plan: &Plan, lab: &Lab) -> Result<Vec<String>, Box<dyn Error>> {
    eprintln!("{part}");
    let mode = if plan.quick { "quick" } else { "full" };
    let mut command = Command::new(sibling(part)?);
    command.args([mode, &lab.redis_url]).arg(&lab.folder).stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{part}: {}", output.status).into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

fn sibling(name: &str) -> io::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    match path.exists() {
        true => Ok(path),
        false => Err(io::Error::other(format!("{} is not built; run `cargo xtask bench`", path.display()))),
    }
}

fn run_folder(plan: &Plan) -> io::Result<PathBuf> {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
    let date = said("date", &["+%Y-%m-%d"]);
    if plan.quick {
        let folder = runs.join(date + "-quick");
        fs::create_dir_all(&folder)?;
        return Ok(folder);
    }
    // Figures that are quoted somewhere are not written over.
    let mut number = 1;
    loop {
        let folder = runs.join(if number == 1 { date.clone() } else { format!("{date}-{number}") });
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}

/// What a reader must know to judge the figures.
fn circumstances(plan: &Plan) -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    let peers = if plan.needs_peers() { format!(";\n{}", peers()) } else { String::new() };
    let http = if plan.wants("http") { mode_of_http(plan, cores) } else { String::new() };
    format!(
        "# Benchmark run\n\n\
         Machine: {cores} cores,{}; Linux {}; load average at the end {}.\n\
         Versions: {}; {}{peers}; Larder at {}.\n{http}",
        model.trim_start_matches(['\t', ':']),
        said("uname", &["-r"]),
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default(),
        said("rustc", &["--version"]),
        said("redis-server", &["--version"]).split(" sha").next().unwrap_or_default(),
        said("git", &["describe", "--always", "--dirty"]),
    )
}

/// Node, and the versions of what is installed beside it.
fn peers() -> String {
    let folder = contender::peers().display().to_string();
    let installed = said("npm", &["--prefix", &folder, "ls", "--depth", "0"]);
    let packages: Vec<_> = installed.lines().skip(1).filter_map(|line| line.split(' ').nth(1)).collect();
    format!("Node {}; {}", said("node", &["--version"]), packages.join(", "))
}

fn mode_of_http(plan: &Plan, cores: usize) -> String {
    format!(
        "Mode of `http`: {} rounds, contenders in turn within each round, all servers up all the time, and started anew every {ROUNDS_A_START};\n\
         {CONNECTIONS} keep-alive connections, no pipelining, a closed loop; {} documents of 1,024 bytes asked for in turn,\n\
         each turn begun with a quarter as many requests that do not count, since a server that stood idle is slow at first;\n\
         every answer's status and length checked, every body compared with the document before the first round.\n\
         Saturated: the processor. Server, client and Redis share {cores} cores, so requests a second and latencies are\n\
         worse than a server of its own would give; the server's processor time for one request is the figure to compare.\n\
         Headers in `http`: the floor and the peers send content type and cache control; Express adds its default ETag;\n\
         Larder adds `ETag`, `Age` and `Cache-Status`.\n",
        plan.rounds(),
        documents::COUNT,
    )
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
