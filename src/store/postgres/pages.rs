//! Pages of messages. The counts are kept, not counted, and a page is found by its place wherever that is known.
//! Each page is one statement, and so one snapshot.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{PostgresStore, connection::Session, error::Problem, messages::from_row, readers::Readers};
use crate::{
    model::{MessagePage, MessageQuery, Needle, PageNumber, RoleFilter},
    store::{PageAnswer, Result},
};

/// How many index entries a read on a shared connection may step over: others wait behind it.
const SKIP_WHEN_SHARED: i64 = 2_000;

pub(super) async fn page(store: &PostgresStore, query: MessageQuery) -> Result<PageAnswer> {
    let Some(replica) = &store.replica else {
        return page_from(&store.readers, query).await;
    };
    match page_from(replica, query.clone()).await {
        Ok(PageAnswer::Page(page)) => Ok(PageAnswer::Page(page)),
        // The replica may not know of it yet, or be away.
        _ => page_from(&store.readers, query).await,
    }
}

async fn page_from(readers: &Readers, query: MessageQuery) -> Result<PageAnswer> {
    if query.filter.needle.is_some() {
        return readers
            .scan(move |db| async move { search(db, &query).await }.boxed())
            .await;
    }
    if let Some(answer) = read_at_once(readers, &query).await? {
        return Ok(answer);
    }
    let asked = Asked::new(&query);
    let rows = readers.rows(SEEK, &asked.params(&SKIP_WHEN_SHARED)).await?;
    if let Some(answer) = Asked::answer(&query, &rows)? {
        return Ok(answer);
    }
    readers.scan(move |db| seek_far(db, query).boxed()).await
}

/// Finds a page however many entries have to be stepped over.
async fn seek_far(db: &Session, query: MessageQuery) -> Result<PageAnswer, Problem> {
    let asked = Asked::new(&query);
    let rows = db.rows(SEEK, &asked.params(&i64::MAX)).await?;
    Ok(Asked::answer(&query, &rows)?.unwrap_or(PageAnswer::NoSuchPage))
}

/// Reads a page whose place is known as long as nothing was deleted. `None` where it is not.
async fn read_at_once(readers: &Readers, query: &MessageQuery) -> Result<Option<PageAnswer>> {
    let (RoleFilter::Any, PageNumber::Nth(number)) = (query.filter.role, query.number) else {
        return Ok(None);
    };
    let skipped = (number.get() - 1)
        .checked_mul(query.size.get())
        .and_then(|skipped| i64::try_from(skipped).ok());
    let Some(skipped) = skipped else { return Ok(None) };
    let place = Place {
        conversation: query.conversation.as_uuid(),
        skipped,
        size: size(query),
    };
    let rows = readers.lookups.page(place).await?;
    let Some(first) = rows.first() else {
        return Ok(Some(PageAnswer::NoConversation));
    };
    let (count, is_dense) = tally(first)?;
    if skipped > 0 && !is_dense {
        return Ok(None);
    }
    let count = u64::try_from(count).unwrap_or(0);
    Ok(Some(match query.number.resolve(count, query.size) {
        Some(number) => PageAnswer::Page(MessagePage {
            count,
            number,
            messages: collect(query, &rows)?,
        }),
        None => PageAnswer::NoSuchPage,
    }))
}

/// Where a page is, as long as nothing was deleted.
pub(super) struct Place {
    conversation: Uuid,
    skipped: i64,
    size: i64,
}

