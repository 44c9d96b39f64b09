//! The end of work on a reply. Answers of first attempts of which there is nothing more to tell come in groups (`append.sql`);
//! everything else is a transaction.

use futures_util::FutureExt;

use super::{
    PostgresStore, conversations,
    error::Problem,
    messages,
    replies::micros,
    settle::{self, Settled},
    tx::Tx,
    writer::{Answers, Said, Saying},
};
use crate::{
    model::{
        Answer, Failure, FinishReason, Finished, Lease, MessageId, NewMessage, NewReply, Outcome, Role,
        Timestamp, Told,
    },
    store::{Result, codec, timeline::Kind},
};

pub(super) async fn finish(
    store: &PostgresStore,
    lease: Lease,
    outcome: Outcome,
    told: Told,
    now: Timestamp,
) -> Result<Finished> {
    if let Outcome::Answered(answer) = &outcome
        && answer.finish == FinishReason::Stop
        && !answer.truncated
        && told.bytes.is_none()
    {
        let saying = saying(lease, answer, now);
        if let Said::Stored(_) = store.writer.say(saying).await? {
            return Ok(Finished::Stored);
        }
        // The lease is gone, or it is not the first attempt.
    }
    let clock = store.clock(now);
    let is_stored = store
        .transact(move |tx| async move { close(tx, lease, outcome, told, now, clock).await }.boxed())
        .await?;
    Ok(if is_stored {
        Finished::Stored
    } else {
        Finished::LeaseLost
    })
}

fn saying(lease: Lease, answer: &Answer, now: Timestamp) -> Saying {
    Saying {
        folded: messages::folded(&answer.text),
        new: NewMessage {
            id: answer.id,
            conversation: lease.conversation,
            role: Role::Assistant,
            text: answer.text.clone(),
            reply: NewReply::default(),
            now,
        },
        answers: Some(Answers {
            lease,
            account: codec::account_to_text(&answer.account),
        }),
        claimant: None,
        once: None,
    }
}

/// Ends work on a reply; whether the lease still held.
async fn close(
    tx: &Tx<'_>,
    lease: Lease,
    outcome: Outcome,
    told: Told,
    now: Timestamp,
    clock: Option<i64>,
) -> Result<bool, Problem> {
    match outcome {
        Outcome::Answered(answer) => {
            if !conversations::lock(tx, lease.conversation).await? {
                return Ok(false);
            }
            let account = codec::account_to_text(&answer.account);
            let Some(settled) = end(tx, lease, "succeeded", None, account, told, clock).await? else {
                // It may have been stored by an earlier try that nobody heard of.
                return has_ended(tx, lease, Some(answer.id)).await;
            };
            settle::answer(tx, &settled, Kind::Succeeded, &answer, told, now, clock).await?;
            Ok(true)
        }
        Outcome::Failed(failure) => {
            if !conversations::lock(tx, lease.conversation).await? {
                return Ok(false);
            }
            let Some(settled) = end(tx, lease, "failed", Some(&failure), None, told, clock).await? else {
                return has_ended(tx, lease, None).await;
            };
            settle::without_answer(tx, &settled, Kind::Failed, Some(failure), now, clock).await?;
            Ok(true)
        }
        Outcome::Retry { after } => give_back(tx, lease, micros(after), 1, 0, clock).await,
        Outcome::Postponed { after } => give_back(tx, lease, micros(after), 0, 1, clock).await,
        Outcome::Released => give_back(tx, lease, 0, 0, 0, clock).await,
    }
}

/// Gives the lease back and makes the reply's state final; `None` when the lease was lost. The conversation is taken.
async fn end(
    tx: &Tx<'_>,
    lease: Lease,
    status: &'static str,
    failure: Option<&Failure>,
    account: Option<String>,
    told: Told,
    clock: Option<i64>,
) -> Result<Option<Settled>, Problem> {
    // Pieces may be there of any attempt.
    let row = tx
        .row(
            "-- finish_reply: what ended it gets its row afterwards, if it needs one
             UPDATE replies
             SET status = $3, lease_until = NULL, error_code = $5, error_message = $6, account = $7,
                 streamed = ($8::boolean OR attempts > 1
                                            AND EXISTS (SELECT FROM events WHERE reply_id = $1 AND kind = 'started'))::int,
                 final_event = 0,
                 finished_at = greatest(started_at, coalesce($4, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint))
             WHERE message_id = $1 AND lease_token = $2 AND lease_until IS NOT NULL
             RETURNING attempts, tries, turn IS NOT NULL",
            &[
                &lease.message.as_uuid(),
                &lease.token,
                &status,
                &clock,
                &failure.map(|failure| failure.code.as_str()),
                &failure.map(|failure| failure.message.as_str()),
                &account,
                &told.bytes.is_some(),
            ],
        )
        .await?;
    row.map(|row| Settled::from_row(lease.conversation, lease.message, &row))
        .transpose()
}

/// Whether a reply was ended under this lease before, with this answer or with none.
async fn has_ended(tx: &Tx<'_>, lease: Lease, answer: Option<MessageId>) -> Result<bool, Problem> {
    let found = tx
        .row(
            "-- finish_reply: when it is unknown what became of it
             SELECT FROM replies
             WHERE message_id = $1 AND lease_token = $2
                   AND CASE WHEN $3::uuid IS NULL THEN status = 'failed'
                            ELSE EXISTS (SELECT FROM messages WHERE id = $3 AND reply_to = $1) END",
            &[
                &lease.message.as_uuid(),
                &lease.token,
                &answer.map(|id| id.as_uuid()),
            ],
        )
        .await?;
    Ok(found.is_some())
}

/// Gives the lease back, so that the reply is taken up again; whether it still held. So many retries are counted, and so
/// many attempts, which were none, are not.
pub(super) async fn give_back(
    tx: &Tx<'_>,
    lease: Lease,
    after: i64,
    retries: i64,
    uncounted: i64,
    clock: Option<i64>,
) -> Result<bool, Problem> {
    let touched = tx
        .execute(
            "-- finish_reply: to be tried again, postponed or released
             UPDATE replies
             SET status = 'queued', lease_until = NULL, retries = retries + $5, attempts = attempts - $6,
                 started_at = CASE WHEN attempts > $6 THEN started_at END,
                 run_after = coalesce($3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) + $4
             WHERE message_id = $1 AND lease_token = $2 AND lease_until IS NOT NULL",
            &[
                &lease.message.as_uuid(),
                &lease.token,
                &clock,
                &after,
                &retries,
                &uncounted,
            ],
        )
        .await?;
    if touched == 1 {
        tx.wake_workers();
    }
    Ok(touched == 1)
}
