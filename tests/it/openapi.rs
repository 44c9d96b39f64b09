//! `openapi.json`: that it is the program's, that it is whole, and that it is what answers are judged by.

use std::collections::{BTreeMap, BTreeSet};

use engagement::http::{self, Access};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{Answer, Document};

const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

/// Every operation: method, path, what is said of it, and where it is served.
fn operations(document: &Document) -> Vec<(String, String, &Value, Vec<&str>)> {
    let root = document.root();
    let mut found = Vec::new();
    for (path, item) in root["paths"].as_object().expect("paths") {
        let servers = item["servers"]
            .as_array()
            .or(root["servers"].as_array())
            .expect("servers");
        let urls: Vec<_> = servers
            .iter()
            .filter_map(|server| server["url"].as_str())
            .collect();
        for method in METHODS.iter().filter(|method| item.get(method).is_some()) {
            found.push((method.to_uppercase(), path.clone(), &item[method], urls.clone()));
        }
    }
    found
}

/// Everything that is called so, wherever it is.
fn all<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    found.push(value);
                }
                all(value, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, name, found)),
        _ => {}
    }
}

#[test]
fn the_committed_document_is_the_programs() {
    assert!(
        include_str!("../../openapi.json") == http::document(),
        "the service is described otherwise now; look at it and commit it: cargo run -- openapi > openapi.json"
    );
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = Document::committed();
    let mut described = BTreeSet::new();
    let mut others = BTreeSet::new();
    for (method, path, operation, urls) in operations(document) {
        let scope = operation["x-scope"].as_str().unwrap_or("-");
        let line = format!(
            "{method} {} {scope} at {}",
            path.trim_end_matches('/'),
            urls.join(" and ")
        );
        if urls == ["/"] {
            others.insert(line)
        } else {
            described.insert(line)
        };
    }

    let routes: BTreeSet<_> = http::table()
        .iter()
        .map(|route| {
            let scope = match route.access {
                Access::Key(scope) => scope.as_str(),
                Access::Read => "-",
            };
            let urls = if route.prefixes.contains(&"") {
                "/api/v1 and /"
            } else {
                "/api/v1"
            };
            format!("{} {} {scope} at {urls}", route.method, route.path)
        })
        .collect();
    assert_eq!(described, routes);
    assert_eq!(
        others.into_iter().collect::<Vec<_>>(),
        [
            "/api/schema",
            "/docs",
            "/livez",
            "/metrics",
            "/openapi.json",
            "/readyz"
        ]
        .map(|path| format!("GET {path} - at /"))
    );
}

#[test]
fn every_operation_says_what_there_is_to_know() {
    let document = Document::committed();
    let mut ids = BTreeSet::new();
    for (method, path, operation, urls) in operations(document) {
        let name = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().expect("an id")),
            "{name}: the id is used twice"
        );
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|summary| summary.len() > 5),
            "{name}"
        );
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{name}: no success"
        );
        assert!(
            responses.keys().any(|status| status.starts_with('4')),
            "{name}: no refusal"
        );
        for (status, response) in responses {
            let response = document.resolve(response);
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{name} {status}"
            );
            assert!(
                response["headers"].get("X-Request-Id").is_some(),
                "{name} {status}"
            );
            let is_file = urls == ["/"] && status == "200";
            for (kind, content) in response["content"].as_object().into_iter().flatten() {
                let has_example = content.get("example").is_some() || content.get("examples").is_some();
                assert!(has_example || is_file, "{name} {status} {kind}: no example");
            }
        }
        let body = &operation["requestBody"]["content"]["application/json"];
        assert!(
            body.is_null() || body["examples"].is_object(),
            "{name}: no example of a body"
        );
        let needs_key = operation["x-scope"].is_string();
        let ways = operation["security"].as_array().map_or(0, Vec::len);
        let expected = match (needs_key, urls.as_slice()) {
            (true, _) => 2,
            (false, ["/"]) if path != "/metrics" => 0,
            // It is needed at times.
            (false, _) => 3,
        };
        assert_eq!(ways, expected, "{name}: ways to come with a key, or without one");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = Document::committed();
    let mut references = Vec::new();
    all(document.root(), "$ref", &mut references);
    assert!(references.len() > 100, "{}", references.len());
    for reference in references {
        let place = reference
            .as_str()
            .expect("a text")
            .strip_prefix('#')
            .expect("in this document");
        assert!(document.root().pointer(place).is_some(), "{reference}");
    }

    let ids: BTreeSet<_> = operations(document)
        .iter()
        .filter_map(|(.., operation, _)| operation["operationId"].as_str())
        .collect();
    let mut links = Vec::new();
    all(document.root(), "links", &mut links);
    for link in links
        .iter()
        .flat_map(|links| links.as_object().expect("links").values())
    {
        assert!(
            ids.contains(link["operationId"].as_str().expect("an id")),
            "{link}"
        );
    }
}