/// Reads the rows of pages by their places. A conversation has a row even when the page has none.
pub(super) async fn turn_to(db: Arc<Session>, places: &[Place]) -> Result<Vec<Vec<Row>>, Problem> {
    let conversations: Vec<_> = places.iter().map(|place| place.conversation).collect();
    let skipped: Vec<_> = places.iter().map(|place| place.skipped).collect();
    let sizes: Vec<_> = places.iter().map(|place| place.size).collect();
    let rows = db
        .rows(
            "-- messages: pages by their places, each in order; a page's own order is that of `seq`
             SELECT id, role, text, created_at, updated_at, user_count + assistant_count,
                    user_count + assistant_count = last_seq, place
             FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
                  WITH ORDINALITY AS asked (conversation_id, skipped, size, place)
                  JOIN LATERAL (SELECT user_count, assistant_count, last_seq FROM conversations
                                WHERE conversations.id = conversation_id) AS conversation ON true
                  LEFT JOIN LATERAL (SELECT id, role, text, created_at, updated_at, seq FROM messages
                                     WHERE messages.conversation_id = asked.conversation_id AND seq > skipped
                                     ORDER BY seq LIMIT size) AS page ON true
             ORDER BY place, seq",
            &[&conversations, &skipped, &sizes],
        )
        .await?;
    let mut pages: Vec<Vec<Row>> = places.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let place: i64 = row.try_get(7)?;
        let page = usize::try_from(place - 1).ok().and_then(|at| pages.get_mut(at));
        if let Some(page) = page {
            page.push(row);
        }
    }
    Ok(pages)
}

/// How many messages there are, and whether none was ever deleted.
fn tally(row: &Row) -> Result<(i64, bool), Problem> {
    Ok((row.try_get(5)?, row.try_get(6)?))
}

/// Finds a page by its place, stepping over entries from the nearer end where messages were deleted or a role is
/// asked for. Gives the conversation's row with nothing else when that would be more than `$5` entries.
const SEEK: &str = "-- messages: by place
    WITH tally AS MATERIALIZED (
        SELECT *, (number - 1) * $4::bigint AS skipped, least($4::bigint, count - (number - 1) * $4::bigint) AS wanted
        FROM (SELECT count, is_dense, CASE WHEN $3::bigint = 0 THEN greatest(1, (count + $4::bigint - 1) / $4::bigint) ELSE $3::bigint END AS number
              FROM (SELECT CASE $2::text WHEN 'user' THEN user_count
                                   WHEN 'assistant' THEN assistant_count
                                   WHEN 'nobody' THEN 0
                                   ELSE user_count + assistant_count END AS count,
                           $2::text IS NULL AND user_count + assistant_count = last_seq AS is_dense
                    FROM conversations WHERE id = $1) AS counted) AS numbered
    ), plan AS MATERIALIZED (
        SELECT *, count - skipped - wanted AS behind,
               NOT is_dense AND least(skipped, count - skipped - wanted) > $5::bigint AS is_too_far
        FROM tally
    )
    SELECT id, role, text, created_at, updated_at, count, is_too_far
    FROM plan LEFT JOIN LATERAL (
        (SELECT * FROM messages
         WHERE is_dense AND conversation_id = $1 AND seq > skipped
         ORDER BY seq LIMIT greatest(wanted, 0))
        UNION ALL
        (SELECT * FROM messages
         WHERE NOT is_dense AND NOT is_too_far AND skipped <= behind AND conversation_id = $1
               AND ($2::text IS NULL OR role = $2)
         ORDER BY seq LIMIT greatest(wanted, 0) OFFSET skipped)
        UNION ALL
        (SELECT * FROM messages
         WHERE NOT is_dense AND NOT is_too_far AND skipped > behind AND conversation_id = $1
               AND ($2::text IS NULL OR role = $2)
         ORDER BY seq DESC LIMIT greatest(wanted, 0) OFFSET greatest(behind, 0))
    ) AS page ON true
    ORDER BY seq";

/// What [`SEEK`] is asked for.
struct Asked {
    conversation: Uuid,
    role: Option<&'static str>,
    /// 0 stands for the last page.
    number: i64,
    size: i64,
}

