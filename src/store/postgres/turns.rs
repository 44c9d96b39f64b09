//! Whose turn it is: of the replies of one conversation that take turns, one at a time is due.
//!
//! Whoever ends a reply that had its turn looks for the next one in the same transaction. Groups cannot: what they see
//! is as old as their beginning. They look after their commit, and so does whoever appended a reply that waits; the
//! last of them sees everything. A node that ends in between leaves it to the next sweep.

use uuid::Uuid;

use super::{connection::Session, error::Problem, settle, tx::Tx};
use crate::{
    model::{BusyPolicy, ConversationId, MessageId, NewMessage},
    store::{Error, NEVER},
};

/// How many conversations are looked at in one statement.
const AT_ONCE: usize = 256;

/// How often to look again where somebody else was just writing.
const TRIES: usize = 20;

/// Does what a new message wants to be done about the unfinished replies of its conversation, which is taken.
pub(super) async fn make_way(tx: &Tx<'_>, new: &NewMessage, clock: Option<i64>) -> Result<(), Problem> {
    let open = open(tx, new.conversation).await?;
    if open.is_empty() {
        return Ok(());
    }
    if new.reply.busy == BusyPolicy::Reject {
        return Err(Error::Busy.into());
    }
    for (place, message) in open.into_iter().enumerate() {
        settle::cancel(
            tx,
            new.conversation,
            message,
            new.id.beside(place),
            new.now,
            clock,
        )
        .await?;
    }
    Ok(())
}

/// The unfinished replies of a conversation that take turns, in their order.
async fn open(db: &Session, conversation: ConversationId) -> Result<Vec<MessageId>, Problem> {
    let open = db
        .rows(
            "-- append_message: whom it would have to wait for
             SELECT message_id FROM replies
             WHERE conversation_id = $1 AND turn IS NOT NULL AND finished_at IS NULL ORDER BY turn",
            &[&conversation.as_uuid()],
        )
        .await?;
    open.iter()
        .map(|row| Ok(MessageId::new(row.try_get(0)?)))
        .collect()
}

/// Makes the next reply due wherever none is. Gives how many that were.
pub(super) async fn free(db: &Session, conversations: &[Uuid], now: Option<i64>) -> Result<u64, Problem> {
    let mut freed = 0;
    for portion in conversations.chunks(AT_ONCE) {
        for _ in 0..TRIES {
            let (found, is_over) = look(db, portion, now).await?;
            freed += found;
            if is_over {
                break;
            }
        }
    }
    Ok(freed)
}

/// Looks once. Gives how many replies are due now, and whether that is all.
async fn look(db: &Session, conversations: &[Uuid], now: Option<i64>) -> Result<(u64, bool), Problem> {
    let row = db
        .row(
            "-- turns: who is next where nobody is due. A conversation that has moved on since is to be looked at again.
             WITH next AS MATERIALIZED (
                 SELECT asked.conversation_id, first.message_id
                 FROM (SELECT DISTINCT unnest($1::uuid[]) AS conversation_id) AS asked CROSS JOIN LATERAL (
                     SELECT message_id FROM replies
                     WHERE replies.conversation_id = asked.conversation_id AND turn IS NOT NULL AND finished_at IS NULL
                     ORDER BY turn LIMIT 1) AS first
                 WHERE NOT EXISTS (SELECT FROM replies
                                   WHERE replies.conversation_id = asked.conversation_id AND turn IS NOT NULL
                                         AND finished_at IS NULL AND run_after <> $3)
             ), locked AS MATERIALIZED (
                 SELECT id, message_id, last_seq, last_event FROM next JOIN conversations ON id = conversation_id
                 ORDER BY id FOR UPDATE OF conversations
             ), known AS MATERIALIZED (
                 SELECT message_id, (last_seq, last_event) = (SELECT seen.last_seq, seen.last_event FROM conversations AS seen
                                                               WHERE seen.id = locked.id) AS is_known
                 FROM locked
             ), freed AS (
                 UPDATE replies
                 SET run_after = coalesce($2, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
                 FROM known
                 WHERE replies.message_id = known.message_id AND is_known AND finished_at IS NULL AND run_after = $3
                 RETURNING 1
             )
             SELECT (SELECT count(*) FROM freed), NOT EXISTS (SELECT FROM known WHERE NOT is_known)",
            &[&conversations, &now, &NEVER],
        )
        .await?;
    let Some(row) = row else { return Ok((0, true)) };
    Ok((
        u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0),
        row.try_get(1)?,
    ))
}

/// As [`free`], in the conversation that is taken.
pub(super) async fn pass_on(
    tx: &Tx<'_>,
    conversation: ConversationId,
    clock: Option<i64>,
) -> Result<(), Problem> {
    if free(tx, &[conversation.as_uuid()], clock).await? > 0 {
        tx.wake_workers();
    }
    Ok(())
}

/// The conversations in which somebody waits.
pub(super) async fn waiting(db: &Session) -> Result<Vec<Uuid>, Problem> {
    let found = db
        .rows(
            "-- sweep_replies: where somebody waits for a turn
             SELECT DISTINCT conversation_id FROM replies
             WHERE turn IS NOT NULL AND finished_at IS NULL AND run_after = $1",
            &[&NEVER],
        )
        .await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
