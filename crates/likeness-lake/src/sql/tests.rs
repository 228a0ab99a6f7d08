//! Queries against a lake with two tables of known rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt as _;
use likeness_adapters::{MemoryObjectStore, MemoryTables};
use likeness_core::Timestamp;
use likeness_core::jobs::Interval;
use likeness_core::lake::{Day, Lake, LakeChange, LatestRows};
use likeness_core::sql::{Migration, TablesStep};
use likeness_core::table::{Column, ColumnType, Row, Value};
use serde_json::{Value as Json, json};

use super::*;

mod bounds;
mod latest;

const PLACE: [Column; 3] = [
    Column::required("received", ColumnType::Timestamp),
    Column::required("log_partition", ColumnType::Integer),
    Column::required("log_offset", ColumnType::Integer),
];

const PINS: TableSpec = TableSpec {
    name: "pins",
    columns: &[
        Column::required("unique_id", ColumnType::Text),
        Column::nullable("ind", ColumnType::Integer),
        Column::nullable("category", ColumnType::Text),
        Column::nullable("poster_name", ColumnType::Text),
        Column::nullable("follower_count", ColumnType::Integer),
        Column::nullable("tag_list", ColumnType::Texts),
        PLACE[0],
        PLACE[1],
        PLACE[2],
    ],
    num_key_columns: 1,
};

const GEOLOCATIONS: TableSpec = TableSpec {
    name: "geolocations",
    columns: &[
        Column::required("ind", ColumnType::Integer),
        Column::required("timestamp", ColumnType::Timestamp),
        Column::nullable("country", ColumnType::Text),
        PLACE[0],
        PLACE[1],
        PLACE[2],
    ],
    num_key_columns: 1,
};

const USERS: TableSpec = TableSpec {
    name: "users",
    columns: &[
        Column::required("ind", ColumnType::Integer),
        Column::nullable("age", ColumnType::Integer),
        Column::nullable("date_joined", ColumnType::Timestamp),
        PLACE[0],
        PLACE[1],
        PLACE[2],
    ],
    num_key_columns: 1,
};

/// First of January 2026.
const FIRST: u32 = 20_454;
const DAY_MICROS: i64 = 86_400_000_000;

fn day(number: u32) -> Day {
    Day::of(Timestamp(u64::from(FIRST + number) * 86_400_000))
}

/// Where a row was received and stands: so many days after [`FIRST`], at an offset.
fn place(days: i64, offset: i64) -> Vec<Value> {
    let received = Value::Timestamp((i64::from(FIRST) + days) * DAY_MICROS);
    vec![received, 0.into(), offset.into()]
}

/// The beginning of a year, in microseconds.
fn year(year: u32) -> Value {
    let day = Day::from_civil(year, 6, 1).unwrap();
    Value::Timestamp(i64::from(day.number()) * DAY_MICROS)
}

fn pin(id: &str, ind: i64, category: &str, poster: &str, followers: Value, at: (i64, i64)) -> Row {
    let tags = Value::Texts(vec!["a".to_owned(), id.to_owned()]);
    let mut row = vec![
        id.into(),
        ind.into(),
        category.into(),
        poster.into(),
        followers,
        tags,
    ];
    row.extend(place(at.0, at.1));
    Row(row)
}

fn row(columns: Vec<Value>, offset: i64) -> Row {
    Row([columns, place(0, offset)].concat())
}

struct Bench {
    lake: Arc<ObjectLake>,
    sql: LakeSql,
    _spill: tempfile::TempDir,
}

