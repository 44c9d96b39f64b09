//! The document that describes the service over HTTP (OpenAPI 3.1), and the page on which people read it.
//!
//! Where a route is, which method and parameters it has and what it needs is taken from the table that the router is made of
//! (`api::routes`), its description stands beside its handler, shapes are derived from the types that are serialized, and
//! limits are the model's. What no route says by itself is here: errors, headers, keys.

mod common;
mod described;
mod errors;
mod examples;
mod headers;
pub(super) mod schemas;
mod serve;

use std::sync::LazyLock;

pub(super) use common::{CONVERSATIONS, EVENTS, KEYS, MESSAGES, OPERATIONS, REPLIES};
pub(super) use described::{Described, JSON};
pub(super) use examples::Example;
pub(super) use serve::{PATHS, router};
use utoipa::openapi::{
    Components, OpenApi, OpenApiBuilder, PathItem, Paths, Ref, ResponseBuilder, Server,
    extensions::ExtensionsBuilder,
    path::{Operation, OperationBuilder},
    security::SecurityRequirement,
};

use super::{api, ops};
use crate::model::Scope;

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// A key that may do this.
    Key(Scope),
    /// A key, but not always: for reads, where the operator closed them; for metrics, from elsewhere.
    KeyAtTimes,
    Nothing,
}

/// An operation, and where it is.
pub(super) struct Route {
    pub(super) method: &'static str,
    /// With the slash at its end that clients of the Django service know, if there is one.
    pub(super) path: String,
    pub(super) needs: Needs,
    /// Below what it is served.
    pub(super) prefixes: &'static [&'static str],
    pub(super) described: Described,
}

impl Route {
    /// A `GET` at the root that is for everybody.
    pub(super) fn public(path: &str, described: Described) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            needs: Needs::Nothing,
            prefixes: &[""],
            described,
        }
    }

    /// The names of its path's parameters, in their order.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        let pieces = self.path.split('{').skip(1);
        pieces.filter_map(|piece| piece.split('}').next())
    }
}

/// The document as it is served and printed: the same text whenever it is asked for.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let json = serde_json::to_string_pretty(&described());
        // Nothing in it can fail to be JSON; a test reads it.
        examples::placed(&json.unwrap_or_default())
    });
    &DOCUMENT
}

fn described() -> OpenApi {
    let mut routes = api::operations();
    routes.extend(ops::operations());
    routes.extend(serve::operations());
    let mut paths = Paths::new();
    let mut components = common::components();
    for route in routes {
        let operation = operation(&route, &mut components);
        let item = paths.paths.entry(route.path).or_default();
        let slot = match route.method {
            "POST" => &mut item.post,
            "PATCH" => &mut item.patch,
            "DELETE" => &mut item.delete,
            _ => &mut item.get,
        };
        *slot = Some(operation);
        limit_to(item, route.prefixes);
    }
    OpenApiBuilder::new()
        .info(common::info())
        .servers(Some(common::servers()))
        .paths(paths)
        .components(Some(components))
        .tags(Some(common::tags()))
        .build()
}

/// Says where a path is, if it is not everywhere.
fn limit_to(item: &mut PathItem, prefixes: &[&str]) {
    if let [only] = prefixes {
        let url = if only.is_empty() { "/" } else { only };
        item.servers = Some(vec![Server::new(url)]);
    }
}

fn operation(route: &Route, components: &mut Components) -> Operation {
    let described = &route.described;
    for (name, schema) in &described.schemas {
        components.schemas.insert(name.clone(), schema.clone());
    }
    let mut operation = OperationBuilder::new()
        .operation_id(Some(described.id))
        .tag(described.tag)
        .summary(Some(described.summary))
        .description(Some(description(route)))
        .request_body(described.body.clone());
    for name in route.parameters() {
        operation = operation.parameter_ref(common::parameter(name));
    }
    for parameter in &described.parameters {
        operation = operation.parameter(parameter.clone());
    }
    if route.method == "POST" {
        operation = operation.parameter_ref(common::parameter(common::IDEMPOTENCY_KEY));
    }
    for (status, response) in &described.answers {
        let mut response = ResponseBuilder::from(response.clone());
        for header in headers::of_answers(route, *status) {
            response = response.header_ref(header, Ref::new(format!("#/components/headers/{header}")));
        }
        operation = operation.response(status.to_string(), response);
    }
    for status in errors::of(route) {
        if let Some(name) = errors::name(status) {
            operation = operation.response(status.to_string(), Ref::from_response_name(name));
        }
    }
    for requirement in securities(route.needs) {
        operation = operation.security(requirement);
    }
    if let Needs::Key(scope) = route.needs {
        let said = ExtensionsBuilder::new().add("x-scope", scope.as_str());
        operation = operation.extensions(Some(said.build()));
    }
    operation.build()
}

/// What is said of an operation, and which scope it takes: a scheme of keys has no place for that which pages would show.
fn description(route: &Route) -> String {
    let said = route.described.description.as_str();
    let Needs::Key(scope) = route.needs else {
        return said.to_owned();
    };
    let needed = format!("Takes a key with the scope `{}`.", scope.as_str());
    if said.is_empty() {
        needed
    } else {
        format!("{said}\n\n{needed}")
    }
}

/// Either way of sending a key; no way at all where none is needed.
fn securities(needs: Needs) -> Vec<SecurityRequirement> {
    let with = |scopes: &[&str]| {
        common::SCHEMES.map(|scheme| SecurityRequirement::new(scheme, scopes.iter().copied()))
    };
    match needs {
        Needs::Key(scope) => with(&[scope.as_str()]).to_vec(),
        Needs::KeyAtTimes => {
            let optional = [SecurityRequirement::default()];
            optional.into_iter().chain(with(&[])).collect()
        }
        Needs::Nothing => Vec::new(),
    }
}
