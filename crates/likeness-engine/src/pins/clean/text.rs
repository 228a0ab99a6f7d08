//! Texts, lists of tags, and what stands for nothing.

use serde_json::Value;

/// Texts that stand for nothing, and the column in which they do; `*` is every column. Compared without
/// regard to case and to white space around them.
pub const SENTINELS: [(&str, &str); 11] = [
    ("*", ""),
    ("*", "N/A"),
    ("title", "No Title Data Available"),
    ("title", "Untitled"),
    ("description", "No description available"),
    ("description", "No description available Story format"),
    ("description", "Untitled"),
    ("poster_name", "User Info Error"),
    ("follower_count", "User Info Error"),
    ("tag_list", "No Tags Available"),
    ("image_src", "Image src error."),
];

/// Words that stand for nothing where a number, a time or a truth value is expected. Not in texts: there are
/// people whose name is Null.
const NO_VALUES: [&str; 4] = ["null", "none", "nan", "undefined"];

/// What a downloader writes before the path of what it has saved.
const SAVED: &str = "Local save in";

/// Fewest letters that are taken for a text that was spelled: `a,b,c` are three tags.
const MIN_SPELLED: usize = 4;

/// Returns whether `text` stands for nothing in this column.
pub fn is_sentinel(column: &str, text: &str) -> bool {
    let text = text.trim();
    SENTINELS
        .iter()
        .any(|(of, sentinel)| (*of == "*" || *of == column) && text.eq_ignore_ascii_case(sentinel))
}

/// Returns whether `text` stands for nothing in this column, which holds something else than texts.
pub(super) fn is_no_value(column: &str, text: &str) -> bool {
    let is_word = |word: &str| text.trim().eq_ignore_ascii_case(word);
    is_sentinel(column, text) || NO_VALUES.iter().any(|word| is_word(word))
}

/// Reads a text. Numbers and truth values are taken for what they look like.
///
/// # Errors
/// For a list or an object.
pub(super) fn text(column: &str, value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => tidy(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Array(_) | Value::Object(_) => return Err("must be text".to_owned()),
    };
    Ok((!is_sentinel(column, &text)).then_some(text))
}

/// Reads the place where a picture was saved.
pub(super) fn save_location(value: &Value) -> Result<Option<String>, String> {
    let Some(text) = text("save_location", value)? else {
        return Ok(None);
    };
    let mut path = text.as_str();
    // As often as it is there: cleaning once must be enough.
    while let Some(rest) = path.strip_prefix(SAVED)
        && (rest.is_empty() || rest.starts_with(char::is_whitespace))
    {
        path = rest.trim_start();
    }
    Ok((!is_sentinel("save_location", path)).then(|| path.to_owned()))
}

/// Reads tags: a list, a text with commas between tags, or a text with commas between its letters. No tags
/// are null.
pub(super) fn tags(value: &Value) -> Result<Option<Vec<String>>, String> {
    const COLUMN: &str = "tag_list";
    let tags: Vec<String> = match value {
        Value::Array(items) => {
            let tags = items.iter().map(|item| text(COLUMN, item));
            let tags: Result<Vec<_>, _> = tags.collect();
            let tags = tags.map_err(|_| "must be a list of texts".to_owned())?;
            tags.into_iter().flatten().collect()
        }
        Value::Object(_) => return Err("must be text or a list of texts".to_owned()),
        value => {
            let text = text(COLUMN, value)?.unwrap_or_default();
            let text = spelled(&text).unwrap_or(text);
            text.split(',')
                .map(tidy)
                .filter(|tag| !is_sentinel(COLUMN, tag))
                .collect()
        }
    };
    Ok((!tags.is_empty()).then_some(tags))
}

/// Returns the text that is spelled with a comma between any two letters, if this is one.
fn spelled(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().collect();
    let is_spelled = letters.len() % 2 == 1
        && letters.len() > 2 * (MIN_SPELLED - 1)
        && letters.iter().skip(1).step_by(2).all(|&c| c == ',');
    is_spelled.then(|| letters.iter().step_by(2).collect())
}

/// Returns the text without what databases cannot hold, and without white space around it.
fn tidy(text: &str) -> String {
    text.replace('\0', "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_spelled_only_if_every_second_letter_is_a_comma() {
        for (text, expected) in [
            ("N,o,p,e", Some("Nope")),
            ("a,,, ,b", Some("a, b")),
            ("ä,ö,ü,ß", Some("äöüß")),
            ("a,b,c", None),
            ("red,blue", None),
            ("", None),
        ] {
            assert_eq!(spelled(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_sentinel_of_one_column_is_a_text_in_others() {
        assert!(is_sentinel("title", " UNTITLED "));
        assert!(!is_sentinel("category", "untitled"));
        assert!(is_sentinel("category", "n/a"));
        assert!(!is_sentinel("last_name", "Null"));
        assert!(is_no_value("age", "Null"));
    }
}
