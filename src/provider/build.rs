//! From the configuration to providers that can be asked.

use std::sync::Arc;

use super::{
    Provider,
    anthropic::Anthropic,
    breaker::Breaker,
    openai::Openai,
    routes::{Backend, Providers, Remote},
};
use crate::config::{self, ConfigError, ProviderKind, ProviderSettings};

/// Makes the providers that are configured. Nobody is asked for anything yet.
pub fn build(settings: &config::Providers) -> Result<Providers, ConfigError> {
    let backends = settings.list.iter().map(backend).collect::<Result<_, _>>()?;
    Ok(Providers::new(backends, settings.default.clone()))
}

fn backend(settings: &ProviderSettings) -> Result<Backend, ConfigError> {
    let name = settings.name.as_str();
    let provider: Arc<dyn Provider> = match settings.kind {
        ProviderKind::Openai => Arc::new(Breaker::new(name, Openai::new(settings)?)),
        ProviderKind::Anthropic => Arc::new(Breaker::new(name, Anthropic::new(settings)?)),
    };
    Ok(Backend {
        name: name.to_owned(),
        models: settings.models.clone(),
        fallback: settings.fallback.clone(),
        remote: Some(Remote::new(settings.concurrency, settings.window)),
        provider,
    })
}
