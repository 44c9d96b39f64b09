//! The rules, and a control for each that shows it complaining.

use std::{collections::BTreeSet, path::Path};

use engagement::config::{Config, ProviderTables, Settings};

use super::markdown::{blocks, code, prose, rows};

/// A file and what is in it.
pub(super) struct Page {
    path: String,
    text: String,
}

impl Page {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// What the example file gives to each name, comments taken away.
fn examples(example: &str) -> Vec<(&str, &str)> {
    let given = example.lines().filter_map(|line| line.strip_prefix('#'));
    let given = given.filter(|line| !line.starts_with(' '));
    given.filter_map(|line| line.split_once(" = ")).collect()
}

pub(super) fn misdescribed_settings(page: &str, example: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let described = rows(page, "Setting");
    let wanted: Vec<_> = Settings::NAMES
        .iter()
        .zip(Settings::VARIABLES)
        .map(|(name, variable)| format!("`{name}` `{variable}` `--{}`", name.replace('_', "-")))
        .collect();
    let found: Vec<_> = described
        .iter()
        .map(|row| row.get(..3).unwrap_or_default().join(" "))
        .collect();
    if found != wanted {
        wrong.push(format!("the table says {found:#?}, the program {wanted:#?}"));
    }
    let examples = examples(example);
    let found: Vec<_> = examples.iter().map(|(name, _)| *name).collect();
    if found != Settings::NAMES {
        wrong.push(format!(
            "the example file has {found:?}, the program {:?}",
            Settings::NAMES
        ));
    }
    // A default between backquotes is a value, and then the example's; "none" and the like are words.
    for (name, value) in examples {
        let row = described
            .iter()
            .find(|row| row.first() == Some(&format!("`{name}`")));
        let default = row
            .and_then(|row| row.get(3))
            .filter(|default| default.starts_with('`'));
        if default.is_some_and(|default| *default != format!("`{}`", value.trim_matches('"'))) {
            wrong.push(format!(
                "{name}: the table and the example file name different defaults"
            ));
        }
    }
    wrong
}

/// A provider's keys, with their defaults where those are values.
pub(super) fn misdescribed_keys(page: &str) -> Vec<String> {
    let rows = rows(page, "Key");
    let described: Vec<_> = rows.iter().filter_map(|row| code(row.first()?).pop()).collect();
    let wanted: Vec<_> = ProviderTables::keys().map(|(key, _)| key).collect();
    if described != wanted {
        return vec![format!("the table says {described:?}, the program {wanted:?}")];
    }
    let differs = |(row, (_, default)): &(&Vec<String>, (&str, &str))| {
        let shown = row.get(1).map_or("", String::as_str);
        shown.starts_with('`') && shown != format!("`{default}`")
    };
    let wrong = rows.iter().zip(ProviderTables::keys()).filter(differs);
    wrong
        .map(|(_, (key, default))| format!("{key}: the default is {default}"))
        .collect()
}

/// Reasons are what failures in `src/provider` are made with.
pub(super) fn unexplained_reasons(page: &str, sources: &[Page]) -> Vec<String> {
    let rows = rows(page, "Code");
    let explained: BTreeSet<_> = rows.iter().filter_map(|row| code(row.first()?).pop()).collect();
    let mut given = BTreeSet::new();
    for source in sources {
        let source = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let terms = source
            .split("const fn terms")
            .nth(1)
            .and_then(|terms| terms.split("\n    }\n").next());
        let made = source
            .split("Failure::new(")
            .skip(1)
            .filter_map(|made| made.split(')').next());
        for text in terms
            .into_iter()
            .chain(made)
            .flat_map(|text| text.split('"').skip(1).step_by(2))
        {
            let is_code = text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            given.extend(Some(text).filter(|_| is_code));
        }
    }
    let differing = given.symmetric_difference(&explained);
    differing
        .map(|code| format!("{code} is only in one of docs/providers.md and src/provider"))
        .collect()
}

pub(super) fn wrong_defaults(example: &str) -> Vec<String> {
    let read = |lines: Vec<String>| toml::from_str::<Settings>(&lines.join("\n"));
    let all = examples(example);
    let lines = |given: &[(&str, &str)]| {
        given
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect()
    };
    if let Err(error) = read(lines(&all)) {
        return vec![format!("the example file cannot be read: {error}")];
    }
    let defaults: Vec<_> = all
        .iter()
        .copied()
        .filter(|(name, _)| {
            let shown = example
                .split_once(&format!("\n#{name} = "))
                .map_or("", |(before, _)| before);
            !shown
                .lines()
                .last()
                .is_some_and(|line| line.contains("Example, not a default"))
        })
        .collect();
    let config = |settings: &Settings| Config::new(settings).map(|config| format!("{config:#?}"));
    match read(lines(&defaults)).map(|settings| config(&settings)) {
        Ok(given) if given == config(&Settings::default()) => Vec::new(),
        given => vec![format!("the example file differs from the defaults: {given:?}")],
    }
}

pub(super) fn broken_links(pages: &[Page], exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for page in pages {
        let text = prose(&page.text);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets {
            let path = target.split('#').next().unwrap_or_default();
            let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
            if !path.is_empty() && !target.contains(':') && !exists(&folder.join(path)) {
                wrong.push(format!("{}: no such file: {target}", page.path));
            }
        }
    }
    wrong
}

pub(super) fn unknown_variables(pages: &[Page]) -> Vec<String> {
    const PREFIX: &str = "ENGAGEMENT_";
    let mut wrong = Vec::new();
    for page in pages {
        for rest in page.text.split(PREFIX).skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let variable = format!("{PREFIX}{name}");
            let known = name.is_empty()
                || name == "CONFIG"
                || name.starts_with("TEST")
                || name.starts_with("FUZZ_")
                || Settings::VARIABLES.contains(&variable.as_str());
            if !known {
                wrong.push(format!("{}: there is no {variable}", page.path));
            }
        }
    }
    wrong
}

