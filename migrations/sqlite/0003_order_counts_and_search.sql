-- An order that no clock can change, counts that need no counting, and a text to search in.
--
-- `seq` numbers the messages of a conversation from 1; `last_seq` is the last number given out, so
-- that `user_count + assistant_count = last_seq` tells that nothing was ever deleted.
-- `folded` is the case-folded text, or NULL where folding changes nothing. The program fills it for
-- the rows that are here already: folding needs Unicode tables that SQL does not have.
--
-- A message no longer refers to its conversation by a foreign key: giving out the next `seq` finds the conversation
-- or refuses, and a deletion need not remove every message in the same breath.

ALTER TABLE conversations ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN user_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN assistant_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE ordered_messages (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    conversation_id BLOB    NOT NULL CHECK (length(conversation_id) = 16),
    seq             INTEGER NOT NULL CHECK (seq > 0),
    role            TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    text            TEXT    NOT NULL,
    folded          TEXT,
    UNIQUE (conversation_id, seq)
) STRICT;

-- Before there was an order, the date was the order, and the row number broke ties.
INSERT INTO ordered_messages (id, conversation_id, seq, role, created_at, updated_at, text)
SELECT id, conversation_id, row_number() OVER (PARTITION BY conversation_id ORDER BY created_at, rowid),
       role, created_at, updated_at, text
FROM messages
ORDER BY conversation_id, created_at, rowid;

DROP TABLE messages;
ALTER TABLE ordered_messages RENAME TO messages;

UPDATE conversations
SET last_seq        = tally.messages,
    user_count      = tally.users,
    assistant_count = tally.messages - tally.users
FROM (SELECT conversation_id, count(*) AS messages, count(*) FILTER (WHERE role = 'user') AS users
      FROM messages
      GROUP BY conversation_id) AS tally
WHERE tally.conversation_id = conversations.id;
