-- Who may do what: API keys, what happened around them, what they spent. Whose a conversation is. Requests that were
-- carried out, so that asking for them again does nothing and gives the same answer.
--
-- Everything is added, and has a default: programs that do not know it go on working. They take no keys but the one of
-- their configuration.

-- The first key of the line that made it; NULL for the key of the configuration.
ALTER TABLE conversations ADD COLUMN owner_id uuid;

-- The same for the key that asked for it.
ALTER TABLE replies ADD COLUMN owner_id uuid;

-- A key's secret is nowhere, only its digest (SHA-256, in hexadecimal). `id` and `owner_id` are numbers of 128 bits, shown
-- to people in base 62; `owner_id` is the first key of the line. `changed` rises with each change of any key (use is none).
CREATE TABLE api_keys (
    id               uuid             NOT NULL PRIMARY KEY,
    owner_id         uuid             NOT NULL,
    environment      text COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
    name             text COLLATE "C" NOT NULL,
    digest           text COLLATE "C" NOT NULL CHECK (length(digest) = 64),
    scopes           text COLLATE "C" NOT NULL,
    requests_per_s   bigint           CHECK (requests_per_s > 0),
    messages_per_min bigint           CHECK (messages_per_min > 0),
    pending_replies  bigint           CHECK (pending_replies > 0),
    tokens_per_day   bigint           CHECK (tokens_per_day > 0),
    created_at       bigint           NOT NULL,
    expires_at       bigint,
    revoked_at       bigint,
    last_used_at     bigint,
    changed          bigint           NOT NULL
);

CREATE UNIQUE INDEX api_keys_changed ON api_keys (changed);

-- `actor` is a key's id in base 62, or cli, operator, anonymous, service.
CREATE TABLE key_audit (
    id      uuid             NOT NULL PRIMARY KEY,
    at      bigint           NOT NULL,
    event   text COLLATE "C" NOT NULL,
    key_id  uuid,
    actor   text COLLATE "C" NOT NULL,
    address text COLLATE "C",
    count   bigint           NOT NULL DEFAULT 1 CHECK (count > 0)
);

CREATE INDEX key_audit_at ON key_audit (at);

-- Tokens that models read and wrote, by owner (all zeros for the key of the configuration) and day since 1970-01-01 (UTC).
CREATE TABLE key_usage (
    owner_id uuid   NOT NULL,
    day      bigint NOT NULL,
    tokens   bigint NOT NULL,
    PRIMARY KEY (owner_id, day)
);

CREATE INDEX key_usage_by_day ON key_usage (day);

-- `id` is a digest of whose the request was and of the key that it came under, `fingerprint` one of what it said. The answer
-- holds no text that a client wrote, and no secret: what the request says itself is filled in from it.
CREATE TABLE idempotency (
    id          uuid             NOT NULL PRIMARY KEY,
    fingerprint uuid             NOT NULL,
    created_at  bigint           NOT NULL,
    answer      text COLLATE "C" NOT NULL
);

CREATE INDEX idempotency_created_at ON idempotency (created_at);
