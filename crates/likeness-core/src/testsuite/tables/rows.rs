//! Rows: what goes in comes out, and what may not go in.

use super::*;

pub(super) async fn values_come_back_as_they_were_written(tables: &dyn Tables) {
    let run = unique();
    let texts = [
        "",
        " ",
        "a'b\"c\\d\n\t\r",
        "\u{1}\u{7f}\u{85}",
        "ü é 名前 👩‍👩‍👧 \u{202e}",
        "\u{10ffff}\u{e000}\u{feff}",
        "$1 ?1 %s {} --; DROP TABLE suite_things",
    ];
    let reals = [
        0.0,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1e15 + 0.3,
    ];
    let mut values: Vec<(usize, Value)> = Vec::new();
    values.extend(texts.map(|text| (2, text.into())));
    values.push((2, "x".repeat(100_000).as_str().into()));
    values.extend(reals.map(|real| (3, real.into())));
    values.extend([true, false].map(|truth| (4, truth.into())));
    for micros in [
        *TIMES.start(),
        -1,
        0,
        1,
        1_515_024_000_000_001,
        *TIMES.end(),
    ] {
        values.push((5, Value::Timestamp(micros)));
    }
    let long = "y".repeat(100_000);
    for json in [
        json!(null),
        json!("\u{0} a NUL \u{0}"),
        json!({"\u{0}": ["\u{1}", {"": 1e300}], "big": u64::MAX, "small": i64::MIN}),
        json!([1.0 / 3.0, 1e-7 / 3.0, long]),
        json!(false),
    ] {
        values.push((6, json.into()));
    }
    let lists = [vec![], vec![""], vec!["a,b", "{}", "NULL", "\"\\", "ü"]];
    for list in lists {
        let list: Vec<String> = list.into_iter().map(str::to_owned).collect();
        values.push((7, list.into()));
    }
    values.extend([vec![], reals.to_vec()].map(|reals| (8, reals.into())));
    let mut rows: Vec<Row> = Vec::new();
    for (number, (place, value)) in values.into_iter().enumerate() {
        let mut row = thing(&run, number as i64);
        row.0[place] = value;
        rows.push(row);
    }
    rows.push(thing(&run, i64::MAX));
    rows.insert(0, full(&run, i64::MIN));
    put(tables, &THINGS, rows.clone()).await;
    for (found, written) in all(tables, &run).await.iter().zip(&rows) {
        assert_eq!(found, written);
    }
    let keys: Vec<_> = rows.iter().map(|row| row.key(&THINGS).to_vec()).collect();
    let mut found = tables.get(&THINGS, keys).await.expect("rows");
    assert_eq!(found.len(), rows.len());
    found.sort_by_key(|row| numbers(std::slice::from_ref(row)));
    assert_eq!(found, rows, "by their keys");
}

pub(super) async fn rows_are_replaced_and_deleted_by_their_keys(tables: &dyn Tables) {
    let run = unique();
    put(
        tables,
        &THINGS,
        vec![full(&run, 1), full(&run, 2), full(&run, 3)],
    )
    .await;
    let step = TablesStep {
        deletes: vec![(
            &THINGS,
            vec![key(&run, 1), key(&run, 2), key(&run, 9), key(&run, 1)],
        )],
        // Deleted first.
        upserts: vec![(&THINGS, vec![thing(&run, 2), thing(&run, 3)])],
        ..TablesStep::default()
    };
    assert_eq!(commit(tables, step).await, TablesOutcome::Committed);
    let expected = [thing(&run, 2), thing(&run, 3)];
    assert_eq!(
        all(tables, &run).await,
        expected,
        "nulls take the place of values"
    );
    let keys = vec![key(&run, 3), key(&run, 1), key(&run, 3), key(&unique(), 3)];
    let found = tables.get(&THINGS, keys).await.expect("rows");
    assert_eq!(found, [thing(&run, 3)], "each row once");
    assert!(
        tables
            .get(&THINGS, Vec::new())
            .await
            .expect("rows")
            .is_empty()
    );

    let keys: Vec<Row> = [(-1, true), (-1, false), (5, true)]
        .map(|(at, truth)| {
            let key = vec![run.as_str().into(), Value::Timestamp(at), truth.into()];
            Row(key)
        })
        .to_vec();
    put(tables, &KEYS, keys.clone()).await;
    put(tables, &KEYS, keys.clone()).await;
    let found = tables.select(&KEYS, of_run(&run)).await.expect("rows");
    let expected = [keys[1].clone(), keys[0].clone(), keys[2].clone()];
    assert_eq!(
        found, expected,
        "rows that are nothing but a key, false before true"
    );
}

