//! Where the document and its page are served: at the root, to everybody, as they say nothing that is not in every copy of
//! this program.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, schema::Type};

use super::{Described, JSON, OPERATIONS, Route, document, schemas};
use crate::http::{api, problem::Problem};

const DOCUMENT: &str = "/openapi.json";
/// Where clients of the Django service looked.
const SCHEMA: &str = "/api/schema/";
const PAGE: &str = "/docs";

/// The templates of all paths of this room, without a slash at the end.
pub(in crate::http) const PATHS: [&str; 4] = [DOCUMENT, "/api/schema", PAGE, "/docs/{file}"];

/// What the page may do: load what belongs to it, and ask this service. It is the only answer that is a page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// What the page is made of that was written here: name, content type, text.
const OWN: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    (
        "docs.css",
        "text/css; charset=utf-8",
        include_str!("page/docs.css"),
    ),
    (
        "docs.js",
        "text/javascript; charset=utf-8",
        include_str!("page/docs.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// What it is made of otherwise: the files of Swagger UI that it names.
const OTHERS: [(&str, &str); 2] = [
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
];

pub(in crate::http) fn router() -> Router {
    let document = get(async |headers: HeaderMap| {
        static FILE: LazyLock<File> = LazyLock::new(|| File::new(JSON, document()));
        FILE.answer(&headers)
    });
    let page = get(async |headers: HeaderMap| file("", &headers));
    let files = get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers));
    let mut router = Router::new();
    for path in [DOCUMENT, "/openapi.json/", "/api/schema", SCHEMA] {
        router = router.route(path, resource(document.clone()));
    }
    router
        .route(PAGE, resource(page.clone()))
        .route("/docs/", resource(page))
        .route("/docs/{file}", resource(files))
}

fn resource(methods: axum::routing::MethodRouter) -> axum::routing::MethodRouter {
    api::resource(methods, "GET, HEAD, OPTIONS")
}

pub(super) fn operations() -> [Route; 3] {
    let document = |id, summary, description| {
        let content = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Object)));
        of_file(Described::new(id, OPERATIONS, summary).saying(description)).answers_with(
            200,
            "An OpenAPI document.",
            JSON,
            content.build(),
        )
    };
    let page = ContentBuilder::new().schema(Some(schemas::string()));
    let page = of_file(
        Described::new("readPage", OPERATIONS, "Read this document as a page")
            .saying("Everything that it needs comes from this service."),
    )
    .answers_with(200, "A page of HTML.", "text/html", page.build());
    [
        Route::public(
            DOCUMENT,
            document(
                "readDocument",
                "Read this document",
                "It is the same for everybody.",
            ),
        ),
        Route::public(
            SCHEMA,
            document(
                "readSchema",
                "Read this document",
                "The same, where clients of the Django service look for it.",
            ),
        ),
        Route::public(PAGE, page),
    ]
}

fn of_file(described: Described) -> Described {
    described
        .header(
            "If-None-Match",
            "The names of versions that are there already.",
            schemas::string().examples(["\"9f86d081884c7d65\""]),
        )
        .answers_nothing(304, "It is one of those versions.")
        .telling(200, "ETag")
        .telling(304, "ETag")
}

/// A file of the page by its name.
fn file(name: &str, headers: &HeaderMap) -> Response {
    static FILES: LazyLock<Vec<(&str, File)>> = LazyLock::new(files);
    let found = FILES.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, file)) => file.answer(headers),
        None => Problem::not_found().into_response(),
    }
}

fn files() -> Vec<(&'static str, File)> {
    let own = OWN.map(|(name, kind, text)| {
        let mut file = File::new(kind, text);
        file.is_page = name.is_empty();
        (name, file)
    });
    let configuration = Arc::new(utoipa_swagger_ui::Config::from(DOCUMENT));
    let others = OTHERS.into_iter().filter_map(|(name, kind)| {
        // It can only fail to fill in the one file that is not taken.
        let found = utoipa_swagger_ui::serve(name, Arc::clone(&configuration)).ok()??;
        let mut file = File::new(kind, found.bytes.into_owned());
        file.is_gzip = found.gzpipped;
        Some((name, file))
    });
    own.into_iter().chain(others).collect()
}

/// Something that is the same as long as the program is.
struct File {
    kind: &'static str,
    content: Bytes,
    etag: HeaderValue,
    /// Kept packed, and unpacked by browsers; this program has no use for it.
    is_gzip: bool,
    is_page: bool,
}

impl File {
    fn new(kind: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let digest: [u8; 32] = Sha256::digest(&content).into();
        let (half, _) = digest.split_at(16);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(half));
        Self {
            kind,
            content,
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
            is_gzip: false,
            is_page: false,
        }
    }

    /// Whoever has it is told so, and kept from asking for all of it at each look.
    fn answer(&self, asked: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        if is_among(&self.etag, asked) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(self.content.clone());
            let kind = HeaderValue::from_static(self.kind);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            if self.is_gzip {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            }
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.is_page {
            headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        }
        response
    }
}

/// Whether `If-None-Match` names this version. A proxy that packs an answer calls its name weak.
fn is_among(etag: &HeaderValue, asked: &HeaderMap) -> bool {
    let given = asked.get_all(header::IF_NONE_MATCH).iter();
    given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().trim_start_matches("W/"))
        .any(|name| name == "*" || name.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_files_that_there_are() {
        let page = include_str!("page/index.html");
        for name in OWN
            .iter()
            .skip(1)
            .map(|own| own.0)
            .chain(OTHERS.map(|other| other.0))
        {
            assert!(page.contains(&format!("\"/docs/{name}\"")), "{name} is used");
            assert!(files().iter().any(|(known, _)| *known == name), "{name} is there");
        }
        assert_eq!(page.matches("\"/docs/").count(), OWN.len() - 1 + OTHERS.len());
    }

    #[test]
    fn versions_are_known_by_their_names() {
        let etag = HeaderValue::from_static("\"a\"");
        let asked = |value: &'static str| {
            HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))])
        };
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(is_among(&etag, &asked(known)), "{known}");
        }
        for unknown in ["", "a", "\"b\"", "\"a"] {
            assert!(!is_among(&etag, &asked(unknown)), "{unknown}");
        }
        assert!(!is_among(&etag, &HeaderMap::new()));
    }
}
