//! The seeds of the fuzzer, run without it.

use std::{fs, path::Path};

/// What a fuzz target holds of any input: panics if it does not.
pub type Property = fn(&[u8]);

/// Holds each property against the seeds of its target in `fuzz/`, and against every beginning of up to `most_cut` bytes of
/// each seed: a reader meets more ends than a seed has.
///
/// # Panics
/// When a property does not hold, or a target or its seeds are missing.
pub fn check(targets: &[(&str, Property)], most_cut: usize) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, property) in targets {
        let target = fuzz.join("fuzz_targets").join(name).with_extension("rs");
        assert!(target.exists(), "{} is missing", target.display());
        let folder = fuzz.join("seeds").join(name);
        let seeds =
            fs::read_dir(&folder).and_then(|seeds| seeds.map(|seed| fs::read(seed?.path())).collect());
        let seeds: Vec<Vec<u8>> = seeds.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            property(&seed);
            (0..seed.len().min(most_cut)).for_each(|end| property(&seed[..end]));
        }
    }
}
