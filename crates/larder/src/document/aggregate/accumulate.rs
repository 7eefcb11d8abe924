//! Accumulators: what a group gathers from its documents.

use std::collections::HashSet;

use bson::Bson;

use super::{
    arithmetic::{Number, of_decimal},
    config,
};
use crate::{
    Result,
    document::{decimal::Decimal, ingest::excerpt, order::key_of_bson, raw::Malformed},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccumulatorKind {
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
    Push,
    AddToSet,
    Count,
}

impl AccumulatorKind {
    pub(super) fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "$sum" => Self::Sum,
            "$avg" => Self::Avg,
            "$min" => Self::Min,
            "$max" => Self::Max,
            "$first" => Self::First,
            "$last" => Self::Last,
            "$push" => Self::Push,
            "$addToSet" => Self::AddToSet,
            "$count" => Self::Count,
            other => return Err(config(format!("$group cannot use `{}`", excerpt(other)))),
        })
    }

    pub(super) fn start(self) -> Accumulator {
        match self {
            Self::Sum => Accumulator::Sum(Total::default()),
            Self::Avg => Accumulator::Avg(Total::default()),
            Self::Min => Accumulator::Extreme { best: None, largest: false },
            Self::Max => Accumulator::Extreme { best: None, largest: true },
            Self::First => Accumulator::First(None),
            Self::Last => Accumulator::Last(None),
            Self::Push => Accumulator::Push(Vec::new()),
            Self::AddToSet => Accumulator::AddToSet { seen: HashSet::new(), values: Vec::new() },
            Self::Count => Accumulator::Count(0),
        }
    }
}

/// What was gathered so far.
#[derive(Debug)]
pub(super) enum Accumulator {
    Sum(Total),
    Avg(Total),
    Extreme { best: Option<(Vec<u8>, Bson)>, largest: bool },
    First(Option<Bson>),
    Last(Option<Bson>),
    Push(Vec<Bson>),
    AddToSet { seen: HashSet<Vec<u8>>, values: Vec<Bson> },
    Count(i64),
}

impl Accumulator {
    /// Takes one document's value in. Answers about how many more bytes are held.
    pub(super) fn take(&mut self, value: Option<Bson>) -> Result<usize, Malformed> {
        match (self, value) {
            (Self::Count(count), _) => *count += 1,
            (Self::First(first), value) => {
                first.get_or_insert(value.unwrap_or(Bson::Null));
            }
            (Self::Last(last), value) => *last = Some(value.unwrap_or(Bson::Null)),
            (_, None) => {}
            (Self::Sum(total) | Self::Avg(total), Some(value)) => {
                if let Some(number) = Number::of(&value) {
                    total.add(number);
                }
            }
            (Self::Extreme { .. }, Some(Bson::Null | Bson::Undefined)) => {}
            (Self::Extreme { best, largest }, Some(value)) => {
                let key = key_of_bson(&value)?;
                if best.as_ref().is_none_or(|(best, _)| if *largest { key > *best } else { key < *best }) {
                    *best = Some((key, value));
                }
            }
            (Self::Push(values), Some(value)) => {
                let bytes = key_of_bson(&value)?.len() + size_of::<Bson>();
                values.push(value);
                return Ok(bytes);
            }
            (Self::AddToSet { seen, values }, Some(value)) => {
                let key = key_of_bson(&value)?;
                let bytes = 2 * key.len() + size_of::<Bson>();
                if seen.insert(key) {
                    values.push(value);
                    return Ok(bytes);
                }
            }
        }
        Ok(0)
    }

    pub(super) fn finish(self) -> Bson {
        match self {
            Self::Sum(total) => total.sum(),
            Self::Avg(total) => total.average(),
            Self::Extreme { best, .. } => best.map_or(Bson::Null, |(_, value)| value),
            Self::First(value) | Self::Last(value) => value.unwrap_or(Bson::Null),
            Self::Push(values) | Self::AddToSet { values, .. } => Bson::Array(values),
            Self::Count(count) => i32::try_from(count).map_or(Bson::Int64(count), Bson::Int32),
        }
    }
}

/// A sum in all the types at once; the widest type that came decides which of them is the answer.
#[derive(Debug, Default)]
pub(super) struct Total {
    count: i64,
    whole: i128,
    /// Doubles, with what rounding lost kept beside them, so that the order of documents does not matter.
    double: f64,
    lost: f64,
    decimal: Option<Decimal>,
    has_long: bool,
    has_double: bool,
}

impl Total {
    fn add(&mut self, number: Number) {
        self.count += 1;
        match number {
            Number::Int(number) => self.whole += i128::from(number),
            Number::Long(number) => {
                self.whole += i128::from(number);
                self.has_long = true;
            }
            Number::Double(number) => {
                self.has_double = true;
                self.add_double(number);
            }
            Number::Decimal(number) => {
                self.decimal = Some(self.decimal.map_or(number, |total| total.add(number)));
            }
        }
    }

    fn add_double(&mut self, number: f64) {
        let total = self.double + number;
        if total.is_finite() {
            let rounded = total - self.double;
            self.lost += (self.double - (total - rounded)) + (number - rounded);
        }
        self.double = total;
    }

    fn as_double(&self) -> f64 {
        let total = self.double + self.whole as f64;
        if total.is_finite() { total + self.lost } else { total }
    }

    fn as_decimal(&self) -> Option<Decimal> {
        let mut total = self.decimal?;
        if self.whole != 0 {
            total = total.add(Decimal::parse(&self.whole.to_string()).unwrap_or(Decimal::Nan));
        }
        if self.has_double {
            total = total.add(Decimal::from_double(self.double + self.lost));
        }
        Some(total)
    }

    fn sum(&self) -> Bson {
        if let Some(total) = self.as_decimal() {
            return of_decimal(total);
        }
        if self.has_double {
            return Bson::Double(self.as_double());
        }
        match (i32::try_from(self.whole), i64::try_from(self.whole)) {
            (Ok(total), _) if !self.has_long => Bson::Int32(total),
            (_, Ok(total)) => Bson::Int64(total),
            _ => Bson::Double(self.whole as f64),
        }
    }

    fn average(&self) -> Bson {
        match (self.count, self.as_decimal()) {
            (0, _) => Bson::Null,
            (count, Some(total)) => of_decimal(total.divide(Decimal::from_integer(count))),
            (count, None) => Bson::Double(self.as_double() / count as f64),
        }
    }
}
