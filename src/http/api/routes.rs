//! Which routes there are. Unsafe methods need a key whatever a route says: it cannot be forgotten.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{conversations, events, messages, replies};
use crate::{
    config::Reads,
    http::{Http, layer::keys::require_key, problem::Problem},
};

/// Where the contract is served. The unversioned paths stay as they are for ever.
const PREFIXES: [&str; 2] = ["", "/api/v1"];

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A key, always.
    Key,
    /// A key only where the operator closed the reads.
    Read,
}

/// A route, for people and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its method.
    pub method: &'static str,
    /// Its path below a prefix, with the names of its parameters.
    pub path: &'static str,
    /// What it takes.
    pub access: Access,
}

struct Route {
    info: RouteInfo,
    handler: MethodRouter<Arc<Http>>,
}

/// A method that reads.
fn read<H, T>(path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<Http>>,
    T: 'static,
{
    let info = RouteInfo {
        method: "GET",
        path,
        access: Access::Read,
    };
    Route {
        info,
        handler: on(MethodFilter::GET, handler),
    }
}

/// A method that reads what is not for everybody who knows the id.
fn read_with_key<H, T>(path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<Http>>,
    T: 'static,
{
    let mut route = read(path, handler);
    route.info.access = Access::Key;
    route
}

/// A method that changes something.
fn write<H, T>(method: &'static str, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<Http>>,
    T: 'static,
{
    let filter = match method {
        "DELETE" => MethodFilter::DELETE,
        "PATCH" => MethodFilter::PATCH,
        _ => MethodFilter::POST,
    };
    Route {
        info: RouteInfo {
            method,
            path,
            access: Access::Key,
        },
        handler: on(filter, handler),
    }
}

fn routes() -> Vec<Route> {
    vec![
        write("POST", "/conversations", conversations::create),
        read("/conversations/{conversation_id}", conversations::read),
        write("PATCH", "/conversations/{conversation_id}", conversations::change),
        read_with_key(
            "/conversations/{conversation_id}/settings",
            conversations::settings,
        ),
        write(
            "DELETE",
            "/conversations/{conversation_id}/delete",
            conversations::delete,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/create",
            messages::create,
        ),
        read("/conversations/{conversation_id}/messages", messages::list),
        read(
            "/conversations/{conversation_id}/messages/{message_id}",
            messages::read,
        ),
        write(
            "DELETE",
            "/conversations/{conversation_id}/messages/{message_id}",
            messages::delete,
        ),
        read(
            "/conversations/{conversation_id}/messages/{message_id}/reply",
            replies::read,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/{message_id}/reply/cancel",
            replies::cancel,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/{message_id}/reply/retry",
            replies::retry,
        ),
        read(
            "/conversations/{conversation_id}/messages/{message_id}/reply/attempts",
            replies::attempts,
        ),
        read("/conversations/{conversation_id}/events", events::read),
    ]
}

/// Every route, once; each is served under every prefix, with and without a slash at its end.
pub fn table() -> Vec<RouteInfo> {
    routes().into_iter().map(|route| route.info).collect()
}

pub(in crate::http) fn router(http: &Arc<Http>) -> Router {
    let mut resources: BTreeMap<&str, (MethodRouter<Arc<Http>>, Vec<&str>)> = BTreeMap::new();
    for Route { info, handler } in routes() {
        let closed = info.access == Access::Key || http.settings.reads == Reads::Key;
        let handler = if closed {
            handler.route_layer(middleware::from_fn_with_state(Arc::clone(http), require_key))
        } else {
            handler
        };
        let (methods, mut names) = resources.remove(info.path).unwrap_or_default();
        names.extend(if info.method == "GET" {
            vec!["GET", "HEAD"]
        } else {
            vec![info.method]
        });
        resources.insert(info.path, (methods.merge(handler), names));
    }
    let mut router = Router::new();
    for (path, (methods, mut names)) in resources {
        names.push("OPTIONS");
        let methods = resource(methods, &names.join(", "));
        for prefix in PREFIXES {
            router = router
                .route(&format!("{prefix}{path}"), methods.clone())
                .route(&format!("{prefix}{path}/"), methods.clone());
        }
    }
    router.with_state(Arc::clone(http))
}

/// Completes a route's methods: `OPTIONS` tells which there are, every other one is refused with the same list.
pub(in crate::http) fn resource<S>(methods: MethodRouter<S>, allow: &str) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let allow = HeaderValue::from_str(allow).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
    let allow_for_refusal = allow.clone();
    methods
        .options(async move || (StatusCode::NO_CONTENT, [(header::ALLOW, allow)]))
        .fallback(async move |request: Request| {
            Problem::method_not_allowed(request.method(), allow_for_refusal).into_response()
        })
}

/// Whether a method is one that HTTP defines.
pub(in crate::http) fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::DELETE,
        Method::OPTIONS,
        Method::PUT,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}
