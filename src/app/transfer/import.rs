//! Takes conversations in, many in one transaction. One that is there already is compared, and left.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{Plan, Progress, Tally, Watch};
use crate::{
    model::{ConversationId, MovedMessage},
    store::{
        Error, Result,
        import::{Cast, Casting, ImportStore, Standing},
    },
    transfer::{Found, Portion, Refused},
};

/// The most messages, and about the most bytes of text, in one transaction.
const MESSAGES: usize = 4_000;
const BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Importer<'a> {
    store: &'a dyn ImportStore,
    plan: Plan,
    watch: Watch<'a>,
    tally: Tally,
    /// The conversation of which there is more to come.
    current: Option<Current>,
    /// What is ready to be stored.
    items: Vec<Item>,
}

struct Current {
    id: ConversationId,
    place: u64,
    what: What,
}

#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
enum What {
    /// It is new. Earlier parts of it may be stored already.
    New {
        casting: Casting,
        cast: Cast,
        messages: u64,
        is_staged: bool,
    },
    /// It is there, up to this place the same.
    There {
        behind: Option<u64>,
        next: VecDeque<MovedMessage>,
        seen: u64,
    },
    /// It was refused.
    Passed,
}

/// A conversation, or a part of one.
struct Item {
    id: ConversationId,
    place: u64,
    cast: Cast,
    /// Its messages, once it is whole.
    whole: Option<u64>,
}

impl<'a> Importer<'a> {
    pub(super) fn new(store: &'a dyn ImportStore, plan: Plan, watch: Watch<'a>) -> Self {
        Self {
            store,
            plan,
            watch,
            tally: Tally::default(),
            current: None,
            items: Vec::new(),
        }
    }

    /// Takes all that is found.
    pub(super) async fn run(&mut self, taken: &mut mpsc::Receiver<Found>) -> Result<Tally> {
        let mut group = Vec::new();
        let (mut messages, mut bytes) = (0, 0);
        while let Some(found) = taken.recv().await {
            if let Found::Portion(portion) = &found {
                messages += portion.messages.len().max(1);
                bytes += portion
                    .messages
                    .iter()
                    .map(|moved| moved.message.text.as_str().len())
                    .sum::<usize>();
            }
            group.push(found);
            if messages >= MESSAGES || bytes >= BYTES {
                self.take(std::mem::take(&mut group)).await?;
                (messages, bytes) = (0, 0);
            }
        }
        self.take(group).await?;
        // The reader ended in the middle of it, and says why.
        if let Some(current) = self.current.take() {
            self.forget(&current).await?;
        }
        Ok(self.tally)
    }

    async fn take(&mut self, group: Vec<Found>) -> Result<()> {
        let begun = group.iter().filter_map(|found| match found {
            Found::Portion(portion) if portion.is_first => Some(portion.conversation.conversation.id),
            _ => None,
        });
        let begun: Vec<_> = begun.collect();
        let mut standing: HashMap<_, _> = self.store.standing(begun).await?.into_iter().collect();
        let mut seen = HashSet::new();
        for found in group {
            match found {
                Found::Skipped(messages) => self.tally.skipped += messages,
                Found::Refused(refused) => self.refuse(refused).await?,
                Found::Portion(portion) => {
                    let id = portion.conversation.conversation.id;
                    if portion.is_first && !seen.insert(id) {
                        // The first of the two has to be there to be compared with.
                        self.flush().await?;
                        standing.extend(self.store.standing(vec![id]).await?);
                    }
                    self.add(*portion, standing.get(&id).copied()).await?;
                }
            }
        }
        self.flush().await?;
        (self.watch)(Progress::Done(&self.tally));
        Ok(())
    }

    async fn add(&mut self, mut portion: Portion, standing: Option<Standing>) -> Result<()> {
        let id = portion.conversation.conversation.id;
        if portion.is_first {
            if standing == Some(Standing::Remains) && !self.plan.is_dry {
                self.store.clear(id).await?;
            }
            let what = match standing {
                Some(Standing::There) => What::There {
                    behind: Some(0),
                    next: VecDeque::new(),
                    seen: 0,
                },
                Some(Standing::Remains) | None => What::New {
                    casting: Casting::new(id),
                    cast: Cast::default(),
                    messages: 0,
                    is_staged: false,
                },
            };
            self.current = Some(Current {
                id,
                place: portion.place,
                what,
            });
        }
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        if let Some(owner) = self.plan.owner {
            portion.conversation.owner = owner;
        }
        let is_last = portion.is_last;
        let place = portion.place;
        match self.advance(&mut current, portion).await? {
            Ok(()) => {}
            Err(problem) => {
                self.forget(&current).await?;
                self.count_refused(&Refused { place, problem });
                current.what = What::Passed;
            }
        }
        if !is_last {
            self.current = Some(current);
            return Ok(());
        }
        match current.what {
            What::New { cast, messages, .. } => self.items.push(Item {
                id,
                place: current.place,
                cast,
                whole: Some(messages),
            }),
            What::There { .. } => self.tally.there += 1,
            What::Passed => {}
        }
        Ok(())
    }

