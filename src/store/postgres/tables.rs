//! The statements of a copy, table by table. They name every column, so that a new one is not forgotten silently.

use crate::store::copy::Table;

/// Reads rows from a place ($1, $2) on, so many ($3), until those in front of one have so many bytes ($4).
#[expect(clippy::too_many_lines, reason = "a statement for each table")]
pub(super) fn select(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: rows
             SELECT id, title, description, created_at, updated_at, last_seq, user_count, assistant_count,
                    last_event, owner_id
             FROM (SELECT *, sum(coalesce(octet_length(title), 0) + coalesce(octet_length(description), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM conversations WHERE id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY id"
        }
        Table::Options => {
            "-- copy: rows
             SELECT conversation_id, options
             FROM (SELECT *, sum(coalesce(octet_length(options), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM conversation_options WHERE conversation_id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY conversation_id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY conversation_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY conversation_id"
        }
        Table::Messages => {
            "-- copy: rows
             SELECT conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to
             FROM (SELECT *, sum(coalesce(octet_length(text), 0) + coalesce(octet_length(folded), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM messages WHERE (conversation_id, seq) >= ($1, $2)
                         ORDER BY conversation_id, seq LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY conversation_id, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY conversation_id, seq"
        }
        Table::Replies => {
            "-- copy: rows
             SELECT message_id, conversation_id, status, run_after, attempts, lost_leases, retries, lease_token,
                    lease_until, error_code, error_message, created_at, started_at, finished_at, lane, turn,
                    options, account, tries, queued_event, final_event, streamed, owner_id, trace
             FROM (SELECT *, sum(coalesce(octet_length(options), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM replies WHERE message_id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY message_id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY message_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY message_id"
        }
        Table::Attempts => {
            "-- copy: rows
             SELECT message_id, number, status, answer_id, text, error_code, error_message, account, started_at,
                    finished_at
             FROM (SELECT *, sum(coalesce(octet_length(text), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM reply_attempts WHERE (message_id, number) >= ($1, $2)
                         ORDER BY message_id, number LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY message_id, number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY message_id, number"
        }
        Table::Events => {
            "-- copy: rows
             SELECT conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt, told, text,
                    finish, truncated, error_code, error_message
             FROM (SELECT *, sum(coalesce(octet_length(text), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM events WHERE (conversation_id, number) >= ($1, $2)
                         ORDER BY conversation_id, number LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY conversation_id, number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY conversation_id, number"
        }
        Table::Purges => {
            "-- copy: rows
             SELECT conversation_id
             FROM (SELECT *, sum(0) OVER in_front AS bytes
                   FROM (SELECT * FROM purges WHERE conversation_id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY conversation_id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY conversation_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY conversation_id"
        }
        Table::Keys => {
            "-- copy: rows
             SELECT id, owner_id, environment, name, digest, scopes, requests_per_s, messages_per_min,
                    pending_replies, tokens_per_day, created_at, expires_at, revoked_at, last_used_at, changed
             FROM (SELECT *, sum(octet_length(name)) OVER in_front AS bytes
                   FROM (SELECT * FROM api_keys WHERE id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY id"
        }
        Table::Audit => {
            "-- copy: rows
             SELECT id, at, event, key_id, actor, address, count
             FROM (SELECT *, sum(coalesce(octet_length(address), 0)) OVER in_front AS bytes
                   FROM (SELECT * FROM key_audit WHERE id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY id"
        }
        Table::Usage => {
            "-- copy: rows
             SELECT owner_id, day, tokens
             FROM (SELECT *, sum(0) OVER in_front AS bytes
                   FROM (SELECT * FROM key_usage WHERE (owner_id, day) >= ($1, $2)
                         ORDER BY owner_id, day LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY owner_id, day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY owner_id, day"
        }
        Table::Requests => {
            "-- copy: rows
             SELECT id, fingerprint, created_at, answer
             FROM (SELECT *, sum(octet_length(answer)) OVER in_front AS bytes
                   FROM (SELECT * FROM idempotency WHERE id >= $1 AND $2::bigint IS NOT NULL
                         ORDER BY id LIMIT $3) AS next
                   WINDOW in_front AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                  ) AS measured
             WHERE coalesce(bytes, 0) < $4
             ORDER BY id"
        }
    }
}

/// Finds the last row's place.
pub(super) fn last(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: last
             SELECT id, 0::bigint FROM conversations ORDER BY id DESC LIMIT 1"
        }
        Table::Options => {
            "-- copy: last
             SELECT conversation_id, 0::bigint FROM conversation_options ORDER BY conversation_id DESC LIMIT 1"
        }
        Table::Messages => {
            "-- copy: last
             SELECT conversation_id, seq FROM messages ORDER BY conversation_id DESC, seq DESC LIMIT 1"
        }
        Table::Replies => {
            "-- copy: last
             SELECT message_id, 0::bigint FROM replies ORDER BY message_id DESC LIMIT 1"
        }
        Table::Attempts => {
            "-- copy: last
             SELECT message_id, number FROM reply_attempts ORDER BY message_id DESC, number DESC LIMIT 1"
        }
        Table::Events => {
            "-- copy: last
             SELECT conversation_id, number FROM events ORDER BY conversation_id DESC, number DESC LIMIT 1"
        }
        Table::Purges => {
            "-- copy: last
             SELECT conversation_id, 0::bigint FROM purges ORDER BY conversation_id DESC LIMIT 1"
        }
        Table::Keys => {
            "-- copy: last
             SELECT id, 0::bigint FROM api_keys ORDER BY id DESC LIMIT 1"
        }
        Table::Audit => {
            "-- copy: last
             SELECT id, 0::bigint FROM key_audit ORDER BY id DESC LIMIT 1"
        }
        Table::Usage => {
            "-- copy: last
             SELECT owner_id, day FROM key_usage ORDER BY owner_id DESC, day DESC LIMIT 1"
        }
        Table::Requests => {
            "-- copy: last
             SELECT id, 0::bigint FROM idempotency ORDER BY id DESC LIMIT 1"
        }
    }
}

pub(super) fn count(table: Table) -> &'static str {
    match table {
        Table::Conversations => "SELECT count(*) FROM conversations",
        Table::Options => "SELECT count(*) FROM conversation_options",
        Table::Messages => "SELECT count(*) FROM messages",
        Table::Replies => "SELECT count(*) FROM replies",
        Table::Attempts => "SELECT count(*) FROM reply_attempts",
        Table::Events => "SELECT count(*) FROM events",
        Table::Purges => "SELECT count(*) FROM purges",
        Table::Keys => "SELECT count(*) FROM api_keys",
        Table::Audit => "SELECT count(*) FROM key_audit",
        Table::Usage => "SELECT count(*) FROM key_usage",
        Table::Requests => "SELECT count(*) FROM idempotency",
    }
}

/// Adds rows, a parameter for each column.
pub(super) fn insert(table: Table) -> &'static str {
    match table {
        Table::Conversations => {
            "-- copy: add
             INSERT INTO conversations (id, title, description, created_at, updated_at, last_seq, user_count,
                                        assistant_count, last_event, owner_id)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::bigint[], $9::bigint[], $10::uuid[])"
        }
        Table::Options => {
            "-- copy: add
             INSERT INTO conversation_options (conversation_id, options)
             SELECT * FROM unnest($1::uuid[], $2::text[])"
        }
        Table::Messages => {
            "-- copy: add
             INSERT INTO messages (conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[],
                                  $7::text[], $8::text[], $9::uuid[])"
        }
        Table::Replies => {
            "-- copy: add
             INSERT INTO replies (message_id, conversation_id, status, run_after, attempts, lost_leases, retries,
                                  lease_token, lease_until, error_code, error_message, created_at, started_at,
                                  finished_at, lane, turn, options, account, tries, queued_event, final_event,
                                  streamed, owner_id, trace)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[],
                                  $13::bigint[], $14::bigint[], $15::text[], $16::bigint[], $17::text[],
                                  $18::text[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[],
                                  $23::uuid[], $24::text[])"
        }
        Table::Attempts => {
            "-- copy: add
             INSERT INTO reply_attempts (message_id, number, status, answer_id, text, error_code, error_message,
                                         account, started_at, finished_at)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[],
                                  $7::text[], $8::text[], $9::bigint[], $10::bigint[])"
        }
        Table::Events => {
            "-- copy: add
             INSERT INTO events (conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt,
                                 told, text, finish, truncated, error_code, error_message)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::uuid[], $6::uuid[],
                                  $7::uuid[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[],
                                  $13::text[], $14::text[])"
        }
        Table::Purges => {
            "-- copy: add
             INSERT INTO purges (conversation_id)
             SELECT * FROM unnest($1::uuid[])"
        }
        Table::Keys => {
            "-- copy: add
             INSERT INTO api_keys (id, owner_id, environment, name, digest, scopes, requests_per_s,
                                   messages_per_min, pending_replies, tokens_per_day, created_at, expires_at,
                                   revoked_at, last_used_at, changed)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                                  $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
                                  $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])"
        }
        Table::Audit => {
            "-- copy: add
             INSERT INTO key_audit (id, at, event, key_id, actor, address, count)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[],
                                  $7::bigint[])"
        }
        Table::Usage => {
            "-- copy: add
             INSERT INTO key_usage (owner_id, day, tokens)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])"
        }
        Table::Requests => {
            "-- copy: add
             INSERT INTO idempotency (id, fingerprint, created_at, answer)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])"
        }
    }
}
