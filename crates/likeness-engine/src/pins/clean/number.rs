//! Numbers and truth values.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::text::is_no_value;

/// Greatest whole number.
pub const MAX_WHOLE: i64 = i64::MAX;
/// Beyond it not every whole number is a float, so a float there is none that was meant.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Letters after a number, and the power of ten that they stand for.
const SUFFIXES: [(char, usize); 3] = [('k', 3), ('m', 6), ('b', 9)];

/// Reads a whole number, given as one or in decimal digits.
///
/// # Errors
/// If it is none, or out of `range`.
pub(in crate::pins) fn whole(
    value: &Value,
    range: RangeInclusive<i64>,
) -> Result<Option<i64>, String> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if is_no_value("", text) => return Ok(None),
        Value::String(text) => decimal(text.trim()),
        Value::Number(number) => number.as_i64().or_else(|| exact(number.as_f64()?)),
        _ => None,
    };
    match number {
        Some(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Reads a count as services show it: `15k`, `1.5k`, `2M`, `1,234`, `12`, or a number.
///
/// # Errors
/// If it is none, negative, no whole number, or too great.
pub(super) fn count(column: &str, value: &Value) -> Result<Option<i64>, String> {
    let text = match value {
        Value::String(text) if is_no_value(column, text) => return Ok(None),
        Value::String(text) => text.trim(),
        value => return whole(value, 0..=MAX_WHOLE),
    };
    let wrong = || "must be a count such as 12, 1,234, 1.5k or 2M".to_owned();
    let (digits, power) = SUFFIXES
        .iter()
        .find_map(|&(letter, power)| {
            let digits = text.strip_suffix([letter, letter.to_ascii_uppercase()])?;
            Some((digits.trim_end(), power))
        })
        .unwrap_or((text, 0));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = without_separators(whole).ok_or_else(wrong)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > power {
        return Err("must be a whole number".to_owned());
    }
    let digits = format!("{whole}{fraction:0<power$}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match digits.parse() {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(format!("must be at most {MAX_WHOLE}")),
    }
}

/// Reads degrees.
///
/// # Errors
/// If it is no number, or beyond `limit` on either side.
pub(super) fn degrees(value: &Value, limit: f64) -> Result<Option<f64>, String> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if is_no_value("", text) => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    match number {
        Some(number) if (-limit..=limit).contains(&number) => Ok(Some(number)),
        _ => Err(format!("must be a number from -{limit} to {limit}")),
    }
}

/// Reads a truth value.
///
/// # Errors
/// If it is none.
pub(super) fn truth(value: &Value) -> Result<Option<bool>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(truth) => return Ok(Some(*truth)),
        Value::String(text) if is_no_value("", text) => return Ok(None),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    match text.as_str() {
        "1" | "1.0" | "true" | "yes" => Ok(Some(true)),
        "0" | "0.0" | "false" | "no" => Ok(Some(false)),
        _ => Err("must be 0, 1, true or false".to_owned()),
    }
}

fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok())?
}

fn exact(number: f64) -> Option<i64> {
    let is_exact = number.fract() == 0.0 && number.abs() <= MAX_EXACT;
    is_exact.then_some(number as i64)
}

/// Returns digits without the commas between thousands; nothing if the commas stand elsewhere, or there
/// are no digits.
fn without_separators(digits: &str) -> Option<String> {
    let mut groups = digits.split(',');
    let first = groups.next().filter(|group| !group.is_empty())?;
    if digits.contains(',') && (first.len() > 3 || groups.any(|group| group.len() != 3)) {
        return None;
    }
    Some(digits.replace(',', ""))
}
