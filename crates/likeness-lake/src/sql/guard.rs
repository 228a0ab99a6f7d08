//! What a query may look like before it is parsed.
//!
//! Parsers and planners recurse as deep as a query is nested, and an overflow of the stack ends the whole process, not the query.
//! So text, tokens and depth are bounded first, by counting; what passes is planned on threads with large stacks.
//!
//! The parser reads `CAST(…` that it cannot make sense of once more, as a call of a function, and so do other words that begin an
//! expression. What is nested in `n` of them is read 2ⁿ times, so these are bounded by themselves.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use likeness_core::query::QueryError;

/// Longest query, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Most tokens, white space aside.
const MAX_TOKENS: usize = 8_000;
/// Deepest nesting of brackets and `CASE`.
const MAX_DEPTH: usize = 30;
/// Deepest nesting of brackets after a word of SQL's own, but for those that join parts of a query.
const MAX_WORD_DEPTH: usize = 10;
/// Most signs or `NOT`s in a row.
const MAX_PREFIXES: usize = 30;
/// Words after which a bracket is read once, whatever is in it.
const JOINING: [Keyword; 24] = [
    Keyword::ALL,
    Keyword::AND,
    Keyword::AS,
    Keyword::BETWEEN,
    Keyword::BY,
    Keyword::ELSE,
    Keyword::EXCEPT,
    Keyword::FILTER,
    Keyword::FROM,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::LIKE,
    Keyword::ON,
    Keyword::OR,
    Keyword::OVER,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::UNION,
    Keyword::USING,
    Keyword::VALUES,
    Keyword::WHEN,
    Keyword::WHERE,
];

/// Checks a query.
///
/// # Errors
/// [`QueryError::Invalid`] if it is not made of tokens, or has too many of something.
pub(super) fn check(sql: &str) -> Result<(), QueryError> {
    let invalid = |reason: String| Err(QueryError::Invalid(reason));
    if sql.len() > MAX_BYTES {
        return invalid(format!("the query has more than {MAX_BYTES} bytes"));
    }
    let tokens = match Tokenizer::new(&GenericDialect {}, sql).tokenize() {
        Ok(tokens) => tokens,
        Err(error) => return invalid(error.to_string()),
    };
    let (mut count, mut cases, mut prefixes) = (0, 0_usize, 0);
    // Of each open bracket, whether a word of SQL's own stands before it; and how many open one after the other.
    let mut open = Vec::new();
    let (mut is_after_word, mut was_opened, mut run) = (false, false, 0_usize);
    for token in &tokens {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        count += 1;
        let word = match token {
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => open.push(is_after_word),
            Token::RParen | Token::RBracket | Token::RBrace => drop(open.pop()),
            // A query within a query counts like a word before it: planning takes its time with each.
            _ if was_opened && matches!(word, Keyword::SELECT | Keyword::WITH) => {
                open.pop();
                open.push(true);
            }
            _ if word == Keyword::CASE => cases += 1,
            _ if word == Keyword::END => cases = cases.saturating_sub(1),
            _ => {}
        }
        was_opened = *token == Token::LParen;
        is_after_word = word != Keyword::NoKeyword && !JOINING.contains(&word);
        let is_prefix = matches!(
            token,
            Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark
        ) || matches!(word, Keyword::NOT | Keyword::EXPLAIN);
        run = if *token == Token::LParen { run + 1 } else { 0 };
        prefixes = if is_prefix { prefixes + 1 } else { 0 };
        let num_words = open.iter().filter(|is_after_word| **is_after_word).count();
        if open.len() + cases > MAX_DEPTH
            || prefixes > MAX_PREFIXES
            || num_words.max(run) > MAX_WORD_DEPTH
        {
            return invalid(format!(
                "the query is nested too deep: at most {MAX_DEPTH} brackets, {MAX_WORD_DEPTH} of them with a query, one after the other, or after CAST and its like"
            ));
        }
        if count > MAX_TOKENS {
            return invalid(format!(
                "the query has more than {MAX_TOKENS} words and signs"
            ));
        }
    }
    match count {
        0 => invalid("there is no query".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        check(sql).unwrap_err().to_string()
    }

    #[test]
    fn what_is_too_much_of_something_is_refused() {
        assert!(check("SELECT 1 -- one\n").is_ok());
        assert!(check("SELECT ')))' , \"((\" FROM pins").is_ok());
        assert!(refused("").contains("no query"));
        assert!(refused("-- nothing").contains("no query"));
        assert!(refused("SELECT 'a").contains("Unterminated"));
        assert!(refused(&" ".repeat(MAX_BYTES + 1)).contains("bytes"));
        assert!(refused(&"1,".repeat(MAX_TOKENS)).contains("words"));
        for nested in ["(", "[", "{", "NOT ", "- ", "CASE ", "f(", "EXPLAIN "] {
            assert!(
                refused(&nested.repeat(500)).contains("too deep"),
                "{nested}"
            );
        }
        assert!(refused(&"CAST(".repeat(11)).contains("too deep"));
        assert!(refused(&"(NOT (".repeat(11)).contains("too deep"));
        assert!(refused(&"(".repeat(11)).contains("too deep"));
        assert!(refused(&"(SELECT ".repeat(11)).contains("too deep"));
        assert!(check(&"FROM (".repeat(20)).is_ok());
        let wide = "(1),".repeat(500);
        assert!(check(&wide).is_ok(), "side by side is not deep");
    }
}
