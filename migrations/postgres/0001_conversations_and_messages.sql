-- What the service began with: conversations, and what was said in them.
-- Times are microseconds since 1970-01-01T00:00:00Z. Texts compare by their bytes, whatever the database's locale.

CREATE TABLE conversations (
    id          uuid             NOT NULL PRIMARY KEY,
    description text COLLATE "C" NOT NULL,
    created_at  bigint           NOT NULL,
    updated_at  bigint           NOT NULL
);

CREATE TABLE messages (
    id              uuid             NOT NULL PRIMARY KEY,
    conversation_id uuid             NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    text            text COLLATE "C" NOT NULL,
    created_at      bigint           NOT NULL,
    updated_at      bigint           NOT NULL
);

CREATE INDEX messages_by_conversation ON messages (conversation_id, created_at);
