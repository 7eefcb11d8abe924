//! Bodies: orders, arrays that are cut, and the names of fields.

use bson::{Bson, Document};
use hyper::StatusCode;
use larder::document::{IdType, MAX_DEPTH, Schema};
use serde_json::{Value, value::RawValue};

use crate::routes::{
    View,
    elements::{self, Fault},
    purge::order,
    writable,
};

/// An order that is understood is understood as the same again when it is written anew, and names what it is about.
pub fn purge(data: &[u8]) {
    let Ok(order) = order::read(data) else { return };
    assert!(!order.collection.is_empty());
    assert!(
        order.all || order.pattern.is_some() || !order.keys.is_empty() || !order.tags.is_empty(),
        "{order:?}"
    );
    let mut members = serde_json::json!({
        "collection": order.collection,
        "keys": order.keys,
        "tags": order.tags,
        "all": order.all,
        "mode": if order.soft { "soft" } else { "hard" },
    });
    if let Some(pattern) = &order.pattern {
        members["pattern"] = pattern.as_str().into();
    }
    let again = order::read(members.to_string().as_bytes());
    assert_eq!(again.ok(), Some(order));
}

/// The elements of an array are those that serde_json finds, and no more than may be.
pub fn elements(data: &[u8]) {
    let whole = serde_json::from_slice::<Vec<&RawValue>>(data).ok();
    let whole = whole.map(|whole| whole.into_iter().map(RawValue::get).collect::<Vec<_>>());
    for most in [usize::MAX, data.len() % 4] {
        match (elements::elements(data, most), &whole) {
            (Ok(found), whole) => {
                assert!(found.len() <= most);
                assert_eq!(Some(&found), whole.as_ref());
            }
            (Err(Fault::TooMany), Some(whole)) => assert!(whole.len() > most),
            (Err(Fault::TooMany), None) => assert!(most < data.len()),
            (Err(Fault::Syntax(error)), whole) => assert_eq!(whole, &None, "{error}"),
        }
    }
    if let (Ok(values), Some(whole)) = (serde_json::from_slice::<Vec<Value>>(data), whole) {
        let read: Vec<Value> =
            whole.iter().map(|text| serde_json::from_str(text).expect("an element")).collect();
        assert_eq!(read, values);
    }
}

/// What is let through writes no field that it may not, what is refused for a field has it, and what is JSON is not refused as none.
pub fn writable(data: &[u8]) {
    let hides = View::new(None, vec!["cost".to_owned(), "maker.margin".to_owned()]);
    let lists = View::new(Some(vec!["name".to_owned(), "maker.country".to_owned()]), Vec::new());
    for writes in [hides, lists] {
        let checked = writable::check(&writes, data).map_err(|refusal| refusal.status());
        if serde_json::from_slice::<Value>(data).is_ok() {
            assert!(matches!(checked, Ok(()) | Err(StatusCode::FORBIDDEN)), "{checked:?}");
        }
        let schema = Schema::new("things", IdType::String).strict(false);
        if let Ok(document) = schema.read_document(data) {
            let unseen = unseen(&writes, &document, "", 1);
            assert_eq!(
                checked,
                if unseen.is_some() { Err(StatusCode::FORBIDDEN) } else { Ok(()) },
                "{unseen:?}"
            );
        }
    }
}

/// The first path in a document, as it was read, that may not be written.
fn unseen(writes: &View, document: &Document, below: &str, depth: u32) -> Option<String> {
    document.iter().find_map(|(name, value)| {
        let path = if below.is_empty() { name.clone() } else { format!("{below}.{name}") };
        match value {
            Bson::Document(inner) if !inner.is_empty() && depth < MAX_DEPTH => {
                unseen(writes, inner, &path, depth + 1)
            }
            _ => (!writes.sees(&path)).then_some(path),
        }
    })
}
