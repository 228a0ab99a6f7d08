//! SQL of the tables port, rendered from what it is asked.
//!
//! One text for both products where they agree, which is nearly everywhere. Parameters are `$1`, `$2`, … and first
//! occur in that order, as the catalog's.

use likeness_core::sql::{Migration, Select};
use likeness_core::table::{Column, ColumnType, TableSpec, Value};

/// Where the dialects part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "rendered with the feature `postgres` only")
    )]
    Postgres,
}

/// Tables of the port's own: which migrations were run, and where consumers stand.
pub(crate) const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS likeness_migrations (
        part   TEXT   NOT NULL,
        number BIGINT NOT NULL,
        text   TEXT   NOT NULL,
        PRIMARY KEY (part, number)
    );
    CREATE TABLE IF NOT EXISTS likeness_positions (
        consumer  TEXT   NOT NULL,
        topic     TEXT   NOT NULL,
        partition BIGINT NOT NULL,
        next      BIGINT NOT NULL,
        PRIMARY KEY (consumer, topic, partition)
    )";

pub(crate) const SELECT_MIGRATIONS: &str =
    "SELECT text FROM likeness_migrations WHERE part = $1 ORDER BY number";

pub(crate) const INSERT_MIGRATION: &str =
    "INSERT INTO likeness_migrations (part, number, text) VALUES ($1, $2, $3)";

pub(crate) const SELECT_POSITIONS: &str =
    "SELECT topic, partition, next FROM likeness_positions WHERE consumer = $1";

/// Parameters: consumer, topic, partition, next. Of a consumer that never moved, or stands at 0. No row changed: it
/// stands elsewhere.
pub(crate) const FIRST_POSITION: &str = "
    INSERT INTO likeness_positions (consumer, topic, partition, next) VALUES ($1, $2, $3, $4)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET next = excluded.next
    WHERE likeness_positions.next = 0";

/// Parameters: next, consumer, topic, partition, where it must stand.
pub(crate) const MOVE_POSITION: &str = "
    UPDATE likeness_positions SET next = $1
    WHERE consumer = $2 AND topic = $3 AND partition = $4 AND next = $5";

impl Dialect {
    fn type_of(self, kind: ColumnType) -> &'static str {
        match (self, kind) {
            (Self::Sqlite, ColumnType::Integer | ColumnType::Boolean | ColumnType::Timestamp) => {
                "INTEGER"
            }
            (Self::Sqlite, ColumnType::Real) => "REAL",
            // Lists are JSON.
            (Self::Sqlite, _) => "TEXT",
            // Sorted by bytes, whatever the locale of the server.
            (Self::Postgres, ColumnType::Text) => "text COLLATE \"C\"",
            (Self::Postgres, kind) => plain_type(kind),
        }
    }

    fn column(self, column: &Column) -> String {
        let null = if column.is_nullable { "" } else { " NOT NULL" };
        format!("\"{}\" {}{null}", column.name, self.type_of(column.kind))
    }

    /// Returns the statement of a migration.
    pub(crate) fn migration(self, migration: &Migration) -> String {
        match migration {
            Migration::CreateTable(spec) => {
                let columns: Vec<_> = spec.columns.iter().map(|one| self.column(one)).collect();
                let key = names(spec.key());
                let rest = match self {
                    // Types are checked.
                    Self::Sqlite => " STRICT",
                    Self::Postgres => "",
                };
                let columns = columns.join(", ");
                let name = spec.name;
                format!("CREATE TABLE \"{name}\" ({columns}, PRIMARY KEY ({key})){rest}")
            }
            Migration::CreateIndex {
                name,
                table,
                columns,
            } => {
                let columns: Vec<_> = columns
                    .iter()
                    .map(|column| format!("\"{}\"{}", column.name, self.nulls(column, false)))
                    .collect();
                let columns = columns.join(", ");
                format!("CREATE INDEX \"{name}\" ON \"{table}\" ({columns})")
            }
            Migration::AddColumn { table, column } => {
                let column = self.column(column);
                format!("ALTER TABLE \"{table}\" ADD COLUMN {column}")
            }
        }
    }

    /// Returns what says that null is the least, where that is not the product's own rule.
    fn nulls(self, column: &Column, descending: bool) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => match (column.is_nullable, descending) {
                (false, _) => "",
                (true, false) => " NULLS FIRST",
                (true, true) => " NULLS LAST",
            },
        }
    }

    fn order(self, spec: &TableSpec, columns: &[&str], descending: bool) -> String {
        let direction = if descending { " DESC" } else { "" };
        let columns: Vec<_> = columns
            .iter()
            .map(|name| {
                let nulls = spec.column(name).map(|idx| &spec.columns[idx]);
                let nulls = nulls.map_or("", |column| self.nulls(column, descending));
                format!("\"{name}\"{direction}{nulls}")
            })
            .collect();
        columns.join(", ")
    }

    /// Returns a query of a [`Select`] that was checked, and its parameters.
    pub(crate) fn select(self, spec: &TableSpec, select: &Select) -> (String, Vec<Value>) {
        let mut parameters = Vec::new();
        let mut parameter = |value: &Value| {
            parameters.push(value.clone());
            format!("${}", parameters.len())
        };
        let mut conditions = Vec::new();
        for (name, value) in &select.equals {
            conditions.push(format!("\"{name}\" = {}", parameter(value)));
        }
        if let Some((name, from, before)) = &select.range {
            if let Some(from) = from {
                conditions.push(format!("\"{name}\" >= {}", parameter(from)));
            }
            if let Some(before) = before {
                conditions.push(format!("\"{name}\" < {}", parameter(before)));
            }
        }
        let order = select.order(spec);
        if let Some(after) = &select.after {
            let quoted: Vec<_> = order.iter().map(|name| format!("\"{name}\"")).collect();
            let values: Vec<_> = after.iter().map(&mut parameter).collect();
            let sign = if select.descending { "<" } else { ">" };
            let (columns, values) = (quoted.join(", "), values.join(", "));
            conditions.push(format!("({columns}) {sign} ({values})"));
        }
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let text = format!(
            "SELECT {} FROM \"{}\"{condition} ORDER BY {} LIMIT {}",
            names(spec.columns),
            spec.name,
            self.order(spec, &order, select.descending),
            limit(select.limit),
        );
        (text, parameters)
    }

    /// Returns a query for the first rows of one value of a column. `value` is how that is spelled.
    pub(crate) fn find(
        self,
        spec: &TableSpec,
        find: &likeness_core::sql::Find,
        value: &str,
    ) -> String {
        format!(
            "SELECT {} FROM \"{}\" WHERE \"{}\" = {value} ORDER BY {} LIMIT {}",
            names(spec.columns),
            spec.name,
            find.column,
            self.order(spec, &[find.order_by], find.descending),
            limit(find.limit_each),
        )
    }
}

