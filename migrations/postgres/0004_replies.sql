-- The reply to a user message: at the same time the work to be done and what became of it.
-- Messages that were stored before there were replies have none, and get none.

-- The user message that this one answers; NULL once that one is deleted.
ALTER TABLE messages ADD COLUMN reply_to uuid REFERENCES messages (id) ON DELETE SET NULL;

-- However often a reply is worked on, a user message has one answer.
CREATE UNIQUE INDEX messages_one_answer ON messages (reply_to) WHERE reply_to IS NOT NULL;

-- `attempts` counts claims, `lost_leases` those whose holder vanished, `retries` those whose
-- provider asked for another try. `lease_token` rises with each claim, so that an older holder
-- can change nothing.
-- conversation_id has no foreign key of its own: the message's deletion takes the reply along, and
-- a second key would need a second index.
CREATE TABLE replies (
    message_id      uuid             NOT NULL PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    conversation_id uuid             NOT NULL,
    status          text COLLATE "C" NOT NULL DEFAULT 'queued'
                                     CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    run_after       bigint           NOT NULL,
    attempts        bigint           NOT NULL DEFAULT 0,
    lost_leases     bigint           NOT NULL DEFAULT 0,
    retries         bigint           NOT NULL DEFAULT 0,
    lease_token     bigint           NOT NULL DEFAULT 0,
    lease_until     bigint,
    error_code      text COLLATE "C",
    error_message   text COLLATE "C",
    created_at      bigint           NOT NULL,
    started_at      bigint,
    finished_at     bigint,
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CHECK ((error_code IS NULL) = (error_message IS NULL)),
    CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL))
);

-- Finished replies are in neither index, so the queue stays as small as the work that is left.
CREATE INDEX replies_due ON replies (run_after) WHERE status = 'queued';
CREATE INDEX replies_leased ON replies (lease_until) WHERE status = 'running';

-- Each reply's row changes at least twice. Vacuumed often, the queue's dead entries stay few.
ALTER TABLE replies SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
