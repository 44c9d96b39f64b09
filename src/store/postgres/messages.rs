use std::collections::HashMap;

use futures_util::FutureExt;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    control, conversations,
    error::{Problem, stored},
    events, keys,
    once::{self, Records, remembering},
    replies::micros,
    turns,
    tx::Tx,
    writer::{Said, Saying},
};
use crate::{
    model::{BusyPolicy, ConversationId, Message, MessageId, MessageText, NewMessage, Role, Timestamp, fold},
    store::{Claimant, Error, Once, Result, codec, timeline::Kind},
};

pub(super) async fn append(
    store: &PostgresStore,
    new: NewMessage,
    claimant: Option<Claimant>,
    once: Option<Once<Message>>,
) -> Result<Option<Message>> {
    let saying = Saying {
        folded: folded(&new.text),
        new,
        answers: None,
        claimant,
        once,
    };
    if makes_way(&saying.new) {
        return append_alone(store, saying).await;
    }
    match store.writer.say(saying).await? {
        Said::Stored(message) => Ok(Some(message)),
        Said::Nowhere => Ok(None),
        Said::Behind(saying) => append_alone(store, *saying).await,
    }
}

/// Whether it does something about the unfinished replies of its conversation.
fn makes_way(new: &NewMessage) -> bool {
    new.reply.lane.is_some() && new.reply.busy != BusyPolicy::Queue
}

/// Appends a message that has to know its conversation first. Its reply is claimed as any other.
async fn append_alone(store: &PostgresStore, mut saying: Saying) -> Result<Option<Message>> {
    let (new, clock) = (saying.new.clone(), store.clock(saying.new.now));
    saying.claimant = None;
    let trusts_caller = clock.is_some();
    let appended = store
        .transact(move |tx| async move { append_in(tx, saying, clock, trusts_caller).await }.boxed())
        .await;
    match appended {
        Err(Error::Unavailable(reason)) => {
            // It may have been made all the same; then its id is there.
            let id = new.id.as_uuid();
            let found = store
                .writer
                .write(move |db| async move { placed(db, &[id], &[None]).await }.boxed());
            match found.await.ok().and_then(|mut found| found.remove(&id)) {
                Some(Fate::Placed(place)) => {
                    store.notices.wake();
                    Ok(Some(new.placed(place.at)))
                }
                Some(Fate::Behind) | None => Err(Error::Unavailable(reason)),
            }
        }
        appended => appended,
    }
}

async fn append_in(
    tx: &Tx<'_>,
    mut saying: Saying,
    clock: Option<i64>,
    trusts_caller: bool,
) -> Result<Option<Message>, Problem> {
    let conversation = saying.new.conversation;
    let Some(last) = conversations::lock_dated(tx, conversation).await? else {
        return Ok(None);
    };
    if makes_way(&saying.new) {
        // What it would have to make way for may be its own reply.
        once::refuse_repeated(tx, saying.once.as_ref()).await?;
        turns::make_way(tx, &saying.new, clock).await?;
    }
    saying.new.now = saying.new.now.max(last);
    let mut fates = append_all(tx, &[&saying], trusts_caller).await?;
    let Some(Fate::Placed(place)) = fates.remove(&saying.new.id.as_uuid()) else {
        return Ok(None);
    };
    tx.tell(conversation);
    tx.wake_workers();
    Ok(Some(saying.new.placed(place.at)))
}

pub(super) fn folded(text: &MessageText) -> Option<String> {
    match fold(text.as_str()) {
        folded if folded == text.as_str() => None,
        folded => Some(folded.into_owned()),
    }
}

/// What became of a message that exists, or could.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It is stored.
    Placed(Placed),
    /// Its conversation has a later date than it may have.
    Behind,
}

/// Where a message has found its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) at: Timestamp,
    /// Whether the conversation's next turn is to be looked for: the message's reply waits for it, or the reply that it
    /// answers had one.
    pub(super) turns: bool,
}

