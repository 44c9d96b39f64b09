-- What happened, in an order of its own, so that it can be watched and watched again: `events`. What replies are to be
-- like: `conversation_options`, `replies.options`. Replies that take turns and can be called off and asked for again.
--
-- Everything is added, and has a default: programs that do not know it go on working, and what they store has events too.

-- The last number given out to an event that no message is. A message has those from its seq * 2^24 on.
ALTER TABLE conversations ADD COLUMN last_event bigint NOT NULL DEFAULT 0;

-- What the messages do not tell by themselves: that a message was said, that a reply to it was queued, and that it was answered, is told by
-- `messages` and `replies`, as long as there is no more to tell.
-- A row has the number of its first event; how many more it leaves to the others depends on its kind. It names the reply
-- that it is about (`reply_id`, its user message), the message that it brings or takes (`message_id`), and the answer whose
-- place that took (`replaces_id`). `told` is how many bytes of the answer the rows before it tell, NULL when not even its
-- beginning is told.
-- No foreign keys: events go with their conversation, and with their message what must not be told any more.
CREATE TABLE events (
    conversation_id uuid    NOT NULL,
    number          bigint NOT NULL CHECK (number > 0),
    kind            text COLLATE "C"    NOT NULL CHECK (kind IN ('queued', 'started', 'delta', 'succeeded', 'failed', 'cancelled',
                                                     'deleted')),
    at              bigint NOT NULL,
    reply_id        uuid,
    message_id      uuid,
    replaces_id     uuid,
    attempt         bigint NOT NULL DEFAULT 0,
    told            bigint,
    text            text COLLATE "C",
    finish          text COLLATE "C",
    truncated       bigint NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1)),
    error_code      text COLLATE "C",
    error_message   text COLLATE "C",
    PRIMARY KEY (conversation_id, number)
);

CREATE INDEX events_of_replies ON events (reply_id, number);

CREATE TABLE conversation_options (
    conversation_id uuid NOT NULL PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    options         text COLLATE "C" NOT NULL
);

-- `turn` is the place of the message in its conversation, for replies that take turns; `lane` whose capacity they take.
-- While others of its conversation go first, a reply is due never (9223372036854775807).
-- `tries` counts those before this one. `queued_event` is the number with which this try was queued, `final_event` that of the row
-- with which the last one ended, 0 if there is none. `streamed` says that pieces of it are stored.
ALTER TABLE replies ADD COLUMN lane text COLLATE "C";
ALTER TABLE replies ADD COLUMN turn bigint;
ALTER TABLE replies ADD COLUMN options text COLLATE "C";
ALTER TABLE replies ADD COLUMN account text COLLATE "C";
ALTER TABLE replies ADD COLUMN tries bigint NOT NULL DEFAULT 0;
ALTER TABLE replies ADD COLUMN queued_event bigint NOT NULL DEFAULT 0;
ALTER TABLE replies ADD COLUMN final_event bigint NOT NULL DEFAULT 0;
ALTER TABLE replies ADD COLUMN streamed bigint NOT NULL DEFAULT 0 CHECK (streamed IN (0, 1));

CREATE INDEX replies_turns ON replies (conversation_id, turn) WHERE turn IS NOT NULL AND finished_at IS NULL;
CREATE INDEX replies_streamed ON replies (finished_at) WHERE streamed = 1;

-- What replies had come to before somebody asked for another try. While the answer is still in its place, the text is there.
CREATE TABLE reply_attempts (
    message_id    uuid    NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    number        bigint NOT NULL CHECK (number > 0),
    status        text COLLATE "C"    NOT NULL CHECK (status IN ('succeeded', 'failed', 'cancelled')),
    answer_id     uuid,
    text          text COLLATE "C",
    error_code    text COLLATE "C",
    error_message text COLLATE "C",
    account       text COLLATE "C",
    started_at    bigint,
    finished_at   bigint NOT NULL,
    PRIMARY KEY (message_id, number)
);
