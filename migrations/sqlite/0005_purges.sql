-- Deleted conversations whose messages are still to be removed.
--
-- A conversation is gone with its own row, at once. Its messages go after it, a few at a time between other
-- writes: a million of them in one transaction would keep everybody else from writing for seconds.

CREATE TABLE purges (
    conversation_id BLOB NOT NULL PRIMARY KEY CHECK (length(conversation_id) = 16)
) STRICT, WITHOUT ROWID;
