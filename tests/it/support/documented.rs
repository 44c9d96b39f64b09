//! What the committed `openapi.json` says of an answer. Every answer that a [`Client`](super::Client) gets is judged by it, so a
//! status, a content type or a field that is not in the document fails whichever test meets it.

use std::sync::OnceLock;

use reqwest::Method;
use serde_json::{Map, Value};

use super::Answer;

/// The document.
pub(crate) struct Document {
    root: Value,
    places: Vec<Place>,
}

/// A path below one of its servers.
struct Place {
    segments: Vec<String>,
    /// As the document has it.
    template: String,
    /// How many of its segments are no parameters.
    literal: usize,
}

impl Document {
    /// The one that is committed.
    pub(crate) fn committed() -> &'static Self {
        static COMMITTED: OnceLock<Document> = OnceLock::new();
        COMMITTED.get_or_init(|| Self::parse(include_str!("../../../openapi.json")))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let root: Value = serde_json::from_str(text).expect("openapi.json is JSON");
        let mut places = Vec::new();
        for (template, item) in root["paths"].as_object().expect("paths") {
            let servers = item["servers"].as_array().or(root["servers"].as_array());
            for server in servers.expect("servers") {
                let prefix = server["url"].as_str().expect("a URL").trim_end_matches('/');
                let whole = format!("{prefix}{}", template.trim_end_matches('/'));
                let segments: Vec<_> = whole.split('/').map(str::to_owned).collect();
                let literal = segments
                    .iter()
                    .filter(|segment| !segment.starts_with('{'))
                    .count();
                let template = template.clone();
                places.push(Place {
                    segments,
                    template,
                    literal,
                });
            }
        }
        Self { root, places }
    }

    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// Follows a reference, if it is one.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            None => value,
            Some(reference) => {
                let found = self.root.pointer(reference.trim_start_matches('#'));
                self.resolve(found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
            }
        }
    }

    /// What is wrong with an answer to such a request. Paths that are not described are not judged.
    pub(crate) fn complaint(&self, method: &Method, path: &str, answer: &Answer) -> Option<String> {
        let (template, item) = self.item(path)?;
        // Methods are told apart by case: `get` is one that nobody has heard of.
        let operation = match method.as_str() {
            "GET" | "HEAD" => &item["get"],
            "POST" => &item["post"],
            "PATCH" => &item["patch"],
            "DELETE" => &item["delete"],
            _ => &Value::Null,
        };
        if operation.is_null() {
            // It has no such method. What comes before that is found out is described nowhere either.
            let fits = answer.status >= 400 || *method == Method::OPTIONS;
            return (!fits).then(|| {
                format!(
                    "{method} {template} is not in openapi.json and answered {}",
                    answer.status
                )
            });
        }
        let asked = format!("{method} {template} answered {}", answer.status);
        let responses = &operation["responses"];
        let response = self.resolve(&responses[answer.status.to_string()]);
        if response.is_null() {
            let known: Vec<_> = responses.as_object().into_iter().flat_map(Map::keys).collect();
            return Some(format!("{asked}, openapi.json lists {known:?}"));
        }
        // The HTTP library refuses some heads by itself, and says nothing.
        if answer.body.is_empty() && (*method == Method::HEAD || matches!(answer.status, 400 | 414 | 431)) {
            return None;
        }
        let kind = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let Some(content) = response["content"].as_object() else {
            return (!answer.body.is_empty()).then(|| format!("{asked} with a body, openapi.json has none"));
        };
        let Some(described) = content.get(kind) else {
            return Some(format!(
                "{asked} with {kind:?}, openapi.json has {:?}",
                content.keys().collect::<Vec<_>>()
            ));
        };
        if !kind.ends_with("json") {
            return None;
        }
        let Ok(body) = serde_json::from_slice(&answer.body) else {
            return Some(format!("{asked} with {kind:?} that is no JSON"));
        };
        let faults = self.faults(&described["schema"], &body);
        (!faults.is_empty()).then(|| format!("{asked} and not as openapi.json has it: {faults:?}"))
    }

    /// What is wrong with the payload of an event.
    pub(crate) fn complaint_of_event(&self, name: &str, payload: &Value) -> Option<String> {
        let frames = self.root["components"]["schemas"]["Frame"]["oneOf"]
            .as_array()
            .expect("frames");
        let is_it = |frame: &&Value| frame["properties"]["event"]["enum"] == serde_json::json!([name]);
        let Some(frame) = frames.iter().find(is_it) else {
            return Some(format!("the event {name} is not in openapi.json"));
        };
        let faults = self.faults(&frame["properties"]["data"]["contentSchema"], payload);
        (!faults.is_empty()).then(|| format!("{name} is not as openapi.json has it: {faults:?}"))
    }

    /// The path in the document that a request's path belongs to: of several, the one with the most that is literal.
    fn item(&self, path: &str) -> Option<(&str, &Value)> {
        let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let fitting = self.places.iter().filter(|place| place.is_at(&segments));
        let place = fitting.max_by_key(|place| place.literal)?;
        Some((&place.template, &self.root["paths"][&place.template]))
    }

    /// Where a value is not as its schema says. Unlike JSON Schema, fields that a schema does not name are faults.
    pub(crate) fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.judge(schema, value, "$", &mut faults);
        let schema = self.resolve(schema);
        if let (Some(known), Some(fields)) = (self.fields(schema), value.as_object()) {
            let unknown = fields.keys().filter(|name| !known.contains(name));
            faults.extend(unknown.map(|name| format!("{name} is not described")));
        }
        faults
    }

    /// The fields that an object of this schema may have; `None` where it may have any.
    fn fields<'a>(&'a self, schema: &'a Value) -> Option<Vec<&'a String>> {
        let schema = self.resolve(schema);
        if schema["additionalProperties"].is_object() {
            return None;
        }
        let mut known: Vec<_> = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .collect();
        for keyword in ["allOf", "oneOf"] {
            for part in schema[keyword].as_array().into_iter().flatten() {
                known.extend(self.fields(part)?);
            }
        }
        (!known.is_empty()).then_some(known)
    }

    fn judge(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let types = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            several => several
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
        };
        if !types.is_empty() && !types.iter().any(|name| is_a(name, value)) {
            faults.push(format!("{place} is no {}: {value}", types.join(" or ")));
        }
        if let Some(names) = schema["enum"].as_array()
            && !names.contains(value)
        {
            faults.push(format!("{place} is none of {names:?}: {value}"));
        }
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as u64;
            let fits = schema["minLength"].as_u64().is_none_or(|least| length >= least)
                && schema["maxLength"].as_u64().is_none_or(|most| length <= most);
            if !fits || !has_format(schema["format"].as_str(), text) {
                faults.push(format!("{place} is not as it should be: {value}"));
            }
        }
        if let Some(number) = value.as_f64() {
            let fits = schema["minimum"].as_f64().is_none_or(|least| number >= least)
                && schema["maximum"].as_f64().is_none_or(|most| number <= most);
            if !fits {
                faults.push(format!("{place} is out of bounds: {value}"));
            }
        }
        if let Some(fields) = value.as_object() {
            let required = schema["required"].as_array().into_iter().flatten();
            let missing = required
                .filter_map(Value::as_str)
                .filter(|name| !fields.contains_key(*name));
            faults.extend(missing.map(|name| format!("{place}.{name} is missing")));
            for (name, field) in fields {
                let inner = schema["properties"]
                    .get(name)
                    .or(schema.get("additionalProperties"));
                if let Some(inner) = inner {
                    self.judge_whole(inner, field, &format!("{place}.{name}"), faults);
                }
            }
        }
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            self.judge_whole(&schema["items"], item, &format!("{place}[{at}]"), faults);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.judge(part, value, place, faults);
        }
        if let Some(parts) = schema["oneOf"].as_array() {
            let fitting = parts.iter().filter(|part| {
                let mut faults = Vec::new();
                self.judge(part, value, place, &mut faults);
                faults.is_empty()
            });
            let fitting = fitting.count();
            if fitting != 1 {
                faults.push(format!(
                    "{place} is {fitting} of what it should be one of: {value}"
                ));
            }
        }
    }

    /// ... and unknown fields are faults.
    fn judge_whole(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let found = self.faults(schema, value).into_iter();
        faults.extend(found.map(|fault| format!("{place}: {fault}")));
    }
}

impl Place {
    fn is_at(&self, segments: &[&str]) -> bool {
        let fits = |(wanted, given): (&String, &&str)| {
            wanted == given || wanted.starts_with('{') && !given.is_empty()
        };
        self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(fits)
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("JSON has no {other}"),
    }
}

fn has_format(format: Option<&str>, text: &str) -> bool {
    match format {
        Some("uuid") => uuid::Uuid::parse_str(text).is_ok(),
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        Some("uri") => url::Url::parse(text).is_ok(),
        _ => true,
    }
}
