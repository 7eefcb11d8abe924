//! What must hold of configurations.

use std::collections::BTreeMap;

use super::parse;

/// A configuration is read, or every problem is a line of its own with a place inside of the file; a comment changes
/// neither.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let environment = BTreeMap::new();
    let read = |text: &str| parse("fuzzed", text, &environment);
    match read(text) {
        Ok(config) => {
            let again = read(&format!("# A comment.\n{text}\n# Another."));
            let again = again.unwrap_or_else(|problems| panic!("with a comment: {problems}"));
            // Lines are kept for messages, and a comment moves them.
            let without_lines = |config: &super::Config| {
                let mut config = config.clone();
                config.collections.iter_mut().for_each(|collection| collection.line = 0);
                format!("{config:?}")
            };
            assert_eq!(without_lines(&config), without_lines(&again));
        }
        Err(problems) => {
            assert!(!problems.list.is_empty());
            let lines = text.matches('\n').count() + 1;
            for problem in &problems.list {
                assert!(problem.line <= lines, "line {} of {lines}: {problem}", problem.line);
                assert!(!problem.message.is_empty(), "{}", problem.path);
            }
        }
    }
}
