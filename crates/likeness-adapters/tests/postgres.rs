//! Against the server that `LIKENESS_TEST_POSTGRES` names; `cargo xtask postgres` starts one.

use std::sync::Arc;

use likeness_adapters::open_postgres;
use likeness_core::StoreError;
use likeness_core::sql::{Tables, TablesStep};
use likeness_core::step::Consumer;
use likeness_core::testsuite::{check_tables, check_tables_reopen};

fn url() -> String {
    std::env::var("LIKENESS_TEST_POSTGRES")
        .expect("`LIKENESS_TEST_POSTGRES` names a database; `cargo xtask postgres` does")
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_tables_keep_their_contract() {
    let open = || open_postgres(&url()).expect("a URL");
    check_tables(open()).await;
    check_tables_reopen(async || open() as Arc<dyn Tables>).await;

    // A connection that is lost is made again.
    let tables = open();
    let consumer = Consumer("suite-lost");
    for _ in 0..3 {
        for _ in 0..6 {
            tables.positions(consumer).await.expect("positions");
        }
        let step = TablesStep::default();
        tables.commit(step).await.expect("a commit");
        end_connections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_and_its_password_is_not_told() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = socket.local_addr().expect("its address").port();
    drop(socket);
    let url = format!("postgres://me:secret@127.0.0.1:{port}/pins");
    let tables = open_postgres(&url).expect("a URL");
    let error = tables
        .migrate("suite", &[])
        .await
        .expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let text = format!("{error:?}");
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("pins.tables"), "{text}");
}

/// Ends the connections of likeness, as a server that restarts does.
async fn end_connections() {
    let (client, driver) = tokio_postgres::connect(&url(), tokio_postgres::NoTls)
        .await
        .expect("a connection");
    let driver = tokio::spawn(driver);
    let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'likeness'";
    let ended = client.query(text, &[]).await.expect("ending connections");
    assert!(!ended.is_empty());
    drop(client);
    driver.await.expect("no panic").expect("a good end");
}
