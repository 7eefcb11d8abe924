//! `larder top`: the documents that a running server is asked for most.

use std::{
    fmt::Write,
    io::{IsTerminal, stdout},
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    cli::{Options, TopArgs},
    commands::{
        ask::{Asked, Unasked, ended},
        say,
        terminal::{shown, shown_rate},
    },
};

/// Home, and everything below away: the picture before is written over without a flicker.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the table, once or until it is interrupted. Returns 1 if the server cannot be asked, 2 if it is not known where it is.
pub(crate) async fn run(options: &Options, args: &TopArgs) -> u8 {
    ended(show(options, args).await)
}

async fn show(options: &Options, args: &TopArgs) -> Result<(), Unasked> {
    let server = Asked::find(options, &args.server)?;
    let path = format!("/v1/_top?limit={}", args.limit);
    let is_live = !args.once && !args.json && stdout().is_terminal();
    loop {
        let answer = server.ask(&path).await?;
        if args.json {
            say(answer.to_string());
        } else if is_live {
            say(format!("{CLEAR}{}", table(&answer)));
        } else {
            say(table(&answer));
        }
        if !is_live {
            return Ok(());
        }
        sleep(Duration::from_secs(args.every)).await;
    }
}

fn table(answer: &Value) -> String {
    let hit_rate =
        answer["hit_rate"].as_f64().map_or("–".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    let reads = shown_rate(answer["reads_per_s"].as_f64().unwrap_or_default());
    let mut text = format!("{reads} reads/s, {hit_rate} of them from a cache");
    let keys = answer["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    if keys.is_empty() {
        text.push_str("\nNo document stands out.");
        return text;
    }
    let cell = |key: &Value, name: &str| shown(key[name].as_str().unwrap_or_default());
    let width =
        |name: &str| keys.iter().map(|key| cell(key, name).chars().count()).max().unwrap_or(0).max(10);
    let (of_collection, of_key) = (width("collection"), width("key"));
    let _ = write!(
        text,
        "\n\n{:<of_collection$}  {:<of_key$}  {:>8}  {:>7}",
        "collection", "key", "reads/s", "share"
    );
    for key in keys {
        let (collection, name) = (cell(key, "collection"), cell(key, "key"));
        let rate = shown_rate(key["reads_per_s"].as_f64().unwrap_or_default());
        let share = key["share"].as_f64().unwrap_or_default() * 100.0;
        let mark = if key["hot"] == true { "  hot" } else { "" };
        let _ =
            write!(text, "\n{collection:<of_collection$}  {name:<of_key$}  {rate:>8}  {share:>5.1} %{mark}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_one_line_for_each_document_whatever_its_key() {
        let answer = json!({
            "reads_per_s": 1234.5, "hit_rate": 0.987,
            "keys": [
                { "collection": "products", "key": "7", "reads_per_s": 800.4, "share": 0.41, "hot": true },
                { "collection": "users", "key": "a\nb", "reads_per_s": 2.0, "share": 0.005, "hot": false },
            ],
        });
        let expected = "1.2k reads/s, 98.7 % of them from a cache\n\n\
            collection  key          reads/s    share\n\
            products    7                800   41.0 %  hot\n\
            users       a\\nb             2.0    0.5 %";
        assert_eq!(table(&answer), expected);
        let quiet = json!({ "reads_per_s": 0.0, "hit_rate": null, "keys": [] });
        assert_eq!(table(&quiet), "0.0 reads/s, – of them from a cache\nNo document stands out.");
    }
}
