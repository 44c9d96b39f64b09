//! Servers that speak the dialect of OpenAI: its own, Ollama, vLLM, llama.cpp, LM Studio, OpenRouter and many more.

mod chat;
mod responses;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;

use super::{
    Completion, Pieces, Prompt, Provider, Refusal,
    client::Client,
    hear::hear,
    trouble::{Kind, Trouble},
};
use crate::config::{Api, ConfigError, OutputLimit, ProviderSettings};

/// A server, and how it wants to be spoken to.
pub(super) struct Openai {
    name: String,
    client: Client,
    api: Api,
    streams: bool,
    output_limit: OutputLimit,
    /// It refused to say in a stream what an answer took, so it is not asked to.
    keeps_usage: AtomicBool,
}

impl Openai {
    pub(super) fn new(settings: &ProviderSettings) -> Result<Self, ConfigError> {
        let path: &[&str] = match settings.api {
            Api::Chat => &["chat", "completions"],
            Api::Responses => &["responses"],
        };
        Ok(Self {
            name: settings.name.clone(),
            client: Client::new(settings, path, AUTHORIZATION, "Bearer ")?,
            api: settings.api,
            streams: settings.stream,
            output_limit: settings.output_limit,
            keeps_usage: AtomicBool::new(false),
        })
    }

    async fn chat(&self, prompt: &Prompt, pieces: &Pieces) -> Result<Completion, Trouble> {
        let wants_usage = !self.keeps_usage.load(Ordering::Relaxed);
        let request = chat::Request::new(prompt, self.streams, wants_usage, self.output_limit);
        let asks_for_usage = request.asks_for_usage();
        let answer = match self.client.ask(&request).await {
            // Some older servers refuse what they do not know. If it was something else, it is refused again.
            Err(trouble) if asks_for_usage && trouble.kind == Kind::Rejected => {
                let request = chat::Request::new(prompt, self.streams, false, self.output_limit);
                let answer = self.client.ask(&request).await?;
                self.keeps_usage.store(true, Ordering::Relaxed);
                answer
            }
            answer => answer?,
        };
        hear(&chat::Chat, answer, pieces).await
    }

    async fn respond(&self, prompt: &Prompt, pieces: &Pieces) -> Result<Completion, Trouble> {
        let answer = self
            .client
            .ask(&responses::Request::new(prompt, self.streams))
            .await?;
        hear(&responses::Responses, answer, pieces).await
    }
}

#[async_trait]
impl Provider for Openai {
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        let answer = async {
            match self.api {
                Api::Chat => self.chat(prompt, &pieces).await,
                Api::Responses => self.respond(prompt, &pieces).await,
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|trouble| trouble.refuse(&self.name)),
            // Nobody wants more of it.
            () = pieces.closed() => Ok(Completion::default()),
        }
    }
}
