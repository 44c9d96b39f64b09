//! Asks those who can answer, one after the other, and tells what they write.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::sleep};

use super::{
    backoff, history,
    meter::Meter,
    teller::Teller,
    work::{Lost, Work},
};
use crate::{
    clock::Stopwatch,
    model::{
        Account, Answer, ClaimedReply, Context, Failure, FinishReason, Line, MessageText, Outcome,
        ReplyOptions, Told,
    },
    provider::{
        Completion, PIECES, Prompt, Refusal,
        routes::{Choice, Entered},
    },
    telemetry::{
        ids::Logged,
        traces::{Chat, ChatSpan},
    },
};

/// What came of asking.
pub(super) struct Asked {
    pub(super) outcome: Outcome,
    pub(super) told: Told,
    /// Who was asked last.
    pub(super) provider: String,
}

impl Asked {
    /// Nobody was asked.
    pub(super) fn nobody(outcome: Outcome) -> Self {
        let (told, provider) = (Told::default(), String::new());
        Self {
            outcome,
            told,
            provider,
        }
    }
}

/// An answer as one provider gave it.
struct Written {
    text: MessageText,
    cut: bool,
    completion: Completion,
    told: Told,
}

/// Why one provider gave none.
enum Unwritten {
    Refused(Refusal, Told),
    Lost(Lost),
}

