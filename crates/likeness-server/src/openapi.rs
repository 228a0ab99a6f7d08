use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::api;
use crate::error::ErrorBody;

/// Returns the OpenAPI 3.1 document of the HTTP interface.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "likeness",
        description = "Images in, clusters of near-copies out.\n\n\
            Errors have the body `{\"error\": {\"code\", \"message\"}}`; match on `code`. Unknown query \
            parameters are errors. Lists are paged: pass `next` as `cursor`. Any path may answer 503 \
            `busy` when the server works on as much as it may, 403 `unknown_host` when a server \
            without keys is called by a name that is not a loopback name, 414 `uri_too_long`, and 500."
    ),
    tags(
        (name = "images", description = "Store, see, match and explain images"),
        (name = "clusters", description = "Images that are near-copies of one another"),
        (name = "corrections", description = "What people changed, and its undoing"),
        (name = "reviews", description = "Pairs whose score says little, and what people say of them"),
        (name = "scorers", description = "Versions of the scorer, and what would change with another"),
        (name = "banks", description = "Named sets of reference pictures, and what matches them"),
        (name = "floods", description = "Clusters that grow too fast or too large"),
        (name = "embeddings", description = "Embeddings from elsewhere, and what lacks its partner"),
        (name = "pins", description = "Posts of an image-sharing service, on their way to the lake and to live numbers"),
        (name = "sql", description = "Questions of one's own, and reports, over rows of pins and raw events"),
        (name = "jobs", description = "What runs by the clock or on request, and its history"),
        (name = "events", description = "Decisions, corrections, matches and alarms as they are made"),
        (name = "operations", description = "For those who run it"),
    ),
    paths(
        api::upload, api::image, api::file, api::thumbnail, api::explain, api::erase, api::proof,
        api::match_picture,
        api::clusters, api::cluster, api::correct, api::corrections, api::of_image, api::undo, api::recluster,
        api::banks, api::create, api::bank, api::set, api::delete, api::references, api::add,
        api::add_images, api::remove, api::reference_thumbnail, api::matches, api::matches_of, api::scan,
        api::alarms, api::acknowledge, api::held, api::quarantine,
        api::push, api::orphans, api::orphan_journal, api::retry, api::drop_orphan,
        api::pin, api::pins, api::geolocations, api::users,
        api::popular_profiles, api::trending_categories, api::pin_series, api::rejected_pins, api::pins_status, api::lake_status,
        api::live_pins, api::sql, api::sql_tables, api::pin_reports, api::pin_report,
        api::reviews, api::review, api::labels, api::scorers, api::add_scorer, api::compare_scorers,
        api::jobs, api::runs, api::request_runs, api::run, api::cancel_run,
        api::events,
        api::overview, api::scorer, api::openapi_document, api::healthz, api::readyz, api::metrics,
    ),
    components(schemas(
        ErrorBody, api::ClusterPage, api::CorrectionPage, api::CorrectionReceipt, api::EraseReceipt, api::BankList,
        api::ReferencePage, api::MatchPage, api::AlarmPage, api::HeldPage,
        api::EmbeddingAnswer, api::EmbeddingReceipts, api::OrphanPage, api::OrphanJournal, api::IngestedEvents, api::ProfileList, api::ReviewPage, api::ScorerList, api::QueuedRuns,
        api::ReportList, api::RowsBody, api::TableList,
    )),
    modifiers(&Keys),
    security((), ("key" = [])),
)]
struct Document;

/// Describes the keys that a server may ask for.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Needed if the server has keys. Scope `read` for everything that stores nothing, SQL \
                 over all rows included; `write` for uploads.",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(openapi()).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(method, operation)| (path.clone(), method.clone(), operation))
            })
            .collect()
    }

    #[test]
    fn every_route_is_documented_and_nothing_else_is() {
        let document = document();
        let documented: BTreeSet<_> = operations(&document)
            .into_iter()
            .map(|(path, method, _)| (path, method))
            .collect();
        let routed: BTreeSet<_> = api::routes()
            .into_iter()
            .map(|route| (route.path.to_owned(), route.method.to_owned()))
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn the_document_is_openapi_3_1_with_what_it_requires() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for field in ["title", "version"] {
            assert!(document["info"][field].is_string(), "{field}");
        }
        let mut operation_ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let place = format!("{method} {path}");
            let id = operation["operationId"].as_str().expect(&place);
            assert!(
                operation_ids.insert(id.to_owned()),
                "{id} names two operations"
            );
            assert!(operation["summary"].is_string(), "{place}");
            check_parameters(&place, &path, operation);
            let responses = operation["responses"].as_object().expect(&place);
            assert!(!responses.is_empty(), "{place}");
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{place} {status}");
                if status.starts_with(['4', '5']) {
                    let schema = &response["content"]["application/json"]["schema"];
                    assert_eq!(
                        schema["$ref"], "#/components/schemas/ErrorBody",
                        "{place} {status}"
                    );
                }
            }
        }
    }

    #[track_caller]
    fn check_parameters(place: &str, path: &str, operation: &Value) {
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let mut in_path = BTreeSet::new();
        for parameter in parameters {
            let name = parameter["name"].as_str().expect(place);
            let place = format!("{place} {name}");
            assert!(parameter["schema"].is_object(), "{place}");
            assert!(parameter["description"].is_string(), "{place}");
            match parameter["in"].as_str().expect(&place) {
                "path" => {
                    assert_eq!(parameter["required"], true, "{place}");
                    in_path.insert(name.to_owned());
                }
                "query" | "header" => {}
                other => panic!("{place} is in {other}"),
            }
        }
        let in_template: BTreeSet<_> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(in_path, in_template, "{place}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref") {
                        let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    fields.values().for_each(|field| check(field, document));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, document)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document);
    }
}
