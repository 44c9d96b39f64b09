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

use super::{conversations, described, events, keys, messages, replies};
use crate::{
    config::Reads,
    http::{
        Http,
        layer::keys::require,
        openapi::{self, Described, Needs},
        problem::Problem,
    },
    model::Scope,
};

/// Where the seed's contract and what belongs to it is served. The unversioned paths stay as they are for ever.
const EVERYWHERE: &[&str] = &["", VERSIONED];

/// Where all else is.
const VERSIONED: &str = "/api/v1";

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A key that may do this, always.
    Key(Scope),
    /// A key that may read, and only where the operator closed the reads.
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
    /// Below what it is served.
    pub prefixes: &'static [&'static str],
}

struct Route {
    info: RouteInfo,
    /// What the document says of it.
    described: Describe,
    handler: MethodRouter<Arc<Http>>,
}

type Describe = fn() -> Described;

/// A method that reads.
fn read<H, T>(path: &'static str, handler: H, described: Describe) -> Route
where
    H: Handler<T, Arc<Http>>,
    T: 'static,
{
    let info = RouteInfo {
        method: "GET",
        path,
        access: Access::Read,
        prefixes: EVERYWHERE,
    };
    Route {
        info,
        described,
        handler: on(MethodFilter::GET, handler),
    }
}

/// A method that changes something.
fn write<H, T>(
    method: &'static str,
    path: &'static str,
    scope: Scope,
    handler: H,
    described: Describe,
) -> Route
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
            access: Access::Key(scope),
            prefixes: EVERYWHERE,
        },
        described,
        handler: on(filter, handler),
    }
}

impl Route {
    /// It reads what is not for everybody who knows the id.
    fn only_with(mut self, scope: Scope) -> Self {
        self.info.access = Access::Key(scope);
        self
    }

    /// It is none of the seed's, and came after the prefix.
    fn versioned(mut self) -> Self {
        self.info.prefixes = &[VERSIONED];
        self
    }
}

fn routes() -> Vec<Route> {
    let mut routes = conversation_routes();
    routes.extend(key_routes());
    routes
}

fn conversation_routes() -> Vec<Route> {
    use Scope::{ConversationsWrite, Delete, MessagesWrite, Read};
    vec![
        write(
            "POST",
            "/conversations",
            ConversationsWrite,
            conversations::create,
            described::conversations::create,
        ),
        read(
            "/conversations/{conversation_id}",
            conversations::read,
            described::conversations::read,
        ),
        write(
            "PATCH",
            "/conversations/{conversation_id}",
            ConversationsWrite,
            conversations::change,
            described::conversations::change,
        ),
        read(
            "/conversations/{conversation_id}/settings",
            conversations::settings,
            described::conversations::settings,
        )
        .only_with(Read),
        write(
            "DELETE",
            "/conversations/{conversation_id}/delete",
            Delete,
            conversations::delete,
            described::conversations::delete,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/create",
            MessagesWrite,
            messages::create,
            described::messages::create,
        ),
        read(
            "/conversations/{conversation_id}/messages",
            messages::list,
            described::messages::list,
        ),
        read(
            "/conversations/{conversation_id}/messages/{message_id}",
            messages::read,
            described::messages::read,
        ),
        write(
            "DELETE",
            "/conversations/{conversation_id}/messages/{message_id}",
            Delete,
            messages::delete,
            described::messages::delete,
        ),
        read(
            "/conversations/{conversation_id}/messages/{message_id}/reply",
            replies::read,
            described::replies::read,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/{message_id}/reply/cancel",
            MessagesWrite,
            replies::cancel,
            described::replies::cancel,
        ),
        write(
            "POST",
            "/conversations/{conversation_id}/messages/{message_id}/reply/retry",
            MessagesWrite,
            replies::retry,
            described::replies::retry,
        ),
        read(
            "/conversations/{conversation_id}/messages/{message_id}/reply/attempts",
            replies::attempts,
            described::replies::attempts,
        ),
        read(
            "/conversations/{conversation_id}/events",
            events::read,
            described::events::read,
        ),
    ]
}

fn key_routes() -> [Route; 5] {
    let scope = Scope::KeysAdmin;
    [
        write("POST", "/keys", scope, keys::create, described::keys::create).versioned(),
        read("/keys", keys::list, described::keys::list)
            .only_with(scope)
            .versioned(),
        read("/keys/{key_id}", keys::read, described::keys::read)
            .only_with(scope)
            .versioned(),
        write(
            "DELETE",
            "/keys/{key_id}",
            scope,
            keys::revoke,
            described::keys::revoke,
        )
        .versioned(),
        write(
            "POST",
            "/keys/{key_id}/rotate",
            scope,
            keys::rotate,
            described::keys::rotate,
        )
        .versioned(),
    ]
}

/// Every route, once; each is served under each of its prefixes, with and without a slash at its end.
pub fn table() -> Vec<RouteInfo> {
    routes().into_iter().map(|route| route.info).collect()
}

/// Every route, as the document tells of it. The one that clients of the Django service know with a slash at its end has one.
pub(in crate::http) fn operations() -> Vec<openapi::Route> {
    let routes = routes().into_iter();
    routes
        .map(|Route { info, described, .. }| openapi::Route {
            method: info.method,
            path: match info.path {
                "/conversations" => "/conversations/".to_owned(),
                path => path.to_owned(),
            },
            needs: match info.access {
                Access::Key(scope) => Needs::Key(scope),
                Access::Read => Needs::KeyAtTimes,
            },
            prefixes: info.prefixes,
            described: described(),
        })
        .collect()
}

pub(in crate::http) fn router(http: &Arc<Http>) -> Router {
    let mut resources: BTreeMap<&str, Resource> = BTreeMap::new();
    for Route { info, handler, .. } in routes() {
        let needed = match info.access {
            Access::Key(scope) => Some(scope),
            Access::Read => (http.settings.reads == Reads::Key).then_some(Scope::Read),
        };
        let handler = match needed {
            None => handler,
            Some(scope) => {
                handler.route_layer(middleware::from_fn_with_state((Arc::clone(http), scope), require))
            }
        };
        let resource = resources.entry(info.path).or_default();
        resource.methods = std::mem::take(&mut resource.methods).merge(handler);
        resource.prefixes = info.prefixes;
        resource.names.push(info.method);
        if info.method == "GET" {
            resource.names.push("HEAD");
        }
    }
    let mut router = Router::new();
    for (path, mut found) in resources {
        found.names.push("OPTIONS");
        let methods = resource(found.methods, &found.names.join(", "));
        for prefix in found.prefixes {
            router = router
                .route(&format!("{prefix}{path}"), methods.clone())
                .route(&format!("{prefix}{path}/"), methods.clone());
        }
    }
    router.with_state(Arc::clone(http))
}

/// The methods of a path.
#[derive(Default)]
struct Resource {
    methods: MethodRouter<Arc<Http>>,
    names: Vec<&'static str>,
    prefixes: &'static [&'static str],
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
