//! Showing text from elsewhere on a terminal.

/// Text that cannot steer a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|each| if each.is_control() { each.escape_default().collect() } else { vec![each] })
        .collect()
}

/// A count for people: 12, 4.2k, 1.3M.
pub(super) fn shown_rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 999.5 => format!("{rate:.0}"),
        rate if rate < 999_500.0 => format!("{:.1}k", rate / 1e3),
        rate => format!("{:.1}M", rate / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_steer_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\nc ä"), "a\\u{1b}[2Jb\\nc ä");
    }

    #[test]
    fn a_rate_is_told_in_a_few_digits() {
        for (rate, told) in
            [(0.0, "0.0"), (9.96, "10"), (999.4, "999"), (4_230.0, "4.2k"), (1_250_000.0, "1.2M")]
        {
            assert_eq!(shown_rate(rate), told);
        }
    }
}