    /// The next part of a conversation. Gives what is wrong with it.
    async fn advance(&mut self, current: &mut Current, portion: Portion) -> Result<Result<(), String>> {
        match &mut current.what {
            What::Passed => Ok(Ok(())),
            What::New {
                casting,
                cast,
                messages,
                ..
            } => {
                *messages += portion.messages.len() as u64;
                for message in portion.messages {
                    if let Err(misfit) = casting.add(message, cast) {
                        return Ok(Err(misfit.to_string()));
                    }
                }
                if !portion.is_last {
                    return Ok(Ok(()));
                }
                let whole = std::mem::replace(casting, Casting::new(current.id));
                Ok(whole
                    .close(&portion.conversation, cast)
                    .map_err(|misfit| misfit.to_string()))
            }
            What::There { behind, next, seen } => {
                for message in portion.messages {
                    while next.is_empty()
                        && let Some(place) = *behind
                    {
                        let stored = self.store.messages(current.id, place).await?;
                        *next = stored.messages.into();
                        *behind = stored.next;
                    }
                    let number = *seen;
                    *seen += 1;
                    match next.pop_front() {
                        Some(stored) if is_same(&stored, &message) => {}
                        Some(_) => {
                            let id = current.id;
                            return Ok(Err(format!(
                                "messages[{number}]: under the id {id} is something else"
                            )));
                        }
                        None => {
                            let id = current.id;
                            return Ok(Err(format!(
                                "messages[{number}]: what is under the id {id} ends before it"
                            )));
                        }
                    }
                }
                Ok(Ok(()))
            }
        }
    }

    /// Stores what is ready. Where an identifier is taken, everything else is stored all the same.
    async fn flush(&mut self) -> Result<()> {
        let mut items = std::mem::take(&mut self.items);
        if let Some(current) = &mut self.current
            && let What::New { cast, is_staged, .. } = &mut current.what
            && cast.rows() > 0
        {
            *is_staged = true;
            items.push(Item {
                id: current.id,
                place: current.place,
                cast: std::mem::take(cast),
                whole: None,
            });
        }
        if items.is_empty() {
            return Ok(());
        }
        if self.plan.is_dry {
            for item in &items {
                self.count(item.whole);
            }
            return Ok(());
        }
        let (casts, rest): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| (item.cast, (item.id, item.place, item.whole)))
            .unzip();
        let casts = Arc::new(casts);
        match self.store.add(Arc::clone(&casts)).await {
            Ok(()) => {
                for (_, _, whole) in &rest {
                    self.count(*whole);
                }
                return Ok(());
            }
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
        // Nobody else holds them any more.
        let casts = Arc::try_unwrap(casts).unwrap_or_default();
        for (cast, (id, place, whole)) in casts.into_iter().zip(rest) {
            match self.store.add(Arc::new(vec![cast])).await {
                Ok(()) => self.count(whole),
                Err(Error::Conflict) => {
                    self.store.clear(id).await?;
                    self.count_refused(&Refused {
                        place,
                        problem: format!("conversation {id}: an identifier of one of its messages is taken"),
                    });
                    if let Some(current) = self.current.as_mut().filter(|current| current.id == id) {
                        current.what = What::Passed;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn count(&mut self, whole: Option<u64>) {
        if let Some(messages) = whole {
            self.tally.conversations += 1;
            self.tally.messages += messages;
        }
    }

    /// What the reader refused; if it was in the middle of a conversation, that one.
    async fn refuse(&mut self, refused: Refused) -> Result<()> {
        if let Some(current) = self.current.take() {
            self.forget(&current).await?;
        }
        self.count_refused(&refused);
        Ok(())
    }

    fn count_refused(&mut self, refused: &Refused) {
        self.tally.refused += 1;
        (self.watch)(Progress::Refused(refused));
    }

    /// Removes what was stored of a conversation that will not be whole.
    async fn forget(&self, current: &Current) -> Result<()> {
        match current.what {
            What::New { is_staged: true, .. } if !self.plan.is_dry => self.store.clear(current.id).await,
            _ => Ok(()),
        }
    }
}

/// Whether a message is the one that is stored. What comes of it later is not looked at.
fn is_same(stored: &MovedMessage, given: &MovedMessage) -> bool {
    let (stored, given) = (&stored.message, &given.message);
    (stored.id, stored.role, &stored.text, stored.created)
        == (given.id, given.role, &given.text, given.created)
}
