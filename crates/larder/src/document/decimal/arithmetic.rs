//! Sums, products and quotients of decimals: exact where 34 digits suffice, else rounded half to even.

use super::{BIAS, Decimal, Finite, MAX_DIGITS, MAX_EXPONENT};

/// Operands this many digits apart meet only in the rounding.
const MOST_DIGITS_APART: i32 = 80;

impl Decimal {
    pub(crate) fn from_integer(number: i64) -> Self {
        Self::Finite(Finite { negative: number < 0, coefficient: number.unsigned_abs().into(), exponent: 0 })
    }

    /// A double with 15 significant digits, which is how MongoDB lets doubles meet decimals.
    pub(crate) fn from_double(number: f64) -> Self {
        if number.is_nan() {
            Self::Nan
        } else if number.is_infinite() {
            Self::Infinity { negative: number < 0.0 }
        } else if number == 0.0 {
            Self::Finite(Finite { negative: number.is_sign_negative(), ..Finite::zero() })
        } else {
            Self::parse(&format!("{number:.14e}")).unwrap_or(Self::Nan)
        }
    }

    pub(crate) fn negate(self) -> Self {
        match self {
            Self::Nan => Self::Nan,
            Self::Infinity { negative } => Self::Infinity { negative: !negative },
            Self::Finite(finite) => Self::Finite(Finite { negative: !finite.negative, ..finite }),
        }
    }

    fn is_negative(self) -> bool {
        match self {
            Self::Nan => false,
            Self::Infinity { negative } => negative,
            Self::Finite(finite) => finite.negative,
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Finite(Finite { coefficient: 0, .. }))
    }

    pub(crate) fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Infinity { negative: a }, Self::Infinity { negative: b }) if a != b => Self::Nan,
            (infinity @ Self::Infinity { .. }, _) | (_, infinity @ Self::Infinity { .. }) => infinity,
            (Self::Finite(a), Self::Finite(b)) => add_finite(a, b),
        }
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        let negative = self.is_negative() != other.is_negative();
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Finite(a), Self::Finite(b)) => {
                let exponent = a.exponent + b.exponent;
                match a.coefficient.checked_mul(b.coefficient) {
                    Some(coefficient) => rounded(negative, &digits_of(coefficient), exponent, false),
                    None => rounded(negative, &product(a.coefficient, b.coefficient), exponent, false),
                }
            }
            _ if self.is_zero() || other.is_zero() => Self::Nan,
            _ => Self::Infinity { negative },
        }
    }

    /// The quotient; by zero it is infinite, or NaN for zero by zero.
    pub(crate) fn divide(self, other: Self) -> Self {
        let negative = self.is_negative() != other.is_negative();
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) | (Self::Infinity { .. }, Self::Infinity { .. }) => Self::Nan,
            (Self::Infinity { .. }, _) => Self::Infinity { negative },
            (_, Self::Infinity { .. }) => Self::Finite(Finite { negative, ..Finite::zero() }),
            (Self::Finite(_), Self::Finite(b)) if b.coefficient == 0 => {
                if self.is_zero() {
                    Self::Nan
                } else {
                    Self::Infinity { negative }
                }
            }
            (Self::Finite(a), Self::Finite(b)) => divide_finite(negative, a, b),
        }
    }

    /// Rounded half to even at `places` digits behind the point; negative places are before it.
    pub(crate) fn round(self, places: i32) -> Self {
        let Self::Finite(finite) = self else { return self };
        if finite.exponent >= -places {
            return self;
        }
        let cut = (-places - finite.exponent) as usize;
        let mut digits = digits_of(finite.coefficient);
        if cut > digits.len() {
            return Self::Finite(Finite { coefficient: 0, exponent: -places, ..finite });
        }
        let dropped = digits.split_off(digits.len() - cut);
        round_up_if_due(&mut digits, &dropped, false);
        rounded(finite.negative, &digits, -places, false)
    }
}