/// `append.sql` with what is given, and in front of that what is to be remembered, if anything is.
macro_rules! append {
    ($name:literal, $remembered:expr, $behind:literal) => {
        concat!(
            $name,
            include_str!("append.sql"),
            $remembered,
            "SELECT id, at, waits OR reply_to IN (SELECT message_id FROM closed WHERE turn IS NOT NULL) IS TRUE
             FROM placed",
            $behind
        )
    };
}

const APPEND: &str = append!("", "", "");

const APPEND_ONCE: &str = append!(
    "-- append_message: remembered
",
    concat!(
        ", remembered AS (",
        remembering!(
            "$18",
            "$19",
            "$20",
            "$21",
            "$22",
            "$23",
            "(subject IN (SELECT id FROM placed)) IS TRUE"
        ),
        ") "
    ),
    "
             UNION ALL
             SELECT id, NULL, NULL FROM asked
             WHERE exact AND said_at < (SELECT updated_at FROM locked WHERE locked.id = conversation_id)"
);

/// Appends messages and answers in one statement. Gives what became of those that have a conversation and, if they answer,
/// still hold their lease for a first try.
pub(super) async fn append_all(
    db: &Session,
    sayings: &[&Saying],
    trusts_caller: bool,
) -> Result<HashMap<Uuid, Fate>, Problem> {
    fn each<'a, T>(sayings: &[&'a Saying], value: impl Fn(&'a Saying) -> T) -> Vec<T> {
        sayings.iter().map(|saying| value(saying)).collect()
    }
    let answers = |saying: &Saying| saying.answers.as_ref().map(|answers| answers.lease);
    let ids = each(sayings, |saying| saying.new.id.as_uuid());
    let conversations = each(sayings, |saying| saying.new.conversation.as_uuid());
    let roles = each(sayings, |saying| saying.new.role.as_str());
    let dates = dates(sayings);
    let texts = each(sayings, |saying| saying.new.text.as_str());
    let folded = each(sayings, |saying| saying.folded.as_deref());
    let answered = each(sayings, |saying| {
        answers(saying).map(|lease| lease.message.as_uuid())
    });
    let tokens = each(sayings, |saying| answers(saying).map(|lease| lease.token));
    let leases = each(sayings, |saying| {
        saying.claimant.as_ref().map(|claimant| micros(claimant.lease()))
    });
    let lanes = each(sayings, |saying| match saying.new.role {
        Role::User => saying.new.reply.lane.as_deref(),
        Role::Assistant => None,
    });
    let options = each(sayings, |saying| {
        codec::options_to_text(&saying.new.reply.options)
    });
    let accounts = each(sayings, |saying| {
        saying
            .answers
            .as_ref()
            .and_then(|answers| answers.account.as_deref())
    });
    let exact = each(sayings, |saying| saying.once.is_some());
    let owners = each(sayings, |saying| keys::owner_column(saying.new.reply.owner));
    let traces = each(sayings, |saying| codec::trace_to_text(saying.new.reply.trace));
    let mut records = Records::default();
    for (saying, date) in sayings.iter().zip(&dates) {
        if let Some(once) = &saying.once {
            let record = once.record(&saying.new.clone().placed(Timestamp::from_micros(*date)));
            records.add(saying.new.id.as_uuid(), record);
        }
    }
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![
        &ids,
        &conversations,
        &roles,
        &dates,
        &texts,
        &folded,
        &answered,
        &tokens,
        &trusts_caller,
        &leases,
        &lanes,
        &options,
        &accounts,
        &events::PER_MESSAGE,
        &exact,
        &owners,
        &traces,
    ];
    let placed = if records.is_empty() {
        db.rows(APPEND, &params).await?
    } else {
        params.extend(records.params());
        db.rows(APPEND_ONCE, &params).await?
    };
    fates_of(&placed)
}

/// When these were said: in one conversation none before one that goes in front of it, as the statement gives out dates.
fn dates(sayings: &[&Saying]) -> Vec<i64> {
    let mut latest = HashMap::new();
    let dates = sayings.iter().map(|saying| {
        let date = latest.entry(saying.new.conversation).or_insert(i64::MIN);
        *date = saying.new.now.as_micros().max(*date);
        *date
    });
    dates.collect()
}

