//! The comparison in words and in raw data.

use std::fmt::Write;

use super::{
    LoadArgs,
    figures::Figures,
    plan::{Kind, Workload},
};

/// The two runs and what they were made of.
pub(super) struct Comparison<'a> {
    pub(super) args: &'a LoadArgs,
    pub(super) workload: &'a Workload,
    pub(super) cached: Figures,
    pub(super) bypassed: Figures,
}

impl Comparison<'_> {
    /// What was measured, in one line.
    pub(super) fn conditions(&self) -> String {
        let Self { args, workload, .. } = self;
        format!(
            "{} documents of {}, Zipf {}, {} lists, {} writes, {} connections, {} s each, seed {}",
            grouped(workload.documents.len() as u64),
            workload.collection,
            args.zipf,
            percent(workload.list_ratio),
            percent(workload.write_ratio),
            args.connections,
            args.seconds,
            args.seed
        )
    }

    /// What the figures do not say by themselves.
    pub(super) fn caveat(&self) -> &'static str {
        let host = self.args.url.host().unwrap_or_default().trim_matches(['[', ']']);
        if host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        {
            "The load came from this machine and took its share of the processors: the server alone can do more."
        } else {
            "The load came over the network: its round trips are part of every latency."
        }
    }

    fn runs(&self) -> [(&'static str, &Figures); 2] {
        [("with the cache", &self.cached), ("past the cache", &self.bypassed)]
    }
}

/// The table that the command prints.
pub(super) fn table(comparison: &Comparison<'_>) -> String {
    let mut text = format!("\n{}\n\n", comparison.conditions());
    let row = |text: &mut String, cells: [&str; 7]| {
        let [name, rest @ ..] = cells;
        let _ = write!(text, "{name:<16}");
        rest.iter().for_each(|cell| {
            let _ = write!(text, "{cell:>14}");
        });
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    row(&mut text, ["", "req/s", "p50", "p99", "p99.9", "source reads", "errors"]);
    for (name, figures) in comparison.runs() {
        let all = figures.all();
        let at = |quantile| duration(all.value_at_quantile(quantile));
        let reads = figures.source_reads.map_or_else(|| "not told".to_owned(), grouped);
        let (rate, failed) = (grouped(figures.per_second() as u64), grouped(figures.failed()));
        row(&mut text, [name, &rate, &at(0.5), &at(0.99), &at(0.999), &reads, &failed]);
    }
    row(&mut text, ratios(comparison).each_ref().map(String::as_str));
    text.push_str("* per request. Source reads are documents loaded by id; a list always asks the database and is not among them.\n");
    text.push_str("\nReads of one document alone:\n");
    for (name, figures) in comparison.runs() {
        let reads = figures.of(Kind::Read);
        let _ = writeln!(
            text,
            "{name:<16}p50 {}, p99 {}",
            duration(reads.value_at_quantile(0.5)),
            duration(reads.value_at_quantile(0.99))
        );
    }
    for (name, figures) in comparison.runs() {
        for (reason, count) in &figures.errors {
            let _ = writeln!(text, "Errors {name}: {} × {reason}", grouped(*count));
        }
    }
    let _ = write!(text, "\n{}\n", comparison.caveat());
    text
}

fn ratios(Comparison { cached, bypassed, .. }: &Comparison<'_>) -> [String; 7] {
    let (fast, slow) = (cached.all(), bypassed.all());
    let times =
        |more: f64, less: f64| if less > 0.0 { format!("{:.1}×", more / less) } else { "–".to_owned() };
    let at =
        |quantile| times(slow.value_at_quantile(quantile) as f64, fast.value_at_quantile(quantile) as f64);
    let per_request =
        |figures: &Figures| Some(figures.source_reads? as f64 / figures.requests().max(1) as f64);
    // Per request, because the faster run sent more of them.
    let fewer =
        per_request(bypassed).zip(per_request(cached)).map_or_else(|| "–".to_owned(), |(a, b)| times(a, b));
    let rate = times(cached.per_second(), bypassed.per_second());
    ["better by".to_owned(), rate, at(0.5), at(0.99), at(0.999), format!("{fewer} *"), String::new()]
}

/// The raw data: one value a line.
pub(super) fn csv(comparison: &Comparison<'_>) -> String {
    let mut text = "run,kind,measure,value\n".to_owned();
    for (run, figures) in [("cached", &comparison.cached), ("bypassed", &comparison.bypassed)] {
        let mut line = |kind: &str, measure: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{run},{kind},{measure},{value}");
        };
        line("all", "elapsed_us", &figures.elapsed.as_micros());
        line("all", "requests", &figures.requests());
        if let Some(reads) = figures.source_reads {
            line("all", "source_reads", &reads);
        }
        for (reason, count) in &figures.errors {
            line("all", &format!("\"error: {}\"", reason.replace('"', "'")), count);
        }
        for kind in Kind::ALL {
            let latencies = figures.of(kind);
            line(kind.name(), "requests", &latencies.len());
            for value in latencies.iter_quantiles(5).filter(|_| !latencies.is_empty()) {
                let measure = format!("p{:.4}_us", value.quantile_iterated_to() * 100.0);
                line(kind.name(), &measure, &value.value_iterated_to());
            }
        }
    }
    text
}

/// 850 µs, 1.2 ms, 3.4 s.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(part: f64) -> String {
    format!("{} %", (part * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([850, 1_234, 12_345, 1_500_000].map(duration), ["850 µs", "1.2 ms", "12 ms", "1.5 s"]);
        assert_eq!(percent(0.02), "2 %");
    }
}
