use std::collections::HashMap;

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    PostgresStore,
    connection::Session,
    control, conversations,
    error::{Problem, stored},
    events,
    replies::micros,
    turns,
    tx::Tx,
    writer::Saying,
};
use crate::{
    model::{BusyPolicy, ConversationId, Message, MessageId, MessageText, NewMessage, Role, Timestamp, fold},
    store::{Claimant, Error, Result, codec, timeline::Kind},
};

pub(super) async fn append(
    store: &PostgresStore,
    new: NewMessage,
    claimant: Option<Claimant>,
) -> Result<Option<Message>> {
    let saying = Saying {
        folded: folded(&new.text),
        new,
        answers: None,
        claimant,
    };
    if saying.new.reply.lane.is_some() && saying.new.reply.busy != BusyPolicy::Queue {
        return append_alone(store, saying).await;
    }
    store.writer.say(saying).await
}

/// Appends a message that does something about the unfinished replies of its conversation. Its reply is claimed as any
/// other.
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
                Some(place) => {
                    store.notices.wake();
                    Ok(Some(new.placed(place.at)))
                }
                None => Err(Error::Unavailable(reason)),
            }
        }
        appended => appended,
    }
}

async fn append_in(
    tx: &Tx<'_>,
    saying: Saying,
    clock: Option<i64>,
    trusts_caller: bool,
) -> Result<Option<Message>, Problem> {
    let conversation = saying.new.conversation;
    if !conversations::lock(tx, conversation).await? {
        return Ok(None);
    }
    turns::make_way(tx, &saying.new, clock).await?;
    let mut places = append_all(tx, &[&saying], trusts_caller).await?;
    let Some(place) = places.remove(&saying.new.id.as_uuid()) else {
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

/// Where a message has found its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) at: Timestamp,
    /// Whether the conversation's next turn is to be looked for: the message's reply waits for it, or the reply that it
    /// answers had one.
    pub(super) turns: bool,
}

/// Appends messages and answers in one statement. Gives the places of those that found one: that have a
/// conversation and, if they answer, still hold their lease for a first try.
pub(super) async fn append_all(
    db: &Session,
    sayings: &[&Saying],
    trusts_caller: bool,
) -> Result<HashMap<Uuid, Placed>, Problem> {
    fn each<'a, T>(sayings: &[&'a Saying], value: impl Fn(&'a Saying) -> T) -> Vec<T> {
        sayings.iter().map(|saying| value(saying)).collect()
    }
    let answers = |saying: &Saying| saying.answers.as_ref().map(|answers| answers.lease);
    let ids = each(sayings, |saying| saying.new.id.as_uuid());
    let conversations = each(sayings, |saying| saying.new.conversation.as_uuid());
    let roles = each(sayings, |saying| saying.new.role.as_str());
    let dates = each(sayings, |saying| saying.new.now.as_micros());
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
    let placed = db
        .rows(
            include_str!("append.sql"),
            &[
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
            ],
        )
        .await?;
    places_of(&placed)
}

/// The places of those of these messages that exist, some of which were to be claimed at once for a while.
pub(super) async fn placed(
    db: &Session,
    ids: &[Uuid],
    leases: &[Option<i64>],
) -> Result<HashMap<Uuid, Placed>, Problem> {
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
    places_of(&found)
}

fn places_of(rows: &[Row]) -> Result<HashMap<Uuid, Placed>, Problem> {
    let places = rows.iter().map(|row| {
        let place = Placed {
            at: Timestamp::from_micros(row.try_get(1)?),
            turns: row.try_get(2)?,
        };
        Ok((row.try_get(0)?, place))
    });
    places.collect()
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
