//! Rows of an answer as JSON.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use likeness_core::query::QueryError;
use serde_json::Value;

/// Whole numbers that every reader of JSON reads exactly.
const EXACT: std::ops::RangeInclusive<i64> = -(1 << 53)..=1 << 53;

/// Adds the first `limit` rows of a batch.
///
/// # Errors
/// If a value cannot be written.
pub(super) fn rows(
    batch: &RecordBatch,
    limit: usize,
    rows: &mut Vec<Vec<Value>>,
) -> Result<(), QueryError> {
    for at in 0..batch.num_rows().min(limit) {
        let values = batch.columns().iter().map(|array| value(array, at));
        rows.push(values.collect::<Result<_, _>>()?);
    }
    Ok(())
}

/// Returns a value. Times are RFC 3339, whole numbers beyond what JSON's readers keep are text, and so is what JSON has no
/// number for.
pub(super) fn value(array: &ArrayRef, at: usize) -> Result<Value, QueryError> {
    if array.is_null(at) {
        return Ok(Value::Null);
    }
    let whole = |number: i64| match EXACT.contains(&number) {
        true => Value::from(number),
        false => Value::from(number.to_string()),
    };
    let real = |number: f64| match serde_json::Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None => Value::from(number.to_string()),
    };
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::from(array.as_boolean().value(at)),
        DataType::Int8 => whole(array.as_primitive::<Int8Type>().value(at).into()),
        DataType::Int16 => whole(array.as_primitive::<Int16Type>().value(at).into()),
        DataType::Int32 => whole(array.as_primitive::<Int32Type>().value(at).into()),
        DataType::Int64 => whole(array.as_primitive::<Int64Type>().value(at)),
        DataType::UInt8 => whole(array.as_primitive::<UInt8Type>().value(at).into()),
        DataType::UInt16 => whole(array.as_primitive::<UInt16Type>().value(at).into()),
        DataType::UInt32 => whole(array.as_primitive::<UInt32Type>().value(at).into()),
        DataType::UInt64 => {
            let number = array.as_primitive::<UInt64Type>().value(at);
            i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), whole)
        }
        DataType::Float16 => real(array.as_primitive::<Float16Type>().value(at).to_f64()),
        DataType::Float32 => real(array.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => real(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => Value::from(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Value::from(array.as_string::<i64>().value(at)),
        DataType::Utf8View => Value::from(array.as_string_view().value(at)),
        DataType::List(_) => list(&array.as_list::<i32>().value(at))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(at))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            let named = fields.iter().zip(columns.columns());
            let entry = |(field, array): (&std::sync::Arc<_>, &ArrayRef)| {
                let field: &datafusion::arrow::datatypes::Field = field;
                Ok((field.name().clone(), value(array, at)?))
            };
            let entries: Result<serde_json::Map<_, _>, QueryError> = named.map(entry).collect();
            Value::Object(entries?)
        }
        _ => Value::from(text(array, at)?),
    })
}

fn list(items: &ArrayRef) -> Result<Value, QueryError> {
    let values = (0..items.len()).map(|at| value(items, at));
    Ok(Value::Array(values.collect::<Result<_, _>>()?))
}

/// Returns a value as the text that Arrow writes.
fn text(array: &ArrayRef, at: usize) -> Result<String, QueryError> {
    let failed =
        |error: datafusion::arrow::error::ArrowError| QueryError::Failed(error.to_string());
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(failed)?;
    formatter.value(at).try_to_string().map_err(failed)
}
