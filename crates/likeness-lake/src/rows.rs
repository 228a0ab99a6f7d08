//! Rows with types to Arrow, and back.
//!
//! ```text
//! column       Arrow
//! Text, Json   Utf8
//! Integer      Int64
//! Real         Float64
//! Boolean      Boolean
//! Timestamp    Timestamp(microseconds, UTC)
//! Texts        List<Utf8>
//! Reals        List<Float64>
//! ```

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder,
    RecordBatch, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use likeness_core::table::{Column, ColumnType, Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult};

use crate::STORE;

/// Returns the type of a column.
pub(crate) fn data_type(kind: ColumnType) -> DataType {
    let list = |of| DataType::List(Arc::new(Field::new("item", of, true)));
    match kind {
        ColumnType::Text | ColumnType::Json => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Real => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Texts => list(DataType::Utf8),
        ColumnType::Reals => list(DataType::Float64),
    }
}

/// Returns the schema of a table.
pub(crate) fn schema(spec: &TableSpec) -> SchemaRef {
    let field =
        |column: &Column| Field::new(column.name, data_type(column.kind), column.is_nullable);
    Arc::new(Schema::new(
        spec.columns.iter().map(field).collect::<Vec<_>>(),
    ))
}

/// Returns rows as a batch.
///
/// # Errors
/// [`StoreError::Invalid`] for a row that is none of the table.
pub(crate) fn to_batch(spec: &TableSpec, rows: &[Row]) -> StoreResult<RecordBatch> {
    for row in rows {
        row.check(spec)
            .map_err(|error| StoreError::invalid(STORE, error.to_string()))?;
    }
    let columns = spec.columns.iter().enumerate();
    let arrays =
        columns.map(|(at, column)| to_array(column.kind, rows.iter().map(|row| &row.0[at])));
    RecordBatch::try_new(schema(spec), arrays.collect())
        .map_err(|error| StoreError::invalid(STORE, error.to_string()))
}

/// Values were checked: what is not of the type is null.
fn to_array<'a>(kind: ColumnType, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    match kind {
        ColumnType::Text | ColumnType::Json => {
            let mut built = StringBuilder::new();
            for value in values {
                match value {
                    Value::Text(text) => built.append_value(text),
                    Value::Json(json) => built.append_value(json.to_string()),
                    _ => built.append_null(),
                }
            }
            Arc::new(built.finish())
        }
        ColumnType::Integer => {
            let of = |value: &Value| match value {
                Value::Integer(integer) => Some(*integer),
                _ => None,
            };
            Arc::new(values.map(of).collect::<Int64Array>())
        }
        ColumnType::Real => {
            let of = |value: &Value| match value {
                Value::Real(real) => Some(*real),
                _ => None,
            };
            Arc::new(values.map(of).collect::<Float64Array>())
        }
        ColumnType::Boolean => {
            let of = |value: &Value| match value {
                Value::Boolean(truth) => Some(*truth),
                _ => None,
            };
            Arc::new(values.map(of).collect::<BooleanArray>())
        }
        ColumnType::Timestamp => {
            let of = |value: &Value| match value {
                Value::Timestamp(micros) => Some(*micros),
                _ => None,
            };
            let times = values.map(of).collect::<TimestampMicrosecondArray>();
            Arc::new(times.with_timezone("UTC"))
        }
        ColumnType::Texts => {
            let mut built = ListBuilder::new(StringBuilder::new());
            for value in values {
                if let Value::Texts(texts) = value {
                    texts
                        .iter()
                        .for_each(|text| built.values().append_value(text));
                }
                built.append(matches!(value, Value::Texts(_)));
            }
            Arc::new(built.finish())
        }
        ColumnType::Reals => {
            let mut built = ListBuilder::new(Float64Builder::new());
            for value in values {
                if let Value::Reals(reals) = value {
                    built.values().append_slice(reals);
                }
                built.append(matches!(value, Value::Reals(_)));
            }
            Arc::new(built.finish())
        }
    }
}

/// Returns the rows of a batch, with the columns of `spec` found by their names. One that the batch lacks is null.
///
/// # Errors
/// In words, if a column is of another type, or null where the table has none.
pub(crate) fn from_batch(spec: &TableSpec, batch: &RecordBatch) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = (0..batch.num_rows())
        .map(|_| Row(Vec::with_capacity(spec.columns.len())))
        .collect();
    for column in spec.columns {
        let values = match batch.column_by_name(column.name) {
            Some(array) => from_array(column, array)?,
            None => vec![Value::Null; rows.len()],
        };
        for (row, value) in rows.iter_mut().zip(values) {
            if !value.fits(column) {
                return Err(format!("`{}` holds {value:?}", column.name));
            }
            row.0.push(value);
        }
    }
    Ok(rows)
}

/// Returns a batch with the columns of a table, in their order. One that the batch lacks is null.
///
/// # Errors
/// In words, if a column is of another type, or null where the table has none.
pub(crate) fn as_table(spec: &TableSpec, batch: &RecordBatch) -> Result<RecordBatch, String> {
    let array = |column: &Column| {
        let wanted = data_type(column.kind);
        match batch.column_by_name(column.name) {
            Some(array) => cast(array, &wanted).map_err(|error| error.to_string()),
            None => Ok(new_null_array(&wanted, batch.num_rows())),
        }
    };
    let arrays: Result<Vec<ArrayRef>, String> = spec.columns.iter().map(array).collect();
    RecordBatch::try_new(schema(spec), arrays?).map_err(|error| error.to_string())
}

