//! The comparison as a picture: requests per second, source reads, and latency by percentile.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::{
    figures::Figures,
    report::{Comparison, duration, grouped},
};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 430.0;

/// Colours for both backgrounds: a viewer in the dark gets lighter ones.
const STYLE: &str = "<style>\
text{font:13px system-ui,sans-serif;fill:#44423c}.title{font-size:16px;font-weight:600;fill:#24231f}\
.note{font-size:12px;fill:#66625a}.value{font-weight:600}.grid{stroke:#8886;stroke-width:1}\
.cached{fill:#14696b}.bypassed{fill:#b5442f}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}\
.line.cached{stroke:#14696b}.line.bypassed{stroke:#b5442f}\
@media(prefers-color-scheme:dark){text{fill:#c9c5ba}.title{fill:#ebe8e0}.note{fill:#a5a196}\
.cached{fill:#4fb8b0}.bypassed{fill:#e67a62}.line.cached{stroke:#4fb8b0}.line.bypassed{stroke:#e67a62}\
.line{fill:none}}.line.cached,.line.bypassed{fill:none}</style>";

/// The whole picture as SVG.
pub(super) fn svg(comparison: &Comparison<'_>) -> String {
    let (cached, bypassed) = (&comparison.cached, &comparison.bypassed);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"larder bench: with the cache and past it\">{STYLE}\n"
    );
    text(&mut out, 24.0, 32.0, "title", "The same requests, with the cache and past it");
    text(&mut out, 24.0, 52.0, "note", &comparison.conditions());
    let rates = [cached.per_second(), bypassed.per_second()];
    bars(&mut out, 24.0, "Requests per second", rates, &|value| grouped(value as u64));
    let per_request =
        |figures: &Figures| Some(100.0 * figures.source_reads? as f64 / figures.requests().max(1) as f64);
    if let Some((fewer, more)) = per_request(cached).zip(per_request(bypassed)) {
        bars(&mut out, 244.0, "Source reads per 100 requests", [fewer, more], &|value| format!("{value:.1}"));
    }
    curves(&mut out, 516.0, [&cached.all(), &bypassed.all()]);
    legend(&mut out);
    text(&mut out, 24.0, HEIGHT - 14.0, "note", comparison.caveat());
    out.push_str("</svg>\n");
    out
}

const TOP: f64 = 112.0;
const BOTTOM: f64 = 352.0;
const CLASSES: [&str; 2] = ["cached", "bypassed"];

fn bars(out: &mut String, x: f64, title: &str, values: [f64; 2], label: &dyn Fn(f64) -> String) {
    text(out, x, 88.0, "value", title);
    let most = values[0].max(values[1]).max(1e-9);
    for (place, (value, class)) in values.into_iter().zip(CLASSES).enumerate() {
        let height = (BOTTOM - TOP - 22.0) * value / most;
        let (left, top) = (x + place as f64 * 96.0, BOTTOM - height);
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top:.1}\" width=\"80\" height=\"{height:.1}\" rx=\"3\"/>"
        );
        text(out, left, top - 7.0, "value", &label(value));
    }
    rule(out, x, BOTTOM, x + 176.0);
}

/// Latency against the percentile, both on scales that give room to what is rare.
fn curves(out: &mut String, x: f64, histograms: [&Histogram<u64>; 2]) {
    const SHOWN: [(f64, &str); 5] = [(0.0, "0"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];
    let right = WIDTH - 60.0;
    text(out, x, 88.0, "value", "Latency by percentile");
    let values =
        || histograms.iter().flat_map(|all| [all.value_at_quantile(0.0), all.value_at_quantile(0.9995)]);
    let low = (values().min().unwrap_or(1).max(1) as f64).log10().floor();
    let high = (values().max().unwrap_or(1).max(10) as f64).log10().ceil().max(low + 1.0);
    let across = |quantile: f64| x + (right - x) * -(1.0 - quantile).log10() / 3.3;
    let up = |us: f64| BOTTOM - (BOTTOM - TOP) * ((us.max(1.0).log10() - low) / (high - low)).clamp(0.0, 1.0);
    for power in low as i32..=high as i32 {
        let us = 10_f64.powi(power);
        rule(out, x, up(us), right);
        text(out, right + 6.0, up(us) + 4.0, "note", &duration(us as u64));
    }
    for (quantile, name) in SHOWN {
        text(out, across(quantile) - 6.0, BOTTOM + 18.0, "note", name);
    }
    for (all, class) in histograms.into_iter().zip(CLASSES).filter(|(all, _)| !all.is_empty()) {
        // Even steps on the logarithmic scale, up to the 99.95th percentile.
        let points = (0..=132).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 40.0)).map(|quantile| {
            format!("{:.1},{:.1}", across(quantile), up(all.value_at_quantile(quantile) as f64))
        });
        let points: Vec<String> = points.collect();
        let _ = writeln!(out, "<polyline class=\"line {class}\" points=\"{}\"/>", points.join(" "));
    }
}

fn legend(out: &mut String) {
    for (place, (name, class)) in ["with the cache", "past the cache"].into_iter().zip(CLASSES).enumerate() {
        let left = 24.0 + place as f64 * 140.0;
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/>",
            BOTTOM + 22.0
        );
        text(out, left + 19.0, BOTTOM + 32.0, "", name);
    }
}

fn rule(out: &mut String, x: f64, y: f64, right: f64) {
    let _ = writeln!(out, "<line class=\"grid\" x1=\"{x}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
}

fn text(out: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}
