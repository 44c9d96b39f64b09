//! A rule that cannot complain proves nothing: each is handed a wrong text here.

use super::{
    rules::{
        Page, broken_links, differing_checklists, differing_exit_codes, misdescribed_keys,
        misdescribed_settings, missing_commands, missing_proofs, unexplained_lines, unexplained_reasons,
        unknown_variables, wrong_defaults, wrong_map,
    },
    text,
};

/// A text with one thing changed, which must be in it.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the text has {from}");
    text.replacen(from, to, 1)
}

#[test]
fn control_a_key_or_a_reason_that_is_not_described_is_reported() {
    let page = text("docs/providers.md");
    for (from, to) in [("| `api` |", "| `apis` |"), ("| `8192` |", "| `8193` |")] {
        assert_eq!(misdescribed_keys(&changed(&page, from, to)).len(), 1, "{from}");
    }
    let source = |code: &str| {
        [Page::new(
            "a.rs",
            &format!("Failure::new(\"{code}\", \"In words.\")"),
        )]
    };
    let page = "| Code |\n|---|\n| `provider_failed` |\n";
    assert!(unexplained_reasons(page, &source("provider_failed")).is_empty());
    assert_eq!(unexplained_reasons(page, &source("provider_fails")).len(), 2);
}

#[test]
fn control_a_setting_that_is_not_described_is_reported() {
    let (page, example) = (text("docs/configuration.md"), text("engagement.example.toml"));
    let complaints = |page: &str, example: &str| misdescribed_settings(page, example).len();
    for (from, to) in [
        ("| `workers` |", "| `hands` |"),
        ("`ENGAGEMENT_WORKERS`", "`ENGAGEMENT_HANDS`"),
        ("| `--log-format` |", "| `--log_format` |"),
        ("| `8192` |", "| `8193` |"),
    ] {
        assert_eq!(complaints(&changed(&page, from, to), &example), 1, "{from}");
    }
    assert_eq!(complaints(&page, &changed(&example, "#workers = 64\n", "")), 1);
    assert_eq!(complaints(&page, &changed(&example, "#workers =", "#hands =")), 1);
    assert!(complaints("", &example) > 0);
}

#[test]
fn control_an_example_that_is_no_default_is_reported() {
    let example = text("engagement.example.toml");
    for (from, to) in [
        ("#workers = 64", "#workers = 65"),
        ("#workers = 64", "#workers = many"),
        ("#workers = 64", "#hands = 64"),
        ("#log_file = \"logs/", "#log_file = \"log/"),
        (" Example, not a default:\n#public_url", "\n#public_url"),
    ] {
        assert_eq!(
            wrong_defaults(&changed(&example, from, to)).len(),
            1,
            "{from} {to}"
        );
    }
}

#[test]
fn control_a_link_to_nothing_is_reported() {
    let page = "[a](here.md) [b](gone.md#x) [c](#x) [d](https://x/y) `[e](gone)`\n```\n[f](gone)\n```\n";
    let broken = broken_links(&[Page::new("docs/a.md", page)], &|path| {
        path.ends_with("docs/here.md")
    });
    assert_eq!(broken, ["docs/a.md: no such file: gone.md#x"]);
}

#[test]
fn control_a_variable_that_does_not_exist_is_reported() {
    let page = "ENGAGEMENT_LISTEN ENGAGEMENT_CONFIG ENGAGEMENT_TEST_URL ENGAGEMENT_… ENGAGEMENT_LISTENS=1";
    let wrong = unknown_variables(&[Page::new("a.md", page)]);
    assert_eq!(wrong, ["a.md: there is no ENGAGEMENT_LISTENS"]);
}

#[test]
fn control_other_commands_are_reported() {
    let (readme, ci) = (text("README.md"), text(".ci/run"));
    let complaints = |readme: &str, ci: &str| missing_commands(readme, ci).len();
    assert_eq!(
        complaints(&changed(&readme, "cargo run --release\n", "make\n"), &ci),
        1
    );
    assert_eq!(
        complaints(&changed(&readme, "cargo test\n", "make test\n"), &ci),
        2
    );
    assert_eq!(
        complaints(&readme, &changed(&ci, "cargo test\n", "make test\n")),
        1
    );
}

