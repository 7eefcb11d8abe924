//! Named aggregations: pipelines that live in the configuration, with typed variables.

use std::collections::BTreeMap;

use bson::{Bson, DateTime, Decimal128, Document, doc, oid::ObjectId};

use super::{
    FieldType,
    aggregate::{count_of, read_stages},
    ingest::excerpt,
};
use crate::{Error, ErrorKind, Result};

/// The name that stands for a variable: `{"$var": "name"}`.
const VARIABLE: &str = "$var";

/// A variable of a pipeline. In the stages it stands as `{"$var": "name"}`.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type; the text in a request is read as this.
    pub field_type: FieldType,
    /// The value when a request does not give one; a variable without a default is required.
    pub default: Option<Bson>,
}

impl Variable {
    /// Reads a value from the text of a request.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the variable.
    pub fn read(&self, text: &str) -> Result<Bson> {
        self.field_type.read_text(text).map_err(|error| error.with_field(&self.name))
    }

    /// Some value of its type, to read the stages with before there is a real one.
    fn sample(&self) -> Result<Bson> {
        if let Some(default) = &self.default {
            return Ok(default.clone());
        }
        match self.field_type {
            FieldType::String => Ok(Bson::String("text".to_owned())),
            FieldType::Int => Ok(Bson::Int32(1)),
            FieldType::Double => Ok(Bson::Double(1.0)),
            FieldType::Decimal => Ok(Bson::Decimal128(Decimal128::from_bytes([0; 16]))),
            FieldType::Bool => Ok(Bson::Boolean(true)),
            FieldType::Date => Ok(Bson::DateTime(DateTime::from_millis(0))),
            FieldType::ObjectId => Ok(Bson::ObjectId(ObjectId::from_bytes([0; 12]))),
            FieldType::Object | FieldType::Array(_) | FieldType::Any => {
                let message = format!("the variable `{}` must have a plain type", excerpt(&self.name));
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }
}

/// A named aggregation over one collection.
///
/// Stages: `$match`, `$sort`, `$limit`, `$skip`, `$project`, `$addFields` (`$set`), `$unset`, `$unwind`, `$group` and
/// `$count`. Accumulators: `$sum`, `$avg`, `$min`, `$max`, `$first`, `$last`, `$push`, `$addToSet` and `$count`.
/// Expressions: fields, literals, `$$ROOT`, `$add`, `$subtract`, `$multiply`, `$divide`, `$round`, `$ifNull`, `$cond`,
/// comparisons, `$and`, `$or`, `$not`, `$concat` and `$size`. In `$match`: `$and`, `$or`, comparisons, `$in`, `$nin` and
/// `$exists`. Anything else is refused when the pipeline is declared, for MongoDB as for SQLite.
///
/// ```
/// use bson::doc;
/// use larder::document::{FieldType, Pipeline, Variable};
/// let dearest = Pipeline::new(
///     "dearest",
///     vec![doc! { "$match": { "category": { "$var": "category" } } }, doc! { "$sort": { "price": -1 } }, doc! { "$limit": 3 }],
///     vec![Variable { name: "category".into(), field_type: FieldType::String, default: None }],
/// )?;
/// assert_eq!(dearest.name(), "dearest");
/// assert!(Pipeline::new("bad", vec![doc! { "$out": "other" }], vec![]).is_err());
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pipeline {
    name: String,
    stages: Vec<Document>,
    variables: Vec<Variable>,
}

impl Pipeline {
    /// Checks the stages and their variables.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the stage or operator that is not allowed, or the variable that is not declared.
    pub fn new(name: impl Into<String>, stages: Vec<Document>, variables: Vec<Variable>) -> Result<Self> {
        let pipeline = Self { name: name.into(), stages, variables };
        let context = format!("pipeline {}", pipeline.name);
        pipeline.check().map_err(|error| error.context(context))?;
        Ok(pipeline)
    }

    fn check(&self) -> Result<()> {
        let samples: Result<BTreeMap<String, Bson>> =
            self.variables.iter().map(|variable| Ok((variable.name.clone(), variable.sample()?))).collect();
        let bound = self.bind(&samples?).map_err(|error| {
            Error::new(
                ErrorKind::Config,
                format!("`{}` {}", error.field().unwrap_or(VARIABLE), error.message()),
            )
        })?;
        read_stages(&bound).map(|_| ())
    }

    /// The name it is called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The stages with every variable replaced by its value. Outside `$match` a value stands as `$literal`, so that
    /// no text is taken for a field or an operator.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming a variable that is missing or unknown, or whose value has another type or cannot be the
    /// number of documents that `$limit` (at least 1) or `$skip` (at least 0) needs.
    pub fn bind(&self, values: &BTreeMap<String, Bson>) -> Result<Vec<Document>> {
        if let Some(unknown) =
            values.keys().find(|name| !self.variables.iter().any(|variable| variable.name == **name))
        {
            return Err(Error::invalid(excerpt(unknown), "is not a variable of this query"));
        }
        self.stages.iter().map(|stage| self.bind_stage(stage, values)).collect()
    }

    fn bind_stage(&self, stage: &Document, values: &BTreeMap<String, Bson>) -> Result<Document> {
        let bind = |(operator, spec): (&String, &Bson)| {
            let is_count = matches!(operator.as_str(), "$limit" | "$skip");
            let bound = self.bind_value(spec, values, !is_count && operator != "$match")?;
            if is_count && let Some(name) = variable_in(spec) {
                count_of(operator, &bound).map_err(|demand| Error::invalid(name, demand))?;
            }
            Ok((operator.clone(), bound))
        };
        stage.iter().map(bind).collect()
    }

    fn bind_value(&self, value: &Bson, values: &BTreeMap<String, Bson>, literal: bool) -> Result<Bson> {
        match value {
            Bson::Document(reference) if reference.contains_key(VARIABLE) => {
                let bound = self.value_of(reference, values)?;
                Ok(if literal { doc! { "$literal": bound }.into() } else { bound })
            }
            Bson::Document(document) => {
                let bind = |(name, value): (&String, &Bson)| {
                    Ok((name.clone(), self.bind_value(value, values, literal)?))
                };
                Ok(Bson::Document(document.iter().map(bind).collect::<Result<_>>()?))
            }
            Bson::Array(items) => {
                let bind = |item: &Bson| self.bind_value(item, values, literal);
                Ok(Bson::Array(items.iter().map(bind).collect::<Result<_>>()?))
            }
            other => Ok(other.clone()),
        }
    }

    fn value_of(&self, reference: &Document, values: &BTreeMap<String, Bson>) -> Result<Bson> {
        let name = reference.get_str(VARIABLE).ok().filter(|_| reference.len() == 1);
        let name =
            name.ok_or_else(|| Error::invalid(VARIABLE, "must stand alone, with the name of a variable"))?;
        let variable = self.variables.iter().find(|variable| variable.name == name);
        let variable = variable.ok_or_else(|| Error::invalid(excerpt(name), "is not a declared variable"))?;
        let value = values.get(name).or(variable.default.as_ref());
        let value = value.ok_or_else(|| Error::invalid(name, "is required"))?;
        // A document or an array as a value could hold operators.
        let plain = !matches!(value, Bson::Document(_) | Bson::Array(_) | Bson::RegularExpression(_));
        if !plain || !variable.field_type.takes(value.element_type()) {
            return Err(Error::invalid(name, variable.field_type.demand()));
        }
        Ok(value.clone())
    }
}

/// The variable that stands there, if one does.
fn variable_in(spec: &Bson) -> Option<&str> {
    spec.as_document()?.get_str(VARIABLE).ok()
}
