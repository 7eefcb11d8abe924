//! How many of the machine's cores have nothing to do.

use std::{fs, time::Duration};

/// What the kernel counts of time goes forward in such steps.
const TICKS_PER_SECOND: f64 = 100.0;
/// How all cores spent their time since the machine started.
const FILE: &str = "/proc/stat";

/// Asks the kernel, and remembers what it said.
#[derive(Debug, Default)]
pub(super) struct IdleCores {
    /// The idle time of all cores, at the last look.
    before: Option<f64>,
}

impl IdleCores {
    /// The mean number since the last look, which was so long ago. 0 at the first look; endless where the kernel does not say.
    pub(super) fn look(&mut self, since: Duration) -> f64 {
        let Ok(text) = fs::read_to_string(FILE) else { return f64::INFINITY };
        let Some(now) = idle_seconds(&text) else { return f64::INFINITY };
        let before = self.before.replace(now);
        before.map_or(0.0, |before| (now - before).max(0.0) / since.as_secs_f64().max(f64::EPSILON))
    }

    /// The next look is a first one.
    pub(super) fn forget(&mut self) {
        self.before = None;
    }
}

/// Of all cores together: the fourth number, of those that wait for nothing, and the fifth, of those that wait for a disk.
fn idle_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut ticks = line.split_ascii_whitespace().skip(3).map(str::parse::<u64>);
    let (idle, waiting) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((idle + waiting) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_wait_for_a_disk_are_idle() {
        let text = "cpu  100 0 200 3000 400 0 5 0 0 0\ncpu0 50 0 100 1500 200 0 2 0 0 0\nintr 1 2 3\n";
        assert_eq!(idle_seconds(text), Some(34.0));
        for other in ["", "cpu0 1 2 3 4 5\n", "cpu  1 2 3\n", "cpu  1 2 3 x 5\n"] {
            assert_eq!(idle_seconds(other), None, "{other}");
        }
    }

    #[test]
    fn no_more_cores_are_idle_than_there_are() {
        let mut idle = IdleCores::default();
        assert_eq!(idle.look(Duration::ZERO), 0.0, "nothing to compare with");
        let long = Duration::from_secs(3_600);
        assert!((0.0..1.0).contains(&idle.look(long)), "next to nothing in what is said to be an hour");
        idle.forget();
        assert_eq!(idle.look(long), 0.0);
    }
}
