-- An order that no clock can change, counts that need no counting, and a text to search in.
--
-- `seq` numbers the messages of a conversation from 1; `last_seq` is the last number given out, so
-- that `user_count + assistant_count = last_seq` tells that nothing was ever deleted.
-- `folded` is the case-folded text, or NULL where folding changes nothing. The program fills it for
-- the rows that are here already: folding needs Unicode tables that SQL does not have.
--
-- A message no longer refers to its conversation by a foreign key: giving out the next `seq` finds the conversation
-- or refuses, and a deletion need not remove every message in the same breath.

ALTER TABLE conversations ADD COLUMN last_seq bigint NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN user_count bigint NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN assistant_count bigint NOT NULL DEFAULT 0;

ALTER TABLE messages DROP CONSTRAINT messages_conversation_id_fkey;
DROP INDEX messages_by_conversation;
ALTER TABLE messages ADD COLUMN seq bigint CHECK (seq > 0);
ALTER TABLE messages ADD COLUMN folded text COLLATE "C";
-- From here on, whoever stores a message says who speaks.
ALTER TABLE messages ALTER COLUMN role DROP DEFAULT;

-- Before there was an order, the date was the order; the id breaks ties, as rows have no number here.
UPDATE messages
SET seq = ordered.seq
FROM (SELECT id, row_number() OVER (PARTITION BY conversation_id ORDER BY created_at, id) AS seq FROM messages) AS ordered
WHERE ordered.id = messages.id;

ALTER TABLE messages ALTER COLUMN seq SET NOT NULL;
ALTER TABLE messages ADD CONSTRAINT messages_by_conversation UNIQUE (conversation_id, seq);

UPDATE conversations
SET last_seq        = tally.messages,
    user_count      = tally.users,
    assistant_count = tally.messages - tally.users
FROM (SELECT conversation_id, count(*) AS messages, count(*) FILTER (WHERE role = 'user') AS users
      FROM messages
      GROUP BY conversation_id) AS tally
WHERE tally.conversation_id = conversations.id;

-- A conversation's row changes with every message: room on its page keeps the change off its index.
ALTER TABLE conversations SET (fillfactor = 70);
