//! The shape of the code: who may use whom, and what has one place only.
//!
//! The table is ARCHITECTURE.md's. Each rule has a control beside it that hands it a small wrong source: a rule that
//! cannot complain proves nothing. Unit tests inside `src` are not looked at.

mod rules;
mod source;

use std::{fs, path::Path};

use rules::{long_files, misnumbered, misplaced_names, wrong_edges};
use source::Source;

/// Module: what it may use. `*` is everything; a longer name in the first column is a module of its own, which the
/// right to use its parent does not include. `config` means the module's own section, `telemetry` naming its metrics.
pub(crate) const MAY_USE: &str = "
    main: *
    lib: *
    cli: *
    app: *
    config: model
    telemetry: config model clock
    telemetry::traces: config model clock tls telemetry::causes
    tls:
    model:
    clock: model
    access: model store clock ids shutdown config telemetry
    limits: model clock config
    shutdown:
    ids: model
    store: model
    store::traced: store model telemetry::traces
    store::sqlite: store model clock config telemetry
    store::postgres: store model clock ids shutdown config telemetry tls
    provider: model clock config telemetry tls
    events: model store clock telemetry
    reply: access model store provider clock shutdown ids config telemetry telemetry::traces
    transfer: model store ids
    service: access model store events clock ids config reply::intake reply::Intake reply::Parts provider::routes telemetry telemetry::traces
    http: http::api http::openai access limits service model events shutdown clock ids config telemetry telemetry::traces
    http::api: http access limits service model events shutdown clock ids config telemetry
    http::openai: http access limits service model events shutdown clock ids config telemetry
";

/// Names | the only modules that may say them | why.
const ONLY: &str = "
    axum tower_http StatusCode | http | only http knows axum and status codes
    utoipa utoipa_swagger_ui | http | the document is of what goes over the wire
    axum_server | http::accept | the accept loop is confined to one file
    rusqlite | store::sqlite | only an adapter knows its database
    tokio_postgres | store::postgres | only an adapter knows its database
    Uuid::new_v4 Uuid::new_v7 Uuid::now_v7 | ids | ids come from the id source
    SystemTime::now Instant::now Timestamp::now Zoned::now | clock | time comes from the clock, which tests can step
    tokio::spawn tokio::task::spawn task::spawn | shutdown | shutdown would not wait for a task outside the tracker
    tokio::task::spawn_blocking task::spawn_blocking | app store::sqlite | only who awaits one in place may
    thread::spawn std::thread::spawn | | a thread has a name: std::thread::Builder
    thread::Builder | main app store::sqlite telemetry | threads are made in known places only
    env::var env::var_os env::vars | config | settings are read in one place
    unsafe | | it is forbidden here
";

/// Names | modules that may not say them | why.
const NEVER: &str = "
    serde serde_json Serialize Deserialize | model service | plain types: what goes over the wire belongs to http
";

const LONGEST_FILE: usize = 400;

/// Files that may be longer, and why that is better than splitting them.
const LONGER: &[(&str, &str)] = &[];

// --- the code as it is -----------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    files(&root().join(folder), &mut found);
    found.sort();
    let rust = found
        .iter()
        .filter(|path| Path::new(path).extension().is_some_and(|kind| kind == "rs"));
    rust.map(|path| Source::new(path, &fs::read_to_string(root().join(path)).unwrap_or_default()))
        .collect()
}

fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn modules_use_only_what_the_table_lets_them() {
    let sources = sources("src");
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "the sources are found"
    );
    holds(&wrong_edges(&sources));
}

#[test]
fn names_with_one_place_stay_there() {
    holds(&misplaced_names(&sources("src")));
}

#[test]
fn files_are_short_or_say_why() {
    holds(&long_files(
        &["src", "tests", "benches"]
            .map(sources)
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
        LONGER,
    ));
}

#[test]
fn unsafe_code_is_forbidden_by_the_manifest() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
}

#[test]
fn migrations_are_numbered_without_a_gap_and_alike_on_every_database() {
    let mut folders: Vec<_> = fs::read_dir(root().join("migrations"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    folders.sort_by_key(fs::DirEntry::file_name);
    let names: Vec<Vec<String>> = folders
        .iter()
        .map(|folder| {
            let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            let mut names: Vec<_> = files
                .map(|file| file.file_name().to_string_lossy().into_owned())
                .collect();
            names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "sql"));
            names.sort();
            names
        })
        .collect();
    for names in &names {
        holds(&misnumbered(names));
    }
    assert!(
        names
            .windows(2)
            .all(|pair| matches!(pair, [one, other] if one == other)),
        "same names everywhere: {names:?}"
    );
}
