//! What the reads of one contender in one scene came to.

use larder_testkit::history::Verdict;

/// Counts of reads, and the worst of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Reads that returned a value.
    pub reads: u64,
    /// Reads that did not.
    pub failed: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads behind what their own node had acknowledged.
    pub stale_here: u64,
    /// Reads behind what another one had.
    pub stale_elsewhere: u64,
    /// Stale reads that began more than [`BOUND`](super::BOUND) after what they lay behind.
    pub late: u64,
    /// How long after that the worst began.
    pub oldest_ms: f64,
}

/// What a contender promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// No read is stale.
    Never,
    /// None on the node that wrote, and none by more than [`BOUND`](super::BOUND) on the others.
    Bounded,
    /// That what is cached expires.
    Expiry,
}

impl Outcome {
    /// From a history, and what it does not count.
    pub fn new(verdict: Verdict, failed: u64, late: u64) -> Self {
        let oldest = verdict.oldest_here.max(verdict.oldest_elsewhere);
        Self {
            reads: verdict.reads,
            failed,
            writes: verdict.writes,
            stale_here: verdict.stale_here,
            stale_elsewhere: verdict.stale_elsewhere,
            late,
            oldest_ms: oldest.as_secs_f64() * 1e3,
        }
    }

    /// Reads what another program prints: the fields in their order, with commas between them.
    pub fn parse(line: &str) -> Option<Self> {
        let (counts, oldest_ms) = line.trim().rsplit_once(',')?;
        let counts: Vec<u64> = counts.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [reads, failed, writes, stale_here, stale_elsewhere, late] = counts.try_into().ok()?;
        let oldest_ms = oldest_ms.parse().ok()?;
        Some(Self { reads, failed, writes, stale_here, stale_elsewhere, late, oldest_ms })
    }

    /// Prints the lines of a contender whose writers invalidate.
    pub fn print(&self, part: &str, name: &str, promise: Promise) {
        let (never, late) = match promise {
            Promise::Never => (" (target 0)", " (target 0)"),
            Promise::Bounded => ("", " (target 0)"),
            Promise::Expiry => ("", ""),
        };
        let here = if promise == Promise::Expiry { "" } else { " (target 0)" };
        self.print_reads(part, name);
        println!("{part},{name}: stale reads on the node that invalidated{here},{},", self.stale_here);
        println!("{part},{name}: stale reads on other nodes{never},{},", self.stale_elsewhere);
        println!("{part},{name}: stale in a million,{:.0},", self.in_a_million(self.stale()));
        println!(
            "{part},{name}: stale by more than a second in a million{late},{:.0},",
            self.late_in_a_million()
        );
        println!("{part},{name}: the longest after an acknowledgement,{:.1},ms", self.oldest_ms);
    }

    /// Prints the lines of a contender that is told nothing of the writes by whoever writes.
    pub fn print_past(&self, part: &str, name: &str, late: &str) {
        self.print_reads(part, name);
        println!("{part},{name}: stale in a million,{:.0},", self.in_a_million(self.stale()));
        println!(
            "{part},{name}: stale by more than a second in a million{late},{:.0},",
            self.late_in_a_million()
        );
        println!("{part},{name}: the longest after the write,{:.1},ms", self.oldest_ms);
    }

    fn print_reads(&self, part: &str, name: &str) {
        println!("{part},{name}: reads,{},", self.reads);
        println!("{part},{name}: reads that failed,{},", self.failed);
        println!("{part},{name}: writes,{},", self.writes);
    }

    const fn stale(&self) -> u64 {
        self.stale_here + self.stale_elsewhere
    }

    fn late_in_a_million(&self) -> f64 {
        self.in_a_million(self.late)
    }

    fn in_a_million(&self, count: u64) -> f64 {
        count as f64 * 1e6 / self.reads.max(1) as f64
    }
}
