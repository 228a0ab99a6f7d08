//! Rows with types: what goes into tables, whichever product keeps them.
//!
//! A [`TableSpec`] is a constant of the code that makes the rows. Products turn it into a table of SQL, or into a
//! schema of Arrow, and a [`Row`] into what they write; both in the order of the columns.

use std::fmt;

use serde_json::Value as Json;

/// What a column holds. Any value may be null where the column says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Text in UTF-8, without the character NUL.
    Text,
    /// Whole number of 64 bits.
    Integer,
    /// Floating-point number of 64 bits, finite.
    Real,
    /// True or false.
    Boolean,
    /// Microseconds since the beginning of 1970 UTC.
    Timestamp,
    /// Any JSON.
    Json,
    /// List of texts, none of them null.
    Texts,
    /// List of floating-point numbers, none of them null.
    Reals,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name: lower-case letters, digits and `_`, at most 63 bytes.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnType,
    /// Whether it can be null.
    pub is_nullable: bool,
}

impl Column {
    /// Returns a column that can be null.
    pub const fn nullable(name: &'static str, kind: ColumnType) -> Self {
        Self {
            name,
            kind,
            is_nullable: true,
        }
    }

    /// Returns a column that cannot be null.
    pub const fn required(name: &'static str, kind: ColumnType) -> Self {
        Self {
            name,
            kind,
            is_nullable: false,
        }
    }
}

/// A table: its name, its columns in order, and which of them are its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSpec {
    /// Name, under the rule of a column's.
    pub name: &'static str,
    /// Columns, in order.
    pub columns: &'static [Column],
    /// How many columns at the front are the key, which no two rows share; at least one.
    pub num_key_columns: usize,
}

impl TableSpec {
    /// Returns the place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns the columns of the key.
    pub fn key(&self) -> &'static [Column] {
        &self.columns[..self.num_key_columns]
    }
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing is known.
    Null,
    /// Of [`ColumnType::Text`].
    Text(String),
    /// Of [`ColumnType::Integer`].
    Integer(i64),
    /// Of [`ColumnType::Real`].
    Real(f64),
    /// Of [`ColumnType::Boolean`].
    Boolean(bool),
    /// Of [`ColumnType::Timestamp`].
    Timestamp(i64),
    /// Of [`ColumnType::Json`].
    Json(Json),
    /// Of [`ColumnType::Texts`].
    Texts(Vec<String>),
    /// Of [`ColumnType::Reals`].
    Reals(Vec<f64>),
}

impl Value {
    /// Returns whether a column can hold it.
    pub fn fits(&self, column: &Column) -> bool {
        match (self, column.kind) {
            (Self::Null, _) => column.is_nullable,
            (Self::Text(text), ColumnType::Text) => !text.contains('\0'),
            (Self::Real(real), ColumnType::Real) => real.is_finite(),
            (Self::Texts(texts), ColumnType::Texts) => {
                !texts.iter().any(|text| text.contains('\0'))
            }
            (Self::Reals(reals), ColumnType::Reals) => reals.iter().all(|real| real.is_finite()),
            (Self::Integer(_), ColumnType::Integer)
            | (Self::Boolean(_), ColumnType::Boolean)
            | (Self::Timestamp(_), ColumnType::Timestamp)
            | (Self::Json(_), ColumnType::Json) => true,
            _ => false,
        }
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<Vec<f64>> for Value {
    fn from(reals: Vec<f64>) -> Self {
        Self::Reals(reals)
    }
}

/// A row: one value for each column of its table, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

/// A row that is not one of its table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRow {
    /// Name of the table.
    pub table: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for InvalidRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of `{}`: {}", self.table, self.reason)
    }
}

impl Row {
    /// Checks that the row is one of a table.
    ///
    /// # Errors
    /// [`InvalidRow`] names the first column whose value does not fit.
    pub fn check(&self, spec: &TableSpec) -> Result<(), InvalidRow> {
        let invalid = |reason| InvalidRow {
            table: spec.name,
            reason,
        };
        if self.0.len() != spec.columns.len() {
            let (found, wanted) = (self.0.len(), spec.columns.len());
            return Err(invalid(format!("{found} values for {wanted} columns")));
        }
        match self
            .0
            .iter()
            .zip(spec.columns)
            .find(|(value, column)| !value.fits(column))
        {
            None => Ok(()),
            Some((value, column)) => Err(invalid(format!(
                "`{}` is {:?} and cannot hold {value:?}",
                column.name, column.kind
            ))),
        }
    }

    /// Returns the values of the key.
    pub fn key(&self, spec: &TableSpec) -> &[Value] {
        &self.0[..spec.num_key_columns]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: TableSpec = TableSpec {
        name: "things",
        columns: &[
            Column::required("id", ColumnType::Text),
            Column::nullable("size", ColumnType::Real),
        ],
        num_key_columns: 1,
    };

    #[test]
    fn rows_fit_their_table_or_say_where_not() {
        let row = |values: &[Value]| Row(values.to_vec());
        let good = row(&["a".into(), Value::Null]);
        assert_eq!(good.check(&SPEC), Ok(()));
        assert_eq!(good.key(&SPEC), &["a".into()]);
        for (bad, column) in [
            (row(&[Value::Null, 1.0.into()]), "id"),
            (row(&["a\0".into(), 1.0.into()]), "id"),
            (row(&["a".into(), f64::NAN.into()]), "size"),
            (row(&["a".into(), 1.into()]), "size"),
        ] {
            let reason = bad.check(&SPEC).unwrap_err().to_string();
            assert!(reason.contains(&format!("`{column}`")), "{reason}");
        }
        let short = row(&["a".into()]).check(&SPEC).unwrap_err();
        assert_eq!(
            short.to_string(),
            "a row of `things`: 1 values for 2 columns"
        );
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(SPEC.column("size"), Some(1));
        assert_eq!(SPEC.column("weight"), None);
        assert_eq!(SPEC.key().len(), 1);
    }
}
