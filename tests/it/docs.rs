//! What the documents say about the program, held against the program.
//!
//! Each rule is a function from texts to complaints, and has a control that hands it a wrong text.

mod controls;
mod generated;
mod markdown;
mod rules;

use std::{fs, path::Path};

use rules::Page;

use crate::cli::checklist;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// The files below a folder whose name ends so, without what is built or hidden.
fn files(folder: &Path, ending: &str, found: &mut Vec<Page>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            files(&path, ending, found);
        } else if path.is_file() && name.ends_with(ending) {
            let relative = path.strip_prefix(root()).unwrap_or(&path);
            found.push(Page::new(
                &relative.to_string_lossy(),
                &text(&relative.to_string_lossy()),
            ));
        }
    }
}

fn pages(ending: &str) -> Vec<Page> {
    let mut found = Vec::new();
    files(root(), ending, &mut found);
    assert!(!found.is_empty(), "there are files that end in {ending}");
    found
}

fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_setting_is_described() {
    holds(&rules::misdescribed_settings(
        &text("docs/configuration.md"),
        &text("engagement.example.toml"),
    ));
}

#[test]
fn every_key_of_a_provider_is_described() {
    holds(&rules::misdescribed_keys(&text("docs/providers.md")));
}

#[test]
fn every_reason_of_a_provider_is_explained() {
    let mut sources = Vec::new();
    files(&root().join("src/provider"), ".rs", &mut sources);
    holds(&rules::unexplained_reasons(&text("docs/providers.md"), &sources));
}

#[test]
fn the_example_file_holds_the_defaults() {
    holds(&rules::wrong_defaults(&text("engagement.example.toml")));
}

#[test]
fn every_link_leads_to_a_file() {
    holds(&rules::broken_links(&pages(".md"), &|path| {
        root().join(path).exists()
    }));
}

#[test]
fn every_variable_that_is_named_exists() {
    let mut all = pages(".md");
    for path in [
        "Dockerfile",
        "compose.yaml",
        "deploy/systemd/engagement.service",
        "engagement.example.toml",
    ] {
        all.push(Page::new(path, &text(path)));
    }
    holds(&rules::unknown_variables(&all));
}

#[test]
fn two_commands_start_and_test_it() {
    holds(&rules::missing_commands(&text("README.md"), &text(".ci/run")));
}

#[tokio::test]
async fn the_checklist_is_the_one_that_the_program_goes_through() {
    let printed = checklist::of_a_new_database().await;
    let program: Vec<_> = checklist::items(&printed)
        .into_iter()
        .map(|item| item.what)
        .collect();
    holds(&rules::differing_checklists(&text("README.md"), &program));
}

#[test]
fn exit_codes_are_the_same_everywhere() {
    holds(&rules::differing_exit_codes(
        &text("src/cli/mod.rs"),
        &[
            ("docs/cli.md", &text("docs/cli.md")),
            ("docs/contract.md", &text("docs/contract.md")),
        ],
    ));
}

#[test]
fn every_proof_that_is_named_exists() {
    let mut sources = Vec::new();
    for folder in ["src", "tests/it"] {
        files(&root().join(folder), ".rs", &mut sources);
    }
    holds(&rules::missing_proofs(&text("docs/promises.md"), &sources));
}

#[test]
fn the_map_is_the_one_that_is_tested() {
    holds(&rules::wrong_map(
        &text("ARCHITECTURE.md"),
        crate::architecture::MAY_USE,
        &|module| {
            let path = module.replace("::", "/");
            ["", "/mod"]
                .iter()
                .any(|end| root().join(format!("src/{path}{end}.rs")).exists())
        },
    ));
}

#[test]
fn every_log_line_is_explained() {
    let mut sources = Vec::new();
    files(&root().join("src"), ".rs", &mut sources);
    holds(&rules::unexplained_lines(&text("docs/operations.md"), &sources));
}
