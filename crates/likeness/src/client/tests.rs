use std::io::{Read, Write};

use likeness_core::query::ExportFormat;

use super::*;

#[test]
fn ids_are_encoded_for_paths() {
    assert_eq!(encoded("a b/ü?.jpg"), "a%20b%2F%C3%BC%3F.jpg");
}

#[test]
fn a_form_has_each_part_once_and_an_end() {
    let form = Form::of(&NewImage {
        id: Some(ImageId::new("a").unwrap()),
        name: None,
        bytes: Bytes::from_static(b"\xff\xd8"),
    });
    let text = String::from_utf8_lossy(&form.body);
    assert_eq!(text.matches("name=\"id\"").count(), 1);
    assert_eq!(text.matches("name=\"file\"").count(), 1);
    assert!(!text.contains("name=\"name\""));
    assert!(text.ends_with(&format!("\r\n--{}--\r\n", form.boundary)));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_alive() {
    // Bound and dropped: nobody listens on this port now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(&url, None);
    assert!(!client.is_alive().await);
    let error = client.overview().await.unwrap_err();
    assert!(
        error.to_string().contains("cannot reach the server"),
        "{error}"
    );
}

/// Answers one request with `answer`, and closes the connection.
fn answering(answer: &'static str) -> Client {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\"}") && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    Client::new(&url, None)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    const BROKEN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nart,2\r\n";
    const WHOLE: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nart,2\r\n0\r\n\r\n";
    for (is_whole, answer) in [(true, WHOLE), (false, BROKEN)] {
        let client = answering(answer);
        let mut pieces = client
            .export_sql("SELECT 1", ExportFormat::Csv)
            .await
            .unwrap();
        assert_eq!(pieces.recv().await.unwrap().unwrap(), "art,2");
        match pieces.recv().await {
            None => assert!(is_whole),
            Some(last) => {
                assert!(!is_whole);
                let error = last.unwrap_err().to_string();
                assert!(error.contains("broke off"), "{error}");
                assert!(pieces.recv().await.is_none());
            }
        }
    }
}

#[tokio::test]
async fn a_query_that_is_refused_says_why() {
    let client = answering(
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 55\r\nconnection: close\r\n\r\n\
         {\"error\":{\"code\":\"invalid_query\",\"message\":\"no table\"}}",
    );
    let error = client.query_sql("SELECT 1", 10).await.unwrap_err();
    assert_eq!(error.to_string(), "no table");
    assert_eq!(
        error.downcast_ref::<RemoteError>().unwrap().code,
        "invalid_query"
    );
}
