//! The rules, each a function from sources to complaints, and a control for each that shows it complaining.

use super::source::{Source, paths, says, within};
use super::{LONGEST_FILE, MAY_USE, NEVER, ONLY};

struct Row {
    module: &'static str,
    may_use: Vec<&'static str>,
}

fn table() -> Vec<Row> {
    let rows = MAY_USE.lines().map(str::trim).filter(|line| !line.is_empty());
    rows.filter_map(|line| {
        line.split_once(": ")
            .or_else(|| Some((line.strip_suffix(':')?, "")))
    })
    .map(|(module, may_use)| Row {
        module,
        may_use: may_use.split_whitespace().collect(),
    })
    .collect()
}

/// The row that a path belongs to: the longest that fits.
fn row<'a>(table: &'a [Row], path: &str) -> Option<&'a Row> {
    table
        .iter()
        .filter(|row| within(path, row.module))
        .max_by_key(|row| row.module.len())
}

pub(super) fn wrong_edges(sources: &[Source]) -> Vec<String> {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources {
        let Some(user) = row(&table, &source.module) else {
            wrong.push(format!("{}: the table has no row for this module", source.path));
            continue;
        };
        for path in paths(&source.code, "crate") {
            let Some(owner) = row(&table, &path) else { continue };
            let allows = |right: &&str| {
                *right == "*"
                    || within(&path, right) && row(&table, right).is_some_and(|of| of.module == owner.module)
            };
            if owner.module != user.module && !user.may_use.iter().any(allows) {
                wrong.push(format!(
                    "{}: {} may not use crate::{path}",
                    source.path, user.module
                ));
            }
        }
        if says(&source.code, "super::super") {
            wrong.push(format!(
                "{}: super::super hides an edge; write crate::",
                source.path
            ));
        }
    }
    wrong
}

pub(super) fn misplaced_names(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (rules, listed_may) in [(ONLY, true), (NEVER, false)] {
        for rule in rules.lines().filter(|line| !line.trim().is_empty()) {
            let mut cells = rule.split('|').map(str::trim);
            let mut cell = || cells.next().unwrap_or_default();
            let (names, modules, reason) = (cell(), cell(), cell());
            for source in sources {
                let listed = modules.split_whitespace().any(|module| source.is_in(module));
                let mut said = names.split_whitespace().filter(|name| mentions(source, name));
                if let Some(name) = said.next().filter(|_| listed != listed_may) {
                    wrong.push(format!("{}: says {name}, but {reason}", source.path));
                }
            }
        }
    }
    wrong
}

/// Says the name as it is written, or brings it in from a group: `use tokio::{spawn, sync}`.
fn mentions(source: &Source, name: &str) -> bool {
    let imported = |(root, rest): (&str, &str)| paths(&source.code, root).iter().any(|path| path == rest);
    says(&source.code, name) || name.split_once("::").is_some_and(imported)
}

pub(super) fn long_files(sources: &[Source], longer: &[(&str, &str)]) -> Vec<String> {
    let long = |source: &&Source| source.lines > LONGEST_FILE;
    let excused = |source: &Source| {
        longer
            .iter()
            .any(|(path, reason)| *path == source.path && !reason.is_empty())
    };
    let unexcused = sources.iter().filter(long).filter(|source| !excused(source));
    let mut wrong: Vec<_> = unexcused
        .map(|source| format!("{}: {} lines", source.path, source.lines))
        .collect();
    for (path, _) in longer {
        if !sources.iter().filter(long).any(|source| source.path == *path) {
            wrong.push(format!("{path}: is on the list of long files, and is not one"));
        }
    }
    wrong
}

/// Names are `0001_what_it_adds.sql`, numbered from 1 without a gap.
pub(super) fn misnumbered(names: &[String]) -> Vec<String> {
    let mut sorted: Vec<_> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut wrong = Vec::new();
    for (name, number) in sorted.into_iter().zip(1..) {
        let title = name
            .strip_prefix(&format!("{number:04}_"))
            .and_then(|rest| rest.strip_suffix(".sql"));
        if !title.is_some_and(|title| !title.is_empty() && title.chars().all(lower)) {
            wrong.push(format!("{name}: expected {number:04}_….sql"));
        }
    }
    wrong
}