pub(super) async fn batches_may_be_of_any_size(tables: &dyn Tables) {
    // More values than parameters of one statement can be: 65,535 and 32,766 in the products at hand.
    let run = unique();
    let rows: Vec<Row> = (0..12_000).map(|number| full(&run, number)).collect();
    put(tables, &THINGS, rows.clone()).await;
    let keys: Vec<_> = rows.iter().map(|row| row.key(&THINGS).to_vec()).collect();
    let found = tables.get(&THINGS, keys.clone()).await.expect("rows");
    assert_eq!(found.len(), rows.len());
    let values = (0..70_000).map(|number| format!("{run} {number}").into());
    let find = Find {
        column: "name",
        values: values.collect(),
        order_by: "size",
        descending: false,
        limit_each: 1,
    };
    assert!(tables.find(&THINGS, find).await.expect("rows").is_empty());
    let step = TablesStep {
        deletes: vec![(&THINGS, keys)],
        ..TablesStep::default()
    };
    assert_eq!(commit(tables, step).await, TablesOutcome::Committed);
    assert!(all(tables, &run).await.is_empty());
    let nothing = commit(tables, TablesStep::default()).await;
    assert_eq!(nothing, TablesOutcome::Committed, "an empty step");
}

pub(super) async fn what_breaks_a_rule_is_refused_and_nothing_is_written(tables: &dyn Tables) {
    let run = unique();
    let long = "x".repeat(MAX_INDEXED_BYTES + 1);
    let mut of_nul = thing(&run, 1);
    of_nul.0[2] = "a\0b".into();
    let mut of_late = thing(&run, 1);
    of_late.0[5] = Value::Timestamp(i64::MAX);
    let mut short = thing(&run, 1);
    short.0.pop();
    for bad in [
        vec![of_nul],
        vec![of_late],
        vec![short],
        vec![thing(&long, 1)],
        vec![thing(&run, 1), thing(&run, 1)],
    ] {
        let mut rows = vec![thing(&run, 7)];
        rows.extend(bad);
        let step = TablesStep {
            upserts: vec![(&THINGS, rows)],
            ..TablesStep::default()
        };
        assert_invalid(tables.commit(step).await);
    }
    let back = Advance {
        from: Offset(5),
        next: Offset(4),
        ..advance(consumer(&run), 0)
    };
    let step = TablesStep {
        upserts: vec![(&THINGS, vec![thing(&run, 7)])],
        positions: vec![back],
        ..TablesStep::default()
    };
    assert_invalid(tables.commit(step).await);
    assert!(
        all(tables, &run).await.is_empty(),
        "of a step that was refused"
    );
    assert_invalid(tables.get(&THINGS, vec![vec![run.as_str().into()]]).await);
    for bad in [
        Select {
            equals: vec![("weight", 1.into())],
            ..of_run(&run)
        },
        Select {
            equals: vec![("number", "one".into())],
            ..of_run(&run)
        },
        Select {
            equals: vec![("name", Value::Null)],
            ..of_run(&run)
        },
        Select {
            order_by: vec!["facts"],
            ..of_run(&run)
        },
        Select {
            after: Some(vec![1.into()]),
            ..of_run(&run)
        },
        Select {
            order_by: vec!["name"],
            after: Some(vec!["a".into()]),
            ..of_run(&run)
        },
    ] {
        assert_invalid(tables.select(&THINGS, bad).await);
    }
}
