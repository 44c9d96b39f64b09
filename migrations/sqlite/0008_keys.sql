-- Who may do what: API keys, what happened around them, what they spent. Whose a conversation is. Requests that were
-- carried out, so that asking for them again does nothing and gives the same answer.
--
-- Everything is added, and has a default: programs that do not know it go on working. They take no keys but the one of
-- their configuration.

-- The first key of the line that made it; NULL for the key of the configuration.
ALTER TABLE conversations ADD COLUMN owner_id BLOB;

-- The same for the key that asked for it.
ALTER TABLE replies ADD COLUMN owner_id BLOB;

-- A key's secret is nowhere, only its digest (SHA-256, in hexadecimal). `id` and `owner_id` are numbers of 128 bits, shown
-- to people in base 62; `owner_id` is the first key of the line. `changed` rises with each change of any key (use is none).
CREATE TABLE api_keys (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner_id         BLOB    NOT NULL CHECK (length(owner_id) = 16),
    environment      TEXT    NOT NULL CHECK (environment IN ('live', 'test')),
    name             TEXT    NOT NULL,
    digest           TEXT    NOT NULL CHECK (length(digest) = 64),
    scopes           TEXT    NOT NULL,
    requests_per_s   INTEGER CHECK (requests_per_s > 0),
    messages_per_min INTEGER CHECK (messages_per_min > 0),
    pending_replies  INTEGER CHECK (pending_replies > 0),
    tokens_per_day   INTEGER CHECK (tokens_per_day > 0),
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER,
    revoked_at       INTEGER,
    last_used_at     INTEGER,
    changed          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX api_keys_changed ON api_keys (changed);

-- `actor` is a key's id in base 62, or cli, operator, anonymous, service.
CREATE TABLE key_audit (
    id      BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at      INTEGER NOT NULL,
    event   TEXT    NOT NULL,
    key_id  BLOB,
    actor   TEXT    NOT NULL,
    address TEXT,
    count   INTEGER NOT NULL DEFAULT 1 CHECK (count > 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_audit_at ON key_audit (at);

-- Tokens that models read and wrote, by owner (all zeros for the key of the configuration) and day since 1970-01-01 (UTC).
CREATE TABLE key_usage (
    owner_id BLOB    NOT NULL CHECK (length(owner_id) = 16),
    day      INTEGER NOT NULL,
    tokens   INTEGER NOT NULL,
    PRIMARY KEY (owner_id, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_usage_by_day ON key_usage (day);

-- `id` is a digest of whose the request was and of the key that it came under, `fingerprint` one of what it said. The answer
-- holds no text that a client wrote, and no secret: what the request says itself is filled in from it.
-- Rows are in the order of their dates, so that old ones are found without an index.
CREATE TABLE idempotency (
    number      INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 16),
    created_at  INTEGER NOT NULL,
    answer      TEXT    NOT NULL
) STRICT;
