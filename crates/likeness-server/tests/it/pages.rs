use likeness_engine::dedup::DedupConfig;
use likeness_server::ServerConfig;

use crate::support::{Answer, Gate, Server, encode, jpeg, picture, png};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

/// Checks what holds for every page: complete, named, and nothing in it that the policy forbids.
#[track_caller]
fn check_page(answer: &Answer, status: u16, expected: &[&str]) {
    let text = answer.text();
    assert_eq!(answer.status.as_u16(), status, "{text}");
    assert!(answer.header("content-type").starts_with("text/html"));
    let policy = answer.header("content-security-policy");
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(text.starts_with("<!DOCTYPE html>") && text.ends_with("</html>"));
    for needed in ["<html lang=", "<title>", "<main ", "Skip to content"] {
        assert!(text.contains(needed), "{needed}: {text}");
    }
    for forbidden in [
        " style=",
        "<style",
        " onclick=",
        " onerror=",
        " onload=",
        "javascript:",
    ] {
        assert!(!text.contains(forbidden), "{forbidden}: {text}");
    }
    for script in text.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        assert!(attributes.contains("src=\"/assets/"), "{attributes}");
        assert!(rest.starts_with("</script>"), "{rest}");
    }
    for expected in expected {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[tokio::test]
async fn an_empty_server_tells_how_to_begin() {
    let server = Server::start().await;
    check_page(
        &server.get("/").await,
        200,
        &["No pictures yet", "/upload", "curl"],
    );
    check_page(
        &server.get("/clusters").await,
        200,
        &["No clusters yet", "/upload"],
    );
    check_page(
        &server.get("/upload").await,
        200,
        &["32 MiB", "Match without storing"],
    );
}

#[tokio::test]
async fn pages_show_what_was_decided_and_why() {
    let server = Server::start().await;
    server.store("head", png(&picture(1))).await;
    check_page(&server.get("/clusters").await, 200, &["Not a single copy"]);
    check_page(
        &server.get("/clusters?all=true").await,
        200,
        &["/clusters/head"],
    );
    server.store("copy", jpeg(&picture(1))).await;

    check_page(
        &server.get("/").await,
        200,
        &["Near-copy", "/images/copy", "First of its kind"],
    );
    for path in ["/clusters", "/clusters?order=newest"] {
        check_page(
            &server.get(path).await,
            200,
            &["2 pictures", "/v1/images/copy/thumbnail"],
        );
    }
    let cluster = server.get("/clusters/head").await;
    check_page(
        &cluster,
        200,
        &[
            "2 pictures",
            "/images/copy",
            "256 × 256 · JPEG",
            "threshold",
        ],
    );
    let copy = server.get("/images/copy").await;
    check_page(
        &copy,
        200,
        &["Near-copy", "Why", "Cosine", "/images/head", "SHA-256"],
    );
    check_page(
        &server.get("/images/head").await,
        200,
        &["First of its kind", "has 2 pictures"],
    );

    let member = server.get("/clusters/copy").await;
    assert_eq!(member.status, 303);
    assert_eq!(member.header("location"), "/clusters/head");
}

#[tokio::test]
async fn an_image_without_a_decision_says_so_and_looks_again() {
    let gate = Gate::closed();
    let server = Server::gated(&gate, DedupConfig::default(), ServerConfig::default()).await;
    server
        .post("/v1/images?id=a", "image/png", png(&picture(1)))
        .await;
    check_page(
        &server.get("/images/a").await,
        200,
        &["Being decided", "http-equiv=\"refresh\""],
    );
    gate.open();
    server.dedup.drain().await.unwrap();
    let decided = server.get("/images/a").await;
    check_page(&decided, 200, &["First of its kind"]);
    assert!(!decided.text().contains("http-equiv=\"refresh\""));
}

#[tokio::test]
async fn a_rejected_image_has_a_page_with_the_reason() {
    let server = Server::start().await;
    let mut cut = png(&picture(1));
    cut.truncate(cut.len() / 2);
    server
        .post("/v1/images?wait=true&id=cut", "image/png", cut)
        .await;
    check_page(
        &server.get("/images/cut").await,
        200,
        &["Not a picture", "<code>"],
    );
    check_page(&server.get("/").await, 200, &["Not a picture"]);
}

#[tokio::test]
async fn hostile_ids_and_names_are_text_and_nothing_else() {
    let server = Server::start().await;
    let store = async |id: &str, bytes: Vec<u8>| {
        let path = format!(
            "/v1/images?wait=true&id={}&name={}",
            encode(id),
            encode(HOSTILE)
        );
        let answer = server.post(&path, "image/png", bytes).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    store(HOSTILE, png(&picture(1))).await;
    store("copy?#%2F", jpeg(&picture(1))).await;
    let id = encode(HOSTILE);
    for path in [
        "/".to_owned(),
        "/clusters".to_owned(),
        "/clusters?all=true".to_owned(),
        format!("/clusters/{id}"),
        format!("/images/{id}"),
        format!("/images/{}", encode("copy?#%2F")),
    ] {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        let text = page.text();
        assert!(!text.contains("<img src=x"), "{path}: {text}");
        // Quotes in an attribute are escaped as well: no attribute of its own gets out.
        assert!(!text.contains("onerror=alert(1)>\""), "{path}: {text}");
    }
    let missing = server
        .get(&format!("/images/{}", encode("<script>alert(1)<!script>")))
        .await;
    check_page(&missing, 404, &["No image has this id", "&lt;script&gt;"]);
}

#[tokio::test]
async fn errors_are_pages_outside_v1() {
    let server = Server::start().await;
    check_page(&server.get("/nothing").await, 404, &["404", "/clusters"]);
    check_page(
        &server.get("/images/none").await,
        404,
        &["No image has this id"],
    );
    check_page(
        &server.get("/clusters/none").await,
        404,
        &["No cluster has this head"],
    );
    check_page(
        &server.post("/upload", "text/plain", Vec::new()).await,
        405,
        &["405"],
    );
    check_page(
        &server.get("/clusters?cursor=made-up").await,
        400,
        &["invalid_parameter"],
    );
}

#[tokio::test]
async fn the_search_box_leads_to_the_image_without_javascript() {
    let server = Server::start().await;
    let answer = server.get("/go?id=%20a%3Fb%20").await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "/images/a%3Fb");
    assert_eq!(server.get("/go").await.header("location"), "/");
}

#[tokio::test]
async fn what_pages_load_is_there_and_may_be_kept_for_ever() {
    let server = Server::start().await;
    let mut n_assets = 0;
    for page in ["/", "/upload"] {
        let text = server.get(page).await.text();
        for reference in text.split('"').filter(|part| part.starts_with("/assets/")) {
            let asset = server.get(reference).await;
            assert_eq!(asset.status, 200, "{reference}");
            assert!(
                asset.header("cache-control").contains("immutable"),
                "{reference}"
            );
            assert!(!asset.body.is_empty(), "{reference}");
            n_assets += 1;
        }
    }
    assert!(n_assets >= 10, "{n_assets}");
    server
        .get("/assets/style.css")
        .await
        .check_error(404, "unknown_path");
}

#[tokio::test]
async fn corrections_can_be_made_and_read_in_pages() {
    let server = Server::start().await;
    server.store("head", png(&picture(1))).await;
    server.store("copy", jpeg(&picture(1))).await;
    check_page(
        &server.get("/corrections").await,
        200,
        &["Nothing was corrected so far"],
    );
    check_page(
        &server.get("/clusters/head").await,
        200,
        &[
            "data-pick=\"copy\"",
            "data-cluster=\"head\"",
            "Split off together",
        ],
    );
    check_page(
        &server.get("/images/copy").await,
        200,
        &[
            "data-image=\"copy\"",
            "data-correct=\"never\" data-other=\"head\"",
        ],
    );
    let body = serde_json::json!({
        "author": "<img src=x>\"'&",
        "reason": "another picture",
        "command": {"kind": "rehead", "cluster": "head", "head": "copy"},
    });
    let answer = server
        .post(
            "/v1/corrections",
            "application/json",
            body.to_string().into(),
        )
        .await;
    assert_eq!(
        answer.json()["outcome"]["kind"],
        "applied",
        "{}",
        answer.text()
    );
    let page = server.get("/corrections").await;
    check_page(
        &page,
        200,
        &["another picture", "made the head of", "data-sequence=\"0\""],
    );
    assert!(!page.text().contains("<img src=x"), "{}", page.text());
    // The canonical id stays, and the page shows the member that was chosen.
    check_page(
        &server.get("/clusters/head").await,
        200,
        &["Canonical id", "/v1/images/copy/file"],
    );
    check_page(
        &server.get("/images/copy").await,
        200,
        &["Corrections by hand"],
    );
}

#[tokio::test]
async fn banks_and_floods_have_pages_empty_and_filled() {
    let server = Server::start().await;
    let banks = server.get("/banks").await;
    check_page(&banks, 200, &["No banks yet", "bank-create"]);
    let alarms = server.get("/alarms").await;
    check_page(&alarms, 200, &["No flood so far"]);
    check_page(&server.get("/banks/none").await, 404, &["none"]);

    server.store("a-head", jpeg(&picture(1))).await;
    let json =
        async |path: &str, body: &str| server.post(path, "application/json", body.into()).await;
    let made = json(
        "/v1/banks",
        r#"{"author": "ann", "reason": "<b>spam</b>", "name": "spam", "threshold": 0.8, "negative": true}"#,
    );
    assert_eq!(made.await.json()["outcome"]["kind"], "applied");
    let added = json(
        "/v1/banks/spam/images",
        r#"{"author": "ann", "reason": "<b>spam</b>", "images": ["a-head"]}"#,
    );
    assert_eq!(added.await.json()["outcome"]["kind"], "applied");
    server.store("a-copy", png(&picture(1))).await;
    check_page(
        &server.get("/banks/spam").await,
        200,
        &["1 reference", "/images/a-copy", "negative", "&lt;b&gt;spam"],
    );
    check_page(
        &server.get("/clusters/a-copy").await,
        200,
        &["Matched the negative bank"],
    );
    check_page(&server.get("/images/a-copy").await, 200, &["In banks"]);

    let quarantined = json(
        "/v1/clusters/a-head/quarantine",
        r#"{"author": "ann", "reason": "it attracts", "act": "begin"}"#,
    );
    assert_eq!(quarantined.await.json()["outcome"]["kind"], "applied");
    let cluster = server.get("/clusters/a-head").await;
    check_page(
        &cluster,
        200,
        &["Under quarantine", "/clusters/a-head/held"],
    );
    let held = server.get("/clusters/a-head/held").await;
    check_page(&held, 200, &["Nothing is held"]);
    let corrections = server.get("/corrections").await;
    check_page(
        &corrections,
        200,
        &["put under quarantine", "negative bank"],
    );
}

#[tokio::test]
async fn the_scorer_says_what_it_reads_and_where_its_threshold_lies() {
    let server = Server::start().await;
    let scorer = server.get("/v1/scorer").await.json();
    let id = scorer["id"].as_str().unwrap();
    check_page(
        &server.get("/scorer").await,
        200,
        &[id, "pdq_distance", "keeps no curve"],
    );
    assert_eq!(scorer["threshold"], scorer["own_threshold"]);
    assert_eq!(scorer["reads"][0]["name"], "cosine");
    // The regression cannot make use of looks.
    assert_eq!(scorer["max_looks"], 0);
    check_page(&server.get("/").await, 200, &["No pictures yet"]);
}