fn complaints(rule: fn(&[Source]) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&[Source::new(path, text)]).len()
}

#[test]
fn control_an_edge_outside_the_table_is_reported() {
    for (path, text, expected) in [
        ("src/model/message.rs", "use crate::store::Store;", 1),
        (
            "src/service/messages.rs",
            "fn f() { crate::http::api::serve(); }",
            1,
        ),
        (
            "src/reply/run.rs",
            "use crate::{model::{Role, Text}, service::Messages as M, store::*};",
            1,
        ),
        ("src/reply/run.rs", "use crate::store::{self, sqlite::Row};", 1),
        ("src/service/mod.rs", "use crate::reply::{Intake, pool::Pool};", 1),
        (
            "src/http/api/mod.rs",
            "use crate::{http::openai::Chat, http::layer};",
            1,
        ),
        ("src/store/sqlite/mod.rs", "use super::super::model;", 1),
        ("src/new_thing.rs", "", 1),
        ("src/app.rs", "use crate::{store::sqlite::Sqlite, http};", 0),
        (
            "src/model/page.rs",
            "//! See [`crate::store`].\nconst C: &str = \"crate::http::x\"; // crate::http",
            0,
        ),
        (
            "src/model/page.rs",
            "#[cfg(test)]\nmod tests { use crate::store::S; fn f() {} }\nuse crate::model::X;",
            0,
        ),
        (
            "src/model/page.rs",
            "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::store::X;",
            1,
        ),
    ] {
        assert_eq!(complaints(wrong_edges, path, text), expected, "{path}: {text}");
    }
}

#[test]
fn control_a_name_in_the_wrong_place_is_reported() {
    for (path, text, expected) in [
        ("src/service/error.rs", "use axum::http::StatusCode;", 1),
        ("src/http/api/error.rs", "use axum::http::StatusCode;", 0),
        ("src/http/mod.rs", "axum_server::bind(address);", 1),
        ("src/store/mod.rs", "pub struct S(rusqlite::Connection);", 1),
        ("src/model/ids.rs", "let id = Uuid::new_v4();", 1),
        ("src/reply/pool.rs", "let began = std::time::Instant::now();", 1),
        ("src/reply/pool.rs", "use tokio::{sync::mpsc, spawn};", 1),
        (
            "src/reply/pool.rs",
            "tracker.spawn(async {}); let respawn = 'x'; // tokio::spawn",
            0,
        ),
        ("src/http/accept.rs", "std::thread::spawn(|| ());", 1),
        ("src/http/layer/limits.rs", "let home = env::var(\"HOME\");", 1),
        ("src/clock.rs", "unsafe { std::hint::unreachable_unchecked() }", 1),
        ("src/model/message.rs", "#[derive(serde::Serialize)] struct M;", 1),
        (
            "src/model/message.rs",
            "let s = r#\"serde\"#; let c = '\"'; let d: &'static str = \"rusqlite\";",
            0,
        ),
    ] {
        assert_eq!(
            complaints(misplaced_names, path, text),
            expected,
            "{path}: {text}"
        );
    }
}

#[test]
fn control_a_long_file_is_reported_unless_it_has_a_reason() {
    let long = [Source::new("src/app.rs", &"\n".repeat(LONGEST_FILE + 1))];
    assert_eq!(long_files(&long, &[]).len(), 1);
    assert_eq!(long_files(&long, &[("src/app.rs", "")]).len(), 1);
    assert_eq!(long_files(&long, &[("src/app.rs", "one table")]).len(), 0);
    assert_eq!(long_files(&[], &[("src/gone.rs", "one table")]).len(), 1);
}

#[test]
fn control_a_gap_between_migrations_is_reported() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        misnumbered(&names(&["0001_conversations.sql", "0002_roles.sql"])).len(),
        0
    );
    assert_eq!(
        misnumbered(&names(&["0001_conversations.sql", "0003_roles.sql"])).len(),
        1
    );
    assert_eq!(misnumbered(&names(&["0001_a.sql", "0001_b.sql"])).len(), 1);
    assert_eq!(misnumbered(&names(&["0001_Roles.sql"])).len(), 1);
}
