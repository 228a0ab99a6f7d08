//! What queries may not do, and what becomes of those that try.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn only_queries_are_taken_and_errors_say_what_is_wrong() {
    let bench = Bench::new().await;
    bench.fill().await;
    for (sql, part) in [
        ("SELEC 1", "Expected"),
        ("SELECT 1; SELECT 2", "one by one"),
        ("SELECT nothing FROM pins", "nothing"),
        ("SELECT * FROM nothing", "nothing"),
        ("CREATE TABLE x AS SELECT 1", "only queries"),
        ("CREATE VIEW x AS SELECT 1", "only queries"),
        ("DROP TABLE pins", "only queries"),
        (
            "INSERT INTO pins_versions SELECT * FROM pins_versions",
            "only queries",
        ),
        (
            "WITH x AS (SELECT 1) INSERT INTO pins_versions SELECT * FROM x",
            "",
        ),
        ("SELECT 1 AS a INTO x", ""),
        ("DELETE FROM pins", "only queries"),
        ("COPY pins TO '/tmp/x.csv'", "only queries"),
        ("SET datafusion.execution.batch_size = 1", "only queries"),
        ("RESET datafusion.execution.batch_size", "only queries"),
        (
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            "only queries",
        ),
        ("SELECT * FROM '/etc/passwd'", "passwd"),
        ("EXPLAIN ANALYZE DROP TABLE pins", "only queries"),
        ("PREPARE x AS SELECT 1", "only queries"),
        ("SELECT repeat('a', 2000000000)", "repeat"),
    ] {
        match bench.query(sql).await {
            Err(QueryError::Invalid(text)) => assert!(text.contains(part), "{sql}: {text}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    let failed = bench.query("SELECT 1 / (ind - ind) FROM pins").await;
    assert!(matches!(failed, Err(QueryError::Failed(_))), "{failed:?}");
    for sql in [
        "SHOW TABLES",
        "DESCRIBE pins",
        "EXPLAIN SELECT * FROM pins",
        "VALUES (1, 'a')",
    ] {
        assert!(!bench.query(sql).await.unwrap().rows.is_empty(), "{sql}");
    }
    assert_eq!(bench.rows("SELECT count(*) FROM pins").await, json!([[5]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_and_length_end_in_an_answer_or_an_error() {
    let bench = Bench::new().await;
    bench.fill().await;
    let deep = |open: &str, inner: &str, close: &str, n: usize| {
        format!("SELECT {}{inner}{}", open.repeat(n), close.repeat(n))
    };
    let mut queries = Vec::new();
    for n in [9, 20, 29, 31, 5_000] {
        queries.push(deep("(", "1", ")", n));
        queries.push(deep("NOT ", "true", "", n));
        queries.push(deep("- ", "1", "", n));
        queries.push(deep("CASE WHEN true THEN ", "1", " END", n));
        queries.push(deep("abs(", "1", ")", n));
        queries.push(deep("[", "1", "]", n));
        queries.push(deep("CAST(", "1", " AS INT)", n));
        queries.push(deep("(SELECT ", "1", ")", n));
    }
    // What is wrong inside of much is not read again and again.
    let openers = [
        "(",
        "NOT ",
        "NOT(",
        "- ",
        "[",
        "ARRAY[",
        "CAST(",
        "EXTRACT(",
        "TRIM(",
        "abs(",
        "count(",
        "CASE WHEN ",
        "CASE (",
        "(SELECT ",
        "(WITH a AS (SELECT 1) SELECT ",
        "INTERVAL ",
        "INTERVAL (",
        "EXISTS(",
        "x IN (",
        "STRUCT(",
        "{a: ",
        "SUBSTRING(",
        "a.b(",
        "POSITION(",
        "MAP {",
        "1 BETWEEN (",
        "x -> (",
        "CEIL(",
        "FLOOR(",
        "CONVERT(",
        "TRY_CAST(",
        "OVERLAY(",
    ];
    for open in openers {
        for n in [9, 10, 15, 29] {
            queries.push(deep(open, "1 1", "", n));
            queries.push(deep(open, ",", ")", n));
        }
    }
    for open in [
        "(",
        "(SELECT * FROM ",
        "(users JOIN (",
        "(VALUES (",
        "unnest(",
        "LATERAL (",
        "(SELECT 1 UNION ",
    ] {
        for n in [9, 14, 29] {
            queries.push(format!("SELECT * FROM {} users 1 1", open.repeat(n)));
            queries.push(format!(
                "SELECT * FROM {} users {}",
                open.repeat(n),
                ")".repeat(n)
            ));
        }
    }
    for open in ["ARRAY<", "STRUCT<a ", "MAP(", "DECIMAL("] {
        queries.push(format!("SELECT CAST(1 AS {} INT", open.repeat(29)));
    }
    for n in [100, 1_500, 3_500] {
        queries.push(format!("SELECT 1{}", "+1".repeat(n)));
        queries.push(format!("SELECT true{}", " AND true".repeat(n)));
        queries.push(format!(
            "SELECT ind = 1{} FROM pins",
            " OR ind = 2".repeat(n / 2)
        ));
        queries.push(format!("SELECT 1{}", "::int".repeat(n)));
        queries.push(format!("SELECT 'a'{}", " || 'a'".repeat(n)));
        queries.push(format!("SELECT 1{}", ", 1".repeat(n)));
    }
    for n in [190, 2_000] {
        queries.push(format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)));
        queries.push(format!("SELECT 1{}", " EXCEPT SELECT 1".repeat(n)));
        queries.push(format!("SELECT 1 FROM users{}", ", users".repeat(n)));
    }
    queries.push(format!(
        "WITH a0 AS (SELECT 1 AS x){} SELECT * FROM a49",
        (1..50)
            .map(|n| format!(", a{n} AS (SELECT x + 1 AS x FROM a{})", n - 1))
            .collect::<String>()
    ));
    for sql in queries {
        let start: String = sql.chars().take(40).collect();
        let begun = std::time::Instant::now();
        match bench.query(&sql).await {
            Ok(_) | Err(QueryError::Invalid(_) | QueryError::Failed(_)) => {}
            Err(other) => panic!("{start}: {other:?}"),
        }
        // Far from what an exponent takes, and far from what a busy machine takes.
        assert!(begun.elapsed() < Duration::from_secs(30), "{start}");
    }
    assert_eq!(bench.rows("SELECT count(*) FROM pins").await, json!([[5]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_queries_end_and_leave_room_for_others() {
    let bench = Bench::with(|config| config.timeout = Duration::from_secs(1)).await;
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT count(*) FROM live.users a, live.users b, live.users c WHERE a.ind + b.ind + c.ind < 0",
        "SELECT * FROM generate_series(1, 1000000000000) ORDER BY 1 DESC",
    ] {
        let begun = std::time::Instant::now();
        match bench.query(sql).await {
            Err(QueryError::TimedOut(_) | QueryError::TooLarge(_)) => {}
            other => panic!("{sql}: {other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{sql}");
    }
    // What was ended is over soon: as many queries as may run find room again.
    let room = async {
        while bench.sql.runner.is_busy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), room)
        .await
        .expect("the work ends too");
    assert_eq!(bench.rows("SELECT 1").await, json!([[1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_queries_run_as_may() {
    let bench = Bench::new().await;
    let endless = "SELECT * FROM generate_series(1, 1000000000000)";
    let first = bench
        .sql
        .export(endless, ExportFormat::Csv, Arc::default())
        .await
        .unwrap();
    let second = bench
        .sql
        .export(endless, ExportFormat::Csv, Arc::default())
        .await
        .unwrap();
    let third = bench.query("SELECT 1").await;
    assert!(matches!(third, Err(QueryError::Busy(2))), "{third:?}");
    drop((first, second));
    let answered = async {
        while bench.query("SELECT 1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .expect("dropping ends a query");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_sorts_spill() {
    let bench = Bench::with(|config| config.memory_bytes = 48 << 20).await;
    let spilled = "SELECT max(x) FROM (SELECT value AS x, row_number() OVER (ORDER BY value % 1000, value) AS n \
                   FROM generate_series(1, 3000000)) WHERE n > 0";
    assert_eq!(bench.rows(spilled).await, json!([[3_000_000]]));
    let joined = "SELECT count(*), max(a.value) FROM generate_series(1, 3000000) a \
                  JOIN generate_series(1, 3000000) b ON a.value = b.value";
    assert_eq!(bench.rows(joined).await, json!([[3_000_000, 3_000_000]]));
    let held = "SELECT count(*) FROM (SELECT value, array_agg(value) OVER () AS x FROM generate_series(1, 3000000))";
    let error = bench.query(held).await;
    assert!(
        matches!(error, Err(QueryError::TooLarge(_)) | Ok(_)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_ended_does_not_pass_for_a_whole_one() {
    let bench = Bench::with(|config| config.timeout = Duration::from_secs(1)).await;
    let endless = "SELECT * FROM generate_series(1, 1000000000000)";
    let parts = bench
        .sql
        .export(endless, ExportFormat::Ndjson, Arc::default());
    let parts = parts.await.unwrap();
    // Nobody reads: the query is ended all the same, and makes room.
    let room = async {
        while bench.sql.runner.is_busy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), room)
        .await
        .expect("the time of a query is bounded, whoever reads it");
    let answer: Result<Vec<Bytes>, QueryError> = parts.try_collect().await;
    assert!(matches!(answer, Err(QueryError::TimedOut(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_grow_with_their_depth_end() {
    let bench = Bench::with(|config| config.timeout = Duration::from_secs(20)).await;
    bench.fill().await;
    let levels = |n: usize, of: &str| {
        let ctes: String = (1..n)
            .map(|at| format!(", a{at} AS (SELECT {of} AS x FROM a{})", at - 1))
            .collect();
        format!(
            "WITH a0 AS (SELECT ind AS x FROM users){ctes} SELECT count(*) FROM a{} WHERE x > 1",
            n - 1
        )
    };
    for n in [4, 10] {
        for of in ["x + x", "CASE WHEN x > 1 THEN x ELSE -x END"] {
            match bench.query(&levels(n, of)).await {
                Ok(_)
                | Err(QueryError::TimedOut(_) | QueryError::Invalid(_) | QueryError::Failed(_)) => {
                }
                Err(other) => panic!("{n} of {of}: {other:?}"),
            }
        }
    }
    assert_eq!(bench.rows("SELECT count(*) FROM pins").await, json!([[5]]));
}
