//! Comparing an answer with what is expected of it.
//!
//! An object matches if every field that is expected is there and matches; others may be there too.
//! An array matches element by element, and has the same length. Texts that begin with `$` say what
//! a value is instead of naming it:
//! `$any`, `$absent`, `$string`, `$integer`, `$number`, `$prefix:x`, `$contains:x`, `$length:n` (of
//! a text or an array), `$min:n`, `$max:n`. `{$includes: [x, …]}` is an array that has an element
//! that matches each of them.

use serde_json::Value;

/// Returns where and how `actual` differs from `expected`, or nothing.
pub(crate) fn mismatch(expected: &Value, actual: Option<&Value>) -> Option<String> {
    compare("body", expected, actual)
}

fn compare(place: &str, expected: &Value, actual: Option<&Value>) -> Option<String> {
    if let Value::String(text) = expected
        && let Some(rule) = text.strip_prefix('$')
    {
        return compare_rule(place, rule, actual);
    }
    let Some(actual) = actual else {
        return Some(format!("{place} is missing"));
    };
    match (expected, actual) {
        (Value::Object(fields), _) if fields.contains_key("$includes") => {
            includes(place, &fields["$includes"], actual)
        }
        (Value::Object(fields), Value::Object(found)) => fields
            .iter()
            .find_map(|(name, field)| compare(&format!("{place}.{name}"), field, found.get(name))),
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => {
            let pairs = items.iter().zip(found).enumerate();
            let mut differences = pairs.filter_map(|(index, (item, found))| {
                compare(&format!("{place}[{index}]"), item, Some(found))
            });
            differences.next()
        }
        (Value::Number(number), Value::Number(found)) => {
            let is_close = number
                .as_f64()
                .zip(found.as_f64())
                .is_some_and(|(a, b)| (a - b).abs() < 1e-9);
            (!is_close).then(|| format!("{place} is {found}, expected {number}"))
        }
        _ if expected == actual => None,
        _ => Some(format!("{place} is {actual}, expected {expected}")),
    }
}

fn includes(place: &str, wanted: &Value, actual: &Value) -> Option<String> {
    let (Value::Array(wanted), Value::Array(found)) = (wanted, actual) else {
        return Some(format!("{place} is {actual}, expected an array"));
    };
    wanted
        .iter()
        .find(|want| {
            !found
                .iter()
                .any(|item| compare(place, want, Some(item)).is_none())
        })
        .map(|want| format!("{place} is {actual} and has nothing like {want}"))
}

fn compare_rule(place: &str, rule: &str, actual: Option<&Value>) -> Option<String> {
    let (name, argument) = rule.split_once(':').unwrap_or((rule, ""));
    let length = || match actual {
        Some(Value::String(text)) => Some(text.chars().count()),
        Some(Value::Array(items)) => Some(items.len()),
        _ => None,
    };
    let text = || actual.and_then(Value::as_str);
    let bound = || {
        argument
            .parse::<f64>()
            .ok()
            .zip(actual.and_then(Value::as_f64))
    };
    let holds = match name {
        "any" => actual.is_some(),
        "absent" => actual.is_none(),
        "string" => text().is_some(),
        "integer" => actual.is_some_and(|value| value.is_u64() || value.is_i64()),
        "number" => actual.is_some_and(Value::is_number),
        "prefix" => text().is_some_and(|text| text.starts_with(argument)),
        "contains" => text().is_some_and(|text| text.contains(argument)),
        "length" => length().is_some_and(|length| length.to_string() == argument),
        "min" => bound().is_some_and(|(bound, value)| value >= bound),
        "max" => bound().is_some_and(|(bound, value)| value <= bound),
        _ => return Some(format!("{place}: there is no rule `${name}`")),
    };
    (!holds).then(|| {
        let shown = actual.map_or("missing".to_owned(), Value::to_string);
        format!("{place} is {shown}, expected ${rule}")
    })
}

/// Returns the value at a dotted path, such as `decision.canonical_id` or `items.0.head`.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{at, mismatch};

    #[track_caller]
    fn check(expected: &Value, actual: &Value, matches: bool) {
        let found = mismatch(expected, Some(actual));
        assert_eq!(found.is_none(), matches, "{found:?}");
    }

    #[test]
    fn objects_match_in_part_and_arrays_whole() {
        check(&json!({"a": 1}), &json!({"a": 1, "b": 2}), true);
        check(&json!({"a": 1}), &json!({"b": 2}), false);
        check(&json!([1, 2]), &json!([1, 2]), true);
        check(&json!([1]), &json!([1, 2]), false);
        check(&json!({"a": 1.0}), &json!({"a": 1}), true);
        check(&json!({"a": true}), &json!({"a": "true"}), false);
    }

    #[test]
    fn rules_say_what_a_value_is() {
        check(&json!({"a": "$absent"}), &json!({}), true);
        check(&json!({"a": "$absent"}), &json!({"a": null}), false);
        check(&json!({"a": "$any"}), &json!({}), false);
        check(&json!("$prefix:ab"), &json!("abc"), true);
        check(&json!("$length:3"), &json!([1, 2, 3]), true);
        check(&json!("$length:3"), &json!("ab"), false);
        check(&json!("$min:2"), &json!(1.5), false);
        check(&json!("$integer"), &json!(1.5), false);
        check(&json!("$nonsense"), &json!(1), false);
        check(
            &json!({"$includes": [{"id": "b"}]}),
            &json!([{"id": "a"}, {"id": "b"}]),
            true,
        );
        check(
            &json!({"$includes": [{"id": "c"}]}),
            &json!([{"id": "a"}]),
            false,
        );
    }

    #[test]
    fn paths_lead_into_objects_and_arrays() {
        let value = json!({"items": [{"head": "x"}]});
        assert_eq!(at(&value, "items.0.head"), Some(&json!("x")));
        assert_eq!(at(&value, "items.1.head"), None);
    }
}
