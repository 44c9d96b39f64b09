//! `engagement chat`: a person, or a script, talks to a running service, as any other client would.
//!
//! `session` is the conversation at the prompt, `client` the requests, `sending` and `stream` bring a message there and
//! follow its reply over as many connections as it takes, `screen` is what is printed where. Nothing here knows more than the contract tells.

mod client;
mod input;
mod screen;
mod sending;
mod session;
mod sse;
mod stream;

use std::io::{IsTerminal, stdin};

use clap::Args;
use reqwest::Url;
use secrecy::SecretString;

use self::{
    client::{Client, Error, New},
    screen::plain,
    session::Session,
};
use super::{CommandError, UNAVAILABLE, near};
use crate::{
    app::Failure,
    config::{self, Settings},
    model::ConversationId,
};

#[derive(Debug, Args)]
pub(super) struct Chat {
    /// The conversation to continue; without it, a new one is created
    #[arg(value_name = "CONVERSATION_ID", value_parser = conversation)]
    conversation: Option<ConversationId>,
    /// Where the service is [default: the address that it listens on by the settings]
    #[arg(long, value_name = "URL", value_parser = service)]
    url: Option<Url>,
    /// The service's key [default: the setting `api_key`]
    #[arg(long, value_name = "KEY")]
    key: Option<SecretString>,
    /// The model that writes the replies
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "conversation")]
    instructions: Option<String>,
    /// The new conversation's title
    #[arg(long, value_name = "TITLE", conflicts_with = "conversation")]
    title: Option<String>,
}

fn conversation(text: &str) -> Result<ConversationId, &'static str> {
    ConversationId::parse(text).ok_or("a conversation's id looks like 31135977-1b1c-4a76-bffa-de872ffd1900")
}

fn service(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|cause| format!("{cause}: it looks like http://127.0.0.1:8000"))?;
    let is_base = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_base
        .then_some(url)
        .ok_or_else(|| "it looks like http://127.0.0.1:8000".to_owned())
}

pub(super) fn run(command: &Chat, settings: &Settings) -> Result<(), CommandError> {
    let key = match &command.key {
        Some(key) => config::key(&Settings {
            api_key: Some(key.clone()),
            ..Settings::default()
        }),
        None => config::key(settings),
    }?;
    let local = format!(
        "http://{}",
        settings
            .listen
            .map_or_else(|| "127.0.0.1:8000".to_owned(), |listen| near(listen).to_string())
    );
    let url = match &command.url {
        Some(url) => url.clone(),
        None => service(&local).map_err(|cause| Failure::Other(std::io::Error::other(cause)))?,
    };
    let client = Client::new(&url, key).map_err(|error| explain(&error, trimmed(&url), None))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Other)?;
    let ended = runtime.block_on(async {
        let session = Session::new(&client, command, stdin().is_terminal()).map_err(Failure::Other)?;
        session.run(command.conversation).await
    });
    // Somebody who types nothing more must not keep it.
    runtime.shutdown_background();
    ended
}

/// The base without its last slash: paths begin with one.
fn trimmed(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl Chat {
    /// What conversations are that are created.
    fn new_conversation(&self) -> New {
        New {
            title: self.title.clone(),
            model: self.model.clone(),
            instructions: self.instructions.clone(),
        }
    }

    /// What to type to come back to a conversation.
    fn to_continue(&self, conversation: ConversationId) -> String {
        let url = self.url.as_ref().map(|url| format!(" --url {}", trimmed(url)));
        format!("engagement chat {conversation}{}", url.unwrap_or_default())
    }
}

/// Says to a person what went wrong with a request, and what can be done.
fn explain(error: &Error, base: &str, conversation: Option<ConversationId>) -> CommandError {
    let (message, hint, code) = match error {
        Error::Away { cause, is_unsure } => (
            format!("the service at {base} does not answer: {cause}"),
            if *is_unsure {
                "what was sent may have arrived all the same: look before you send it again"
            } else {
                "start it with `engagement serve`, or say where it is with --url"
            },
            UNAVAILABLE,
        ),
        Error::Refused {
            status: 401 | 403,
            reason,
        } => (
            format!("the service at {base} does not take the key: {reason}"),
            "give its key with --key, or set ENGAGEMENT_API_KEY",
            1,
        ),
        Error::Refused { status: 404, .. } => match conversation {
            Some(id) => (
                format!("there is no conversation {id} at {base}"),
                "check the id and --url, or leave the id out to begin a new conversation",
                1,
            ),
            None => (
                format!("what answers at {base} is not this service: it has no conversations"),
                "check --url",
                1,
            ),
        },
        Error::Refused { status, reason } if error.is_passing() => (
            format!("the service at {base} cannot do it now: {reason} ({status})"),
            "try again in a moment",
            UNAVAILABLE,
        ),
        Error::Refused { status, reason } => (
            format!("the service refuses it: {reason} ({status})"),
            "correct what it names, and try again",
            1,
        ),
        Error::Foreign(what) => (
            format!("what answers at {base} is not this service, or another version of it: {what}"),
            "check --url",
            1,
        ),
    };
    CommandError {
        message: plain(&message),
        hint: hint.to_owned(),
        code,
    }
}
