//! What holds for every input: nothing is lost, nothing is added, no bytes stop the readers, and a declaration fits what it was made
//! from.

use std::{collections::BTreeMap, io::BufReader, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{columns::Cell, declare::declaration, format::Format, record::Records, tests::args};
use crate::config;

/// JSON with the characters that readers trip over.
fn json() -> impl Strategy<Value = Value> {
    let text = "[a-z\\[\\]{},:\"\\\\\n #é]{0,12}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text, inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

/// All records of an input, read with a buffer of this size.
fn records(input: &[u8], buffer: usize, format: Format, cell: Cell) -> Option<Vec<Result<Vec<u8>, String>>> {
    let reader = BufReader::with_capacity(buffer, input);
    let mut records = Records::new(reader, format, false, |_| Ok(cell)).ok()?;
    let next = || records.next().expect("memory can be read");
    let all = std::iter::from_fn(next).take(input.len() + 2);
    Some(all.map(|record| record.json().map(<[u8]>::to_vec).map_err(str::to_owned)).collect())
}

fn values(records: Option<Vec<Result<Vec<u8>, String>>>) -> Vec<Value> {
    let records = records.expect("the input begins as it should");
    records.into_iter().map(|json| serde_json::from_slice(&json.unwrap()).unwrap()).collect()
}

/// What may stand in a field, and what looks like something else.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
        Just("2025-01-02T03:04:05Z".into()),
        Just("0123456789abcdef01234567".into()),
        Just(json!({ "$date": "2025-01-02T03:04:05Z" })),
        Just(json!({ "$oid": "0123456789abcdef01234567" })),
        Just(json!({ "$numberDecimal": "1.50" })),
        Just(json!({ "$numberLong": "7" })),
        Just(json!({ "$numberDouble": "NaN" })),
        Just(json!({ "$binary": { "base64": "", "subType": "00" } })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

/// What may stand in a cell.
fn cell() -> impl Strategy<Value = String> {
    let typed = [
        "",
        "null",
        "true",
        "false",
        "7",
        "-1.5",
        "007",
        " 8 ",
        "1e3",
        "99999999999999999999",
        "[1]",
        "{\"a\":1}",
        "\"x\"",
    ];
    let texts = ["2025-01-02T03:04:05Z", "0123456789abcdef01234567", "NULL", "a, b"];
    prop::sample::select([&typed[..], &texts].concat()).prop_map(str::to_owned)
}

fn row(cells: &[String]) -> String {
    let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    quoted.join(",")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_elements_of_an_array_are_read_as_they_were_written(
        elements in prop::collection::vec(json(), 0..6), pretty: bool, buffer in 1_usize..40,
    ) {
        let array = Value::from(elements.clone());
        let text = if pretty { serde_json::to_string_pretty(&array) } else { serde_json::to_string(&array) }.unwrap();
        prop_assert_eq!(values(records(text.as_bytes(), buffer, Format::Json, Cell::Text)), elements);
    }

    #[test]
    fn lines_are_read_as_they_were_written(
        documents in prop::collection::vec(json(), 0..6), windows: bool, buffer in 1_usize..40,
    ) {
        let end = if windows { "\r\n" } else { "\n" };
        let text: String = documents.iter().map(|document| format!("{document}{end}")).collect();
        prop_assert_eq!(values(records(text.as_bytes(), buffer, Format::Ndjson, Cell::Text)), documents);
    }

    #[test]
    fn the_cells_of_a_table_are_read_as_they_were_written(
        rows in prop::collection::vec(prop::collection::vec("[a-z,;\"\n é]{1,8}", 3), 1..6), buffer in 1_usize..40,
    ) {
        let mut text = "a,b.c,b.d\n".to_owned();
        rows.iter().for_each(|cells| text += &(row(cells) + "\n"));
        let expected: Vec<Value> = rows
            .iter()
            .map(|cells| serde_json::json!({ "a": cells[0], "b": { "c": cells[1], "d": cells[2] } }))
            .collect();
        // The separator is found by a look at the whole header row, so the buffer holds that at least.
        prop_assert_eq!(values(records(text.as_bytes(), buffer + 10, Format::Csv, Cell::Text)), expected);
    }

    #[test]
    fn a_declaration_accepts_every_document_that_it_was_made_from(
        documents in prop::collection::vec(prop::collection::btree_map("[a-d]", value(), 0..4), 1..5), has_ids: bool,
    ) {
        let documents: Vec<String> = documents.into_iter().enumerate().map(|(number, mut document)| {
            if has_ids {
                document.insert("_id".to_owned(), number.into());
            }
            Value::from_iter(document).to_string()
        }).collect();
        let lines = documents.join("\n");
        let records = Records::new(lines.as_bytes(), Format::Ndjson, false, |_| Ok(Cell::Guess)).unwrap();
        let text = declaration(&args(Path::new("things.ndjson")), records).unwrap();
        let config = config::parse("declared", &text, &BTreeMap::new()).unwrap();
        for document in &documents {
            let read = config.collections[0].schema.read_raw(document.as_bytes());
            prop_assert!(read.is_ok(), "{}: {:?}\n{}", document, read, text);
        }
    }

    #[test]
    fn a_declaration_accepts_every_row_that_it_was_made_from(
        rows in prop::collection::vec(prop::collection::vec(cell(), 3), 1..5),
    ) {
        let mut text = "_id,a,b.c,b.d\n".to_owned();
        rows.iter().enumerate().for_each(|(number, cells)| text += &format!("{number},{}\n", row(cells)));
        let read = |cell: &dyn Fn(&str) -> Result<Cell, String>| {
            Records::new(text.as_bytes(), Format::Csv, false, cell).unwrap()
        };
        let declared = declaration(&args(Path::new("things.csv")), read(&|_| Ok(Cell::Guess))).unwrap();
        let config = config::parse("declared", &declared, &BTreeMap::new()).unwrap();
        let schema = &config.collections[0].schema;
        let mut records = read(&|column| Cell::of(schema, column));
        while let Some(record) = records.next().unwrap() {
            let read = record.json().map_err(str::to_owned);
            let read = read.and_then(|json| schema.read_raw(json).map_err(|error| error.to_string()));
            prop_assert!(read.is_ok(), "{:?}\n{}\n{}", read, text, declared);
        }
    }

    #[test]
    fn no_bytes_stop_a_reader(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"[]{},\"\\\n\r;a1 ".to_vec())], 0..200),
        buffer in 1_usize..40,
    ) {
        for format in [Format::Json, Format::Ndjson, Format::Csv] {
            if let Some(found) = records(&bytes, buffer, format, Cell::Guess) {
                prop_assert!(found.len() <= bytes.len() + 1, "{} records from {} bytes", found.len(), bytes.len());
            }
        }
    }
}
