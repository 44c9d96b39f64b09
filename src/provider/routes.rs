//! Which models there are, who offers them, and who is asked when they fail.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Provider, rules::Rules};
use crate::telemetry::metrics::ProviderMetrics;

/// The built-in provider's name, and that of its only model.
pub const RULES: &str = "rules";

/// A provider's name and one of its models, as the operator wrote it.
pub type Named = (String, String);

/// A provider with its name and its limits.
pub struct Backend {
    /// Its configured name.
    pub name: String,
    /// The models that it offers; `*` stands for any.
    pub models: Vec<String>,
    /// Who is asked instead when it fails, in this order.
    pub fallback: Vec<Named>,
    /// What lies between here and a provider that is somewhere else; `None` for the built-in one, which answers at once and
    /// without history.
    pub remote: Option<Remote>,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// What is counted of it.
    pub metrics: ProviderMetrics,
}

/// The limits of a provider that is somewhere else.
pub struct Remote {
    /// How many prompts may be there at once.
    pub permits: Arc<Semaphore>,
    /// How many bytes of instructions, history and message its models can read.
    pub window: usize,
    /// Where it is.
    pub place: Place,
    /// Told whenever somebody leaves.
    freed: Arc<Notify>,
}

/// Where a provider is, and how it is talked to.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Whose dialect it speaks.
    pub dialect: &'static str,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Remote {
    /// So many prompts at once, of so many bytes.
    pub fn new(concurrency: usize, window: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency)),
            window,
            place: Place::default(),
            freed: Arc::default(),
        }
    }
}

impl Remote {
    fn entered(&self, permit: OwnedSemaphorePermit) -> Entered {
        Entered(Some(Held {
            permit: Some(permit),
            freed: Arc::clone(&self.freed),
        }))
    }
}

impl Backend {
    /// The built-in rules.
    pub fn rules() -> Self {
        Self {
            name: RULES.to_owned(),
            models: vec![RULES.to_owned()],
            fallback: Vec::new(),
            remote: None,
            provider: Arc::new(Rules),
            metrics: ProviderMetrics::default(),
        }
    }

    fn offers(&self, model: &str) -> bool {
        self.models
            .iter()
            .any(|offered| offered == model || offered == "*")
    }

    /// A place for one more prompt; `None` when there is none.
    pub fn try_enter(&self) -> Option<Entered> {
        match &self.remote {
            None => Some(Entered(None)),
            Some(remote) => {
                let permit = Arc::clone(&remote.permits).try_acquire_owned().ok()?;
                Some(remote.entered(permit))
            }
        }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Entered {
        match &self.remote {
            None => Entered(None),
            Some(remote) => match Arc::clone(&remote.permits).acquire_owned().await {
                Ok(permit) => remote.entered(permit),
                // The semaphore is never closed.
                Err(_) => Entered(None),
            },
        }
    }

    /// How many more replies may be claimed for it; `None` if that is no question. One that is being tried gets no others,
    /// unless somebody else answers them.
    fn room(&self) -> Option<usize> {
        let places = self.remote.as_ref()?.permits.available_permits();
        Some(if self.fallback.is_empty() {
            places.min(self.provider.wants())
        } else {
            places
        })
    }
}

/// A prompt's place at a provider.
pub struct Entered(#[expect(dead_code, reason = "held until it is dropped")] Option<Held>);

struct Held {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever is told must find the place free.
        drop(self.permit.take());
        self.freed.notify_one();
    }
}

/// A provider and the model that it is asked for.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// Who is asked.
    pub backend: &'a Backend,
    /// For which model, as the provider calls it.
    pub model: &'a str,
}

/// Every provider.
pub struct Providers {
    backends: Vec<Backend>,
    default: Named,
    freed: Arc<Notify>,
}

impl Providers {
    /// Nothing but the built-in rules.
    pub fn rules() -> Self {
        Self {
            backends: vec![Backend::rules()],
            default: (RULES.to_owned(), RULES.to_owned()),
            freed: Arc::default(),
        }
    }

    /// These providers and the built-in rules; who names no model gets the default one.
    pub fn new(mut backends: Vec<Backend>, default: Named) -> Self {
        let freed = Arc::default();
        for remote in backends.iter_mut().filter_map(|backend| backend.remote.as_mut()) {
            remote.freed = Arc::clone(&freed);
        }
        backends.push(Backend::rules());
        Self {
            backends,
            default,
            freed,
        }
    }

    /// Whether nobody but the built-in rules answers: then no options matter.
    pub fn are_rules_only(&self) -> bool {
        self.backends.iter().all(|backend| backend.remote.is_none())
    }

