//! Rust source as the rules see it: paths and words, without comments, strings and unit tests. Not a parser; the
//! controls beside the rules show what it tells apart.

pub(super) struct Source {
    pub(super) path: String,
    pub(super) module: String,
    pub(super) lines: usize,
    /// Without comments, the content of strings and unit tests; line breaks are kept.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let inner = path
            .strip_prefix("src/")
            .unwrap_or(path)
            .trim_end_matches(".rs")
            .trim_end_matches("/mod");
        Self {
            path: path.to_owned(),
            module: inner.replace('/', "::"),
            lines: text.lines().count(),
            code: without_unit_tests(&without_prose(text)),
        }
    }

    pub(super) fn is_in(&self, module: &str) -> bool {
        within(&self.module, module)
    }
}

/// `path` is `module` or lies below it.
pub(super) fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Comments and the content of strings and characters become blanks.
fn without_prose(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let prose = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !code.ends_with(is_word)) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            let body = rest.get(open..).unwrap_or_default();
            body.find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char_literal(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if prose == 0 {
            code.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else {
            let (skipped, after) = rest.split_at(prose);
            code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// The number of `#` of the raw string that starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    body.trim_start_matches('#').starts_with('"').then_some(hashes)
}

/// A quote that is not a lifetime: `'a'`, `'\n'`.
fn is_char_literal(rest: &str) -> bool {
    let mut next = rest.chars().skip(1);
    match (next.next(), next.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(close)) => close == '\'',
        _ => false,
    }
}

/// The length of the literal that starts here, both quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// What follows `#[cfg(test)]` becomes blank: up to its `;`, or to the brace that closes it.
fn without_unit_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let mut depth = 0_usize;
        let end = after.char_indices().find_map(|(at, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0 && matches!(c, ';' | '}')).then_some(at + 1)
        });
        let (skipped, after) = after.split_at(end.unwrap_or(after.len()));
        kept.extend(skipped.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    kept + rest
}

/// Every path that starts with `root::`, groups unfolded, without `root` itself; in `use` and elsewhere.
pub(super) fn paths(code: &str, root: &str) -> Vec<String> {
    let start = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let (before, after) = code.split_at(at);
        if !before.ends_with(is_word) && !before.ends_with(':') {
            unfold(after.get(start.len()..).unwrap_or_default(), "", &mut found);
        }
    }
    found
}

fn unfold<'a>(rest: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let mut rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        rest = group.trim_start();
        while let Some(c) = rest.chars().next() {
            if c == '}' {
                return rest.get(1..).unwrap_or_default();
            }
            let after = if c == ',' {
                rest.get(1..).unwrap_or_default()
            } else {
                unfold(rest, prefix, found)
            };
            if after.len() == rest.len() {
                break;
            }
            rest = after.trim_start();
        }
        return rest;
    }
    let (name, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
    let path = match (prefix, name) {
        (_, "" | "self") => prefix.to_owned(),
        ("", _) => name.to_owned(),
        _ => format!("{prefix}::{name}"),
    };
    if let Some(more) = after.strip_prefix("::") {
        return unfold(more, &path, found);
    }
    found.push(path);
    let after = after.strip_prefix('*').unwrap_or(after);
    match after.strip_prefix(" as ") {
        Some(renamed) => renamed.trim_start_matches(is_word),
        None => after,
    }
}

/// Lines that say `name` as a whole word or path.
pub(super) fn says(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = code.split_at(at);
        !before.ends_with(is_word)
            && !after
                .get(name.len()..)
                .is_some_and(|rest| rest.starts_with(is_word))
    })
}
