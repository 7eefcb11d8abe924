//! Tables and a plot from what was measured.

use std::{fmt::Write as _, fs, io, path::Path};

use crate::contender::{self, Contender, Kind, Tier};

/// One contender in one round.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Who.
    pub contender: Contender,
    /// Rounds are counted from 1; every contender has one sample in each.
    pub round: usize,
    /// Processor time of the server, for one request.
    pub cpu_us: f64,
    /// Answers in a second of wall time.
    pub requests_per_second: f64,
    /// The median latency a client saw.
    pub p50_us: f64,
    /// The latency that one request in a hundred exceeded.
    pub p99_us: f64,
}

/// A figure that is not a request: its part, name, value and unit.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Which part of the benchmarks.
    pub part: String,
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

impl Figure {
    /// Reads `part,name,value,unit`, as the part's program prints it.
    pub fn parse(line: &str) -> Option<Self> {
        let [part, name, value, unit] = line.split(',').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Self { part: part.into(), name: name.into(), value: value.parse().ok()?, unit: unit.into() })
    }
}

/// The middle of the values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// The value that so many of a hundred do not exceed; 0 for no values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * percent / 100.0) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// A promise about two contenders: `upper / lower` must be at most, or at least, `bound`.
struct Target {
    upper: (Kind, Tier),
    lower: (Kind, Tier),
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What Larder promises, however many threads it has. The rivals are what people run today: each read asks Redis. An in-process cache
/// of theirs is shown without a target.
fn targets(larder: Kind) -> [Target; 6] {
    let (near, shared) = ((larder, Tier::Near), (larder, Tier::Shared));
    let (fastify, express) = ((Kind::Fastify, Tier::Shared), (Kind::Express, Tier::Shared));
    [
        Target { upper: near, lower: (Kind::Axum, Tier::Near), bound: Bound::AtMost(1.2) },
        Target { upper: shared, lower: (Kind::Axum, Tier::Shared), bound: Bound::AtMost(1.25) },
        Target { upper: fastify, lower: near, bound: Bound::AtLeast(3.5) },
        Target { upper: fastify, lower: shared, bound: Bound::AtLeast(1.8) },
        Target { upper: express, lower: near, bound: Bound::AtLeast(10.0) },
        Target { upper: express, lower: shared, bound: Bound::AtLeast(6.0) },
    ]
}

/// The median of one column for one contender.
fn of(samples: &[Sample], contender: Contender, column: fn(&Sample) -> f64) -> f64 {
    median(samples.iter().filter(|sample| sample.contender == contender).map(column))
}

/// The tables of `summary.md`.
pub fn summary(samples: &[Sample], figures: &[Figure]) -> String {
    let mut text = String::from("# Summary\n");
    if !samples.is_empty() {
        text += "\n## One read of a 1 KB document, a hit\n\nMedians of the rounds; CPU is the server process's, user and system.\n\n";
        text += "| contender | CPU µs a request | requests/s | p50 µs | p99 µs |\n|---|--:|--:|--:|--:|\n";
        for contender in contender::ALL {
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.0} | {:.0} | {:.0} |",
                contender.name(),
                of(samples, contender, |sample| sample.cpu_us),
                of(samples, contender, |sample| sample.requests_per_second),
                of(samples, contender, |sample| sample.p50_us),
                of(samples, contender, |sample| sample.p99_us),
            );
        }
        text += "\n| CPU a request | ratio | target | |\n|---|--:|--:|---|\n";
        for target in [Kind::Larder, Kind::LarderOneThread].into_iter().flat_map(targets) {
            text += &target.row(samples);
        }
    }
    let mut part = "";
    for figure in figures {
        if figure.part != part {
            part = &figure.part;
            let note = note(part).map(|note| format!("{note}\n\n")).unwrap_or_default();
            let _ = write!(text, "\n## {part}\n\n{note}| what | figure | |\n|---|--:|---|\n");
        }
        let digits = if figure.value >= 1_000.0 || figure.value.fract() == 0.0 { 0 } else { 2 };
        let _ = writeln!(text, "| {} | {:.*} | {} |", figure.name, digits, figure.value, figure.unit);
    }
    text
}

