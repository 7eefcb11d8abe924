//! The table of invariants names tests; this sees to it that they exist.

use std::{collections::HashSet, fs, path::Path};

const INVARIANTS: usize = 15;

/// The names of all tests below `folder`: functions under an attribute that ends with `test]` or `test(…)]`, and those in
/// `proptest!`.
fn tests_below(folder: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.extend(tests_in(&fs::read_to_string(&path).expect("a readable file")));
        }
    }
}

fn tests_in(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ")
            && !line.starts_with("//")
            && std::mem::take(&mut is_test)
        {
            names.push(rest.split('(').next().unwrap_or(rest).to_owned());
        }
    }
    names
}

#[test]
fn each_invariant_names_tests_and_each_of_them_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
    let mut tests = HashSet::new();
    tests_below(&root.join("crates"), &mut tests);
    let table = fs::read_to_string(root.join("docs/invariants.md")).expect("the table is there");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| I")).collect();
    assert_eq!(rows.len(), INVARIANTS, "invariants in the table");
    for (row, number) in rows.into_iter().zip(1..) {
        assert!(row.starts_with(&format!("| I{number} |")), "I{number} has its row: {row}");
        let column = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let named: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "I{number} is proved by nothing");
        let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
        assert!(missing.is_empty(), "I{number}: no such test: {missing:?}");
    }
}

#[test]
fn a_test_is_known_by_its_attribute() {
    let text = "#[test]\nfn a() {}\nfn b() {}\n#[tokio::test(flavor = \"x\")]\n#[cfg(unix)]\nasync fn c() {}\n// fn d()";
    assert_eq!(tests_in(text), ["a", "c"]);
}
