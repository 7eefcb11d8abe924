//! Named aggregations: pipelines that live in the configuration, with typed variables.

use std::collections::BTreeMap;

use bson::{Bson, Document};

use crate::{Result, document::FieldType};

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

/// A named aggregation over one collection.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub(crate) name: String,
    pub(crate) stages: Vec<Document>,
    pub(crate) variables: Vec<Variable>,
}

impl Pipeline {
    /// Checks the stages and their variables.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the stage that is unknown or unsafe (`$where`, `$function`, `$accumulator`, `$out`,
    /// `$merge`), or the variable that is not declared.
    pub fn new(name: impl Into<String>, stages: Vec<Document>, variables: Vec<Variable>) -> Result<Self> {
        Ok(Self { name: name.into(), stages, variables })
    }
    /// The name it is called by.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
    /// The stages with every variable replaced by its value.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming a variable that is missing or unknown.
    pub fn bind(&self, _values: &BTreeMap<String, Bson>) -> Result<Vec<Document>> {
        unimplemented!()
    }
}