/// The places of those of these messages that exist, some of which were to be claimed at once for a while.
pub(super) async fn placed(
    db: &Session,
    ids: &[Uuid],
    leases: &[Option<i64>],
) -> Result<HashMap<Uuid, Fate>, Problem> {
    let found = db
        .rows(
            "-- append_message, finish_reply: when it is unknown what became of them
             SELECT id, messages.created_at,
                    lane IS NOT NULL AND (lease_token = 1 AND lease_until - run_after = asked.lease) IS NOT TRUE
             FROM unnest($1::uuid[], $2::bigint[]) AS asked (asked_id, lease) JOIN messages ON id = asked_id
                  LEFT JOIN replies ON message_id = coalesce(reply_to, id)",
            &[&ids, &leases],
        )
        .await?;
    fates_of(&found)
}

fn fates_of(rows: &[Row]) -> Result<HashMap<Uuid, Fate>, Problem> {
    let fates = rows.iter().map(|row| {
        let fate = match row.try_get(1)? {
            Some(at) => Fate::Placed(Placed {
                at: Timestamp::from_micros(at),
                turns: row.try_get(2)?,
            }),
            None => Fate::Behind,
        };
        Ok((row.try_get(0)?, fate))
    });
    fates.collect()
}

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<Message>> {
    let row = store
        .readers
        .row(
            "-- message
             SELECT id, role, text, created_at, updated_at FROM messages
             WHERE id = $1 AND conversation_id = $2 AND EXISTS (SELECT FROM conversations WHERE id = $2)",
            &[&id.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    Ok(row.map(|row| from_row(conversation, &row)).transpose()?)
}

pub(super) async fn delete(
    store: &PostgresStore,
    conversation: ConversationId,
    id: MessageId,
    now: Timestamp,
) -> Result<bool> {
    let clock = store.clock(now);
    store
        .transact(move |tx| delete_in(tx, conversation, id, now, clock).boxed())
        .await
}

async fn delete_in(
    tx: &Tx<'_>,
    conversation: ConversationId,
    id: MessageId,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<bool, Problem> {
    if !conversations::lock(tx, conversation).await? {
        return Ok(false);
    }
    let found = tx
        .row(
            "-- delete_message: whose it is
             SELECT role, reply_to FROM messages WHERE id = $1 AND conversation_id = $2",
            &[&id.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    let Some(found) = found else { return Ok(false) };
    let role = stored(Role::parse(found.try_get(0)?), "messages", "role")?;
    let reply_to = found.try_get::<_, Option<_>>(1)?.map(MessageId::new);
    control::forget(tx, conversation, id, role, reply_to).await?;
    tx.execute(
        "-- delete_message: a user message takes its reply with it; the answer to it stays.
         WITH deleted AS (
             DELETE FROM messages WHERE id = $1 AND conversation_id = $2 RETURNING role
         )
         UPDATE conversations
         SET user_count = user_count - (role = 'user')::int,
             assistant_count = assistant_count - (role = 'assistant')::int, updated_at = greatest(updated_at, $3)
         FROM deleted
         WHERE conversations.id = $2",
        &[&id.as_uuid(), &conversation.as_uuid(), &now.as_micros()],
    )
    .await?;
    if let Some(number) = events::take_number(tx, conversation, Kind::Deleted).await? {
        let reply = (role == Role::User).then_some(id);
        let mut event = events::row(Kind::Deleted, now, reply, Some(id));
        event.number = number;
        events::insert(tx, conversation, &event).await?;
    }
    turns::pass_on(tx, conversation, clock).await?;
    Ok(true)
}

/// Reads `id, role, text, created_at, updated_at`, the first columns of every statement that reads messages.
pub(super) fn from_row(conversation: ConversationId, row: &Row) -> Result<Message, Problem> {
    Ok(Message {
        id: MessageId::new(row.try_get(0)?),
        conversation,
        role: stored(Role::parse(row.try_get(1)?), "messages", "role")?,
        text: MessageText::from_stored(row.try_get(2)?),
        created: Timestamp::from_micros(row.try_get(3)?),
        updated: Timestamp::from_micros(row.try_get(4)?),
    })
}
