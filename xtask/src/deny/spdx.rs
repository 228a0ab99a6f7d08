//! SPDX licence expressions: `MIT OR (Apache-2.0 AND ISC)`, with the old slash for OR.

use std::collections::BTreeSet;

use anyhow::bail;

/// Returns the allowed licences that satisfy `expression` (the first choice of each OR that can be
/// met), or nothing if none do.
///
/// # Errors
/// If the expression is malformed.
pub(super) fn satisfied(
    expression: &str,
    allowed: &BTreeSet<String>,
) -> anyhow::Result<Option<BTreeSet<String>>> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        tokens: &tokens,
        allowed,
    };
    let result = parser.any()?;
    if !parser.tokens.is_empty() {
        bail!("unexpected `{}`", parser.tokens[0]);
    }
    Ok(result)
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl Parser<'_> {
    fn any(&mut self) -> anyhow::Result<Option<BTreeSet<String>>> {
        let mut result = self.all()?;
        while self.take("OR") {
            let other = self.all()?;
            result = result.or(other);
        }
        Ok(result)
    }

    fn all(&mut self) -> anyhow::Result<Option<BTreeSet<String>>> {
        let mut result = self.one()?;
        while self.take("AND") {
            let other = self.one()?;
            result = result.zip(other).map(|(mut left, right)| {
                left.extend(right);
                left
            });
        }
        Ok(result)
    }

    fn one(&mut self) -> anyhow::Result<Option<BTreeSet<String>>> {
        if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(inner);
        }
        let mut name = self.next()?.to_owned();
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.next()?);
        }
        let is_allowed = self.allowed.contains(&name);
        Ok(is_allowed.then(|| BTreeSet::from([name])))
    }

    fn next(&mut self) -> anyhow::Result<&str> {
        let Some((first, rest)) = self.tokens.split_first() else {
            bail!("the expression ends early");
        };
        if matches!(*first, "AND" | "OR" | "WITH" | "(" | ")") {
            bail!("unexpected `{first}`");
        }
        self.tokens = rest;
        Ok(first)
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.first() == Some(&token);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::satisfied;

    #[track_caller]
    fn check(expression: &str, expected: Option<&[&str]>) {
        let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned).into();
        let expected = expected.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(
            satisfied(expression, &allowed).unwrap(),
            expected,
            "{expression}"
        );
    }

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        check("MIT", Some(&["MIT"]));
        check("MIT/Apache-2.0", Some(&["MIT"]));
        check("GPL-3.0 OR Apache-2.0", Some(&["Apache-2.0"]));
        check("GPL-3.0 OR Zlib", None);
        check("(MIT OR GPL-3.0) AND ISC", Some(&["MIT", "ISC"]));
        check("MIT AND Unicode-3.0", None);
        check("MIT OR ISC AND GPL-3.0", Some(&["MIT"]));
        check("Apache-2.0 WITH LLVM-exception", None);
    }

    #[test]
    fn malformed_expressions_are_errors() {
        for expression in ["", "MIT OR", "(MIT", "MIT ISC", "OR MIT", "MIT)"] {
            assert!(
                satisfied(expression, &BTreeSet::new()).is_err(),
                "{expression:?}"
            );
        }
    }
}
