//! Requests that were carried out: remembered in the statement, or in the transaction, of what they did.
//!
//! A record that is there already has to undo all that was done beside it, without another question to the server. So
//! whoever would overwrite it gives it no id, which the table does not take: the statement fails, and with it the rest.

use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{PostgresStore, connection::Session, error::Problem};
use crate::{
    model::Timestamp,
    store::{Error, Once, Remembered, Result, once::Record},
};

/// How many are forgotten in one statement.
const PORTION: i64 = 1_000;

/// Stores records: of what they tell, their marks, fingerprints, dates and answers, by the names of these parameters, and
/// before when others are forgotten. Only what is done is remembered. In the order of their ids, so that no two
/// statements wait for each other.
macro_rules! remembering {
    ($subjects:literal, $marks:literal, $fingerprints:literal, $dates:literal, $answers:literal, $forgotten:literal,
     $done:literal) => {
        concat!(
            "INSERT INTO idempotency (id, fingerprint, created_at, answer)
             SELECT mark, fingerprint, carried_out_at, answer
             FROM unnest(",
            $subjects,
            "::uuid[], ",
            $marks,
            "::uuid[], ",
            $fingerprints,
            "::uuid[], ",
            $dates,
            "::bigint[], ",
            $answers,
            "::text[]) AS record (subject, mark, fingerprint, carried_out_at, answer)
             WHERE ",
            $done,
            "
             ORDER BY mark
             ON CONFLICT (id) DO UPDATE
             SET id = CASE WHEN idempotency.created_at < ",
            $forgotten,
            " THEN excluded.id END, fingerprint = excluded.fingerprint, created_at = excluded.created_at,
                 answer = excluded.answer"
        )
    };
}
pub(super) use remembering;

/// Records to be stored together.
#[derive(Default)]
pub(super) struct Records {
    subjects: Vec<Uuid>,
    marks: Vec<Uuid>,
    fingerprints: Vec<Uuid>,
    dates: Vec<i64>,
    answers: Vec<String>,
    forgotten: Option<i64>,
}

impl Records {
    /// Adds what is to be remembered of the making of a conversation, a message, a key or a reply with this id.
    pub(super) fn add(&mut self, subject: Uuid, record: Record) {
        self.subjects.push(subject);
        self.marks.push(record.mark.id);
        self.fingerprints.push(record.mark.fingerprint);
        self.dates.push(record.created.as_micros());
        self.answers.push(record.answer);
        // Who would forget more than the others is tried again alone.
        let forgotten = record.forgotten.as_micros();
        self.forgotten = Some(self.forgotten.map_or(forgotten, |other| other.min(forgotten)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// The parameters that [`remembering!`] names, in its order.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 6] {
        [
            &self.subjects,
            &self.marks,
            &self.fingerprints,
            &self.dates,
            &self.answers,
            &self.forgotten,
        ]
    }
}

/// Remembers what came of a request, unless it was carried out before: then nothing of the transaction stays.
pub(super) async fn remember<T>(db: &Session, once: Option<Once<T>>, outcome: &T) -> Result<(), Problem> {
    let Some(once) = once else { return Ok(()) };
    let mut records = Records::default();
    records.add(Uuid::nil(), once.record(outcome));
    db.execute(
        concat!(
            "-- cancel_reply, retry_reply, create_key, rotate_key: remembered
             ",
            remembering!("$1", "$2", "$3", "$4", "$5", "$6", "subject IS NOT NULL")
        ),
        &records.params(),
    )
    .await?;
    Ok(())
}

/// Refuses what was carried out before, where it could be refused for what it did itself.
pub(super) async fn refuse_repeated<T>(db: &Session, once: Option<&Once<T>>) -> Result<(), Problem> {
    let Some(once) = once else { return Ok(()) };
    let found = db
        .row(
            "-- append_message, retry_reply, rotate_key: carried out before
             SELECT created_at FROM idempotency WHERE id = $1",
            &[&once.mark().id],
        )
        .await?;
    match found {
        Some(row) if row.try_get::<_, i64>(0)? >= once.forgotten().as_micros() => Err(Error::Repeated.into()),
        _ => Ok(()),
    }
}

pub(super) async fn read(
    store: &PostgresStore,
    id: Uuid,
    forgotten: Timestamp,
) -> Result<Option<Remembered>> {
    let row = store
        .readers
        .row(
            "-- remembered
             SELECT created_at, fingerprint, answer FROM idempotency WHERE id = $1",
            &[&id],
        )
        .await?;
    Ok(row
        .and_then(|row| from_row(&row, forgotten).transpose())
        .transpose()?)
}

fn from_row(row: &Row, forgotten: Timestamp) -> Result<Option<Remembered>, Problem> {
    if row.try_get::<_, i64>(0)? < forgotten.as_micros() {
        return Ok(None);
    }
    Ok(Some(Remembered {
        fingerprint: row.try_get(1)?,
        answer: row.try_get(2)?,
    }))
}

pub(super) async fn forget(store: &PostgresStore, before: Timestamp) -> Result<u32> {
    let before = before.as_micros();
    let forgotten = store
        .writer
        .write(move |db| Box::pin(forget_in(db, before)))
        .await?;
    Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
}

async fn forget_in(db: &Session, before: i64) -> Result<u64, Problem> {
    db.execute(
        "-- forget_requests: what another node is just forgetting, or remembering anew, is left alone
         WITH old AS MATERIALIZED (
             SELECT id FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM idempotency USING old WHERE idempotency.id = old.id",
        &[&before, &PORTION],
    )
    .await
}
