//! `larder behind list|replay|drop`: the writes that a write-behind cache could not carry out, straight from Redis.

use std::time::Duration;

use larder::{
    Error, ErrorKind, Result,
    cache::{Behind, BehindPlace, DeadLetter, Replayed},
};

use crate::{
    app::open_redis,
    cli::{BehindArgs, BehindOrder, LetterArgs, Options},
    commands::{OK, TROUBLE, WRONG, complain, load_config, say, terminal::shown},
    config::Config,
};

/// The most dead letters that one command looks at.
const MOST: usize = 100_000;

/// Does what is ordered. Returns 1 if Redis cannot be asked or a key has no dead letter that this can be done to, 2 if the order
/// is wrong.
pub(crate) async fn run(options: &Options, order: &BehindOrder) -> u8 {
    let config = match load_config(options) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            complain(problems);
            return WRONG;
        }
    };
    let done = match order {
        BehindOrder::List { place, limit } => list(&config, place, *limit).await,
        BehindOrder::Replay { place, letters } => replay(&config, place, letters).await,
        BehindOrder::Drop { place, letters, yes } => drop_letters(&config, place, letters, *yes).await,
    };
    done.unwrap_or_else(|error| {
        let is_wrong = matches!(error.kind(), ErrorKind::Config | ErrorKind::Invalid);
        complain(error);
        if is_wrong { WRONG } else { TROUBLE }
    })
}

async fn attach(config: &Config, place: &BehindArgs) -> Result<Behind> {
    if config.redis.url.is_none() {
        return Err(
            Error::new(ErrorKind::Config, "writes are pending in Redis: name it").with_field("redis.url")
        );
    }
    let redis = open_redis(&config.redis).await?;
    redis.ping().await?;
    let mut found = BehindPlace::new(&place.cache);
    (found.version, found.shards) = (place.version, place.shards);
    Behind::attach(&redis, &found)
}

async fn list(config: &Config, place: &BehindArgs, limit: usize) -> Result<u8> {
    let behind = attach(config, place).await?;
    let stats = behind.stats().await?;
    let letters = behind.dead_letters(limit.min(MOST)).await?;
    say(format!(
        "{}: {} pending, the oldest for {}; {} dead letters",
        place.cache,
        stats.backlog,
        shown_time(stats.lag),
        stats.dead_letters
    ));
    if !letters.is_empty() {
        say(table(&letters));
    }
    Ok(OK)
}

async fn replay(config: &Config, place: &BehindArgs, letters: &LetterArgs) -> Result<u8> {
    let behind = attach(config, place).await?;
    let mut missing = 0;
    for key in keys_of(&behind, letters).await? {
        let told = match behind.replay(&key).await {
            Ok(Replayed::Pending) => "pending again",
            Ok(Replayed::Superseded) => "struck off: a later write to this key is pending",
            Ok(_) => {
                missing += 1;
                "no dead letter"
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                missing += 1;
                "damaged: it can only be dropped"
            }
            Err(error) => return Err(error),
        };
        say(format!("{}: {told}", shown(&key)));
    }
    Ok(if missing > 0 { TROUBLE } else { OK })
}

async fn drop_letters(config: &Config, place: &BehindArgs, letters: &LetterArgs, yes: bool) -> Result<u8> {
    if !yes {
        let message = "a dead letter that is dropped is lost, though it was acknowledged; say --yes";
        return Err(Error::invalid("drop", message));
    }
    let behind = attach(config, place).await?;
    let mut missing = 0;
    for key in keys_of(&behind, letters).await? {
        let dropped = behind.discard(&key).await?;
        missing += usize::from(!dropped);
        say(format!("{}: {}", shown(&key), if dropped { "dropped" } else { "no dead letter" }));
    }
    Ok(if missing > 0 { TROUBLE } else { OK })
}

async fn keys_of(behind: &Behind, letters: &LetterArgs) -> Result<Vec<String>> {
    if !letters.all {
        return Ok(letters.keys.clone());
    }
    Ok(behind.dead_letters(MOST).await?.into_iter().map(|letter| letter.key).collect())
}

fn table(letters: &[DeadLetter]) -> String {
    let width = letters.iter().map(|letter| shown(&letter.key).chars().count()).max().unwrap_or(0).max(3);
    let mut text = format!("{:<width$}  {:<7}{:>6}{:>8}  error", "key", "does", "tries", "age");
    for letter in letters {
        let does = match letter.removes {
            _ if letter.is_damaged => "?",
            true => "remove",
            false => "put",
        };
        let (key, age) = (shown(&letter.key), shown_time(letter.age));
        let line =
            format!("\n{key:<width$}  {does:<7}{:>6}{age:>8}  {}", letter.attempts, shown(&letter.error));
        text.push_str(&line);
    }
    text
}

/// A time for people: its largest unit.
fn shown_time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        for (seconds, told) in [(0, "0s"), (119, "119s"), (120, "2min"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(shown_time(Duration::from_secs(seconds)), told);
        }
    }
}
