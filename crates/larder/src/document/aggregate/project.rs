//! `$project`, `$unset`, `$addFields` and `$unwind`: one document in, changed documents out.

use bson::{Bson, Document, RawDocumentBuf};

use super::{config, expression::Expression, run::Flow};
use crate::{
    Result,
    document::{
        ingest::{excerpt, name_fault},
        path::Path,
        project::Projection,
        raw::Malformed,
        write,
    },
};

/// A change of the shape of documents.
#[derive(Clone, Debug)]
pub(crate) enum Reshape {
    /// Keeps paths and adds computed fields behind them.
    Include { kept: Vec<String>, without_id: bool, computed: Vec<(String, Expression)> },
    /// Takes paths away.
    Exclude(Vec<Vec<String>>),
    /// Adds or replaces fields.
    Add(Vec<(Vec<String>, Expression)>),
}

impl Reshape {
    pub(super) fn read_project(spec: &Document) -> Result<Self> {
        let mut kept = Vec::new();
        let mut excluded = Vec::new();
        let mut computed = Vec::new();
        let mut id = None;
        read_project_level(spec, "", &mut |path: &str, value: &Bson| {
            match switch(value) {
                Some(on) if path == "_id" => id = Some(on),
                Some(true) => kept.push(path.to_owned()),
                Some(false) => excluded.push(path.to_owned()),
                None if path.contains('.') => {
                    return Err(config(format!(
                        "$project: `{}` cannot be computed inside an object",
                        excerpt(path)
                    )));
                }
                None => computed.push((path.to_owned(), Expression::read(value)?)),
            }
            Ok(())
        })?;
        match (kept.is_empty() && computed.is_empty(), excluded.is_empty()) {
            (false, false) => Err(config("$project cannot both keep and leave out fields")),
            (true, true) if id == Some(true) => {
                Ok(Self::Include { kept: vec!["_id".to_owned()], without_id: false, computed })
            }
            (true, _) => {
                if id == Some(false) {
                    excluded.push("_id".to_owned());
                }
                if excluded.is_empty() {
                    return Err(config("$project is empty"));
                }
                Ok(Self::Exclude(excluded.iter().map(|path| split(path)).collect()))
            }
            (false, true) => Ok(Self::Include { kept, without_id: id == Some(false), computed }),
        }
    }

    pub(super) fn read_unset(spec: &Bson) -> Result<Self> {
        let paths = match spec {
            Bson::String(path) => vec![path.as_str()],
            Bson::Array(paths) => paths.iter().filter_map(Bson::as_str).collect(),
            _ => Vec::new(),
        };
        paths.iter().try_for_each(|path| check_path("$unset", path))?;
        if paths.is_empty() {
            return Err(config("$unset needs the names of fields"));
        }
        Ok(Self::Exclude(paths.into_iter().map(split).collect()))
    }

    pub(super) fn read_add(spec: &Document) -> Result<Self> {
        let mut fields = Vec::new();
        read_added(&[], spec, &mut fields)?;
        Ok(Self::Add(fields))
    }

    pub(super) fn apply(&self, row: &RawDocumentBuf) -> Result<RawDocumentBuf> {
        match self {
            Self::Include { kept, without_id, computed } => {
                let mut document = parse(&Projection::new(kept).apply(row)?)?;
                if *without_id {
                    document.remove("_id");
                }
                for (name, expression) in computed {
                    // A computed field comes last, also where it replaces one.
                    document.remove(name);
                    if let Some(value) = expression.evaluate(row.as_bytes())? {
                        document.insert(name, value);
                    }
                }
                write::to_raw(&document)
            }
            Self::Exclude(paths) => {
                let mut document = parse(row)?;
                paths.iter().for_each(|path| exclude(&mut document, path));
                write::to_raw(&document)
            }
            Self::Add(fields) => {
                let mut document = parse(row)?;
                for (path, expression) in fields {
                    match expression.evaluate(row.as_bytes())? {
                        Some(value) => set(&mut document, path, value),
                        None => exclude(&mut document, path),
                    }
                }
                write::to_raw(&document)
            }
        }
    }
}

/// Adds the fields of a document of names, each with its path. One inside of another sets what it names, and leaves what else there is.
fn read_added(above: &[String], spec: &Document, fields: &mut Vec<(Vec<String>, Expression)>) -> Result<()> {
    for (path, value) in spec {
        check_path("$addFields", path)?;
        let path = [above, &split(path)].concat();
        match value
            .as_document()
            .filter(|inner| !inner.is_empty() && !inner.keys().any(|key| key.starts_with('$')))
        {
            Some(inner) => read_added(&path, inner, fields)?,
            None => fields.push((path, Expression::read(value)?)),
        }
    }
    Ok(())
}

fn parse(row: &RawDocumentBuf) -> Result<Document> {
    Document::try_from(row.as_ref()).map_err(|_| Malformed.into())
}

