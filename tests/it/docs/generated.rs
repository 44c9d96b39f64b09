//! Parts of documents that the program writes itself, from its definitions.

use std::{env, fs};

use engagement::cli::reference;

use super::{root, text};

const END: &str = "<!-- end of what is generated -->";

fn begin(what: &str) -> String {
    format!("<!-- generated: {what}. To refresh: ENGAGEMENT_TESTS_REFRESH=1 cargo test generated -->")
}

/// The page with this between the two marks.
fn with(page: &str, what: &str, wanted: &str) -> Option<String> {
    let begin = begin(what);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{END}{after}",
        wanted.trim_end()
    ))
}

/// Holds the part of a page against what the program writes now, or puts that there if somebody asked for it.
fn holds(path: &str, what: &str, wanted: &str) {
    let found = text(path);
    let fresh = with(&found, what, wanted).unwrap_or_else(|| panic!("{path} has no {}", begin(what)));
    if env::var_os("ENGAGEMENT_TESTS_REFRESH").is_some() {
        fs::write(root().join(path), &fresh).expect("a page to write");
        return;
    }
    assert!(
        found == fresh,
        "{path}: {what} are not what the program says; refresh the page: ENGAGEMENT_TESTS_REFRESH=1 cargo test generated"
    );
}

#[test]
fn settings_are_those_of_the_program() {
    holds("docs/configuration.md", "settings", &reference::settings());
}

#[test]
fn commands_are_those_of_the_program() {
    holds("docs/cli.md", "commands", &reference::commands());
}

#[test]
fn control_a_stale_part_is_seen() {
    let page = format!("before\n{}\n\nold\n\n{END}\nafter\n", begin("settings"));
    let fresh = with(&page, "settings", "new\n").expect("the marks");
    assert_eq!(fresh, page.replace("old", "new"));
    assert_eq!(with(&page, "commands", "new"), None);
}