/// What a reader must know to judge the figures of a part.
fn note(part: &str) -> Option<&'static str> {
    match part {
        "staleness" => {
            Some("Whoever writes invalidates; a read is stale if it began after that was acknowledged.")
        }
        "staleness under faults" => Some(
            "The same while each node's way to Redis fails by one plan: cut, silent, refused, replies lost or delayed, for up to\n\
             1.4 s. The rivals connect again as their libraries do by themselves; a call of Redis that fails is a miss. A bounded\n\
             node that is cut off goes on with its copies for its bound of a second, and asks the database then; with `Strict`\n\
             whoever writes waits for that instead.",
        ),
        "staleness past the cache" => Some(
            "Another program writes to the database and tells no cache; a read is stale if it began after the write was done.\n\
             The rivals do not promise to notice: what is cached expires after 5 s, for all alike. Larder is told by the\n\
             database's change feed, or by a query each second for what was updated.",
        ),
        _ => None,
    }
}

impl Target {
    fn row(&self, samples: &[Sample]) -> String {
        let side = |(kind, tier)| Contender { kind, tier };
        let cpu = |one| of(samples, side(one), |sample| sample.cpu_us);
        let ratio = cpu(self.upper) / cpu(self.lower);
        let (sign, bound, met) = match self.bound {
            Bound::AtMost(bound) => ("≤", bound, ratio <= bound),
            Bound::AtLeast(bound) => ("≥", bound, ratio >= bound),
        };
        let word = if met { "met" } else { "missed" };
        format!(
            "| {} ÷ {} | {ratio:.2} | {sign} {bound} | {word} |\n",
            side(self.upper).name(),
            side(self.lower).name()
        )
    }
}

/// Writes every sample and figure, unrounded, and what programs printed of their single rounds.
///
/// # Errors
/// When the file cannot be written.
pub fn write_raw(file: &Path, samples: &[Sample], figures: &[Figure], rounds: &[String]) -> io::Result<()> {
    let mut text = String::from("part,name,round,value,unit\n");
    for sample in samples {
        let name = sample.contender.name().replace(',', ":");
        for (value, unit) in [
            (sample.cpu_us, "CPU us a request"),
            (sample.requests_per_second, "requests/s"),
            (sample.p50_us, "us p50"),
            (sample.p99_us, "us p99"),
        ] {
            let _ = writeln!(text, "http,{name},{},{value},{unit}", sample.round);
        }
    }
    for figure in figures {
        // Where the rounds stand below, this is their median.
        let is_listed = rounds.iter().any(|line| line.starts_with(&format!("{},", figure.part)));
        let round = if is_listed { "median" } else { "1" };
        let _ = writeln!(text, "{},{},{round},{},{}", figure.part, figure.name, figure.value, figure.unit);
    }
    for line in rounds {
        let _ = writeln!(text, "{line}");
    }
    fs::write(file, text)
}

/// A bar for each contender's median, with a line from its lowest to its highest round.
pub fn plot(samples: &[Sample]) -> String {
    const ROW: usize = 34;
    const LEFT: usize = 240;
    let longest = samples.iter().map(|sample| sample.cpu_us).fold(1.0, f64::max);
    let x = |cpu_us: f64| LEFT as f64 + cpu_us / longest * 430.0;
    let height = contender::ALL.len() * ROW + 60;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 750 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"750\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"15\">Server CPU for one cached read of 1 KB (µs; shorter is better)</text>\n"
    );
    for (row, contender) in contender::ALL.into_iter().enumerate() {
        let rounds =
            || samples.iter().filter(|sample| sample.contender == contender).map(|sample| sample.cpu_us);
        let (middle, low) = (median(rounds()), rounds().fold(f64::INFINITY, f64::min));
        let high = rounds().fold(0.0, f64::max);
        let y = 44 + row * ROW;
        let is_ours = matches!(contender.kind, Kind::Larder | Kind::LarderOneThread);
        let colour = if is_ours { "#b5532a" } else { "#9aa5b1" };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{mid}\" y2=\"{mid}\" stroke=\"#222\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{middle:.1}</text>\n",
            LEFT - 10,
            y + 15,
            contender.name(),
            x(middle) - LEFT as f64,
            x(low),
            x(high),
            x(high) + 8.0,
            y + 15,
            mid = y + 10,
        );
    }
    svg + "</svg>\n"
}
