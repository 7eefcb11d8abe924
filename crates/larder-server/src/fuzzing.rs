//! What must hold of every input that comes from outside, whatever its bytes: one function for each reader.
//!
//! As in the library: the fuzzer in `fuzz/` runs these, and a test below runs them over its seeds.

pub use crate::{
    config::fuzzing::config,
    import::fuzzing::{declare, import_array, import_lines, import_table},
    routes::fuzzing::{headers, query_string, target},
};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    type Property = fn(&[u8]);

    const TARGETS: [(&str, Property); 8] = [
        ("config", super::config),
        ("declare", super::declare),
        ("headers", super::headers),
        ("import_array", super::import_array),
        ("import_lines", super::import_lines),
        ("import_table", super::import_table),
        ("query_string", super::query_string),
        ("target", super::target),
    ];

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        for (name, property) in TARGETS {
            let target = fuzz.join("fuzz_targets").join(name).with_extension("rs");
            assert!(target.exists(), "{} is missing", target.display());
            let folder = fuzz.join("seeds").join(name);
            let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let seeds: Vec<Vec<u8>> = seeds.map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                property(&seed);
                (0..seed.len().min(100)).for_each(|end| property(&seed[..end]));
            }
        }
    }
}
