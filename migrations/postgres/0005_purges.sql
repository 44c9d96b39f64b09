-- Deleted conversations whose messages are still to be removed.
--
-- A conversation is gone with its own row, at once. Its messages go after it, some at a time: a million of them in one
-- transaction would hold back vacuum, and with it everybody's queue, for as long as it takes.

CREATE TABLE purges (
    conversation_id uuid NOT NULL PRIMARY KEY
);
