//! From the configuration to providers that can be asked.

use std::sync::Arc;

use super::{
    Provider,
    anthropic::Anthropic,
    breaker::Breaker,
    openai::Openai,
    routes::{Backend, Place, Providers, Remote},
};
use crate::{
    config::{self, ConfigError, ProviderKind, ProviderSettings},
    telemetry::metrics::Metrics,
};

/// Makes the providers that are configured, which are counted with these. Nobody is asked for anything yet.
pub fn build(settings: &config::Providers, metrics: &Metrics) -> Result<Providers, ConfigError> {
    let backends = settings.list.iter().map(|settings| backend(settings, metrics));
    let backends = backends.collect::<Result<_, _>>()?;
    Ok(Providers::new(backends, settings.default.clone()))
}

fn remote(settings: &ProviderSettings) -> Remote {
    let url = &settings.base_url;
    let mut remote = Remote::new(settings.concurrency, settings.window);
    remote.place = Place {
        dialect: match settings.kind {
            ProviderKind::Openai => "openai",
            ProviderKind::Anthropic => "anthropic",
        },
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
    };
    remote
}

fn backend(settings: &ProviderSettings, metrics: &Metrics) -> Result<Backend, ConfigError> {
    let name = settings.name.as_str();
    let metrics = metrics.provider(name, settings.concurrency);
    let counts = metrics.clone();
    let provider: Arc<dyn Provider> = match settings.kind {
        ProviderKind::Openai => Arc::new(Breaker::new(name, Openai::new(settings)?, counts)),
        ProviderKind::Anthropic => Arc::new(Breaker::new(name, Anthropic::new(settings)?, counts)),
    };
    Ok(Backend {
        name: name.to_owned(),
        models: settings.models.clone(),
        fallback: settings.fallback.clone(),
        remote: Some(remote(settings)),
        provider,
        metrics,
    })
}
