//! A declaration to begin with, for people who come with a file and no configuration.

use std::{collections::HashSet, fmt::Write, io::BufRead};

use larder::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::{
    args::ImportArgs,
    columns::Cell,
    infer::{Fields, Place, Seen, is_odd},
    input::Input,
    record::Records,
    unreadable,
};
use crate::config::name_fault;

/// So many documents are looked at.
const LOOKED_AT: u64 = 1_000;

/// So many fields can be filtered and sorted by from the start: each has an index, which every write pays for.
const INDEXED: usize = 6;

/// Longer texts are read, not searched.
const LONGEST_FILTERED: usize = 64;

/// A configuration that declares the collection and fits the first documents of the file.
///
/// # Errors
/// `ErrorKind::Config` if no collection can have this name, if the input cannot be read or has no document.
pub(crate) fn declare(args: &ImportArgs) -> Result<String> {
    if let Some(fault) = name_fault(&args.collection) {
        let message = format!("\"{}\" {fault}", args.collection.escape_debug());
        return Err(Error::new(ErrorKind::Config, message).with_field("COLLECTION"));
    }
    let input = Input::open(args).map_err(|error| unreadable(args, error))?;
    let guess = |_: &str| Ok(Cell::Guess);
    let records = Records::new(input.reader, input.format, input.has_comments, guess);
    declaration(args, records.map_err(|error| unreadable(args, error))?)
}

/// As [`declare`], from records.
pub(super) fn declaration<R: BufRead>(args: &ImportArgs, mut records: Records<R>) -> Result<String> {
    let mut root = Fields::default();
    let mut ids = Ids::default();
    while root.documents < LOOKED_AT
        && let Some(record) = records.next().map_err(|error| unreadable(args, error))?
    {
        if let Some(Value::Object(document)) =
            record.json_by(args.id.as_deref()).ok().and_then(|json| serde_json::from_slice(&json).ok())
        {
            ids.add(&document);
            root.add(&document);
        }
    }
    if root.documents == 0 {
        let file = args.file.display().to_string();
        let message = match &args.id {
            Some(id) => format!("no JSON document with a field `{id}` and no `_id` was found in it"),
            None => "no JSON document was found in it".to_owned(),
        };
        return Err(Error::new(ErrorKind::Config, message).with_field(file));
    }
    // A column that is empty so far is one all the same.
    let columns = records.columns().iter().filter(|name| Some(*name) != args.id.as_ref());
    columns.for_each(|name| root.expect(name));
    Ok(configuration(args, &root, ids.are_unique(root.documents)))
}

/// What stood in the field `id`, which is what other systems call it.
#[derive(Debug, Default)]
struct Ids {
    seen: HashSet<String>,
    /// A document has an `_id` of its own.
    have_another: bool,
}

impl Ids {
    fn add(&mut self, document: &Map<String, Value>) {
        self.have_another |= document.contains_key("_id");
        if let Some(id @ (Value::String(_) | Value::Number(_))) = document.get("id") {
            self.seen.insert(id.to_string());
        }
    }

    /// Whether each of so many documents has one that no other has, and nothing better.
    fn are_unique(&self, documents: u64) -> bool {
        !self.have_another && self.seen.len() as u64 == documents
    }
}

fn configuration(args: &ImportArgs, root: &Fields, has_unique_id: bool) -> String {
    let (name, file, count) = (&args.collection, args.file.display(), root.documents);
    let by_id = args.id.as_ref().map(|id| format!(" --id {id}")).unwrap_or_default();
    let hint = if has_unique_id {
        "# Each has a field `id` of its own, and none an `_id`. Begin with `--id id` to have it as the `_id`: addresses are\n\
         # then /v1/NAME/ID, and a second import replaces the documents (--upsert).\n"
    } else {
        ""
    };
    let id = match root.fields.get("_id").map(|place| &place.seen) {
        Some(Seen::Int) => "int",
        None | Some(Seen::ObjectId | Seen::ObjectIdText) => "objectId",
        Some(_) => "string",
    };
    let mut text = format!(
        "# Made from the first {count} documents of {file}. Read it through, save it as larder.toml, then:\n\
         #   larder --config larder.toml import {name} {file}{by_id}\n\
         #   larder --config larder.toml\n\
         {hint}\n\
         [auth]\n\
         open = true                     # on this machine only; `larder config` shows keys and roles\n\n\
         [[collection]]\n\
         name = {}\n\
         id = \"{id}\"\n",
        quoted(name)
    );
    let mut indexes = INDEXED;
    for (name, place) in root.fields.iter().filter(|(name, _)| *name != "_id") {
        if is_odd(name) {
            let _ = writeln!(
                text,
                "\n# {} cannot be declared, and a document with it not imported: a name is not empty, has no point, and\n\
                 # does not begin with \"$\".",
                quoted(name)
            );
            continue;
        }
        field(&mut text, name, place, root.documents, Some(&mut indexes));
    }
    text
}

/// Writes a field and those below it. `indexes` counts down; `None` below an array.
fn field(text: &mut String, path: &str, place: &Place, documents: u64, mut indexes: Option<&mut usize>) {
    let _ = write!(
        text,
        "\n[[collection.field]]\npath = {}\ntype = \"{}\"\n",
        quoted(path),
        type_name(&place.seen)
    );
    if place.documents == documents && place.seen != Seen::Nothing && !path.contains('.') {
        text.push_str("required = true\n");
    }
    if let Some(left) = indexes.as_deref_mut().filter(|left| **left > 0 && is_short(place)) {
        *left -= 1;
        text.push_str("filter = true\n");
        if place.seen != Seen::Bool {
            text.push_str("sort = true\n");
        }
    } else if place.seen == Seen::String && indexes.is_some() {
        text.push_str("# search = true                 # ?FIELD=text.some words; an index of its words\n");
    }
    let (fields, indexes) = match &place.seen {
        Seen::Object(fields) => (fields, indexes),
        Seen::Array(element) => match element.as_ref() {
            Seen::Object(fields) => (fields, None),
            _ => return,
        },
        _ => return,
    };
    if fields.is_map() {
        return;
    }
    let mut indexes = indexes;
    for (name, inner) in &fields.fields {
        field(text, &format!("{path}.{name}"), inner, fields.documents, indexes.as_deref_mut());
    }
}

/// Whether people would search for it.
fn is_short(place: &Place) -> bool {
    match place.seen {
        Seen::String => place.longest <= LONGEST_FILTERED,
        Seen::Bool | Seen::Int | Seen::Double | Seen::Decimal => true,
        Seen::Date | Seen::DateText | Seen::ObjectId | Seen::ObjectIdText => true,
        Seen::Nothing | Seen::Object(_) | Seen::Array(_) | Seen::Mixed => false,
    }
}

fn type_name(seen: &Seen) -> String {
    match seen {
        Seen::Nothing | Seen::Mixed => "any".to_owned(),
        Seen::Bool => "bool".to_owned(),
        Seen::Int => "int".to_owned(),
        Seen::Double => "double".to_owned(),
        Seen::Decimal => "decimal".to_owned(),
        Seen::Date | Seen::DateText => "date".to_owned(),
        Seen::ObjectId | Seen::ObjectIdText => "objectId".to_owned(),
        Seen::String => "string".to_owned(),
        Seen::Object(_) => "object".to_owned(),
        Seen::Array(element) => format!("array<{}>", type_name(element)),
    }
}

/// Text as a TOML string; its escapes are those of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
