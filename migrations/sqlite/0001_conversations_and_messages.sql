-- What the service began with: conversations, and what was said in them.
-- Times are microseconds since 1970-01-01T00:00:00Z; identifiers are the 16 bytes of a UUID.

CREATE TABLE conversations (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    description TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    conversation_id BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    text            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_by_conversation ON messages (conversation_id, created_at);
