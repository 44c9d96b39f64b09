//! What a reply is written from: options, and what was said before, in whole turns.

use std::collections::VecDeque;

use super::{
    PostgresStore, conversations,
    error::{Problem, stored},
    events, replies,
};
use crate::{
    model::{Context, ConversationId, Line, MessageId, MessageText, Role},
    store::{LINE, Result},
};

/// The most questions, each with its answer, that are read at once.
const AT_ONCE: i64 = 256;

pub(super) async fn read(
    store: &PostgresStore,
    conversation: ConversationId,
    message: MessageId,
    bytes: usize,
) -> Result<Option<Context>> {
    let found = store
        .readers
        .row(
            "-- context: the place and what is wanted
             SELECT seq, replies.options, wanted.options
             FROM conversations JOIN messages ON messages.id = $1 AND messages.conversation_id = $2
                  JOIN replies ON message_id = messages.id
                  LEFT JOIN conversation_options AS wanted ON wanted.conversation_id = $2
             WHERE conversations.id = $2",
            &[&message.as_uuid(), &conversation.as_uuid()],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let get = |at| row.try_get::<_, Option<String>>(at).map_err(Problem::from);
    let options = replies::parse_options(get(1)?)?.or(conversations::parse_options(get(2)?)?);
    let seq: i64 = row.try_get(0).map_err(Problem::from)?;
    Ok(Some(Context {
        options,
        history: history(store, conversation, seq, bytes).await?.into(),
    }))
}

/// The newest whole turns in front of a place.
async fn history(
    store: &PostgresStore,
    conversation: ConversationId,
    mut before: i64,
    bytes: usize,
) -> Result<VecDeque<Line>> {
    let mut lines = VecDeque::new();
    let (mut turn, mut left) = (VecDeque::new(), bytes);
    loop {
        let rows = store
            .readers
            .rows(
                "-- context: an answer is read with its question, wherever it stands; those in front of one may be enough
                 SELECT role, question, answer, seq
                 FROM (SELECT *, sum(octet_length(question) + coalesce(octet_length(answer), 0)) OVER newer AS bytes
                       FROM (SELECT question.role, question.text AS question, answer.text AS answer, question.seq
                             FROM messages AS question LEFT JOIN messages AS answer ON answer.reply_to = question.id
                             WHERE question.conversation_id = $1 AND question.seq < $2 AND question.reply_to IS NULL
                             ORDER BY question.seq DESC LIMIT $3) AS next
                       WINDOW newer AS (ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                      ) AS measured
                 WHERE coalesce(bytes, 0) <= $4
                 ORDER BY seq DESC",
                &[&conversation.as_uuid(), &before, &AT_ONCE, &events::length(bytes)],
            )
            .await?;
        if rows.is_empty() {
            // What the assistant said before anybody asked.
            while let Some(line) = turn.pop_back() {
                lines.push_front(line);
            }
            return Ok(lines);
        }
        for row in rows {
            let get = |at| row.try_get::<_, Option<String>>(at).map_err(Problem::from);
            before = row.try_get(3).map_err(Problem::from)?;
            let role: &str = row.try_get(0).map_err(Problem::from)?;
            let role = stored(Role::parse(role), "messages", "role")?;
            let line = |role, text| Line {
                role,
                text: MessageText::from_stored(text),
            };
            if let Some(answer) = get(2)? {
                turn.push_front(line(Role::Assistant, answer));
            }
            turn.push_front(line(role, get(1)?.unwrap_or_default()));
            let size: usize = turn
                .iter()
                .map(|line: &Line| line.text.as_str().len() + LINE)
                .sum();
            if size > left {
                return Ok(lines);
            }
            if role == Role::User {
                left -= size;
                while let Some(line) = turn.pop_back() {
                    lines.push_front(line);
                }
            }
        }
    }
}
