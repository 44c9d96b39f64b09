//! Providers that are somewhere else, each asked through its trait, against one that does what it is told.

mod control;
mod faults;
mod limits;
mod requests;
mod tls;

use std::fmt;

use engagement::{
    config::{Config, Settings},
    model::{FinishReason, MessageText, ReplyOptions},
    provider::{self, Completion, PIECES, Prompt, Refusal, routes::Providers},
    telemetry::metrics::Metrics,
};
use tokio::sync::mpsc;

use crate::support::upstream::Upstream;

/// A dialect in one of its two manners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    dialect: Dialect,
    streams: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Chat,
    Responses,
    Messages,
}

const MANNERS: [Manner; 6] = [
    Manner::new(Dialect::Chat, true),
    Manner::new(Dialect::Chat, false),
    Manner::new(Dialect::Responses, true),
    Manner::new(Dialect::Responses, false),
    Manner::new(Dialect::Messages, true),
    Manner::new(Dialect::Messages, false),
];

impl Manner {
    const fn new(dialect: Dialect, streams: bool) -> Self {
        Self { dialect, streams }
    }

    /// The provider `p` at this URL, with more lines in its table.
    fn at(self, upstream: &Upstream, lines: &str) -> Providers {
        let (kind, api, url) = match self.dialect {
            Dialect::Chat => ("openai", "api = 'chat'", upstream.openai_url()),
            Dialect::Responses => ("openai", "api = 'responses'", upstream.openai_url()),
            Dialect::Messages => ("anthropic", "", upstream.anthropic_url()),
        };
        let streams = self.streams;
        configured(&format!(
            "kind = '{kind}'\n{api}\nbase_url = '{url}'\nmodels = ['m']\nstream = {streams}\n{lines}"
        ))
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = if self.streams { "streamed" } else { "whole" };
        write!(f, "{:?}, {manner}", self.dialect)
    }
}

/// The provider `p` with these lines in its table.
fn configured(lines: &str) -> Providers {
    let settings: Settings = toml::from_str(&format!("[providers.p]\n{lines}")).expect("settings");
    let config = Config::new(&settings).expect("a configuration");
    provider::build(&config.providers, &Metrics::off()).expect("providers")
}

/// What came of asking.
struct Asked {
    outcome: Result<Completion, Refusal>,
    text: String,
    longest_piece: usize,
}

impl Asked {
    /// The outcome in a line: `ok`, or the verdict and the code.
    fn outcome(&self) -> String {
        match &self.outcome {
            Ok(_) => "ok".to_owned(),
            Err(Refusal::Retry { after, failure }) => match after {
                Some(after) => format!("retry {} after {} s", failure.code, after.as_secs()),
                None => format!("retry {}", failure.code),
            },
            Err(Refusal::Later { failure, .. }) => format!("later {}", failure.code),
            Err(Refusal::TooLong(failure)) => format!("too long {}", failure.code),
            Err(Refusal::Fail(failure)) => format!("fail {}", failure.code),
        }
    }

    fn completion(&self) -> &Completion {
        self.outcome
            .as_ref()
            .unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    fn finish(&self) -> FinishReason {
        self.completion().finish
    }
}

fn prompt(text: &str) -> Prompt {
    Prompt {
        history: Vec::new(),
        text: MessageText::parse(text).expect("a text"),
        model: "m".to_owned(),
        options: ReplyOptions::default(),
    }
}

async fn ask(providers: &Providers, text: &str) -> Asked {
    ask_for(providers, &prompt(text)).await
}

async fn ask_for(providers: &Providers, prompt: &Prompt) -> Asked {
    let (pieces, mut coming) = mpsc::channel::<String>(PIECES);
    let provider = &providers
        .choose(Some("p/m"))
        .expect("a provider")
        .backend
        .provider;
    let read = async {
        let (mut text, mut longest_piece) = (String::new(), 0);
        while let Some(piece) = coming.recv().await {
            longest_piece = longest_piece.max(piece.len());
            text += &piece;
        }
        (text, longest_piece)
    };
    let (outcome, (text, longest_piece)) = tokio::join!(provider.answer(prompt, pieces), read);
    Asked {
        outcome,
        text,
        longest_piece,
    }
}
