//! `larder advise`: what other cache settings would change, by what a running server has counted.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    cli::{AdviseArgs, Options},
    commands::{
        ask::{Asked, Unasked, ended},
        say,
        terminal::shown,
    },
};

/// Prints the server's advice. Returns 1 if it cannot be asked, 2 if it is not known where it is.
pub(crate) async fn run(options: &Options, args: &AdviseArgs) -> u8 {
    ended(show(options, args).await)
}

async fn show(options: &Options, args: &AdviseArgs) -> Result<(), Unasked> {
    let answer = Asked::find(options, &args.server)?.ask("/v1/_advise").await?;
    say(if args.json { answer.to_string() } else { describe(&answer) });
    Ok(())
}

fn describe(answer: &Value) -> String {
    let mut text = String::new();
    for collection in answer["collections"].as_array().into_iter().flatten() {
        let reads = collection["reads"].as_u64().unwrap_or_default();
        let name = shown(collection["name"].as_str().unwrap_or_default());
        let _ = match collection["hit_rate"].as_f64() {
            Some(rate) => writeln!(text, "{name}: {reads} reads, {:.1} % of them from a cache", rate * 100.0),
            None => writeln!(text, "{name}: no reads yet"),
        };
        let advice = collection["advice"].as_array().map(Vec::as_slice).unwrap_or_default();
        if collection["enough_reads"] == false {
            let _ = writeln!(text, "  too few to tell: at least {}", answer["least_reads"]);
        } else if advice.is_empty() {
            let _ = writeln!(text, "  nothing to change");
        }
        for piece in advice {
            let of = |name: &str| shown(piece[name].as_str().unwrap_or_default());
            let _ = writeln!(text, "  {} = {} (now {})", of("setting"), of("better"), of("now"));
            let _ = writeln!(text, "    {}", of("because"));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_collection_is_told_with_its_advice_or_why_there_is_none() {
        let piece = json!({ "setting": "ttl", "now": "1m", "better": "2m", "because": "nothing changes" });
        let answer = json!({
            "least_reads": 1000,
            "collections": [
                { "name": "a", "reads": 5000, "hit_rate": 0.5, "enough_reads": true, "advice": [piece] },
                { "name": "b", "reads": 5000, "hit_rate": 0.99, "enough_reads": true, "advice": [] },
                { "name": "c", "reads": 0, "hit_rate": null, "enough_reads": false, "advice": [] },
            ],
        });
        let expected = "a: 5000 reads, 50.0 % of them from a cache\n  ttl = 2m (now 1m)\n    nothing changes\n\
            b: 5000 reads, 99.0 % of them from a cache\n  nothing to change\n\
            c: no reads yet\n  too few to tell: at least 1000";
        assert_eq!(describe(&answer), expected);
    }
}
