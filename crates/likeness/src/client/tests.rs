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