#[test]
fn every_example_is_as_its_schema_says() {
    let document = Document::committed();
    let mut contents = Vec::new();
    all(document.root(), "content", &mut contents);
    let mut judged = 0;
    for content in contents
        .iter()
        .filter_map(|content| content.as_object())
        .flatten()
    {
        let (kind, content) = content;
        let several = content["examples"].as_object().into_iter().flatten();
        let examples = several
            .map(|(_, example)| &example["value"])
            .chain(content.get("example"));
        for example in examples {
            let faults = document.faults(&content["schema"], example);
            assert!(faults.is_empty(), "{kind} {example}: {faults:?}");
            judged += 1;
        }
    }
    assert!(judged > 50, "{judged}");
}

/// The same, for what an event carries.
#[test]
fn the_example_of_a_stream_is_an_event() {
    let document = Document::committed();
    let stream =
        &document.root()["paths"]["/conversations/{conversation_id}/events"]["get"]["responses"]["200"];
    let example = &stream["content"]["text/event-stream"]["example"];
    let payload = serde_json::from_str(example["data"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        document.complaint_of_event(example["event"].as_str().expect("a name"), &payload),
        None
    );
}

// --- how answers are judged by it --------------------------------------------------------------------------------------

fn answer(status: u16, kind: &'static str, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    if !kind.is_empty() {
        headers.insert("content-type", kind.parse().expect("a content type"));
    }
    Answer {
        status,
        headers,
        body: body.into(),
    }
}

fn conversation() -> BTreeMap<&'static str, Value> {
    let date = "2026-01-19T12:00:00.000000Z";
    BTreeMap::from([
        ("conversation_id", json!("550e8400-e29b-41d4-a716-446655440000")),
        ("title", Value::Null),
        ("description", json!("d")),
        ("date_created", json!(date)),
        ("date_updated", json!(date)),
    ])
}

const PATH: &str = "/api/v1/conversations/550e8400-e29b-41d4-a716-446655440000";

#[test]
fn an_answer_as_described_is_nothing_to_complain_of() {
    let document = Document::committed();
    let body = json!(conversation()).to_string();
    let good = answer(200, "application/json", &body);
    for path in [PATH, &PATH.replace("/api/v1", ""), &format!("{PATH}/")] {
        assert_eq!(document.complaint(&Method::GET, path, &good), None, "{path}");
    }
    assert_eq!(
        document.complaint(&Method::HEAD, PATH, &answer(200, "application/json", "")),
        None
    );
    assert_eq!(
        document.complaint(&Method::PUT, PATH, &answer(405, "application/json", "{}")),
        None
    );
    assert_eq!(
        document.complaint(&Method::GET, "/elsewhere", &answer(299, "", "")),
        None
    );
}

#[test]
fn control_what_is_not_described_is_complained_of() {
    let document = Document::committed();
    let body = |change: &dyn Fn(&mut BTreeMap<&'static str, Value>)| {
        let mut fields = conversation();
        change(&mut fields);
        json!(fields).to_string()
    };
    let json = "application/json";
    let good = body(&|_| {});
    for (why, method, answer) in [
        ("a status", Method::GET, answer(202, json, &good)),
        ("a refusal", Method::GET, answer(418, json, &good)),
        ("a method", Method::PUT, answer(200, json, &good)),
        ("a content type", Method::GET, answer(200, "text/html", &good)),
        ("no content type", Method::GET, answer(200, "", &good)),
        ("no JSON", Method::GET, answer(200, json, "{")),
        (
            "a field too many",
            Method::GET,
            answer(200, json, &body(&|it| drop(it.insert("more", json!(1))))),
        ),
        (
            "a field too few",
            Method::GET,
            answer(200, json, &body(&|it| drop(it.remove("title")))),
        ),
        (
            "another type",
            Method::GET,
            answer(200, json, &body(&|it| drop(it.insert("title", json!(1))))),
        ),
        (
            "no date",
            Method::GET,
            answer(
                200,
                json,
                &body(&|it| drop(it.insert("date_created", json!("now")))),
            ),
        ),
        (
            "no id",
            Method::GET,
            answer(
                200,
                json,
                &body(&|it| drop(it.insert("conversation_id", json!("x")))),
            ),
        ),
        (
            "an error without its fields",
            Method::GET,
            answer(404, json, r#"{"status":"error"}"#),
        ),
    ] {
        assert!(document.complaint(&method, PATH, &answer).is_some(), "{why}");
    }
    assert!(document.complaint_of_event("reply.unknown", &json!({})).is_some());
    assert!(
        document
            .complaint_of_event("reply.delta", &json!({ "text": "x" }))
            .is_some()
    );
}

#[test]
#[should_panic(expected = "answered 418, openapi.json lists")]
fn control_a_client_that_gets_such_an_answer_fails_its_test() {
    answer(418, "application/json", "{}").judged(&Method::GET, PATH);
}
