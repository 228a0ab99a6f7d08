use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::*;

/// A line of `cases.json`: a raw event, and its row, some columns of it, or why it is rejected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: EventKind,
    raw: RawObject,
    row: Option<RawObject>,
    part: Option<RawObject>,
    rejected: Option<String>,
    reason: Option<String>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("cases.json")).unwrap()
}

fn row(event: &CleanEvent) -> RawObject {
    match serde_json::to_value(event).unwrap() {
        Value::Object(row) => row,
        other => panic!("{other} is no row"),
    }
}

#[test]
fn every_case_of_the_table_holds() {
    for case in cases() {
        let cleaned = clean(case.kind, &case.raw);
        match (cleaned, case.row, case.part, case.rejected) {
            (Ok(event), Some(expected), None, None) => {
                assert_eq!(row(&event), expected, "{}", case.name);
            }
            (Ok(event), None, Some(part), None) => {
                let row = row(&event);
                for (column, expected) in part {
                    assert_eq!(row[&column], expected, "{}: {column}", case.name);
                }
            }
            (Err(rejection), None, None, Some(field)) => {
                assert_eq!(rejection.field, field, "{}", case.name);
                let found = case.raw.get(&field).unwrap_or(&Value::Null);
                assert_eq!(&rejection.value, found, "{}", case.name);
                let reason = case.reason.unwrap();
                assert!(
                    rejection.reason.contains(&reason),
                    "{}: {rejection}",
                    case.name
                );
            }
            (cleaned, ..) => panic!("{}: {cleaned:?}", case.name),
        }
    }
}

#[test]
fn columns_come_in_their_order() {
    let mut seen = Vec::new();
    for case in cases() {
        let Ok(event) = clean(case.kind, &case.raw) else {
            continue;
        };
        let columns: &[&str] = match &event {
            CleanEvent::Pin(_) => &CleanPin::COLUMNS,
            CleanEvent::Geolocation(_) => &CleanGeolocation::COLUMNS,
            CleanEvent::User(_) => &CleanUser::COLUMNS,
        };
        let json = serde_json::to_string(&event).unwrap();
        let mut rest = json.as_str();
        for column in columns {
            let place = rest.find(&format!("\"{column}\":"));
            rest = &rest[place.unwrap_or_else(|| panic!("{column} in {json}"))..];
        }
        assert_eq!(row(&event).len(), columns.len());
        seen.push(case.kind);
    }
    assert!(EventKind::ALL.iter().all(|kind| seen.contains(kind)));
}

#[test]
fn rows_read_back_from_their_json() {
    for case in cases() {
        let Ok(event) = clean(case.kind, &case.raw) else {
            continue;
        };
        let json = serde_json::to_string(&event).unwrap();
        let again = match case.kind {
            EventKind::Pin => CleanEvent::Pin(serde_json::from_str(&json).unwrap()),
            EventKind::Geolocation => CleanEvent::Geolocation(serde_json::from_str(&json).unwrap()),
            EventKind::User => CleanEvent::User(serde_json::from_str(&json).unwrap()),
        };
        assert_eq!(again, event);
    }
}

/// Texts that mean something somewhere, and pieces of them.
const TEXTS: [&str; 34] = [
    "",
    " ",
    "N/A",
    "null",
    "NaN",
    "inf",
    "User Info Error",
    "No Title Data Available",
    "Untitled",
    "No description available Story format",
    "Image src error.",
    "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e",
    "No Tags Available",
    "a,b,,c, ",
    "a,,,b",
    "Local save in ",
    "Local save in /data/art",
    "Local save in Local save in N/A",
    "15k",
    "1.5k",
    "2M",
    "1,234",
    ".5k",
    "1.",
    "-1",
    "1e3",
    "7",
    "true",
    "2018-01-04 00:00:00",
    "2018-01-04T00:00:00.123+02:00",
    "9999-12-31T23:59:59-23:00",
    "1515024000",
    "\u{0} x \u{0}",
    "N\u{0}/A",
];

const FIELDS: [&str; 24] = [
    "index",
    "unique_id",
    "ind",
    "title",
    "description",
    "poster_name",
    "follower_count",
    "tag_list",
    "is_image_or_video",
    "image_src",
    "downloaded",
    "save_location",
    "category",
    "timestamp",
    "latitude",
    "longitude",
    "country",
    "coordinates",
    "first_name",
    "last_name",
    "user_name",
    "age",
    "date_joined",
    "extra",
];

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => select(&TEXTS[..]).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => (-200_i64..200).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        1 => (-200.0_f64..200.0).prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(3, 16, 4, |inner| {
        let name = prop_oneof![select(&FIELDS[..]).prop_map(str::to_owned), any::<String>()];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any object: a few known fields with any values, a few fields that are not known, and mostly a key.
fn objects() -> impl Strategy<Value = RawObject> {
    let known = btree_map(select(&FIELDS[..]).prop_map(str::to_owned), values(), 0..6);
    let others = btree_map(any::<String>(), values(), 0..2);
    let key = option::weighted(0.8, 0_i64..1_000);
    let time = option::weighted(0.8, Just("2018-01-04"));
    (known, others, key, time).prop_map(|(known, others, key, time)| {
        let mut object: RawObject = known.into_iter().chain(others).collect();
        if let Some(key) = key {
            object.insert("unique_id".to_owned(), key.into());
            object.insert("ind".to_owned(), key.into());
        }
        if let Some(time) = time {
            object.insert("timestamp".to_owned(), time.into());
        }
        object
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn cleaning_what_is_clean_changes_nothing(raw in objects()) {
        for kind in EventKind::ALL {
            if let Ok(event) = clean(kind, &raw) {
                let row = row(&event);
                prop_assert_eq!(clean(kind, &row), Ok(event), "{:?}", row);
            }
        }
    }

    #[test]
    fn a_rejection_names_a_field_and_what_it_holds(raw in objects()) {
        for kind in EventKind::ALL {
            if let Err(rejection) = clean(kind, &raw) {
                let found = raw.get(&rejection.field).unwrap_or(&Value::Null);
                prop_assert_eq!(&rejection.value, found);
                prop_assert!(FIELDS.contains(&rejection.field.as_str()), "{}", rejection);
                let says_missing = rejection.reason.starts_with("is missing");
                let is_missing = text_of_nothing(&rejection.value);
                prop_assert_eq!(says_missing, is_missing, "{}", rejection);
            }
        }
    }

    #[test]
    fn every_field_is_kept_somewhere(raw in objects()) {
        for kind in EventKind::ALL {
            let Ok(event) = clean(kind, &raw) else { continue };
            let row = row(&event);
            for (name, value) in &raw {
                let kept = row.contains_key(name)
                    || row["extra"].get(name) == Some(value)
                    || RENAMED.contains(&(kind, name.as_str()));
                prop_assert!(kept, "{kind}: {name} is not in {row:?}");
            }
        }
    }
}

/// Fields whose columns have other names.
const RENAMED: [(EventKind, &str); 5] = [
    (EventKind::Pin, "index"),
    (EventKind::Geolocation, "latitude"),
    (EventKind::Geolocation, "longitude"),
    (EventKind::User, "first_name"),
    (EventKind::User, "last_name"),
];

fn text_of_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text::is_no_value("", text),
        _ => false,
    }
}
