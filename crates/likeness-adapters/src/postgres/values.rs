//! Values of rows in PostgreSQL's binary form, which is what `COPY` wants as well.

use bytes::BytesMut;
use likeness_core::table::{Column, ColumnType, Row, TableSpec, Value};
use likeness_core::{BoxError, StoreError};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::STORE;
use super::connection::Failure;

/// Microseconds from 1970, which rows count from, to 2000, which PostgreSQL counts from.
const EPOCH: i64 = 946_684_800_000_000;

/// Returns what a column is in the protocol.
pub(super) fn type_of(kind: ColumnType) -> Type {
    match kind {
        ColumnType::Text => Type::TEXT,
        ColumnType::Integer => Type::INT8,
        ColumnType::Real => Type::FLOAT8,
        ColumnType::Boolean => Type::BOOL,
        ColumnType::Timestamp => Type::TIMESTAMPTZ,
        ColumnType::Json => Type::JSON,
        ColumnType::Texts => Type::TEXT_ARRAY,
        ColumnType::Reals => Type::FLOAT8_ARRAY,
    }
}

/// A value on its way in.
#[derive(Debug)]
pub(super) struct Cell<'a>(pub(super) &'a Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Text(text) => text.as_str().to_sql(ty, out),
            Value::Integer(number) => number.to_sql(ty, out),
            Value::Real(number) => number.to_sql(ty, out),
            Value::Boolean(truth) => truth.to_sql(ty, out),
            Value::Timestamp(micros) => (micros - EPOCH).to_sql(&Type::INT8, out),
            Value::Json(value) => {
                out.extend_from_slice(&serde_json::to_vec(value)?);
                Ok(IsNull::No)
            }
            Value::Texts(texts) => texts.to_sql(ty, out),
            Value::Reals(reals) => reals.to_sql(ty, out),
        }
    }

    /// Statements cast their parameters to the types of the columns, and rows were checked.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Keys, column by column: each is a parameter.
#[derive(Debug)]
pub(super) struct Columns<'a>(Vec<Vec<Cell<'a>>>);

impl<'a> Columns<'a> {
    /// Turns keys of these columns round.
    pub(super) fn of(columns: &[Column], keys: &[&'a Vec<Value>]) -> Self {
        let column = |idx: usize| keys.iter().map(|key| Cell(&key[idx])).collect();
        Self((0..columns.len()).map(column).collect())
    }

    /// Returns them as parameters.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        all(&self.0)
    }
}

/// Returns references to what can be a parameter.
pub(super) fn all<T: ToSql + Sync>(values: &[T]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as _).collect()
}

/// A value on its way out.
struct Found(Value);

impl<'a> FromSql<'a> for Found {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        let value = match *ty {
            Type::TEXT => Value::Text(String::from_sql(ty, raw)?),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            Type::BOOL => Value::Boolean(bool::from_sql(ty, raw)?),
            Type::TIMESTAMPTZ => {
                let micros = i64::from_sql(&Type::INT8, raw)?.checked_add(EPOCH);
                Value::Timestamp(micros.ok_or("a time out of range")?)
            }
            Type::JSON => Value::Json(serde_json::from_slice(raw)?),
            Type::TEXT_ARRAY => Value::Texts(Vec::from_sql(ty, raw)?),
            Type::FLOAT8_ARRAY => Value::Reals(Vec::from_sql(ty, raw)?),
            _ => return Err(format!("a column of type `{ty}`").into()),
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Reads a row of the columns of a table.
pub(super) fn row(spec: &TableSpec, row: &tokio_postgres::Row) -> Result<Row, Failure> {
    let mut values = Vec::with_capacity(spec.columns.len());
    for (idx, column) in spec.columns.iter().enumerate() {
        let Found(value) = row.try_get(idx).map_err(|error| {
            let place = format!("{}.{}", spec.name, column.name);
            StoreError::corrupt(STORE, place, error.to_string())
        })?;
        values.push(value);
    }
    Ok(Row(values))
}
