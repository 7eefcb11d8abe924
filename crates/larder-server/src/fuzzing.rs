//! What must hold of every input that comes from outside, whatever its bytes: one function for each reader.
//!
//! As in the library: the fuzzer in `fuzz/` runs these, and a test below runs them over its seeds.

pub use crate::{
    config::fuzzing::config,
    import::fuzzing::{declare, import_array, import_lines, import_table},
    routes::fuzzing::{headers, purge, query_string, target},
};

#[cfg(test)]
mod tests {
    use larder_testkit::seeds::{self, Property};

    const TARGETS: [(&str, Property); 9] = [
        ("config", super::config),
        ("declare", super::declare),
        ("headers", super::headers),
        ("import_array", super::import_array),
        ("import_lines", super::import_lines),
        ("import_table", super::import_table),
        ("purge", super::purge),
        ("query_string", super::query_string),
        ("target", super::target),
    ];

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_seeds() {
        seeds::check(&TARGETS, 100);
    }
}
