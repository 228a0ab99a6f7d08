//! What a query may be made of, once it is parsed.
//!
//! A `WITH` query stands in a plan once for each time it is named, so a short text can be a plan that no memory holds: twenty of them, each
//! naming the one before twice, are a million tables. So tables and `SELECT`s are counted as a plan would have them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    ObjectName, Query, Select, Statement, TableFactor, Visit, Visitor,
};
use likeness_core::query::QueryError;

/// Most tables and `SELECT`s.
const MAX_PARTS: usize = 200;

/// Checks a statement.
///
/// # Errors
/// [`QueryError::Invalid`] if it is no query, or one of too many parts.
pub(super) fn check(statement: &Parsed) -> Result<(), QueryError> {
    let no_query = || {
        let taken = "only queries are taken: SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE";
        Err(QueryError::Invalid(taken.to_owned()))
    };
    let statement = match statement {
        Parsed::Statement(statement) => statement,
        Parsed::Explain(explain) => return check(&explain.statement),
        _ => return no_query(),
    };
    if !matches!(
        **statement,
        Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ShowVariable { .. }
    ) {
        return no_query();
    }
    match statement.visit(&mut Parts::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(reason) => Err(QueryError::Invalid(reason)),
    }
}

/// Counts the parts of queries, from the innermost outwards.
#[derive(Default)]
struct Parts {
    /// Parts of the queries that are being visited, the innermost last.
    open: Vec<usize>,
    /// Names of `WITH` queries, by the place of the query in memory.
    bodies: HashMap<usize, String>,
    /// Parts of each `WITH` query that was visited to its end: what comes later in the text may name it.
    sizes: HashMap<String, usize>,
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Parts {
    fn add(&mut self, parts: usize) -> ControlFlow<String> {
        let Some(open) = self.open.last_mut() else {
            return ControlFlow::Continue(());
        };
        *open = open.saturating_add(parts);
        match *open > MAX_PARTS {
            true => ControlFlow::Break(format!(
                "the query has more than {MAX_PARTS} tables and SELECTs, each WITH query counted as often as it is named"
            )),
            false => ControlFlow::Continue(()),
        }
    }

    fn size_of(&self, name: &ObjectName) -> usize {
        match name.0.as_slice() {
            [part] => part
                .as_ident()
                .and_then(|name| self.sizes.get(&name.value.to_lowercase()))
                .map_or(1, |size| size + 1),
            _ => 1,
        }
    }
}

impl Visitor for Parts {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        self.open.push(0);
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = table.alias.name.value.to_lowercase();
            // With one name for two queries it would be guesswork which of them is meant.
            if self.bodies.values().any(|other| *other == name) {
                return ControlFlow::Break(format!("two WITH queries have the name `{name}`"));
            }
            self.bodies.insert(address(&table.query), name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let parts = self.open.pop().unwrap_or_default();
        if let Some(name) = self.bodies.get(&address(query)) {
            self.sizes.insert(name.clone(), parts);
        }
        self.add(parts)
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<String> {
        self.add(1)
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        let parts = match table {
            TableFactor::Table { name, .. } => self.size_of(name),
            _ => 1,
        };
        self.add(parts)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn parsed(sql: &str) -> Result<(), QueryError> {
        check(&DFParser::parse_sql(sql).unwrap()[0])
    }

    #[test]
    fn queries_are_taken_and_nothing_else() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1) SELECT * FROM a JOIN a AS b ON true",
            "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a) SELECT * FROM a",
            "WITH pins AS (SELECT * FROM pins) SELECT * FROM pins",
            "EXPLAIN ANALYZE SELECT 1",
            "VALUES (1)",
            "SHOW TABLES",
            "DESCRIBE pins",
        ] {
            assert!(parsed(sql).is_ok(), "{sql}: {:?}", parsed(sql));
        }
        for sql in [
            "DROP TABLE a",
            "EXPLAIN DROP TABLE a",
            "SET a = 1",
            "COPY a TO 'b'",
        ] {
            let text = parsed(sql).unwrap_err().to_string();
            assert!(text.contains("only queries"), "{sql}: {text}");
        }
    }

    #[test]
    fn what_a_short_text_makes_large_is_refused() {
        let doubled = |n: usize| {
            let mut sql = "WITH a0 AS (SELECT 1)".to_owned();
            for at in 1..n {
                let last = at - 1;
                sql.push_str(&format!(", a{at} AS (SELECT 1 FROM a{last}, A{last} AS b)"));
            }
            format!("{sql} SELECT 1 FROM a{}", n - 1)
        };
        assert!(parsed(&doubled(4)).is_ok());
        for sql in [
            doubled(8),
            doubled(40),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(MAX_PARTS)),
            format!("SELECT 1 FROM a{}", ", a".repeat(MAX_PARTS)),
            format!(
                "SELECT 1 FROM unnest([1]){}",
                ", unnest([1])".repeat(MAX_PARTS)
            ),
        ] {
            let text = parsed(&sql).unwrap_err().to_string();
            assert!(text.contains("more than 200"), "{text}");
        }
        let twice = "WITH a AS (SELECT 1), b AS (WITH a AS (SELECT 2) SELECT 1 FROM a) SELECT 1";
        assert!(parsed(twice).unwrap_err().to_string().contains("`a`"));
    }
}
