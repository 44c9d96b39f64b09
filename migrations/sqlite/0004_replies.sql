-- The reply to a user message: at the same time the work to be done and what became of it.
-- Messages that were stored before there were replies have none, and get none.

-- The user message that this one answers; NULL once that one is deleted.
ALTER TABLE messages ADD COLUMN reply_to BLOB REFERENCES messages (id) ON DELETE SET NULL;

-- However often a reply is worked on, a user message has one answer.
CREATE UNIQUE INDEX messages_one_answer ON messages (reply_to) WHERE reply_to IS NOT NULL;

-- `attempts` counts claims, `lost_leases` those whose holder vanished, `retries` those whose
-- provider asked for another try. `lease_token` rises with each claim, so that an older holder
-- can change nothing.
-- conversation_id has no foreign key of its own: the message's deletion takes the reply along, and
-- a second key would need a second index.
CREATE TABLE replies (
    message_id      BLOB    NOT NULL PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    conversation_id BLOB    NOT NULL CHECK (length(conversation_id) = 16),
    status          TEXT    NOT NULL DEFAULT 'queued'
                            CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    run_after       INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    lost_leases     INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    lease_token     INTEGER NOT NULL DEFAULT 0,
    lease_until     INTEGER,
    error_code      TEXT,
    error_message   TEXT,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER,
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CHECK ((error_code IS NULL) = (error_message IS NULL)),
    CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT;

-- Finished replies are in neither index, so the queue stays as small as the work that is left.
CREATE INDEX replies_due ON replies (run_after) WHERE status = 'queued';
CREATE INDEX replies_leased ON replies (lease_until) WHERE status = 'running';
