//! What holds for every input: nothing is lost, nothing is added, and no bytes stop the readers.

use std::io::BufReader;

use proptest::prelude::*;
use serde_json::Value;

use super::{columns::Cell, format::Format, record::Records};

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
