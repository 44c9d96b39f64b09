//! The page and the tests belong together.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every clause of `docs/contract.md` is named by a test, and every clause that a test names is there.
#[test]
fn every_clause_has_a_proof() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/contract.md")).expect("the contract");
    let stated: BTreeSet<String> = page.lines().filter_map(stated_by).collect();
    let mut proved = BTreeSet::new();
    for entry in fs::read_dir(root.join("tests/it/contract")).expect("the contract's tests") {
        let source = fs::read_to_string(entry.expect("a file").path()).expect("a source file");
        proved.extend(source.lines().flat_map(proved_by));
    }

    let unproved: Vec<_> = stated.difference(&proved).collect();
    let unknown: Vec<_> = proved.difference(&stated).collect();

    assert!(unproved.is_empty(), "clauses that no test names: {unproved:?}");
    assert!(
        unknown.is_empty(),
        "clauses that tests name and the page does not have: {unknown:?}"
    );
    assert!(
        stated.len() > 70,
        "only {} clauses were found: has the page another form now?",
        stated.len()
    );
}

/// `**R1.** There are …` states R1.
fn stated_by(line: &str) -> Option<String> {
    let (id, _) = line.strip_prefix("**")?.split_once(".**")?;
    is_clause(id).then(|| id.to_owned())
}

/// `/// R1, R2: what follows` proves R1 and R2.
fn proved_by(line: &str) -> Vec<String> {
    let ids = line
        .trim_start()
        .strip_prefix("/// ")
        .and_then(|comment| comment.split_once(": "));
    let ids: Vec<&str> = ids.map_or_else(Vec::new, |(ids, _)| ids.split(", ").collect());
    if ids.iter().all(|id| is_clause(id)) {
        ids.into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

fn is_clause(id: &str) -> bool {
    let mut characters = id.chars();
    characters
        .next()
        .is_some_and(|letter| letter.is_ascii_uppercase())
        && !characters.as_str().is_empty()
        && characters.all(|digit| digit.is_ascii_digit())
}