    /// Who is asked for a model: `model`, of the first provider that offers it, or `provider/model`; without one, the
    /// default.
    /// `None` when nobody offers it.
    pub fn choose<'a>(&'a self, model: Option<&'a str>) -> Option<Choice<'a>> {
        let Some(model) = model else {
            return self.named(&self.default);
        };
        let first = self
            .backends
            .iter()
            .find(|backend| backend.models.iter().any(|offered| offered == model));
        if let Some(backend) = first {
            return Some(Choice { backend, model });
        }
        let (name, model) = model.split_once('/')?;
        let backend = self.backends.iter().find(|backend| backend.name == name)?;
        (!model.is_empty() && backend.offers(model)).then_some(Choice { backend, model })
    }

    /// Who is asked in turn: the choice, then those to fall back on.
    pub fn chain<'a>(&'a self, first: Choice<'a>) -> impl Iterator<Item = Choice<'a>> {
        let others = first
            .backend
            .fallback
            .iter()
            .filter_map(|named| self.named(named));
        std::iter::once(first).chain(others)
    }

    /// How many more replies may be claimed for each provider that is somewhere else.
    pub fn room(&self) -> Vec<(String, usize)> {
        let room = |backend: &Backend| Some((backend.name.clone(), backend.room()?));
        self.backends.iter().filter_map(room).collect()
    }

    /// The providers for which no more may be claimed.
    pub fn full(&self) -> Vec<String> {
        let room = self.room().into_iter();
        room.filter(|(_, places)| *places == 0)
            .map(|(name, _)| name)
            .collect()
    }

    /// A place for one more reply at the provider of this name; `None` when it has no room.
    pub fn try_enter(&self, lane: &str) -> Option<Entered> {
        let backend = self.backends.iter().find(|backend| backend.name == lane)?;
        if backend.room() == Some(0) {
            return None;
        }
        backend.try_enter()
    }

    /// A single provider, which answers at once.
    pub fn only(provider: Arc<dyn Provider>) -> Self {
        let (name, model) = ("only".to_owned(), "only".to_owned());
        let backend = Backend {
            name: name.clone(),
            models: vec![model.clone()],
            fallback: Vec::new(),
            remote: None,
            provider,
            metrics: ProviderMetrics::default(),
        };
        Self::new(vec![backend], (name, model))
    }

    /// The most bytes that any model can read.
    pub fn widest(&self) -> usize {
        let windows = self.backends.iter().filter_map(|backend| backend.remote.as_ref());
        windows.map(|remote| remote.window).max().unwrap_or(0)
    }

    /// Told whenever a provider may have a place again.
    pub fn freed(&self) -> &Notify {
        &self.freed
    }

    fn named<'a>(&'a self, (name, model): &'a Named) -> Option<Choice<'a>> {
        let backend = self.backends.iter().find(|backend| backend.name == *name)?;
        Some(Choice { backend, model })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::provider::{Completion, Pieces, Prompt, Refusal};

    /// Wants no prompts just now.
    struct Tried;

    #[async_trait]
    impl Provider for Tried {
        async fn answer(&self, _: &Prompt, _: Pieces) -> Result<Completion, Refusal> {
            Ok(Completion::default())
        }

        fn wants(&self) -> usize {
            0
        }
    }

    fn tried(fallback: &[&str]) -> Providers {
        let named = |name: &str| (name.to_owned(), String::new());
        let backend = Backend {
            name: "tried".to_owned(),
            models: Vec::new(),
            fallback: fallback.iter().map(|name| named(name)).collect(),
            remote: Some(Remote::new(2, 1)),
            provider: Arc::new(Tried),
            metrics: ProviderMetrics::default(),
        };
        Providers::new(vec![backend], named("tried"))
    }

    #[test]
    fn a_provider_that_wants_nobody_gets_replies_for_its_fallback_only() {
        let alone = tried(&[]);
        assert_eq!(alone.full(), ["tried"]);
        assert!(alone.try_enter("tried").is_none());
        let with_another = tried(&[RULES]);
        assert_eq!(with_another.room(), [("tried".to_owned(), 2)]);
        let _place = with_another.try_enter("tried").unwrap();
        assert_eq!(with_another.room(), [("tried".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_place_is_told_when_it_is_free() {
        let providers = tried(&[RULES]);
        let places = [providers.try_enter("tried"), providers.try_enter("tried")];
        assert_eq!(providers.full(), ["tried"]);
        let freed = async {
            providers.freed().notified().await;
            providers.full()
        };
        let (full, ()) = tokio::join!(freed, async { drop(places) });
        assert!(full.is_empty(), "{full:?}");
    }
}
