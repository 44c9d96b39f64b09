//! What the database holds, counted from beside: by the messages' own `reply_to`, and not by what the service says.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::super::{Proof, Violation};

/// How many of each there are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Census {
    pub(super) user_messages: i64,
    pub(super) unanswered: i64,
    pub(super) answered_twice: i64,
    /// User messages that nobody is to answer.
    pub(super) forgotten: i64,
    /// Queued or running.
    pub(super) under_way: i64,
    /// Ended, but not with an answer.
    pub(super) given_up: i64,
    /// How often a reply was taken back from a holder that was gone.
    pub(super) lost_leases: i64,
}

impl Census {
    pub(super) async fn take(db: &Client) -> Self {
        let row = db
            .query_one(
                "WITH asked AS (
                     SELECT count(answer.id) AS answers
                     FROM messages LEFT JOIN messages AS answer ON answer.reply_to = messages.id
                     WHERE messages.role = 'user' GROUP BY messages.id
                 )
                 SELECT (SELECT count(*) FROM asked), (SELECT count(*) FROM asked WHERE answers = 0),
                        (SELECT count(*) FROM asked WHERE answers > 1),
                        (SELECT count(*) FROM messages WHERE role = 'user'
                                AND NOT EXISTS (SELECT FROM replies WHERE message_id = messages.id)),
                        count(*) FILTER (WHERE status IN ('queued', 'running')),
                        count(*) FILTER (WHERE status IN ('failed', 'cancelled')),
                        coalesce(sum(lost_leases), 0)::bigint
                 FROM replies",
                &[],
            )
            .await
            .expect("a census");
        Self {
            user_messages: row.get(0),
            unanswered: row.get(1),
            answered_twice: row.get(2),
            forgotten: row.get(3),
            under_way: row.get(4),
            given_up: row.get(5),
            lost_leases: row.get(6),
        }
    }

    /// Waits until no reply is under way, or the deadline has passed.
    pub(super) async fn settled(db: &Client, deadline: Instant) -> Self {
        loop {
            let waiting = db
                .query_one(
                    "SELECT count(*) FROM replies WHERE status IN ('queued', 'running')",
                    &[],
                )
                .await
                .expect("a count");
            if waiting.get::<_, i64>(0) == 0 || Instant::now() > deadline {
                return Self::take(db).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each user message has one answer, and nothing is left to do.
    pub(super) fn judge(&self) -> Proof<()> {
        let wrongs: Vec<_> = [
            (self.answered_twice, "answered twice"),
            (self.forgotten, "forgotten"),
            (self.under_way, "still under way"),
            (self.given_up, "given up"),
            (self.unanswered, "unanswered"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, wrong)| format!("{count} {wrong}"))
        .collect();
        if wrongs.is_empty() {
            Ok(())
        } else {
            Err(Violation(wrongs.join(", ")))
        }
    }
}

/// What somebody does to the database behind the service's back; it is a mistake of the test if that changes nothing.
pub(super) async fn tamper(db: &Client, statements: &str) {
    for statement in statements
        .split(';')
        .filter(|statement| !statement.trim().is_empty())
    {
        let changed = db
            .execute(statement, &[])
            .await
            .unwrap_or_else(|error| panic!("{error} in {statement}"));
        let changes = ["UPDATE", "INSERT", "DELETE"]
            .iter()
            .any(|verb| statement.trim_start().starts_with(verb));
        assert!(changed > 0 || !changes, "nothing to tamper with: {statement}");
    }
}
