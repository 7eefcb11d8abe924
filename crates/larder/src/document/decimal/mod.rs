//! Decimal128 taken apart: sign, coefficient and power of ten, as IEEE 754-2008 packs them.

mod arithmetic;

use std::fmt;

use bson::Decimal128;

/// The most digits a coefficient may have.
pub(crate) const MAX_DIGITS: usize = 34;
const MAX_COEFFICIENT: u128 = 10_u128.pow(34) - 1;
const BIAS: i32 = 6176;
const MAX_EXPONENT: i32 = 6111;

/// A decimal number: `±coefficient × 10^exponent`, or a special value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decimal {
    Nan,
    Infinity { negative: bool },
    Finite(Finite),
}

/// A finite decimal. Trailing zeros of the coefficient are kept: `12.50` and `12.5` are equal, yet written differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finite {
    pub(crate) negative: bool,
    pub(crate) coefficient: u128,
    pub(crate) exponent: i32,
}

impl Decimal {
    /// Unpacks the little-endian bytes of BSON. A coefficient of more than 34 digits reads as zero, as the standard says.
    pub(crate) fn unpack(bytes: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        let negative = bits >> 127 == 1;
        if (bits >> 122) & 0x1f == 0x1f {
            return Self::Nan;
        }
        if (bits >> 122) & 0x1f == 0x1e {
            return Self::Infinity { negative };
        }
        let (exponent_bits, coefficient) = if (bits >> 125) & 0x3 == 0x3 {
            ((bits >> 111) & 0x3fff, (0x8 << 110) | (bits & ((1 << 111) - 1)))
        } else {
            ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1))
        };
        let coefficient = if coefficient > MAX_COEFFICIENT { 0 } else { coefficient };
        Self::Finite(Finite { negative, coefficient, exponent: exponent_bits as i32 - BIAS })
    }

    /// Packs the number, or `None` if exponent or coefficient do not fit.
    pub(crate) fn pack(self) -> Option<Decimal128> {
        let bits = match self {
            Self::Nan => 0x1f << 122,
            Self::Infinity { negative } => (u128::from(negative) << 127) | (0x1e << 122),
            Self::Finite(finite) => {
                let Finite { negative, coefficient, exponent } = finite.fitted()?;
                (u128::from(negative) << 127) | (((exponent + BIAS) as u128) << 113) | coefficient
            }
        };
        Some(Decimal128::from_bytes(bits.to_le_bytes()))
    }

    /// Reads the text of a number: digits with an optional sign, point and exponent, or `NaN` and `Infinity`.
    /// Exact or `None`: a number that would have to be rounded is refused.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        match unsigned {
            "NaN" => return Some(Self::Nan),
            "Infinity" => return Some(Self::Infinity { negative }),
            _ => {}
        }
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) if exponent.len() <= 8 => (mantissa, exponent.parse::<i32>().ok()?),
            Some(_) => return None,
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() || mantissa.ends_with('.') {
            return None;
        }
        let mut coefficient = 0_u128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            coefficient = coefficient.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        }
        let exponent = exponent - i32::try_from(fraction.len()).ok()?;
        Finite { negative, coefficient, exponent }.fitted().map(Self::Finite)
    }
}

impl Decimal {
    /// The integer that it is equal to.
    pub(crate) fn whole(self) -> Option<i64> {
        let Self::Finite(finite) = self else { return None };
        let Finite { negative, coefficient, exponent } = finite.trimmed();
        let size = 10_i128
            .checked_pow(u32::try_from(exponent).ok()?)?
            .checked_mul(i128::try_from(coefficient).ok()?)?;
        i64::try_from(if negative { -size } else { size }).ok()
    }
}

impl Finite {
    pub(crate) fn zero() -> Self {
        Self { negative: false, coefficient: 0, exponent: 0 }
    }

    /// The same number with coefficient and exponent inside their limits, if that is possible without rounding.
    fn fitted(self) -> Option<Self> {
        let Self { negative, mut coefficient, mut exponent } = self;
        if coefficient == 0 {
            return Some(Self { exponent: exponent.clamp(-BIAS, MAX_EXPONENT), ..self });
        }
        while (coefficient > MAX_COEFFICIENT || exponent < -BIAS) && coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        while exponent > MAX_EXPONENT && coefficient <= MAX_COEFFICIENT / 10 {
            coefficient *= 10;
            exponent -= 1;
        }
        let fits = coefficient <= MAX_COEFFICIENT && (-BIAS..=MAX_EXPONENT).contains(&exponent);
        fits.then_some(Self { negative, coefficient, exponent })
    }

    /// The same number without trailing zeros in its coefficient; zero has exponent 0.
    pub(crate) fn trimmed(mut self) -> Self {
        if self.coefficient == 0 {
            return Self::zero();
        }
        while self.coefficient.is_multiple_of(10) {
            self.coefficient /= 10;
            self.exponent += 1;
        }
        self
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nan => f.write_str("NaN"),
            Self::Infinity { negative: true } => f.write_str("-Infinity"),
            Self::Infinity { negative: false } => f.write_str("Infinity"),
            Self::Finite(finite) => finite.fmt(f),
        }
    }
}

impl fmt::Display for Finite {
    /// Plain notation for small exponents, scientific otherwise, as the BSON specification words it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.coefficient);
        let point = digits.len() as i32 + self.exponent;
        if self.exponent == 0 {
            f.write_str(digits)
        } else if self.exponent < 0 && point > 0 {
            write!(f, "{}.{}", &digits[..point as usize], &digits[point as usize..])
        } else if self.exponent < 0 && point > -6 {
            write!(f, "0.{}{digits}", "0".repeat(-point as usize))
        } else {
            f.write_str(&digits[..1])?;
            if digits.len() > 1 {
                write!(f, ".{}", &digits[1..])?;
            }
            write!(f, "E{:+}", point - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(input: &str) -> Option<String> {
        Decimal::parse(input).map(|decimal| decimal.to_string())
    }

    #[test]
    fn text_keeps_its_trailing_zeros() {
        for (input, output) in [
            ("12.50", "12.50"),
            ("-0", "-0"),
            ("0.00", "0.00"),
            (".5", "0.5"),
            ("1e3", "1E+3"),
            ("0.0000001", "1E-7"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
        ] {
            assert_eq!(text(input).as_deref(), Some(output), "{input}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for input in [
            "",
            "-",
            ".",
            "1.",
            "1e",
            "1e99999",
            "1.2.3",
            "0x1",
            "1_0",
            "٣",
            "12345678901234567890123456789012345",
        ] {
            assert_eq!(text(input), None, "{input}");
        }
    }

    proptest! {
        #[test]
        fn packing_and_text_agree_with_the_driver(coefficient in 0..=MAX_COEFFICIENT, exponent in -BIAS..=MAX_EXPONENT, negative: bool) {
            let decimal = Decimal::Finite(Finite { negative, coefficient, exponent });
            let packed = decimal.pack().unwrap();
            prop_assert_eq!(decimal.to_string(), packed.to_string());
            prop_assert_eq!(Decimal::unpack(packed.bytes()), decimal);
            prop_assert_eq!(packed.to_string().parse::<Decimal128>().unwrap(), packed);
        }
    }
}