impl Asked {
    fn new(query: &MessageQuery) -> Self {
        Self {
            conversation: query.conversation.as_uuid(),
            role: match query.filter.role {
                RoleFilter::Any => None,
                RoleFilter::Only(role) => Some(role.as_str()),
                RoleFilter::Nobody => Some("nobody"),
            },
            number: match query.number {
                // No list is long enough for a page that far; multiplying by the size must not overflow.
                PageNumber::Nth(number) => i64::try_from(number.get())
                    .unwrap_or(i64::MAX)
                    .min(i64::MAX / 1_000),
                PageNumber::Last => 0,
            },
            size: size(query),
        }
    }

    fn params<'a>(&'a self, most_skipped: &'a i64) -> [&'a (dyn tokio_postgres::types::ToSql + Sync); 5] {
        [
            &self.conversation,
            &self.role,
            &self.number,
            &self.size,
            most_skipped,
        ]
    }

    /// What the rows say; `None` when the page is too far away.
    fn answer(query: &MessageQuery, rows: &[Row]) -> Result<Option<PageAnswer>, Problem> {
        let Some(first) = rows.first() else {
            return Ok(Some(PageAnswer::NoConversation));
        };
        let count = u64::try_from(first.try_get::<_, i64>(5)?).unwrap_or(0);
        let Some(number) = query.number.resolve(count, query.size) else {
            return Ok(Some(PageAnswer::NoSuchPage));
        };
        if first.try_get(6)? {
            return Ok(None);
        }
        Ok(Some(PageAnswer::Page(MessagePage {
            count,
            number,
            messages: collect(query, rows)?,
        })))
    }
}

/// Finds a page of the messages that hold a text, and counts them all, in one pass.
async fn search(db: &Session, query: &MessageQuery) -> Result<PageAnswer, Problem> {
    let asked = Asked::new(query);
    // The server keeps no NUL, so nothing that it keeps holds one.
    let needle = query.filter.needle.as_ref().map_or("", Needle::as_folded);
    let (needle, role) = if needle.contains('\0') {
        ("", Some("nobody"))
    } else {
        (needle, asked.role)
    };
    let rows = db
        .rows(
            "-- messages: those that hold a text
             WITH found AS MATERIALIZED (
                 SELECT seq FROM messages
                 WHERE conversation_id = $1 AND strpos(coalesce(folded, text), $5) > 0
                       AND ($2::text IS NULL OR role = $2)
             ), tally AS MATERIALIZED (
                 SELECT count, (CASE WHEN $3::bigint = 0 THEN greatest(1, (count + $4::bigint - 1) / $4::bigint) ELSE $3::bigint END - 1) * $4::bigint AS skipped
                 FROM (SELECT count(*) AS count FROM found) AS counted
             )
             SELECT id, role, text, created_at, updated_at, count
             FROM (SELECT FROM conversations WHERE id = $1) AS conversation CROSS JOIN tally
                  LEFT JOIN LATERAL (SELECT seq FROM found ORDER BY seq LIMIT $4 OFFSET skipped) AS place ON true
                  LEFT JOIN messages ON conversation_id = $1 AND messages.seq = place.seq
             ORDER BY messages.seq",
            &[&asked.conversation, &role, &asked.number, &asked.size, &needle],
        )
        .await?;
    let Some(first) = rows.first() else {
        return Ok(PageAnswer::NoConversation);
    };
    let count = u64::try_from(first.try_get::<_, i64>(5)?).unwrap_or(0);
    Ok(match query.number.resolve(count, query.size) {
        Some(number) => PageAnswer::Page(MessagePage {
            count,
            number,
            messages: collect(query, &rows)?,
        }),
        None => PageAnswer::NoSuchPage,
    })
}

/// The messages of a page; a conversation's row without a message is none.
fn collect(query: &MessageQuery, rows: &[Row]) -> Result<Vec<crate::model::Message>, Problem> {
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<_, Option<Uuid>>(0)?.is_some() {
            messages.push(from_row(query.conversation, row)?);
        }
    }
    Ok(messages)
}

fn size(query: &MessageQuery) -> i64 {
    i64::try_from(query.size.get()).unwrap_or(i64::MAX)
}
