//! Reads settings out of the file and the environment, and collects every problem instead of stopping at the first.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::{
    problem::{Problem, find_nearest},
    setting::Setting,
};

/// What all readers of one configuration share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
    /// Every variable that some setting looked for.
    known_variables: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(text: &'a str, environment: &'a BTreeMap<String, String>) -> Self {
        let (known_variables, problems) = (RefCell::default(), RefCell::default());
        Self { text, environment, known_variables, problems }
    }

    pub(super) fn report(&self, path: impl Into<String>, line: usize, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { path: path.into(), line, message: message.into() });
    }

    fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Reports every variable that no setting asked for, and returns all problems in the order of their lines.
    pub(super) fn finish(self) -> Vec<Problem> {
        let known = self.known_variables.into_inner();
        let mut problems = self.problems.into_inner();
        for name in self.environment.keys().filter(|name| !known.contains(*name)) {
            let message = match find_nearest(name, known.iter().map(String::as_str)) {
                Some(nearest) => format!("this variable is not known; did you mean {nearest}?"),
                None => "this variable is not known".to_owned(),
            };
            problems.push(Problem { path: name.clone(), line: 0, message });
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// Reads one table. Every key that is asked for becomes a known key; [`Reader::finish`] reports the others.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    context: &'a Context<'a>,
    table: Option<&'a DeTable<'a>>,
    path: String,
    /// The prefix of this table's variables, such as `LARDER_REDIS__`; `None` inside lists, which have none.
    variable: Option<String>,
    line: usize,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// The reader of the whole file.
    pub(super) fn root(context: &'a Context<'a>, table: &'a DeTable<'a>) -> Self {
        let variable = Some("LARDER_".to_owned());
        Self { context, table: Some(table), path: String::new(), variable, line: 1, known: Vec::new() }
    }

    /// Reads a setting; `None` when it is neither in the environment nor in the file, or is wrong (and reported).
    pub(super) fn find<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        self.context.known_variables.borrow_mut().extend(self.variable_of(key));
        if let Some((name, text)) = self.find_variable(key) {
            return T::from_text(text).map_err(|message| self.context.report(name, 0, message)).ok();
        }
        let value = self.table?.get(key)?;
        T::from_toml(value.get_ref()).map_err(|message| self.report_at(key, value, message)).ok()
    }

    /// Reads a setting that has a default.
    pub(super) fn get<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.find(key).unwrap_or(default)
    }

    /// Reads a setting that must be there.
    pub(super) fn require<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let missing = self.table.is_none_or(|table| !table.contains_key(key));
        let value = self.find(key);
        if missing {
            self.report(key, "is missing");
        }
        value
    }

    /// Reads a scalar of any type as text: the default of a variable whose type is declared beside it.
    pub(super) fn find_scalar(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(yes) => yes.to_string(),
            DeValue::Datetime(instant) => instant.to_string(),
            DeValue::Array(_) | DeValue::Table(_) => {
                self.report_at(key, value, "must be a single value".to_owned());
                return None;
            }
        };
        Some(text)
    }

    /// The reader of a nested table, present or not.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        self.known.push(key);
        let value = self.table.and_then(|table| table.get(key));
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.report_at(key, value, "must be a table".to_owned());
            }
            table
        });
        let variable = self.variable.as_ref().map(|prefix| format!("{prefix}{}__", key.to_uppercase()));
        Self {
            context: self.context,
            table,
            path: self.path_of(key),
            variable,
            line: value.map_or(self.line, |value| self.context.line_at(value.span().start)),
            known: Vec::new(),
        }
    }

    /// The readers of a list of tables (`[[key]]`).
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        self.known.push(key);
        let Some(value) = self.table.and_then(|table| table.get(key)) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.report_at(key, value, format!("must be a list of tables; write [[{key}]]"));
            return Vec::new();
        };
        let mut readers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            let line = self.context.line_at(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => readers.push(Self {
                    context: self.context,
                    table: Some(table),
                    path,
                    variable: None,
                    line,
                    known: Vec::new(),
                }),
                None => self.context.report(path, line, "must be a table"),
            }
        }
        readers
    }

    /// The line on which this table begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Reports a problem with a setting of this table, where its value is from: the variable, or the line.
    pub(super) fn report(&self, key: &str, message: impl Into<String>) {
        if let Some((name, _)) = self.find_variable(key) {
            return self.context.report(name, 0, message);
        }
        let line =
            self.table.and_then(|table| table.get(key)).map(|value| self.context.line_at(value.span().start));
        self.context.report(self.path_of(key), line.unwrap_or(self.line), message);
    }

    /// Reports every key that nobody asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let message = match find_nearest(name, self.known.iter().copied()) {
                Some(nearest) => format!("unknown key; did you mean \"{nearest}\"?"),
                None => format!("unknown key; the keys here are {}", self.known.join(", ")),
            };
            self.context.report(self.path_of(name), self.context.line_at(key.span().start), message);
        }
    }

    fn find_variable(&self, key: &str) -> Option<(String, &'a str)> {
        let name = self.variable_of(key)?;
        let text = self.context.environment.get(&name)?;
        Some((name, text))
    }

    fn variable_of(&self, key: &str) -> Option<String> {
        Some(format!("{}{}", self.variable.as_ref()?, key.to_uppercase()))
    }

    fn report_at(&self, key: &str, value: &Spanned<DeValue<'_>>, message: String) {
        self.context.report(self.path_of(key), self.context.line_at(value.span().start), message);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
