//! Rows in an order, of a value, and page by page.

use super::*;

pub(super) async fn rows_are_selected_in_order(tables: &dyn Tables) {
    let run = unique();
    let names = ["b", "", "B", "ä", "a b", "ab", "🦀", "z", "\u{fffd}"];
    let mut rows: Vec<Row> = names
        .iter()
        .zip(0..)
        .map(|(name, number)| named(&run, number, Some(name), Some(-(number as f64))))
        .collect();
    rows.push(named(&run, 20, None, None));
    put(tables, &THINGS, rows.clone()).await;
    let mut by_bytes: Vec<_> = names.iter().zip(0_i64..).collect();
    by_bytes.sort();
    let mut by_name = vec![20];
    by_name.extend(by_bytes.into_iter().map(|(_, number)| number));
    for descending in [false, true] {
        let found = Select {
            order_by: vec!["name"],
            descending,
            ..of_run(&run)
        };
        let found = numbers(&select(tables, found).await);
        assert_eq!(found, by_name, "by name, descending: {descending}");
        by_name.reverse();
    }
    let range = |from: Option<f64>, before: Option<f64>| Select {
        range: Some(("size", from.map(Into::into), before.map(Into::into))),
        order_by: vec!["size"],
        ..of_run(&run)
    };
    for (found, expected) in [
        (range(Some(-3.0), Some(-1.0)), vec![3, 2]),
        (range(None, Some(-6.0)), vec![8, 7]),
        (range(Some(-1.0), None), vec![1, 0]),
        (range(None, None), vec![20, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ] {
        let text = format!("{found:?}");
        assert_eq!(numbers(&select(tables, found).await), expected, "{text}");
    }
    let few = Select {
        limit: 2,
        ..of_run(&run)
    };
    assert_eq!(numbers(&select(tables, few.clone()).await), [0, 1]);
    let none = Select { limit: 0, ..few };
    assert!(select(tables, none).await.is_empty());
    let both = Select {
        equals: vec![("run", run.as_str().into()), ("name", "B".into())],
        ..of_run(&run)
    };
    assert_eq!(numbers(&select(tables, both).await), [2], "case matters");
}

pub(super) async fn rows_are_found_by_a_column(tables: &dyn Tables) {
    let run = unique();
    let (left, right) = (format!("l {run}"), format!("r {run}"));
    let mut rows = Vec::new();
    for number in 0..5 {
        rows.push(named(&run, number, Some(&left), Some(number as f64)));
    }
    rows.push(named(&run, 9, Some(&right), None));
    rows.push(named(&run, 10, None, Some(0.0)));
    put(tables, &THINGS, rows).await;
    let find = |limit_each, descending| Find {
        column: "name",
        values: [&right, &left, &unique(), &left]
            .map(|name| name.as_str().into())
            .to_vec(),
        order_by: "size",
        descending,
        limit_each,
    };
    for (find, expected) in [
        (find(2, false), vec![0, 1, 9]),
        (find(2, true), vec![3, 4, 9]),
        (find(100, true), vec![0, 1, 2, 3, 4, 9]),
    ] {
        let found = tables.find(&THINGS, find).await.expect("rows");
        let mut found = numbers(&found);
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    let nothing = Find {
        values: Vec::new(),
        ..find(1, true)
    };
    assert!(
        tables
            .find(&THINGS, nothing)
            .await
            .expect("rows")
            .is_empty()
    );
}

pub(super) async fn pages_go_on_after_the_last_row(tables: &dyn Tables) {
    let (first, second) = (unique(), unique());
    let mut rows = Vec::new();
    for run in [&first, &second] {
        rows.extend((-3..3).map(|number| thing(run, number)));
    }
    put(tables, &THINGS, rows.clone()).await;
    for descending in [false, true] {
        let mut found: Vec<Row> = Vec::new();
        let mut after = match descending {
            false => key(&first, i64::MIN),
            true => key(&second, i64::MAX),
        };
        loop {
            let page = Select {
                descending,
                after: Some(after),
                range: Some(("run", Some(first.as_str().into()), None)),
                limit: 5,
                ..Select::default()
            };
            let page = select(tables, page).await;
            let Some(last) = page.last() else { break };
            after = last.key(&THINGS).to_vec();
            // Other runs may write after this one.
            found.extend(page.into_iter().filter(|row| rows.contains(row)));
        }
        assert_eq!(found, rows, "descending: {descending}");
        rows.reverse();
    }
}
