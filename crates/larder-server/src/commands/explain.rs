//! `larder explain COLLECTION KEY`: asks a running server what its tiers know of one document.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    cli::{ExplainArgs, Options},
    commands::{
        ask::{Asked, Unasked, ended, segment},
        say,
    },
};

/// Prints what the server says.
pub(crate) async fn run(options: &Options, args: &ExplainArgs) -> u8 {
    ended(show(options, args).await)
}

async fn show(options: &Options, args: &ExplainArgs) -> Result<(), Unasked> {
    let path = format!("/v1/_explain/{}/{}", segment(&args.collection), segment(&args.id));
    say(describe(&Asked::find(options, &args.server)?.ask(&path).await?));
    Ok(())
}

/// One line for each member, nested ones with their path.
fn describe(answer: &Value) -> String {
    let mut text = String::new();
    describe_into(answer, "", &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn describe_into(value: &Value, path: &str, text: &mut String) {
    let Value::Object(members) = value else {
        let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = writeln!(text, "{path:<24} {shown}");
        return;
    };
    for (name, member) in members.iter().filter(|(_, member)| !member.is_null()) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        describe_into(member, &path, text);
    }
}
