//! Keys of numbers: exact across integers, doubles and decimals.
//!
//! A number's key begins with the double nearest to it. Rounding keeps the order, so only numbers that share a double need
//! more: whether the number lies below, on or above its double, and for those beside it their decimal digits.

use std::cmp::Ordering;

use crate::document::decimal::{Decimal, Finite, MAX_DIGITS};

const BELOW: u8 = 0;
const EXACT: u8 = 1;
const ABOVE: u8 = 2;

/// Larger than any exponent of the leading digit, so that biased exponents are positive.
const EXPONENT_BIAS: i32 = 0x4000;

pub(super) fn write_double(number: f64, key: &mut Vec<u8>) {
    key.extend_from_slice(&ordered_bits(number).to_be_bytes());
    key.push(EXACT);
}

pub(super) fn write_integer(number: i64, key: &mut Vec<u8>) {
    let nearest = number as f64;
    key.extend_from_slice(&ordered_bits(nearest).to_be_bytes());
    let side = i128::from(number).cmp(&(nearest as i128));
    let digits = Finite { negative: number < 0, coefficient: number.unsigned_abs().into(), exponent: 0 };
    write_side(side, digits, key);
}

pub(super) fn write_decimal(bytes: [u8; 16], key: &mut Vec<u8>) {
    match Decimal::unpack(bytes) {
        Decimal::Nan => write_double(f64::NAN, key),
        Decimal::Infinity { negative: true } => write_double(f64::NEG_INFINITY, key),
        Decimal::Infinity { negative: false } => write_double(f64::INFINITY, key),
        Decimal::Finite(decimal) => {
            let decimal = decimal.trimmed();
            let nearest = nearest_double(decimal);
            key.extend_from_slice(&ordered_bits(nearest).to_be_bytes());
            write_side(compare_with_double(decimal, nearest), decimal, key);
        }
    }
}

/// Whether this is the key of a NaN, class included.
pub(crate) fn is_nan_key(key: &[u8]) -> bool {
    key.first() == Some(&super::class::NUMBER) && key.get(1..9) == Some(&[0; 8])
}

/// NaN below all, then from minus to plus infinity; both zeros are one.
fn ordered_bits(number: f64) -> u64 {
    if number.is_nan() {
        return 0;
    }
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

fn write_side(side: Ordering, number: Finite, key: &mut Vec<u8>) {
    match side {
        Ordering::Equal => return key.push(EXACT),
        Ordering::Less => key.push(BELOW),
        Ordering::Greater => key.push(ABOVE),
    }
    let number = number.trimmed();
    let start = key.len();
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number.coefficient).as_bytes();
    let leading = number.exponent + digits.len() as i32 + EXPONENT_BIAS;
    key.extend_from_slice(&(leading as u16).to_be_bytes());
    // Two digits a byte, each one more than itself, so that a zero ends the number below all continuations.
    for pair in digits.chunks(2) {
        let low = pair.get(1).map_or(0, |digit| digit - b'0' + 1);
        key.push(((pair[0] - b'0' + 1) << 4) | low);
    }
    key.push(0);
    if number.negative {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

pub(crate) fn nearest_double(decimal: Finite) -> f64 {
    let Finite { negative, coefficient, exponent } = decimal;
    // The standard library's parser rounds correctly for every length of digits.
    let magnitude = format!("{coefficient}e{exponent}").parse::<f64>().unwrap_or(f64::INFINITY);
    if negative { -magnitude } else { magnitude }
}

/// Compares a decimal with the double nearest to it, exactly.
fn compare_with_double(decimal: Finite, nearest: f64) -> Ordering {
    let magnitude = if nearest.is_infinite() {
        Ordering::Less
    } else {
        compare_magnitudes(decimal.coefficient, decimal.exponent, nearest.abs())
    };
    if decimal.negative { magnitude.reverse() } else { magnitude }
}

/// Compares `coefficient × 10^exponent` with `double`.
fn compare_magnitudes(coefficient: u128, exponent: i32, double: f64) -> Ordering {
    if coefficient == 0 || double == 0.0 {
        return coefficient.cmp(&u128::from(double != 0.0));
    }
    let (mantissa, power) = mantissa_and_power(double);
    // Both sides times the powers of ten and two that make them integers.
    let (left_tens, right_tens) = (exponent.max(0) as u32, (-exponent).max(0) as u32);
    let (left_twos, right_twos) = ((-power).max(0) as u32, power.max(0) as u32);
    let small = |number: u128, tens: u32, twos: u32| {
        let twos = 1_u128.checked_shl(twos).filter(|_| twos < 128)?;
        number.checked_mul(10_u128.checked_pow(tens)?)?.checked_mul(twos)
    };
    let mantissa = u128::from(mantissa);
    match (small(coefficient, left_tens, left_twos), small(mantissa, right_tens, right_twos)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => wide(coefficient, left_tens, left_twos).cmp(&wide(mantissa, right_tens, right_twos)),
    }
}

/// A finite double as `mantissa × 2^power`, with an odd mantissa.
fn mantissa_and_power(double: f64) -> (u64, i32) {
    let bits = double.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, power) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
    let zeros = mantissa.trailing_zeros();
    (mantissa >> zeros, power + zeros as i32)
}

/// `number × 10^tens × 2^twos` as digits of base 2^32, most significant first, with the count in front.
fn wide(number: u128, tens: u32, twos: u32) -> (usize, Vec<u32>) {
    let mut limbs: Vec<u32> = (0..4).map(|limb| (number >> (32 * limb)) as u32).collect();
    let mut multiply = |factor: u32| {
        let mut carry = 0_u64;
        for limb in &mut limbs {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    };
    for _ in 0..tens / 9 {
        multiply(1_000_000_000);
    }
    multiply(10_u32.pow(tens % 9));
    for _ in 0..twos / 31 {
        multiply(1 << 31);
    }
    multiply(1 << (twos % 31));
    while limbs.last() == Some(&0) {
        limbs.pop();
    }
    limbs.reverse();
    (limbs.len(), limbs)
}

// The digits that follow an inexact number fit its key: exponent, half a byte a digit, and the end.
const _: () = assert!(MAX_DIGITS.is_multiple_of(2) && 6176 + 6111 < EXPONENT_BIAS);