fn split(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

fn check_path(stage: &str, path: &str) -> Result<()> {
    match path.split('.').find_map(name_fault) {
        Some(fault) => Err(config(format!("{stage}: `{}`: {fault}", excerpt(path)))),
        None => Ok(()),
    }
}

/// Whether a value of `$project` keeps (`1`, `true`) or leaves out (`0`, `false`); `None` for expressions.
fn switch(value: &Bson) -> Option<bool> {
    match value {
        Bson::Boolean(on) => Some(*on),
        Bson::Int32(number) => Some(*number != 0),
        Bson::Int64(number) => Some(*number != 0),
        Bson::Double(number) => Some(*number != 0.0),
        _ => None,
    }
}

/// Visits every path; an object without operators is a level of its own.
fn read_project_level(
    spec: &Document,
    prefix: &str,
    visit: &mut dyn FnMut(&str, &Bson) -> Result<()>,
) -> Result<()> {
    for (name, value) in spec {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        check_path("$project", &path)?;
        match value {
            Bson::Document(inner) if !inner.is_empty() && inner.keys().all(|name| !name.starts_with('$')) => {
                read_project_level(inner, &path, visit)?;
            }
            value => visit(&path, value)?,
        }
    }
    Ok(())
}

fn exclude(document: &mut Document, path: &[String]) {
    match path {
        [] => {}
        [name] => {
            document.remove(name);
        }
        [name, rest @ ..] => {
            if let Some(value) = document.get_mut(name) {
                exclude_inside(value, rest);
            }
        }
    }
}

fn exclude_inside(value: &mut Bson, rest: &[String]) {
    match value {
        Bson::Document(inner) => exclude(inner, rest),
        Bson::Array(items) => items.iter_mut().for_each(|item| exclude_inside(item, rest)),
        _ => {}
    }
}

/// What stands there, if all that stands on the way are documents.
fn nested<'a>(document: &'a Document, path: &[String]) -> Option<&'a Bson> {
    match path {
        [] => None,
        [name] => document.get(name),
        [name, rest @ ..] => nested(document.get(name)?.as_document()?, rest),
    }
}

/// Sets a value; what stands on the way and is no document becomes one, an array is entered.
fn set(document: &mut Document, path: &[String], value: Bson) {
    match path {
        [] => {}
        [name] => {
            document.insert(name, value);
        }
        [name, rest @ ..] => {
            let mut inner = document.get(name).cloned().unwrap_or(Bson::Null);
            set_inside(&mut inner, rest, value);
            document.insert(name, inner);
        }
    }
}

fn set_inside(place: &mut Bson, rest: &[String], value: Bson) {
    match place {
        Bson::Document(inner) => set(inner, rest, value),
        Bson::Array(items) => items.iter_mut().for_each(|item| set_inside(item, rest, value.clone())),
        other => {
            let mut inner = Document::new();
            set(&mut inner, rest, value);
            *other = Bson::Document(inner);
        }
    }
}

/// `$unwind`: one document for each element of an array.
#[derive(Clone, Debug)]
pub(crate) struct Unwind {
    path: Path,
    /// Keeps documents whose array is empty, null or absent.
    preserve: bool,
    index: Option<String>,
}

impl Unwind {
    pub(super) fn read(spec: &Bson) -> Result<Self> {
        let (path, preserve, index) = match spec {
            Bson::String(path) => (path.as_str(), false, None),
            Bson::Document(options) => {
                let known = ["path", "preserveNullAndEmptyArrays", "includeArrayIndex"];
                if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
                    return Err(config(format!("$unwind cannot use `{}`", excerpt(name))));
                }
                let path = options.get_str("path").map_err(|_| config("$unwind needs a `path`"))?;
                let index = options.get_str(known[2]).ok().map(str::to_owned);
                if let Some(index) = &index {
                    check_path("$unwind", index)?;
                }
                (path, options.get_bool(known[1]).unwrap_or(false), index)
            }
            _ => return Err(config("$unwind needs a path such as \"$tags\"")),
        };
        Ok(Self { path: Path::new(super::expression::field_path(path)?), preserve, index })
    }

    /// Makes the documents that come out of one, and has each taken before the next is made, until there are enough.
    pub(super) fn apply(
        &self,
        row: &RawDocumentBuf,
        mut take: impl FnMut(RawDocumentBuf) -> Result<Flow>,
    ) -> Result<Flow> {
        let path: Vec<String> = self.path.parts().iter().map(|part| part.to_string()).collect();
        let mut document = parse(row)?;
        let items = match nested(&document, &path).cloned() {
            Some(Bson::Array(items)) if !items.is_empty() => items,
            Some(Bson::Array(_)) => {
                exclude(&mut document, &path);
                return self.preserved(document, take);
            }
            None | Some(Bson::Null | Bson::Undefined) => return self.preserved(document, take),
            Some(_) => return take(self.indexed(document, Bson::Null)?),
        };
        // So that not every copy has the whole array first.
        set(&mut document, &path, Bson::Null);
        for (index, item) in items.into_iter().enumerate() {
            let mut document = document.clone();
            set(&mut document, &path, item);
            if take(self.indexed(document, Bson::Int64(index as i64))?)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }

    fn preserved(
        &self,
        document: Document,
        mut take: impl FnMut(RawDocumentBuf) -> Result<Flow>,
    ) -> Result<Flow> {
        if self.preserve { take(self.indexed(document, Bson::Null)?) } else { Ok(Flow::More) }
    }

    fn indexed(&self, mut document: Document, index: Bson) -> Result<RawDocumentBuf> {
        if let Some(name) = &self.index {
            set(&mut document, &split(name), index);
        }
        write::to_raw(&document)
    }
}
