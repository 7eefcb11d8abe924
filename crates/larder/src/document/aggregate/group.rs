//! `$group`: documents with one key are one.

use std::collections::HashMap;

use bson::{Bson, Document, RawDocumentBuf};

use super::{
    accumulate::{Accumulator, AccumulatorKind},
    config,
    expression::Expression,
};
use crate::{
    Result,
    document::{ingest::excerpt, order::key_of_bson, write},
};

/// The declaration of a `$group`.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    id: Expression,
    fields: Vec<(String, AccumulatorKind, Expression)>,
}

impl Group {
    pub(super) fn read(spec: &Document) -> Result<Self> {
        let id = spec.get("_id").ok_or_else(|| config("$group needs an `_id`"))?;
        let mut fields = Vec::new();
        for (name, value) in spec {
            if name == "_id" {
                continue;
            }
            let accumulator = match value {
                Bson::Document(accumulator) if accumulator.len() == 1 => accumulator.iter().next(),
                _ => None,
            };
            let Some((operator, operand)) =
                accumulator.filter(|_| !name.contains('.') && !name.starts_with('$'))
            else {
                return Err(config(format!("$group: `{}` must be one accumulator", excerpt(name))));
            };
            let kind = AccumulatorKind::named(operator)?;
            let expression = match kind {
                AccumulatorKind::Count if *operand != Bson::Document(Document::new()) => {
                    return Err(config("`$count` takes an empty object"));
                }
                _ => Expression::read(operand)?,
            };
            fields.push((name.clone(), kind, expression));
        }
        Ok(Self { id: Expression::read(id)?, fields })
    }
}

/// The groups met so far, in the order of their first documents.
#[derive(Debug, Default)]
pub(super) struct Groups {
    places: HashMap<Vec<u8>, usize>,
    groups: Vec<(Bson, Vec<Accumulator>)>,
}

impl Groups {
    /// Takes one document in. Answers about how many more bytes are held.
    pub(super) fn take(&mut self, spec: &Group, document: &[u8]) -> Result<usize> {
        let id = spec.id.evaluate_or_null(document)?;
        let key = key_of_bson(&id)?;
        let mut held = 0;
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                held += 2 * key.len() + spec.fields.len() * size_of::<Accumulator>() + 64;
                self.places.insert(key, self.groups.len());
                self.groups.push((id, spec.fields.iter().map(|(_, kind, _)| kind.start()).collect()));
                self.groups.len() - 1
            }
        };
        for (accumulator, (_, _, expression)) in self.groups[place].1.iter_mut().zip(&spec.fields) {
            held += accumulator.take(expression.evaluate(document)?)?;
        }
        Ok(held)
    }

    /// One document for each group.
    pub(super) fn finish(self, spec: &Group) -> impl Iterator<Item = Result<RawDocumentBuf>> {
        self.groups.into_iter().map(|(id, accumulators)| {
            let mut document = Document::new();
            document.insert("_id", id);
            for ((name, _, _), accumulator) in spec.fields.iter().zip(accumulators) {
                document.insert(name, accumulator.finish());
            }
            write::to_raw(&document)
        })
    }
}
