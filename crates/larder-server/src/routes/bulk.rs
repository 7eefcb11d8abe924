//! `POST /v1/{collection}/bulk`: many new documents, each with its own outcome.

use bson::Document;
use hyper::{StatusCode, body::Incoming, http::request::Parts};
use larder::document::Id;
use serde_json::{Value, json};

use crate::{
    app::App,
    config::Verb,
    routes::{
        Answer, Refusal,
        body::{self, BodyLimit, MediaType},
        call::Call,
        elements::{Fault, elements},
        fresh, input,
    },
};

/// Creates the documents of a JSON array or of lines. One that is wrong does not keep out the others: the answer has an
/// outcome for each, in their order.
///
/// # Errors
/// 400 if the body cannot be cut into documents, 413 for more than is taken at once, 415 for another media type; and
/// what the database refuses as a whole.
pub(crate) async fn insert(
    app: &App,
    head: &Parts,
    name: &str,
    incoming: Incoming,
) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Create)?;
    let media_type = MediaType::of(&head.headers, &[MediaType::Json, MediaType::Lines])?;
    let body = body::read(app, &head.headers, incoming, BodyLimit::Bulk).await?;
    let most = app.limits.max_bulk_items as usize;
    let cut = match media_type {
        MediaType::Lines => lines(&body, most),
        MediaType::Json | MediaType::MergePatch => {
            elements(&body, most).map(|texts| texts.into_iter().map(str::as_bytes).collect())
        }
    };
    let texts: Vec<&[u8]> = cut.map_err(|fault| refuse(&fault, most))?;

    // What cannot be read is answered in its place; the rest goes to the database together.
    let mut outcomes: Vec<Option<Value>> = Vec::with_capacity(texts.len());
    let mut documents: Vec<Document> = Vec::with_capacity(texts.len());
    let mut place = Place { body: &body, ..Place::default() };
    for text in texts {
        match input::document(&call, None, text) {
            Ok(document) => {
                documents.push(document);
                outcomes.push(None);
            }
            Err(refusal) => {
                place.advance_to(text);
                outcomes.push(Some(failed(&refusal.behind(place.lines, place.bytes))));
            }
        }
    }
    let inserted = match documents.is_empty() {
        true => Vec::new(),
        false => {
            let collection = &call.resource.collection;
            collection.insert_many(&documents).await.map_err(|error| call.refuse(error))?
        }
    };
    let created: Vec<Id> = inserted.iter().filter_map(|outcome| outcome.as_ref().ok().cloned()).collect();
    let mut inserted = inserted.into_iter();
    let items: Vec<Value> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Some(failure) => failure,
            None => match inserted.next().expect("one outcome for each document that was sent") {
                Ok(id) => json!({ "status": 201, "_id": id_json(&id) }),
                Err(error) => failed(&call.refuse(error)),
            },
        })
        .collect();
    let body = json!({ "created": created.len(), "failed": items.len() - created.len(), "items": items });
    let mut answer = fresh(StatusCode::OK, "application/json", body.to_string());
    call.insert_token_of_all(&created, answer.headers_mut());
    Ok(answer)
}

/// Where in a body a piece of it begins.
#[derive(Debug, Default)]
struct Place<'a> {
    body: &'a [u8],
    at: usize,
    /// How many lines end before it.
    lines: usize,
    /// How much stands before it in its own line.
    bytes: usize,
}

impl Place<'_> {
    /// Goes on to a later piece of the body. The body is looked through once, however many pieces there are.
    fn advance_to(&mut self, piece: &[u8]) {
        let start = piece.as_ptr().addr() - self.body.as_ptr().addr();
        for byte in &self.body[self.at..start] {
            (self.lines, self.bytes) =
                if *byte == b'\n' { (self.lines + 1, 0) } else { (self.lines, self.bytes + 1) };
        }
        self.at = start;
    }
}

fn failed(refusal: &Refusal) -> Value {
    json!({ "status": refusal.status().as_u16(), "problem": refusal.to_json() })
}

/// An id as it stands in a document.
fn id_json(id: &Id) -> Value {
    match id {
        Id::ObjectId(id) => json!({ "$oid": id.to_hex() }),
        Id::String(text) => json!(text),
        Id::Int(number) => json!(number),
    }
}

/// Lines that are not empty, at most so many.
fn lines(body: &[u8], most: usize) -> Result<Vec<&[u8]>, Fault> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let lines: Vec<&[u8]> = lines.take(most.saturating_add(1)).collect();
    if lines.len() > most { Err(Fault::TooMany) } else { Ok(lines) }
}

fn refuse(fault: &Fault, most: usize) -> Refusal {
    match fault {
        Fault::TooMany => {
            let detail =
                format!("at most {most} documents at once (limits.max_bulk_items); send them in parts");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with_field("body")
        }
        Fault::Syntax(error) => {
            let detail = format!("must be a JSON array: {error}");
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid-json", detail);
            refusal.with_position(error.line(), error.column())
        }
    }
}