/// The bold words of the README's checklist and what the program's own is about.
pub(super) fn differing_checklists(readme: &str, program: &[&str]) -> Vec<String> {
    let section = readme
        .split("\n## Before others can reach it\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let bullets = section.lines().filter_map(|line| line.strip_prefix("- [ ] **"));
    let told: BTreeSet<_> = bullets
        .filter_map(|bullet| bullet.split_once("**"))
        .map(|(bold, _)| bold.trim_end_matches(['.', ':']).to_lowercase())
        .collect();
    let looked_at: BTreeSet<_> = program.iter().map(|what| what.to_lowercase()).collect();
    told.symmetric_difference(&looked_at)
        .map(|what| format!("{what:?} is in one of the README and `engagement check --production`"))
        .collect()
}

pub(super) fn missing_commands(readme: &str, ci: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let commands = blocks(readme, "sh");
    if commands.get(..2) != Some(&["cargo run --release".to_owned(), "cargo test".to_owned()]) {
        wrong.push(format!(
            "the first two commands of README.md are others: {commands:?}"
        ));
    }
    let test = commands.get(1).map_or("", String::as_str);
    let bare = |line: &str| {
        let words = line.split_whitespace();
        words
            .skip_while(|word| word.contains('='))
            .collect::<Vec<_>>()
            .join(" ")
    };
    if !ci.lines().any(|line| bare(line) == test) {
        wrong.push(format!(".ci/run does not call `{test}`"));
    }
    wrong
}

pub(super) fn differing_exit_codes(source: &str, pages: &[(&str, &str)]) -> Vec<String> {
    let named = source.lines().filter_map(|line| {
        let (_, code) = line.strip_prefix("const ")?.split_once(": u8 = ")?;
        code.strip_suffix(';')?.parse().ok()
    });
    // Done, failed and misused have no constant: they are everybody's.
    let wanted: BTreeSet<u8> = [0, 1, 2].into_iter().chain(named).collect();
    let mut wrong = Vec::new();
    for (path, page) in pages {
        let codes = rows(page, "Code")
            .into_iter()
            .filter_map(|row| row.first()?.parse::<u16>().ok());
        // The contract has tables of HTTP's codes under the same heading.
        let codes: BTreeSet<u8> = codes.filter_map(|code| u8::try_from(code).ok()).collect();
        if codes != wanted {
            wrong.push(format!("{path} says {codes:?}, the program {wanted:?}"));
        }
    }
    wrong
}

/// A proof is written `module::of_the_test`, the module being a file's or folder's name.
pub(super) fn missing_proofs(promises: &str, sources: &[Page]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in rows(promises, "Promise") {
        for name in row.iter().flat_map(|cell| code(cell)) {
            let Some((module, test)) = name.rsplit_once("::") else {
                continue;
            };
            seen += 1;
            let holds = |source: &Page| {
                let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
                // Conformance tests are stamped once for every database, and need no attribute of their own.
                path.ends_with(&module.replace("::", "/")) && source.text.contains(&format!("fn {test}("))
            };
            if !sources.iter().any(holds) {
                wrong.push(format!("docs/promises.md: there is no test {name}"));
            }
        }
    }
    if seen == 0 {
        wrong.push("docs/promises.md names no test".to_owned());
    }
    wrong
}

pub(super) fn wrong_map(page: &str, may_use: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let listed = |rights: &str| {
        let rights = rights
            .split_whitespace()
            .filter(|right| exists(right.trim_end_matches("::Intake").trim_end_matches("::Parts")));
        rights.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let tested = may_use.lines().filter_map(|line| line.trim().split_once(':'));
    // The separator of a name is a colon too: a row's ends at the first one that stands alone.
    let tested = tested.map(|(first, rest)| match rest.strip_prefix(':') {
        Some(rest) => {
            let (second, rights) = rest.split_once(':').unwrap_or((rest, ""));
            (format!("{first}::{second}"), rights)
        }
        None => (first.to_owned(), rest),
    });
    let tested = tested.filter(|(module, _)| exists(module) && module != "lib");
    let tested: Vec<_> = tested
        .map(|(module, rights)| match rights.trim() {
            "*" => (module, BTreeSet::from(["*".to_owned()])),
            rights => (module, listed(rights)),
        })
        .collect();
    let mut wrong = Vec::new();
    let drawn = rows(page, "Module");
    if drawn.len() != tested.len() {
        wrong.push(format!(
            "the map has {} modules, the test {}",
            drawn.len(),
            tested.len()
        ));
    }
    for (module, rights) in tested {
        let cell = drawn
            .iter()
            .find(|row| row.first().is_some_and(|cell| *cell == format!("`{module}`")))
            .and_then(|row| row.get(3));
        let Some(cell) = cell else {
            wrong.push(format!("the map lacks {module}"));
            continue;
        };
        let shown: BTreeSet<_> = if cell == "everything" {
            BTreeSet::from(["*".to_owned()])
        } else {
            code(cell).into_iter().map(str::to_owned).collect()
        };
        if shown != rights {
            wrong.push(format!("{module}: the map says {shown:?}, the test {rights:?}"));
        }
    }
    wrong
}

/// The messages that a source logs: the last text of each call.
fn logged(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut messages = Vec::new();
    for level in ["error", "warn", "info"] {
        for call in source.split(&format!("tracing::{level}!(")).skip(1) {
            let call = call.split(");").next().unwrap_or_default();
            let call = call.split(")\n").next().unwrap_or_default();
            let call = call.split("),\n").next().unwrap_or_default();
            messages.extend(call.rsplit('"').nth(1));
        }
    }
    messages
}

pub(super) fn unexplained_lines(operations: &str, sources: &[Page]) -> Vec<String> {
    let explained = rows(operations, "Message");
    let explained: Vec<_> = explained
        .iter()
        .filter_map(|row| row.first())
        .flat_map(|cell| code(cell))
        .collect();
    let is_explained = |message: &str| {
        explained.iter().any(|shown| match shown.strip_suffix('…') {
            Some(beginning) => message.starts_with(beginning.trim_end()),
            None => message == *shown,
        })
    };
    let mut wrong = Vec::new();
    let mut all = BTreeSet::new();
    for source in sources {
        for message in logged(&source.text) {
            all.insert(message);
            if !is_explained(message) {
                wrong.push(format!("{}: \"{message}\" is not explained", source.path));
            }
        }
    }
    for shown in explained {
        let beginning = shown.trim_end_matches('…').trim_end();
        if !all.iter().any(|message| message.starts_with(beginning)) {
            wrong.push(format!("docs/operations.md: nothing logs \"{shown}\""));
        }
    }
    wrong
}
