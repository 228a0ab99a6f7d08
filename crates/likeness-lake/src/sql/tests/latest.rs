//! The latest rows against a plain map.

use super::*;

const KEYS: u64 = 20_000;
const FILES: u64 = 7;

/// Steele, Lea & Flood's SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Id, category and followers of the latest rows.
type Model = BTreeMap<String, (String, i64)>;

/// Fills files with rows; one in `again` is of a key that was there, or nearly so.
async fn fill(bench: &Bench, again: u64, seed: u64) -> Model {
    let mut state = seed;
    let mut model = Model::new();
    let mut offset = 0;
    for file in 0..FILES {
        let mut rows = Vec::new();
        for _ in 0..KEYS / FILES {
            let key = match random(&mut state).is_multiple_of(again) {
                true => random(&mut state) % (offset as u64 + 1),
                false => offset as u64,
            };
            let id = format!("id {key}");
            let category = format!("c{}", random(&mut state) % 5);
            let followers = (random(&mut state) % 1_000) as i64;
            let at = (file as i64, offset);
            rows.push(pin(
                &id,
                key as i64,
                &category,
                "Anna",
                followers.into(),
                at,
            ));
            model.insert(id, (category, followers));
            offset += 1;
        }
        // The place in a file says nothing of which row is later, nor does the file.
        rows.reverse();
        bench.add(&PINS, day((FILES - file) as u32), rows).await;
    }
    model
}

async fn compare(bench: &Bench, model: &Model) {
    let rows = async |sql: &str| {
        let answer = bench.sql.query(sql, 100_000, Arc::default()).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error}")).rows
    };
    type Passes = fn(&str, &str, i64) -> bool;
    let filters: [(&str, Passes); 6] = [
        ("true", |_, _, _| true),
        ("category = 'c3'", |_, category, _| category == "c3"),
        ("follower_count < 100", |_, _, followers| followers < 100),
        ("unique_id < 'id 15'", |id, _, _| id < "id 15"),
        ("unique_id = 'id 7' AND category <> 'c9'", |id, _, _| {
            id == "id 7"
        }),
        (
            "unique_id > 'id 5' AND follower_count > 990",
            |id, _, followers| id > "id 5" && followers > 990,
        ),
    ];
    for (filter, passes) in filters {
        let wanted: Vec<Json> = model
            .iter()
            .filter(|(id, (category, followers))| passes(id, category, *followers))
            .map(|(id, (category, followers))| json!([id, category, followers]))
            .collect();
        let sql = format!(
            "SELECT unique_id, category, follower_count FROM pins WHERE {filter} ORDER BY 1"
        );
        let found: Vec<Json> = rows(&sql).await.into_iter().map(Json::from).collect();
        assert!(
            found == wanted,
            "{filter}: {} of {}",
            found.len(),
            wanted.len()
        );
        let counted = rows(&format!("SELECT count(*) FROM pins WHERE {filter}")).await;
        assert_eq!(counted[0][0], wanted.len(), "{filter}");
    }
    let twice = "SELECT count(*) FROM pins a JOIN pins b ON a.unique_id = b.unique_id";
    assert_eq!(rows(twice).await[0][0], model.len());
    let some = rows("SELECT tag_list, date FROM pins LIMIT 3").await;
    assert_eq!(some.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_rows_are_those_of_a_map() {
    let bench = Bench::new().await;
    let model = fill(&bench, 50, 1).await;
    assert!(model.len() as u64 > KEYS * 9 / 10);
    compare(&bench, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_are_they_where_most_keys_are_repeated() {
    let bench = Bench::new().await;
    let model = fill(&bench, 2, 2).await;
    assert!((model.len() as u64) < KEYS * 3 / 4);
    compare(&bench, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rows_of_repeated_keys_are_numbered_unless_they_are_many() {
    let plan = async |again, seed| {
        let bench = Bench::new().await;
        fill(&bench, again, seed).await;
        let rows = bench.rows("EXPLAIN SELECT category FROM pins").await;
        rows.to_string()
    };
    let of_few = plan(50, 3).await;
    assert!(
        of_few.contains("is_repeated") && of_few.contains("UnionExec"),
        "{of_few}"
    );
    let of_many = plan(2, 4).await;
    assert!(
        !of_many.contains("UnionExec") && of_many.contains("nth version"),
        "{of_many}"
    );
}

/// Rows that a filter lets through hold nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_sort_of_few_rows_of_many_needs_little_memory() {
    let bench = Bench::with(|config| {
        config.memory_bytes = 24 << 20;
        config.spill_bytes = 0;
    })
    .await;
    let name = "n".repeat(1_000);
    for file in 0..4 {
        let row = |at: i64| {
            let at = file * 25_000 + at;
            pin(
                &format!("id {at}"),
                at,
                &format!("{name}{at}"),
                "Anna",
                1.into(),
                (file, at),
            )
        };
        bench
            .add(&PINS, day(file as u32), (0..25_000).map(row).collect())
            .await;
    }
    let sql = "SELECT count(*), max(n) FROM (SELECT row_number() OVER (PARTITION BY poster_name ORDER BY category) AS n \
               FROM pins_versions WHERE ind % 100 = 7)";
    assert_eq!(bench.rows(sql).await, json!([[1_000, 1_000]]));
}
