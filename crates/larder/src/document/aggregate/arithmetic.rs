//! Numbers of mixed types: the result has the widest type, and integers that do not fit grow.

use bson::{Bson, DateTime};

use super::not_computable;
use crate::{Result, document::decimal::Decimal};

/// A number out of a document.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i32),
    Long(i64),
    Double(f64),
    Decimal(Decimal),
}

impl Number {
    pub(super) fn of(value: &Bson) -> Option<Self> {
        match value {
            Bson::Int32(number) => Some(Self::Int(*number)),
            Bson::Int64(number) => Some(Self::Long(*number)),
            Bson::Double(number) => Some(Self::Double(*number)),
            Bson::Decimal128(number) => Some(Self::Decimal(Decimal::unpack(number.bytes()))),
            _ => None,
        }
    }

    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number.into()),
            Self::Long(number) => Some(number),
            Self::Double(_) | Self::Decimal(_) => None,
        }
    }

    pub(super) fn double(self) -> f64 {
        match self {
            Self::Int(number) => number.into(),
            Self::Long(number) => number as f64,
            Self::Double(number) => number,
            Self::Decimal(number) => number.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    pub(super) fn decimal(self) -> Decimal {
        match self {
            Self::Int(number) => Decimal::from_integer(number.into()),
            Self::Long(number) => Decimal::from_integer(number),
            Self::Double(number) => Decimal::from_double(number),
            Self::Decimal(number) => number,
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self.double() == 0.0
    }
}

pub(super) fn of_decimal(number: Decimal) -> Bson {
    number.pack().map_or(Bson::Null, Bson::Decimal128)
}

/// An operation of two numbers in each of the types.
struct Operation {
    integer: fn(i64, i64) -> Option<i64>,
    double: fn(f64, f64) -> f64,
    decimal: fn(Decimal, Decimal) -> Decimal,
}

fn combine(a: Number, b: Number, operation: &Operation) -> Bson {
    match (a, b) {
        (Number::Decimal(_), _) | (_, Number::Decimal(_)) => {
            of_decimal((operation.decimal)(a.decimal(), b.decimal()))
        }
        (Number::Double(_), _) | (_, Number::Double(_)) => {
            Bson::Double((operation.double)(a.double(), b.double()))
        }
        (Number::Int(x), Number::Int(y)) => match (operation.integer)(x.into(), y.into()) {
            Some(exact) => i32::try_from(exact).map_or(Bson::Int64(exact), Bson::Int32),
            None => Bson::Double((operation.double)(a.double(), b.double())),
        },
        _ => match a.integer().zip(b.integer()).and_then(|(x, y)| (operation.integer)(x, y)) {
            Some(exact) => Bson::Int64(exact),
            None => Bson::Double((operation.double)(a.double(), b.double())),
        },
    }
}

/// `a + b`; a date and a number of milliseconds make a date.
pub(super) fn add(a: &Bson, b: &Bson) -> Result<Bson> {
    match (a, b) {
        (Bson::DateTime(date), other) | (other, Bson::DateTime(date)) => shifted(*date, other, 1.0),
        _ => numbers(
            a,
            b,
            &Operation { integer: i64::checked_add, double: |a, b| a + b, decimal: Decimal::add },
        ),
    }
}

/// `a - b`; two dates make a number of milliseconds.
pub(super) fn subtract(a: &Bson, b: &Bson) -> Result<Bson> {
    match (a, b) {
        (Bson::DateTime(a), Bson::DateTime(b)) => {
            Ok(Bson::Int64(a.timestamp_millis().saturating_sub(b.timestamp_millis())))
        }
        (Bson::DateTime(date), other) => shifted(*date, other, -1.0),
        _ => {
            let decimal = |a: Decimal, b: Decimal| a.add(b.negate());
            numbers(a, b, &Operation { integer: i64::checked_sub, double: |a, b| a - b, decimal })
        }
    }
}

pub(super) fn multiply(a: &Bson, b: &Bson) -> Result<Bson> {
    numbers(a, b, &Operation { integer: i64::checked_mul, double: |a, b| a * b, decimal: Decimal::multiply })
}

/// `a / b`: a double, or a decimal if one of them is.
pub(super) fn divide(a: &Bson, b: &Bson) -> Result<Bson> {
    let (a, b) = both(a, b)?;
    if b.is_zero() {
        return Err(not_computable("a division by zero"));
    }
    Ok(match (a, b) {
        (Number::Decimal(_), _) | (_, Number::Decimal(_)) => of_decimal(a.decimal().divide(b.decimal())),
        _ => Bson::Double(a.double() / b.double()),
    })
}

/// Half to even, at a number of places behind the point.
pub(super) fn round(value: &Bson, places: &Bson) -> Result<Bson> {
    let (number, places) = both(value, places)?;
    let places = places.integer().filter(|places| (-20..100).contains(places));
    let places = places
        .ok_or_else(|| not_computable("`$round` needs a whole number of places from -20 to 99"))?
        as i32;
    Ok(match number {
        Number::Int(_) | Number::Long(_) if places >= 0 => value.clone(),
        Number::Int(_) => {
            whole(number.decimal().round(places)).map_or(Bson::Null, crate::document::ingest::integer)
        }
        Number::Long(_) => whole(number.decimal().round(places)).map_or(Bson::Null, Bson::Int64),
        Number::Double(number) if places == 0 => Bson::Double(number.round_ties_even()),
        Number::Double(number) if !number.is_finite() => Bson::Double(number),
        Number::Double(number) => {
            // The shortest digits that mean this double, so that 2.345 rounds as it is written.
            let written =
                Decimal::parse(&number.to_string()).map_or(Decimal::Nan, |written| written.round(places));
            Bson::Double(Number::Decimal(written).double())
        }
        Number::Decimal(number) => of_decimal(number.round(places)),
    })
}

fn whole(number: Decimal) -> Option<i64> {
    match number {
        Decimal::Finite(finite) => {
            let magnitude =
                finite.coefficient.checked_mul(10_u128.checked_pow(finite.exponent.try_into().ok()?)?)?;
            let magnitude = i128::try_from(magnitude).ok()?;
            i64::try_from(if finite.negative { -magnitude } else { magnitude }).ok()
        }
        Decimal::Nan | Decimal::Infinity { .. } => None,
    }
}

fn both(a: &Bson, b: &Bson) -> Result<(Number, Number)> {
    Number::of(a)
        .zip(Number::of(b))
        .ok_or_else(|| not_computable("arithmetic on something that is no number"))
}

fn numbers(a: &Bson, b: &Bson, operation: &Operation) -> Result<Bson> {
    let (a, b) = both(a, b)?;
    Ok(combine(a, b, operation))
}

fn shifted(date: DateTime, by: &Bson, sign: f64) -> Result<Bson> {
    let by = Number::of(by).ok_or_else(|| not_computable("only a number can be added to a date"))?;
    let milliseconds = match by.integer() {
        Some(exact) if sign > 0.0 => date.timestamp_millis().checked_add(exact),
        Some(exact) => date.timestamp_millis().checked_sub(exact),
        None => date.timestamp_millis().checked_add((by.double() * sign).round() as i64),
    };
    let milliseconds = milliseconds.ok_or_else(|| not_computable("a date out of range"))?;
    Ok(Bson::DateTime(DateTime::from_millis(milliseconds)))
}