fn add_finite(a: Finite, b: Finite) -> Decimal {
    if a.coefficient == 0 || b.coefficient == 0 {
        let other = match (a.coefficient, b.coefficient) {
            // Zeros of unlike signs make the positive one, in whichever order.
            (0, 0) => Finite { negative: a.negative && b.negative, ..b },
            (0, _) => b,
            _ => a,
        };
        return with_exponent_near(other, a.exponent.min(b.exponent));
    }
    let (high, mut low) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    if high.exponent - low.exponent > MOST_DIGITS_APART {
        low = Finite { coefficient: 1, exponent: high.exponent - MOST_DIGITS_APART, ..low };
    }
    let shift = (high.exponent - low.exponent) as usize;
    let mut high_digits = digits_of(high.coefficient);
    high_digits.resize(high_digits.len() + shift, 0);
    let low_digits = digits_of(low.coefficient);
    if high.negative == low.negative {
        return rounded(high.negative, &sum(&high_digits, &low_digits), low.exponent, false);
    }
    match compare(&high_digits, &low_digits) {
        std::cmp::Ordering::Equal => Decimal::Finite(Finite { exponent: low.exponent, ..Finite::zero() }),
        std::cmp::Ordering::Greater => {
            rounded(high.negative, &difference(&high_digits, &low_digits), low.exponent, false)
        }
        std::cmp::Ordering::Less => {
            rounded(low.negative, &difference(&low_digits, &high_digits), low.exponent, false)
        }
    }
}

/// The same number with its exponent as near to `exponent` as 34 digits allow.
fn with_exponent_near(number: Finite, exponent: i32) -> Decimal {
    let Finite { negative, mut coefficient, exponent: mut current } = number;
    while current > exponent && coefficient <= super::MAX_COEFFICIENT / 10 {
        coefficient *= 10;
        current -= 1;
    }
    Decimal::Finite(Finite { negative, coefficient, exponent: current })
}

fn divide_finite(negative: bool, a: Finite, b: Finite) -> Decimal {
    let ideal = a.exponent - b.exponent;
    if a.coefficient == 0 {
        return rounded(negative, &[0], ideal, false);
    }
    let mut quotient = digits_of(a.coefficient / b.coefficient);
    let mut rest = a.coefficient % b.coefficient;
    let mut exponent = ideal;
    // One digit beyond the limit decides the rounding, the rest says whether anything follows it.
    while rest != 0 && significant(&quotient) <= MAX_DIGITS {
        rest *= 10;
        quotient.push((rest / b.coefficient) as u8);
        rest %= b.coefficient;
        exponent -= 1;
    }
    rounded(negative, &quotient, exponent, rest != 0)
}

fn significant(digits: &[u8]) -> usize {
    digits.len() - digits.iter().take_while(|digit| **digit == 0).count()
}

fn digits_of(coefficient: u128) -> Vec<u8> {
    itoa::Buffer::new().format(coefficient).bytes().map(|digit| digit - b'0').collect()
}

/// Pairs of digits of equal place, from the lowest place up.
fn places<'a>(a: &'a [u8], b: &'a [u8]) -> impl Iterator<Item = (u8, u8)> + 'a {
    let digit = |digits: &[u8], place: usize| digits.len().checked_sub(place + 1).map_or(0, |at| digits[at]);
    (0..a.len().max(b.len())).map(move |place| (digit(a, place), digit(b, place)))
}

fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut digits = Vec::with_capacity(a.len().max(b.len()) + 1);
    for (a, b) in places(a, b) {
        let total = a + b + carry;
        digits.push(total % 10);
        carry = total / 10;
    }
    digits.push(carry);
    digits.reverse();
    digits
}

/// `a - b`, where `a` is not the smaller one.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits = Vec::with_capacity(a.len());
    for (a, b) in places(a, b) {
        let take = b + borrow;
        borrow = u8::from(a < take);
        digits.push(a + 10 * borrow - take);
    }
    digits.reverse();
    digits
}

fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let trim = |digits: &[u8]| digits[digits.len() - significant(digits)..].to_vec();
    let (a, b) = (trim(a), trim(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

fn product(a: u128, b: u128) -> Vec<u8> {
    let (a, b) = (digits_of(a), digits_of(b));
    let mut places = vec![0_u32; a.len() + b.len()];
    for (i, a) in a.iter().rev().enumerate() {
        for (j, b) in b.iter().rev().enumerate() {
            places[i + j] += u32::from(*a) * u32::from(*b);
        }
    }
    let mut carry = 0;
    let mut digits: Vec<u8> = Vec::with_capacity(places.len());
    for place in places {
        let total = place + carry;
        digits.push((total % 10) as u8);
        carry = total / 10;
    }
    digits.reverse();
    digits
}

/// Packs digits into a decimal, rounding what is more than 34 of them. `more` says that nonzero digits follow.
fn rounded(negative: bool, digits: &[u8], mut exponent: i32, more: bool) -> Decimal {
    let mut digits = digits[digits.len() - significant(digits)..].to_vec();
    let below = (-BIAS - exponent).max(0) as usize;
    let cut = digits.len().saturating_sub(MAX_DIGITS).max(below.min(digits.len()));
    if cut > 0 {
        let dropped = digits.split_off(digits.len() - cut);
        exponent += cut as i32;
        round_up_if_due(&mut digits, &dropped, more);
        if digits.len() > MAX_DIGITS {
            digits.pop();
            exponent += 1;
        }
    }
    let coefficient = digits.iter().fold(0, |number, digit| number * 10 + u128::from(*digit));
    if coefficient == 0 {
        return Decimal::Finite(Finite {
            negative,
            coefficient,
            exponent: exponent.clamp(-BIAS, MAX_EXPONENT),
        });
    }
    match (Finite { negative, coefficient, exponent }).fitted() {
        Some(finite) => Decimal::Finite(finite),
        None => Decimal::Infinity { negative },
    }
}

fn round_up_if_due(digits: &mut Vec<u8>, dropped: &[u8], more: bool) {
    let Some((first, rest)) = dropped.split_first() else { return };
    let beyond_half = more || rest.iter().any(|digit| *digit != 0);
    let odd = digits.last().is_some_and(|digit| digit % 2 == 1);
    if *first > 5 || (*first == 5 && (beyond_half || odd)) {
        let raised = sum(digits, &[1]);
        *digits = raised[raised.len() - significant(&raised)..].to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn arithmetic_keeps_digits_as_the_standard_says() {
        let cases = [
            (decimal("10.50").add(decimal("11.50")), "22.00"),
            (decimal("0.1").add(decimal("-0.10")), "0.00"),
            (decimal("0").add(decimal("-0.0")), "0.0"),
            (decimal("-0.0").add(decimal("0")), "0.0"),
            (decimal("-0").add(decimal("-0")), "-0"),
            (decimal("1E+40").add(decimal("1")), "1.000000000000000000000000000000000E+40"),
            (
                decimal("9999999999999999999999999999999999").add(decimal("1")),
                "1.000000000000000000000000000000000E+34",
            ),
            (decimal("1E+300").add(decimal("-1E-300")), "1.000000000000000000000000000000000E+300"),
            (decimal("12.5").multiply(decimal("-0.20")), "-2.500"),
            (
                decimal("1234567890123456789012345678901234").multiply(decimal("1.1")),
                "1358024679135802467913580246791357",
            ),
            (decimal("22.00").divide(decimal("2")), "11.00"),
            (decimal("1").divide(decimal("3")), "0.3333333333333333333333333333333333"),
            (decimal("2").divide(decimal("3")), "0.6666666666666666666666666666666667"),
            (decimal("1").divide(decimal("0")), "Infinity"),
            (decimal("9E+6144").multiply(decimal("10")), "Infinity"),
            (decimal("2.5").round(0), "2"),
            (decimal("3.5").round(0), "4"),
            (decimal("-2.345").round(2), "-2.34"),
            (decimal("155").round(-1), "1.6E+2"),
            (decimal("0.4").round(-2), "0E+2"),
            (Decimal::from_double(0.1), "0.100000000000000"),
        ];
        for (result, expected) in cases {
            assert_eq!(result.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn small_numbers_agree_with_integers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000, scale in 0_i32..4) {
            let at = |number: i128, exponent: i32| {
                let coefficient = number.unsigned_abs();
                Finite { negative: number < 0, coefficient, exponent }.trimmed()
            };
            let trimmed = |decimal: Decimal| match decimal {
                Decimal::Finite(finite) => finite.trimmed(),
                other => panic!("{other}"),
            };
            let (x, y) = (Decimal::Finite(at(a.into(), -scale)), Decimal::Finite(at(b.into(), -scale)));
            prop_assert_eq!(trimmed(x.add(y)), at(i128::from(a) + i128::from(b), -scale));
            prop_assert_eq!(trimmed(x.add(y.negate())), at(i128::from(a) - i128::from(b), -scale));
            prop_assert_eq!(trimmed(x.multiply(y)), at(i128::from(a) * i128::from(b), -2 * scale));
            if b != 0 {
                prop_assert_eq!(trimmed(x.multiply(y).divide(y)), at(a.into(), -scale));
            }
        }
    }
}
