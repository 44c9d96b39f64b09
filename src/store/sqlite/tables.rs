//! The statements of a copy, table by table. They name every column, so that a new one is not forgotten silently.

use crate::store::copy::Table;

pub(super) fn select(table: Table) -> &'static str {
    // copy: rows
    match table {
        Table::Conversations => {
            "SELECT id, title, description, created_at, updated_at, last_seq, user_count, assistant_count,
                    last_event, owner_id
             FROM conversations WHERE id >= ?1 ORDER BY id"
        }
        Table::Options => {
            "SELECT conversation_id, options FROM conversation_options WHERE conversation_id >= ?1 ORDER BY conversation_id"
        }
        Table::Messages => {
            "SELECT conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to
             FROM messages WHERE (conversation_id, seq) >= (?1, ?2) ORDER BY conversation_id, seq"
        }
        Table::Replies => {
            "SELECT message_id, conversation_id, status, run_after, attempts, lost_leases, retries, lease_token,
                    lease_until, error_code, error_message, created_at, started_at, finished_at, lane, turn, options,
                    account, tries, queued_event, final_event, streamed, owner_id, trace
             FROM replies WHERE message_id >= ?1 ORDER BY message_id"
        }
        Table::Attempts => {
            "SELECT message_id, number, status, answer_id, text, error_code, error_message, account, started_at,
                    finished_at
             FROM reply_attempts WHERE (message_id, number) >= (?1, ?2) ORDER BY message_id, number"
        }
        Table::Events => {
            "SELECT conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt, told, text, finish,
                    truncated, error_code, error_message
             FROM events WHERE (conversation_id, number) >= (?1, ?2) ORDER BY conversation_id, number"
        }
        Table::Purges => {
            "SELECT conversation_id FROM purges WHERE conversation_id >= ?1 ORDER BY conversation_id"
        }
        Table::Keys => {
            "SELECT id, owner_id, environment, name, digest, scopes, requests_per_s, messages_per_min,
                    pending_replies, tokens_per_day, created_at, expires_at, revoked_at, last_used_at, changed
             FROM api_keys WHERE id >= ?1 ORDER BY id"
        }
        Table::Audit => {
            "SELECT id, at, event, key_id, actor, address, count
             FROM key_audit WHERE id >= ?1 ORDER BY id"
        }
        Table::Usage => {
            "SELECT owner_id, day, tokens
             FROM key_usage WHERE (owner_id, day) >= (?1, ?2) ORDER BY owner_id, day"
        }
        Table::Requests => {
            "SELECT id, fingerprint, created_at, answer
             FROM idempotency WHERE id >= ?1 ORDER BY id"
        }
    }
}

pub(super) fn last(table: Table) -> &'static str {
    // copy: last
    match table {
        Table::Conversations => "SELECT id, 0 FROM conversations ORDER BY id DESC LIMIT 1",
        Table::Options => {
            "SELECT conversation_id, 0 FROM conversation_options ORDER BY conversation_id DESC LIMIT 1"
        }
        Table::Messages => {
            "SELECT conversation_id, seq FROM messages ORDER BY conversation_id DESC, seq DESC LIMIT 1"
        }
        Table::Replies => "SELECT message_id, 0 FROM replies ORDER BY message_id DESC LIMIT 1",
        Table::Attempts => {
            "SELECT message_id, number FROM reply_attempts ORDER BY message_id DESC, number DESC LIMIT 1"
        }
        Table::Events => {
            "SELECT conversation_id, number FROM events ORDER BY conversation_id DESC, number DESC LIMIT 1"
        }
        Table::Purges => "SELECT conversation_id, 0 FROM purges ORDER BY conversation_id DESC LIMIT 1",
        Table::Keys => "SELECT id, 0 FROM api_keys ORDER BY id DESC LIMIT 1",
        Table::Audit => "SELECT id, 0 FROM key_audit ORDER BY id DESC LIMIT 1",
        Table::Usage => "SELECT owner_id, day FROM key_usage ORDER BY owner_id DESC, day DESC LIMIT 1",
        Table::Requests => "SELECT id, 0 FROM idempotency ORDER BY id DESC LIMIT 1",
    }
}

pub(super) fn count(table: Table) -> &'static str {
    // copy: count
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

pub(super) fn insert(table: Table) -> &'static str {
    // copy: add
    match table {
        Table::Conversations => {
            "INSERT INTO conversations (id, title, description, created_at, updated_at, last_seq, user_count,
                                        assistant_count, last_event, owner_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Options => "INSERT INTO conversation_options (conversation_id, options) VALUES (?, ?)",
        Table::Messages => {
            "INSERT INTO messages (conversation_id, seq, id, role, created_at, updated_at, text, folded, reply_to)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Replies => {
            "INSERT INTO replies (message_id, conversation_id, status, run_after, attempts, lost_leases, retries, lease_token,
                                  lease_until, error_code, error_message, created_at, started_at, finished_at, lane, turn, options,
                                  account, tries, queued_event, final_event, streamed, owner_id, trace)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Attempts => {
            "INSERT INTO reply_attempts (message_id, number, status, answer_id, text, error_code, error_message, account, started_at,
                                  finished_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Events => {
            "INSERT INTO events (conversation_id, number, kind, at, reply_id, message_id, replaces_id, attempt, told, text, finish,
                                  truncated, error_code, error_message)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Purges => "INSERT INTO purges (conversation_id) VALUES (?)",
        Table::Keys => {
            "INSERT INTO api_keys (id, owner_id, environment, name, digest, scopes, requests_per_s,
                                   messages_per_min, pending_replies, tokens_per_day, created_at, expires_at,
                                   revoked_at, last_used_at, changed)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Audit => {
            "INSERT INTO key_audit (id, at, event, key_id, actor, address, count)
             VALUES (?, ?, ?, ?, ?, ?, ?)"
        }
        Table::Usage => {
            "INSERT INTO key_usage (owner_id, day, tokens)
             VALUES (?, ?, ?)"
        }
        Table::Requests => {
            // They arrive in the order of their ids, and are numbered in that of their dates, a thousand in each microsecond.
            "INSERT INTO idempotency (number, id, fingerprint, created_at, answer)
             VALUES (coalesce((SELECT max(number) + 1 FROM idempotency
                               WHERE number BETWEEN ?3 * 1000 AND ?3 * 1000 + 999), ?3 * 1000), ?1, ?2, ?3, ?4)"
        }
    }
}
