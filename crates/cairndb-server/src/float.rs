//! Sums as `INCRBYFLOAT` makes them: decimal numbers of up to 17 digits behind the point.
//!
//! Redis adds in the processor's 80-bit floats, whose last digits show in large sums. Here the sum of two decimal numbers
//! is exact, and rounded once: `0.1 + 0.2` is `0.3` in both, and so is whatever has up to about 18 digits in all.

/// How many digits behind the point are kept.
const FRACTION_DIGITS: u32 = 17;
/// How many digits may stand before the point.
const WHOLE_DIGITS: usize = 20;

const NOT_A_FLOAT: &str = "ERR value is not a valid float";

/// The sum of two numbers as they stand in text. Errors are Redis's replies.
pub(crate) fn add(a: &[u8], b: &[u8]) -> Result<String, &'static str> {
    let sum = fixed(a)?.checked_add(fixed(b)?).ok_or("ERR increment would produce NaN or Infinity")?;
    Ok(text(sum))
}

/// The number times ten to the power of `FRACTION_DIGITS`, rounded.
fn fixed(text: &[u8]) -> Result<i128, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| NOT_A_FLOAT)?;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NOT_A_FLOAT)?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(NOT_A_FLOAT);
    }

    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let point = whole.len() as i64 + i64::from(exponent);
    let kept = point + i64::from(FRACTION_DIGITS);
    let significant = digits.iter().position(|&digit| digit != b'0');
    if significant.is_some_and(|first| point - first as i64 > WHOLE_DIGITS as i64) {
        return Err(NOT_A_FLOAT);
    }
    let mut number: i128 = 0;
    for place in 0..kept {
        let digit =
            usize::try_from(place).ok().and_then(|place| digits.get(place)).map_or(0, |digit| digit - b'0');
        number = number * 10 + i128::from(digit);
    }
    let next = usize::try_from(kept).ok().and_then(|place| digits.get(place));
    number += i128::from(next.is_some_and(|&digit| digit >= b'5'));
    Ok(if text.starts_with('-') { -number } else { number })
}

/// Without zeros at its end.
fn text(number: i128) -> String {
    let unit = 10_u128.pow(FRACTION_DIGITS);
    let (whole, fraction) = (number.unsigned_abs() / unit, number.unsigned_abs() % unit);
    let sign = if number < 0 { "-" } else { "" };
    let fraction = format!("{fraction:017}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_people_expect() {
        let told = |a: &str, b: &str| add(a.as_bytes(), b.as_bytes());
        assert_eq!(told("10.50", "0.1"), Ok("10.6".into()));
        assert_eq!(told("5.0e3", "2.0e2"), Ok("5200".into()));
        assert_eq!(told("0.1", "0.2"), Ok("0.3".into()));
        assert_eq!(told("-1", "1"), Ok("0".into()));
        assert_eq!(told("-0.5", "0"), Ok("-0.5".into()));
        assert_eq!(told("1e-17", "0"), Ok("0.00000000000000001".into()));
        assert_eq!(told("1e-18", "0"), Ok("0".into()));
        assert_eq!(told("99999999999999999999", "0"), Ok("99999999999999999999".into()));
        for wrong in ["", "abc", "1x", " 1", "1 ", "inf", "nan", "0x1", ".", "e5", "1e", "1e99"] {
            assert_eq!(told(wrong, "1"), Err(NOT_A_FLOAT), "{wrong:?}");
        }
    }
}
