//! What must hold of every input that comes from outside, whatever its bytes: one function for each reader.
//!
//! As in the library: the fuzzer in `fuzz/` runs these, and a test below runs them over its seeds.

pub use crate::{
    config::fuzzing::config,
    import::fuzzing::{declare, import_array, import_lines, import_table},
    jwt::fuzzing::{jwks, jwt},
    routes::fuzzing::{
        authorization, content_type, elements, headers, host, purge, query_string, target, writable,
    },
};

#[cfg(test)]
mod tests {
    use larder_testkit::seeds::{self, Property};

    const TARGETS: [(&str, Property); 16] = [
        ("authorization", super::authorization),
        ("config", super::config),
        ("content_type", super::content_type),
        ("declare", super::declare),
        ("elements", super::elements),
        ("headers", super::headers),
        ("host", super::host),
        ("import_array", super::import_array),
        ("import_lines", super::import_lines),
        ("import_table", super::import_table),
        ("jwks", super::jwks),
        ("jwt", super::jwt),
        ("purge", super::purge),
        ("query_string", super::query_string),
        ("target", super::target),
        ("writable", super::writable),
    ];

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_seeds() {
        seeds::check(&TARGETS, 100);
    }
}