fn from_array(column: &Column, array: &ArrayRef) -> Result<Vec<Value>, String> {
    // What a query gives may be a view or a dictionary of the same.
    let array = cast(array, &data_type(column.kind))
        .map_err(|error| format!("`{}`: {error}", column.name))?;
    let each = |of: &dyn Fn(usize) -> Value| {
        let value = |at| {
            if array.is_null(at) {
                Value::Null
            } else {
                of(at)
            }
        };
        (0..array.len()).map(value).collect::<Vec<_>>()
    };
    Ok(match column.kind {
        ColumnType::Text => {
            let texts = array.as_string::<i32>();
            each(&|at| Value::Text(texts.value(at).to_owned()))
        }
        ColumnType::Json => {
            let texts = array.as_string::<i32>();
            let mut damaged = None;
            let mut values = Vec::with_capacity(array.len());
            for at in 0..array.len() {
                values.push(match array.is_null(at) {
                    true => Value::Null,
                    false => match serde_json::from_str(texts.value(at)) {
                        Ok(json) => Value::Json(json),
                        Err(error) => {
                            damaged = Some(format!("`{}`: {error}", column.name));
                            Value::Null
                        }
                    },
                });
            }
            match damaged {
                Some(reason) => return Err(reason),
                None => values,
            }
        }
        ColumnType::Integer => {
            let integers = array.as_primitive::<Int64Type>();
            each(&|at| Value::Integer(integers.value(at)))
        }
        ColumnType::Real => {
            let reals = array.as_primitive::<Float64Type>();
            each(&|at| Value::Real(reals.value(at)))
        }
        ColumnType::Boolean => {
            let truths = array.as_boolean();
            each(&|at| Value::Boolean(truths.value(at)))
        }
        ColumnType::Timestamp => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            each(&|at| Value::Timestamp(times.value(at)))
        }
        ColumnType::Texts => {
            let lists = array.as_list::<i32>();
            each(&|at| {
                let items = lists.value(at);
                let texts = items.as_string::<i32>();
                Value::Texts(texts.iter().flatten().map(str::to_owned).collect())
            })
        }
        ColumnType::Reals => {
            let lists = array.as_list::<i32>();
            each(&|at| {
                let items = lists.value(at);
                Value::Reals(items.as_primitive::<Float64Type>().values().to_vec())
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEC: TableSpec = TableSpec {
        name: "things",
        columns: &[
            Column::required("id", ColumnType::Text),
            Column::nullable("n", ColumnType::Integer),
            Column::nullable("x", ColumnType::Real),
            Column::nullable("is", ColumnType::Boolean),
            Column::nullable("at", ColumnType::Timestamp),
            Column::nullable("more", ColumnType::Json),
            Column::nullable("texts", ColumnType::Texts),
            Column::nullable("reals", ColumnType::Reals),
        ],
        num_key_columns: 1,
    };

    fn finite() -> impl Strategy<Value = f64> {
        any::<f64>().prop_filter("finite", |real| real.is_finite())
    }

    fn row() -> impl Strategy<Value = Row> {
        let text = "[^\0]{0,8}";
        let json = prop_oneof![
            Just(serde_json::Value::Null),
            text.prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
        ];
        let optional = |value: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), value].boxed();
        (
            text.prop_map(Value::from),
            optional(any::<i64>().prop_map(Value::from).boxed()),
            optional(finite().prop_map(Value::from).boxed()),
            optional(any::<bool>().prop_map(Value::from).boxed()),
            optional(any::<i64>().prop_map(Value::Timestamp).boxed()),
            optional(json.prop_map(Value::Json).boxed()),
            optional(
                proptest::collection::vec(text, 0..3)
                    .prop_map(Value::Texts)
                    .boxed(),
            ),
            optional(
                proptest::collection::vec(finite(), 0..3)
                    .prop_map(Value::Reals)
                    .boxed(),
            ),
        )
            .prop_map(|(a, b, c, d, e, f, g, h)| Row(vec![a, b, c, d, e, f, g, h]))
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(rows in proptest::collection::vec(row(), 0..20)) {
            let batch = to_batch(&SPEC, &rows).unwrap();
            prop_assert_eq!(batch.num_rows(), rows.len());
            prop_assert_eq!(from_batch(&SPEC, &batch).unwrap(), rows);
        }
    }

    #[test]
    fn a_column_that_is_missing_is_null_or_an_error() {
        const LATER: TableSpec = TableSpec {
            name: "things",
            columns: &[
                Column::required("id", ColumnType::Text),
                Column::nullable("new", ColumnType::Texts),
            ],
            num_key_columns: 1,
        };
        let nulls = vec![Value::Null; 7];
        let row = Row([vec![Value::from("a")], nulls].concat());
        let batch = to_batch(&SPEC, &[row]).unwrap();
        let read = from_batch(&LATER, &batch).unwrap();
        assert_eq!(read, [Row(vec!["a".into(), Value::Null])]);
        const STRICT: TableSpec = TableSpec {
            name: "things",
            columns: &[Column::required("other", ColumnType::Text)],
            num_key_columns: 1,
        };
        assert!(from_batch(&STRICT, &batch).unwrap_err().contains("`other`"));
        let bad = Row(vec![Value::Null; 8]);
        assert!(matches!(
            to_batch(&SPEC, &[bad]),
            Err(StoreError::Invalid { .. })
        ));
    }
}