fn config(spill_dir: PathBuf) -> SqlConfig {
    SqlConfig {
        memory_bytes: 64 << 20,
        spill_bytes: 256 << 20,
        spill_dir,
        timeout: Duration::from_secs(60),
        max_queries: 2,
        threads: 2,
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut SqlConfig)) -> Self {
        let spill = tempfile::tempdir().unwrap();
        let mut config = config(spill.path().join("spill"));
        change(&mut config);
        let lake = Arc::new(ObjectLake::new(Arc::new(MemoryObjectStore::new())));
        let table = |spec: &'static TableSpec| LakeTable {
            spec,
            about: "Things.",
            has_versions: true,
        };
        let tables = Arc::new(MemoryTables::new());
        let migrations = [Migration::CreateTable(USERS)];
        tables.migrate("test", &migrations).await.unwrap();
        let many =
            (0..10_000).map(|ind| row(vec![ind.into(), (ind % 90).into(), Value::Null], ind));
        let step = TablesStep {
            upserts: vec![(&USERS, many.collect())],
            ..TablesStep::default()
        };
        tables.commit(step).await.unwrap();
        let live = vec![LiveTable {
            spec: &USERS,
            about: "Users.",
        }];
        let specs = [&PINS, &GEOLOCATIONS, &USERS].map(table);
        let sql = LakeSql::new(
            Arc::clone(&lake),
            specs.to_vec(),
            Some((tables, live)),
            &config,
        );
        Self {
            lake,
            sql: sql.unwrap(),
            _spill: spill,
        }
    }

    async fn add(&self, spec: &'static TableSpec, day: Day, rows: Vec<Row>) {
        let file = self.lake.write_rows(spec, day, rows).await.unwrap();
        let change = LakeChange {
            add: vec![file],
            ..LakeChange::default()
        };
        self.lake.commit(change).await.unwrap();
    }

    /// Two days of posts; `a` came again on the second.
    async fn fill(&self) {
        let pins = vec![
            pin("a", 1, "art", "Anna", 5.into(), (0, 0)),
            pin("b", 2, "art", "Bob", 7.into(), (0, 1)),
            pin("c", 3, "food", "Cleo", 9.into(), (0, 2)),
            pin("d", 4, "food", "Anna", Value::Null, (0, 3)),
        ];
        self.add(&PINS, day(0), pins).await;
        let again = vec![
            pin("a", 1, "food", "Anna", 6.into(), (1, 4)),
            pin("e", 5, "pets", "Dan", 9.into(), (1, 5)),
        ];
        self.add(&PINS, day(1), again).await;
        let geolocation =
            |ind: i64, of: u32, country: &str| row(vec![ind.into(), year(of), country.into()], ind);
        let geolocations = vec![
            geolocation(1, 2017, "Peru"),
            geolocation(2, 2017, "Peru"),
            geolocation(3, 2018, "Chad"),
            geolocation(4, 2018, "Chad"),
            geolocation(5, 2018, "Chad"),
        ];
        self.add(&GEOLOCATIONS, day(0), geolocations).await;
        let user =
            |ind: i64, age: i64, joined: u32| row(vec![ind.into(), age.into(), year(joined)], ind);
        let users = vec![
            user(1, 18, 2015),
            user(2, 24, 2015),
            user(3, 25, 2016),
            user(4, 50, 2016),
            user(5, 51, 2016),
            row(vec![6.into(), 17.into(), Value::Null], 6),
        ];
        self.add(&USERS, day(0), users).await;
    }

    async fn query(&self, sql: &str) -> Result<QueryRows, QueryError> {
        self.sql.query(sql, 100, Arc::default()).await
    }

    async fn rows(&self, sql: &str) -> Json {
        let answer = self.query(sql).await;
        json!(answer.unwrap_or_else(|error| panic!("{sql}: {error}")).rows)
    }

    async fn text(&self, sql: &str, format: ExportFormat) -> Result<Vec<u8>, QueryError> {
        let parts = self.sql.export(sql, format, Arc::default()).await?;
        let parts: Vec<Bytes> = parts.try_collect().await?;
        Ok(parts.concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_hold_the_latest_rows_and_their_versions() {
    let bench = Bench::new().await;
    assert_eq!(bench.rows("SELECT count(*) FROM pins").await, json!([[0]]));
    bench.fill().await;
    assert_eq!(bench.rows("SELECT count(*) FROM pins").await, json!([[5]]));
    assert_eq!(
        bench.rows("SELECT count(*) FROM pins_versions").await,
        json!([[6]])
    );
    let latest = "SELECT category, date FROM pins WHERE unique_id = 'a'";
    assert_eq!(bench.rows(latest).await, json!([["food", "2026-01-02"]]));
    let versions =
        "SELECT category FROM pins_versions WHERE unique_id = 'a' AND date = DATE '2026-01-01'";
    assert_eq!(bench.rows(versions).await, json!([["art"]]));
    let all = bench
        .query("SELECT * FROM pins ORDER BY unique_id LIMIT 1")
        .await
        .unwrap();
    let names: Vec<_> = all
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names.len(), PINS.columns.len() + 1);
    assert_eq!(all.rows[0][5], json!(["a", "a"]));
    assert_eq!(all.rows[0][6], "2026-01-02T00:00:00Z");
    assert_eq!(
        bench
            .rows("SELECT count(*), max(age) FROM live.users")
            .await,
        json!([[10_000, 89]])
    );
    let joined = "SELECT count(*) FROM pins JOIN live.users USING (ind)";
    assert_eq!(bench.rows(joined).await, json!([[5]]));
    let cut = bench
        .sql
        .query("SELECT ind FROM live.users", 7, Arc::default())
        .await
        .unwrap();
    assert!(cut.is_truncated && cut.rows.len() == 7);

    let tables: BTreeMap<_, _> = bench
        .sql
        .tables()
        .await
        .unwrap()
        .into_iter()
        .map(|table| (table.name.clone(), table))
        .collect();
    assert_eq!(tables["pins_versions"].rows, Some(6));
    assert_eq!(tables["pins"].rows, None, "it is not known without reading");
    assert!(
        tables["live.users"]
            .columns
            .iter()
            .any(|column| column.name == "age")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_read_without_the_files_of_others() {
    let bench = Bench::new().await;
    bench.fill().await;
    let bytes = async |sql: &str| {
        let progress = Arc::new(QueryProgress::default());
        bench
            .sql
            .query(sql, 10, Arc::clone(&progress))
            .await
            .unwrap();
        progress
            .bytes_read
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let all = bytes("SELECT max(follower_count) FROM pins_versions").await;
    let one =
        bytes("SELECT max(follower_count) FROM pins_versions WHERE date = DATE '2026-01-02'").await;
    assert!(0 < one && one < all, "{one} of {all}");
    let none =
        bytes("SELECT max(follower_count) FROM pins_versions WHERE date > DATE '2027-01-01'").await;
    assert_eq!(none, 0);
    assert_eq!(
        bytes("SELECT count(*) FROM pins_versions").await,
        0,
        "the list knows it"
    );
    let of_days = "SELECT count(*) FROM pins_versions WHERE date >= DATE '2026-01-02' AND date < DATE '2027-01-01'";
    assert_eq!(bench.rows(of_days).await, json!([[2]]));
    assert_eq!(bytes(of_days).await, 0, "and that of some days");
    for (sql, count) in [
        (
            "SELECT count(*) FROM (SELECT * FROM pins_versions LIMIT 3)",
            3,
        ),
        (
            "SELECT count(*) FROM (SELECT * FROM pins_versions WHERE date = DATE '2026-01-01' LIMIT 9)",
            4,
        ),
        (
            "SELECT count(*) FROM pins_versions WHERE follower_count > 6",
            3,
        ),
        (
            "SELECT count(*) FROM pins_versions WHERE date = (SELECT max(date) FROM pins_versions)",
            2,
        ),
        (
            "SELECT count(*) FROM pins_versions WHERE date = DATE '2026-01-01' OR unique_id = 'e'",
            5,
        ),
        (
            "SELECT count(*) FROM pins_versions WHERE CAST(date AS VARCHAR) LIKE '%-02'",
            2,
        ),
    ] {
        assert_eq!(bench.rows(sql).await, json!([[count]]), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_came_later_are_null_in_older_files() {
    const OLD: TableSpec = TableSpec {
        name: "users",
        columns: &[USERS.columns[0], PLACE[0], PLACE[1], PLACE[2]],
        num_key_columns: 1,
    };
    let bench = Bench::new().await;
    bench.add(&OLD, day(0), vec![row(vec![1.into()], 0)]).await;
    bench
        .add(
            &USERS,
            day(0),
            vec![row(vec![2.into(), 30.into(), Value::Null], 1)],
        )
        .await;
    let rows = bench.rows("SELECT ind, age FROM users ORDER BY ind").await;
    assert_eq!(rows, json!([[1, null], [2, 30]]));
    assert_eq!(
        bench
            .rows("SELECT count(*) FROM users WHERE age IS NULL")
            .await,
        json!([[1]])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_say_what_is_known_of_these_rows() {
    let bench = Bench::new().await;
    bench.fill().await;
    let mut found = BTreeMap::new();
    for report in bench.sql.reports() {
        let answer = bench
            .query(report.sql)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", report.name));
        assert!(report.label < answer.columns.len() && report.value < answer.columns.len());
        found.insert(report.name, json!(answer.rows));
    }
    let expected = json!({
        "top-category-by-year": [[2017, "art", 1], [2018, "food", 2]],
        "top-category-by-country": [["Chad", "food", 2], ["Peru", "art", 1]],
        "top-user-by-country": [["Chad", "Cleo", 9], ["Peru", "Bob", 7]],
        "top-category-by-age-group": [["18-24", "art", 1], ["25-35", "food", 1], ["36-50", "food", 1], ["50+", "pets", 1]],
        "median-followers-by-age-group": [["18-24", 6.5], ["25-35", 9.0], ["50+", 9.0]],
        "median-followers-by-joining-year": [[2015, 6.5], [2016, 9.0]],
        "users-joined-by-year": [[2015, 2], [2016, 3]],
    });
    assert_eq!(json!(found), expected);
    let empty = Bench::new().await;
    for report in empty.sql.reports() {
        assert_eq!(empty.rows(report.sql).await, json!([]), "{}", report.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_written_in_every_format() {
    let bench = Bench::new().await;
    bench.fill().await;
    let sql = "SELECT unique_id AS \"i,d\", follower_count, tag_list, received, 'say \"x\"' AS t FROM pins ORDER BY 1 LIMIT 2";
    let csv = String::from_utf8(bench.text(sql, ExportFormat::Csv).await.unwrap()).unwrap();
    let expected = "\"i,d\",follower_count,tag_list,received,t\r\n\
                    a,6,\"[\"\"a\"\",\"\"a\"\"]\",2026-01-02T00:00:00Z,\"say \"\"x\"\"\"\r\n\
                    b,7,\"[\"\"a\"\",\"\"b\"\"]\",2026-01-01T00:00:00Z,\"say \"\"x\"\"\"\r\n";
    assert_eq!(csv, expected);
    let lines = String::from_utf8(bench.text(sql, ExportFormat::Ndjson).await.unwrap()).unwrap();
    let first: Json = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["tag_list"], json!(["a", "a"]));
    assert_eq!(lines.lines().count(), 2);
    let none = bench
        .text("SELECT 1 AS a WHERE false", ExportFormat::Csv)
        .await
        .unwrap();
    assert_eq!(none, b"a\r\n");

    let many = "SELECT value, CAST(value AS VARCHAR) AS t FROM generate_series(1, 200000)";
    let parquet = bench.text(many, ExportFormat::Parquet).await.unwrap();
    let reader = datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        Bytes::from(parquet),
        10_000,
    )
    .unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 200_000);
    let lines = bench.text(many, ExportFormat::Ndjson).await.unwrap();
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 200_000);
    let late = "SELECT 1 / (150000 - value) AS x FROM generate_series(1, 200000)";
    let error = bench.text(late, ExportFormat::Csv).await;
    assert!(
        matches!(error, Err(QueryError::Failed(_))),
        "an error in the middle is no end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_what_json_can_hold() {
    let bench = Bench::new().await;
    let sql = "SELECT 9007199254740993, 1.5, CAST('NaN' AS DOUBLE), true, NULL, DATE '2026-01-31', \
               TIMESTAMP '2026-01-31 01:02:03', CAST(1.25 AS DECIMAL(5, 2)), [1, NULL]";
    let expected = json!([[
        "9007199254740993",
        1.5,
        "NaN",
        true,
        null,
        "2026-01-31",
        "2026-01-31T01:02:03",
        "1.25",
        [1, null]
    ]]);
    assert_eq!(bench.rows(sql).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_time_come_by_their_keys() {
    let bench = Bench::new().await;
    bench.fill().await;
    let ids = async |from: u32, to: u32| {
        let received = Interval {
            begin: day(from).begin(),
            end: day(to).begin(),
        };
        let parts = bench.sql.latest(&PINS, received).await.unwrap();
        let rows: Vec<Vec<Row>> = parts.try_collect().await.unwrap();
        let id = |row: Row| match &row.0[0] {
            Value::Text(id) => id.clone(),
            other => panic!("{other:?}"),
        };
        rows.into_iter().flatten().map(id).collect::<String>()
    };
    assert_eq!(ids(0, 1).await, "bcd", "`a` came again later");
    assert_eq!(ids(1, 2).await, "ae");
    assert_eq!(ids(0, 9).await, "abcde");
    assert_eq!(ids(5, 9).await, "");
    let latest = bench.sql.row(&PINS, &["a".into()]).await.unwrap();
    assert_eq!(latest, Some(pin("a", 1, "food", "Anna", 6.into(), (1, 4))));
    assert_eq!(bench.sql.row(&PINS, &["it's".into()]).await.unwrap(), None);
}
