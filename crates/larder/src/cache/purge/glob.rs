//! Globs as Redis understands them, for what is not looked up in Redis.
//!
//! `*` is any text, `?` one byte, `[a-z_]` one of these, `[^a-z]` none of these, and `\` takes what follows by the letter. Only the
//! last `*` is tried again, so a text costs its length times that of the pattern at most. Read from the documentation of `KEYS`,
//! and held against a server by a test.

/// Whether all of the text is what the pattern says.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // After the last star: where the pattern goes on, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
        } else if let Some(after) = after_one(pattern, at, text[read]) {
            at = after;
            read += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (at, read) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Where the pattern goes on if what stands there takes this byte.
fn after_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => after_class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (*literal == byte).then_some(at + 1),
    }
}

/// The same behind a `[`. A class without its end goes to the end of the pattern.
fn after_class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let is_negated = pattern.get(at) == Some(&b'^');
    at += usize::from(is_negated);
    let mut is_in = false;
    let end = loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break pattern.len(),
            [b']', ..] => break at + 1,
            [b'\\', literal, ..] => {
                is_in |= *literal == byte;
                at += 2;
            }
            [one, b'-', other, ..] => {
                is_in |= (*one.min(other)..=*one.max(other)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                is_in |= *literal == byte;
                at += 1;
            }
        }
    };
    (is_in != is_negated).then_some(end)
}

#[cfg(test)]
mod tests {
    use larder_testkit::redis::{Options, Reply, Server};
    use proptest::{prelude::*, test_runner::TestRunner};

    use super::*;

    #[test]
    fn a_glob_takes_what_a_server_says_that_it_takes() {
        let server = Server::start(&Options::default());
        let mut runner = TestRunner::new(ProptestConfig::with_cases(2_000));
        let cases = ("[ab*?\\[\\]^\\\\-]{1,8}", proptest::collection::vec("[abc\\]^\\\\-]{1,6}", 1..4));
        runner
            .run(&cases, |(pattern, texts)| {
                server.ask(&["FLUSHALL"]);
                for text in &texts {
                    server.ask(&["SET", text, ""]);
                }
                let Reply::Array(found) = server.ask(&["KEYS", &pattern]) else {
                    return Err(TestCaseError::fail("KEYS is a list"));
                };
                for text in &texts {
                    let theirs = found.iter().any(|key| key.text() == Some(text));
                    prop_assert_eq!(
                        matches(pattern.as_bytes(), text.as_bytes()),
                        theirs,
                        "{} {}",
                        pattern,
                        text
                    );
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn many_stars_cost_no_more_than_the_lengths_multiplied() {
        let text = vec![b'a'; 10_000];
        let pattern = [b"*a".repeat(200), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text));
    }
}
