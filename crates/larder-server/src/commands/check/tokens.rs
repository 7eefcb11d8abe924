//! Whether there are keys to verify tokens with, and for which algorithms.

use super::report::{Level, Report};
use crate::{commands::counted, config::Config, jwt::Source};

pub(super) async fn check(config: &Config, report: &mut Report) {
    let source = match Source::of(&config.jwt) {
        Ok(None) => return,
        Ok(Some(source)) => source,
        Err(error) => return report.fail("tokens", error.to_string(), "the server would not start"),
    };
    let set = match source.read().await {
        Ok(set) => set,
        Err(reason) if source.is_remote() => {
            let effect = "requests with tokens are answered with 503 until their keys can be fetched";
            return report.warn("tokens", reason, effect);
        }
        Err(reason) => return report.fail("tokens", reason, "the server would not start"),
    };
    let algorithms: Vec<String> = set.algorithms().iter().map(|one| format!("{one:?}")).collect();
    let found = format!("{} for {}", counted(set.len(), "key", "keys"), algorithms.join(", "));
    let accepted = config.jwt.algorithms.iter().flatten();
    let missing: Vec<String> =
        accepted.map(|one| format!("{one:?}")).filter(|one| !algorithms.contains(one)).collect();
    if set.len() == 0 {
        let found = match set.unusable {
            1 => "the only key cannot be used".to_owned(),
            unusable => format!("none of {unusable} keys can be used"),
        };
        report.warn("tokens", found, "no token lets in; see algorithms, and use and alg of the keys");
    } else if missing.is_empty() {
        report.add(Level::Good, "tokens", found);
    } else {
        report.add(Level::Note, "tokens", format!("{found}; none for {}", missing.join(", ")));
    }
    if set.len() > 0 && set.unusable > 0 {
        report.add(
            Level::Note,
            "tokens",
            format!("{} of no use here", counted(set.unusable, "more key is", "more keys are")),
        );
    }
}
