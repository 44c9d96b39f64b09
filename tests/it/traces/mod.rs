//! Traces: what a receiver of OTLP gets of what the program does, over real HTTP; and what the program does without one.

mod receivers;
mod tree;

use engagement::telemetry::traces::names;

use crate::support::{
    Builder, Server,
    collector::{Collector, Span},
    upstream::Upstream,
};

const MESSAGE: &str = "POST /conversations/{conversation_id}/messages/create";
const REPLY: &str = "process replies";

/// A program that knows this provider, and sends its traces there.
fn traced(collector: &Collector, provider: &Upstream) -> Builder {
    with_provider(Server::builder(), provider).env("OTLP_ENDPOINT", &collector.url())
}

/// The program in its directory, with a file that names this provider.
fn with_provider(builder: Builder, provider: &Upstream) -> Builder {
    let table = format!(
        "[providers.upstream]\nbase_url = '{}'\nmodels = ['m']\n",
        provider.openai_url()
    );
    builder.file("engagement.toml", &table)
}

/// Whether it is the first of a request for a new message.
fn is_message(span: &Span) -> bool {
    span.name == MESSAGE
}

/// What hangs below a span, in the order in which it began: each with its own below it, further in.
fn below(spans: &[Span], parent: &str, depth: usize) -> Vec<String> {
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by_key(|span| (span.start, span.end));
    let mut lines = Vec::new();
    for child in children {
        lines.push(format!("{}{}", "  ".repeat(depth), child.name));
        lines.extend(below(spans, &child.id, depth + 1));
    }
    lines
}

/// Every name under which something is said is explained.
#[test]
fn whatever_is_said_is_explained() {
    let page = include_str!("../../../docs/operations.md");
    let explained = |page: &str, name: &str| page.contains(&format!("`{name}`"));
    for name in names::ALL {
        assert!(
            explained(page, name),
            "docs/operations.md does not explain {name}"
        );
    }
    assert!(
        !explained(page, "http.url"),
        "control: what is not said is not there"
    );
}