#[test]
fn control_another_exit_code_is_reported() {
    let (source, page) = (text("src/cli/mod.rs"), text("docs/cli.md"));
    let complaints = |source: &str, page: &str| differing_exit_codes(source, &[("docs/cli.md", page)]).len();
    assert_eq!(complaints(&source, &changed(&page, "| 74 |", "| 75 |")), 1);
    assert_eq!(complaints(&changed(&source, "u8 = 78;", "u8 = 77;"), &page), 1);
    assert_eq!(complaints(&source, ""), 1);
}

#[test]
fn control_a_proof_that_does_not_exist_is_reported() {
    let sources = [Page::new(
        "tests/it/faults/kill.rs",
        "async fn nothing_is_lost() {}",
    )];
    let complaints = |proof: &str| {
        let page = format!("| Promise | Proof |\n|---|---|\n| kept | `{proof}` |\n");
        missing_proofs(&page, &sources).len()
    };
    assert_eq!(complaints("kill::nothing_is_lost"), 0);
    assert_eq!(complaints("faults::kill::nothing_is_lost"), 0);
    assert_eq!(complaints("kill::nothing_is_doubled"), 1);
    assert_eq!(complaints("stop::nothing_is_lost"), 1);
    assert_eq!(complaints("nothing"), 1);
}

#[test]
fn control_a_map_of_another_place_is_reported() {
    let tested = "main: *\n    model:\n    store::sqlite: store model\n    later: model\n";
    let exists = |module: &str| module != "later";
    let map = |sqlite: &str| {
        let rows = format!(
            "| `main` | a | b | everything |\n| `model` | a | b | |\n| `store::sqlite` | a | b | {sqlite} |\n"
        );
        format!("| Module | For | Not | May use |\n|---|---|---|---|\n{rows}")
    };
    assert_eq!(
        wrong_map(&map("`store` `model`"), tested, &exists),
        Vec::<String>::new()
    );
    assert_eq!(wrong_map(&map("`store`"), tested, &exists).len(), 1);
    assert_eq!(
        wrong_map(&map("`store` `model` `http`"), tested, &exists).len(),
        1
    );
    assert_eq!(wrong_map(&map("`store` `model`"), "main: *", &exists).len(), 1);
    assert_eq!(wrong_map("", tested, &exists).len(), 4);
}

#[test]
fn control_a_log_line_without_explanation_is_reported() {
    let source = "fn f() {\n    tracing::info!(%address, version = \"1\", \"listening\");\n    tracing::warn!(\n        \"a; b\"\n    );\n}";
    let sources = [Page::new("src/app.rs", source)];
    let complaints =
        |rows: &str| unexplained_lines(&format!("| Message | Level |\n|---|---|\n{rows}"), &sources).len();
    assert_eq!(complaints("| `listening` | INFO |\n| `a; …` | WARN |\n"), 0);
    assert_eq!(complaints("| `listening` | INFO |\n"), 1);
    assert_eq!(
        complaints("| `listening`, `a; b` | INFO |\n| `gone` | INFO |\n"),
        1
    );
}

#[test]
fn control_a_checklist_that_leaves_something_out_is_reported() {
    let page = "\n## Before others can reach it\n\n- [ ] **TLS in front**: x\n- [ ] **Backups.** **Not** y\n\n## Z\n- [ ] **z**\n";
    assert!(differing_checklists(page, &["TLS in front", "backups"]).is_empty());
    assert_eq!(differing_checklists(page, &["TLS in front"]).len(), 1);
    assert_eq!(
        differing_checklists(page, &["TLS in front", "backups", "logs"]).len(),
        1
    );
    assert_eq!(differing_checklists("", &["logs"]).len(), 1);
}