/// Returns the names of columns, quoted, with commas.
pub(crate) fn names(columns: &[Column]) -> String {
    let names: Vec<_> = columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    names.join(", ")
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns `$1, $2, …`.
pub(crate) fn placeholders(count: usize) -> String {
    let all: Vec<_> = (1..=count).map(|number| format!("${number}")).collect();
    all.join(", ")
}

/// Returns what an insert does with a row whose key is there.
pub(crate) fn on_conflict(spec: &TableSpec) -> String {
    let key = names(spec.key());
    let rest = &spec.columns[spec.num_key_columns..];
    if rest.is_empty() {
        return format!("ON CONFLICT ({key}) DO NOTHING");
    }
    let sets: Vec<_> = rest
        .iter()
        .map(|column| format!("\"{0}\" = excluded.\"{0}\"", column.name))
        .collect();
    format!("ON CONFLICT ({key}) DO UPDATE SET {}", sets.join(", "))
}

/// Returns a condition for one key, of parameters `$1`, `$2`, …
pub(crate) fn key_condition(spec: &TableSpec) -> String {
    let all: Vec<_> = spec
        .key()
        .iter()
        .enumerate()
        .map(|(idx, column)| format!("\"{}\" = ${}", column.name, idx + 1))
        .collect();
    all.join(" AND ")
}

/// Compares what was run with what is known, and returns how many were run.
pub(crate) fn num_run(
    store: &'static str,
    set: &'static str,
    run: &[String],
    known: &[Migration],
) -> likeness_core::StoreResult<usize> {
    let refuse = |advice| likeness_core::StoreError::Format {
        store,
        found: u32::try_from(run.len()).unwrap_or(u32::MAX),
        expected: u32::try_from(known.len()).unwrap_or(u32::MAX),
        advice,
    };
    likeness_core::step::Consumer(set).validate(store)?;
    known.iter().try_for_each(|one| one.validate(store))?;
    if run.len() > known.len() {
        return Err(refuse(
            "open it with the version that wrote it, or a later one",
        ));
    }
    let is_other = |(text, migration): (&String, &Migration)| *text != migration.to_string();
    if run.iter().zip(known).any(is_other) {
        return Err(refuse(
            "its tables were made by other migrations; use another database",
        ));
    }
    Ok(run.len())
}

/// Returns the type without what is said of its order.
pub(crate) fn plain_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "text",
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamptz",
        // Not `jsonb`, which refuses the character NUL.
        ColumnType::Json => "json",
        ColumnType::Texts => "text[]",
        ColumnType::Reals => "double precision[]",
    }
}