impl From<Lost> for Unwritten {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Asks until somebody answers, or nobody is left. `place` is one at the provider of the reply's lane; `entered` is told
/// when the reply has one at a provider that is somewhere else.
pub(super) async fn ask(
    work: &Work<'_>,
    claimed: ClaimedReply,
    place: Option<Entered>,
    entered: impl FnOnce(),
) -> Result<Asked, Lost> {
    let providers = &work.engine.providers;
    let Context { options, history } = if providers.are_rules_only() {
        Context {
            options: ReplyOptions::default(),
            history: Vec::new(),
        }
    } else {
        work.context(providers.widest()).await?
    };
    let model = options.model.as_ref().map(|name| name.as_str().to_owned());
    let Some(first) = providers.choose(model.as_deref()) else {
        let failure = Failure::new("unknown_model", "No model of this name is configured.");
        return Ok(Asked::nobody(Outcome::Failed(failure)));
    };
    let is_in_its_lane = claimed.lane.as_ref() == Some(&first.backend.name);
    let mut place = Some(match place.filter(|_| is_in_its_lane) {
        Some(place) => place,
        // Somebody was quicker. In the queue, it waits for the next place anywhere.
        None if is_in_its_lane => {
            let after = Duration::ZERO;
            return Ok(Asked::nobody(Outcome::Postponed { after }));
        }
        // Without a lane it goes to the rules, unless the configuration was changed since it was queued.
        None => enter(work, first).await?,
    });
    if first.backend.remote.is_some() {
        entered();
    }
    let mut refusals = Refusals::default();
    let mut last = first;
    for choice in providers.chain(first) {
        let Some(_place) = place.take().or_else(|| choice.backend.try_enter()) else {
            continue;
        };
        last = choice;
        match write_fitting(work, choice, &options, &history, &claimed.prompt).await {
            Ok(written) => {
                return Ok(Asked {
                    told: written.told,
                    outcome: answered(work, choice, written),
                    provider: choice.backend.name.clone(),
                });
            }
            Err(Unwritten::Lost(why)) => return Err(why),
            Err(Unwritten::Refused(refusal, told)) => refusals.add(work, choice, refusal, told),
        }
    }
    let told = refusals.told;
    Ok(Asked {
        outcome: refusals.outcome(work, claimed.retries),
        told,
        provider: last.backend.name.clone(),
    })
}

/// Waits for a place, for as long as the reply is wanted.
async fn enter(work: &Work<'_>, choice: Choice<'_>) -> Result<Entered, Lost> {
    tokio::select! {
        biased;
        why = work.running.lost() => Err(why),
        () = work.engine.shutdown.forced() => Err(Lost::Forced),
        entered = choice.backend.enter() => Ok(entered),
    }
}

/// Asks with as much history as fits, and with less of it when the provider says that it was too much.
async fn write_fitting(
    work: &Work<'_>,
    choice: Choice<'_>,
    options: &ReplyOptions,
    history: &[Line],
    text: &MessageText,
) -> Result<Written, Unwritten> {
    let window = choice.backend.remote.as_ref().map_or(0, |remote| remote.window);
    let instructions = options
        .instructions
        .as_ref()
        .map_or(0, |text| text.as_str().len());
    let room = window.saturating_sub(instructions + text.as_str().len());
    let mut history = history::fitting(history, room);
    loop {
        let prompt = Prompt {
            history: history.to_owned(),
            text: text.clone(),
            model: choice.model.to_owned(),
            options: options.clone(),
        };
        match write(work, choice, &prompt).await {
            Err(Unwritten::Refused(Refusal::TooLong(_), _)) if !history.is_empty() => {
                let bytes: usize = history.iter().map(|line| line.text.as_str().len()).sum();
                history = history::fitting(history, bytes / 2);
            }
            written => return written,
        }
    }
}

/// Asks once, and counts what that has cost; in a span of its own, if the provider is somewhere else.
async fn write(work: &Work<'_>, choice: Choice<'_>, prompt: &Prompt) -> Result<Written, Unwritten> {
    let mut span = choice.backend.remote.as_ref().and_then(|remote| {
        work.engine.traces.chat(&Chat {
            provider: &choice.backend.name,
            dialect: remote.place.dialect,
            host: &remote.place.host,
            port: remote.place.port,
            model: choice.model,
            options: &prompt.options,
            attempt: work.attempts,
        })
    });
    let mut meter = Meter::of(prompt);
    let written = listen(work, choice, prompt, &mut meter, &mut span).await;
    if choice.backend.remote.is_some() {
        work.engine.spending.add(work.owner, meter.tokens());
    }
    if let Some(usage) = meter.usage() {
        let (read, remembered) = (usage.input_tokens, usage.cached_tokens);
        choice
            .backend
            .metrics
            .tokens(read, usage.output_tokens, remembered);
    }
    if let Some(span) = &mut span {
        match &written {
            Ok(Written { completion, .. }) => span.answered(
                completion.finish,
                completion.usage.as_ref(),
                completion.model.as_deref(),
            ),
            Err(Unwritten::Refused(refusal, _)) => span.refused(&refusal.failure().code),
            Err(Unwritten::Lost(_)) => {}
        }
    }
    written
}

async fn listen(
    work: &Work<'_>,
    choice: Choice<'_>,
    prompt: &Prompt,
    meter: &mut Meter,
    span: &mut Option<ChatSpan>,
) -> Result<Written, Unwritten> {
    let mut teller = Teller::new(work, choice.backend.remote.is_some());
    let (pieces, mut arriving) = mpsc::channel(PIECES);
    let answering = AssertUnwindSafe(choice.backend.provider.answer(prompt, pieces)).catch_unwind();
    tokio::pin!(answering);
    let (mut is_open, mut ended) = (true, None);
    let mut first_piece = Some(Stopwatch::start());
    // Until the answer ended and all of it has arrived.
    while is_open || ended.is_none() {
        let due = teller.due();
        let pause = async {
            if let Some(due) = due.filter(|due| !due.is_zero()) {
                sleep(due).await;
            }
        };
        tokio::select! {
            biased;
            why = work.running.lost() => return Err(why.into()),
            () = work.engine.shutdown.forced() => return Err(Lost::Forced.into()),
            // In front, so that the provider begins before its beginning is told.
            end = &mut answering, if ended.is_none() => ended = Some(end),
            () = pause, if due.is_some() && ended.is_none() => {
                let telling = teller.tell();
                tokio::pin!(telling);
                loop {
                    tokio::select! {
                        told = &mut telling => break told?,
                        // It goes on meanwhile, so that the store's pauses are not taken for its own.
                        end = &mut answering, if ended.is_none() => ended = Some(end),
                    }
                }
            }
            piece = arriving.recv(), if is_open => match piece {
                Some(piece) => {
                    meter.wrote(&piece);
                    if let Some(span) = span {
                        span.began();
                    }
                    if !taken(choice, &mut first_piece, &mut teller, &piece) {
                        // There is no room for more: the provider is let go.
                        ended = Some(Ok(Ok(Completion { finish: FinishReason::Length, ..Completion::default() })));
                        is_open = false;
                    }
                }
                None => is_open = false,
            },
        }
    }
    let told = teller.told();
    let refused = |refusal| Err(Unwritten::Refused(refusal, told));
    match ended {
        Some(Ok(Ok(completion))) => {
            meter.said(completion.usage);
            match teller.finish() {
                (Some(text), cut) => Ok(Written {
                    text,
                    cut,
                    completion,
                    told,
                }),
                (None, _) => refused(Refusal::Fail(Failure::new(
                    "empty_reply",
                    "The assistant answered with an empty text.",
                ))),
            }
        }
        Some(Ok(Err(refusal))) => refused(refusal),
        Some(Err(_)) | None => {
            tracing::error!(conversation = %Logged(work.lease.conversation), "the provider panicked");
            refused(Refusal::Fail(Failure::new(
                "internal_error",
                "The assistant failed unexpectedly.",
            )))
        }
    }
}

/// Takes a piece; whether more of them can be taken.
fn taken(choice: Choice<'_>, first: &mut Option<Stopwatch>, teller: &mut Teller<'_>, piece: &str) -> bool {
    if let Some(asked) = first.take() {
        choice.backend.metrics.first_token(asked.elapsed());
    }
    teller.push(piece)
}

fn answered(work: &Work<'_>, choice: Choice<'_>, written: Written) -> Outcome {
    if written.cut {
        tracing::warn!(conversation = %Logged(work.lease.conversation), "reply cut at the limit");
    }
    let Completion { finish, usage, model } = written.completion;
    Outcome::Answered(Answer {
        id: work.engine.ids.message(work.engine.clock.now()),
        text: written.text,
        finish,
        truncated: written.cut,
        account: match &choice.backend.remote {
            None => Account::default(),
            Some(_) => Account {
                provider: choice.backend.name.clone(),
                model: model.unwrap_or_else(|| choice.model.to_owned()),
                usage,
            },
        },
    })
}

/// Why there is no answer from those who were asked, or were to be.
#[derive(Default)]
struct Refusals {
    last: Option<Refusal>,
    /// Whether anybody was asked.
    was_asked: bool,
    told: Told,
}

impl Refusals {
    /// If another try at anybody can help, it is worth one.
    fn add(&mut self, work: &Work<'_>, choice: Choice<'_>, refusal: Refusal, told: Told) {
        tracing::debug!(
            conversation = %Logged(work.lease.conversation), provider = choice.backend.name,
            code = refusal.failure().code,
            "a provider gave no answer"
        );
        self.was_asked |= !matches!(refusal, Refusal::Later { .. });
        if !matches!(self.last, Some(Refusal::Retry { .. } | Refusal::Later { .. })) {
            self.last = Some(refusal);
        }
        self.told = Told {
            bytes: self.told.bytes.max(told.bytes),
        };
    }

    fn outcome(self, work: &Work<'_>, retries: u32) -> Outcome {
        let engine = work.engine;
        let again = |after| Outcome::Retry {
            after: backoff::pause(&engine.settings, retries, after, engine.ids.jitter()),
        };
        let may_retry = retries < engine.settings.most_retries;
        match self.last {
            Some(Refusal::Later { after, .. }) if !self.was_asked => Outcome::Postponed { after },
            Some(Refusal::Later { after, .. }) if may_retry => again(Some(after)),
            Some(Refusal::Retry { after, .. }) if may_retry => again(after),
            Some(refusal) => Outcome::Failed(refusal.failure().clone()),
            None => Outcome::Failed(Failure::new(
                "internal_error",
                "The assistant failed unexpectedly.",
            )),
        }
    }
}
