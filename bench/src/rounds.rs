//! What one part measures, round by round: every round is printed and kept, and the medians are the figures.

use crate::report::{median, percentile};

/// The values of one part, by what was measured.
#[derive(Debug)]
pub struct Rounds {
    part: &'static str,
    values: Vec<(String, &'static str, Vec<f64>)>,
}

impl Rounds {
    /// No values yet.
    pub const fn new(part: &'static str) -> Self {
        Self { part, values: Vec::new() }
    }

    /// Notes the value of one more round. Names have no commas.
    pub fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        let at = self.values.iter().position(|(known, ..)| *known == name).unwrap_or_else(|| {
            self.values.push((name.clone(), unit, Vec::new()));
            self.values.len() - 1
        });
        let values = &mut self.values[at].2;
        values.push(value);
        println!("{},{name},{},{value},{unit}", self.part, values.len());
    }

    /// Notes the 50th and the 99th percentile of one round's samples, and returns them.
    pub fn note_percentiles(&mut self, name: &str, samples: &[f64], unit: &'static str) -> [f64; 2] {
        [(50.0, "p50"), (99.0, "p99")].map(|(percent, word)| {
            let value = percentile(samples, percent);
            self.note(format!("{name}: {word}"), value, unit);
            value
        })
    }

    /// Prints the median of each over its rounds.
    pub fn finish(&self) {
        for (name, unit, values) in &self.values {
            println!("{},{name},{},{unit}", self.part, median(values.iter().copied()));
        }
    }
}

/// Whether the program was asked for a full run: `PROGRAM quick|full …`.
pub fn is_full() -> bool {
    std::env::args().nth(1).as_deref() == Some("full")
}

/// The Redis that the program was given.
///
/// # Errors
/// When there is none.
pub fn redis_url() -> Result<String, &'static str> {
    std::env::args().nth(2).ok_or("a Redis URL is missing")
}
