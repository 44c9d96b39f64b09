-- tell
--
-- Adds what is told of replies ($1) of conversations ($2) under leases ($3): beginnings ($4 attempts) and pieces ($5 texts),
-- at these times ($6). Gives which of them it was for, and whether they were added. A message has so many numbers of events
-- ($7), of which the first few ($8) are its own.
--
-- Conversations are taken in the order of their ids, as by appends. Whoever ends a reply moves its conversation on, so one
-- that is still where it was when this statement looked at the leases can be told; the others have to be looked at again.
-- Replies themselves are not taken: their leases go on being renewed meanwhile.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[]) WITH ORDINALITY
                  AS asked (message_id, conversation_id, lease_token, attempt, text, at, place)
), locked AS MATERIALIZED (
    SELECT id, last_seq, last_event FROM conversations WHERE id = ANY ($2) ORDER BY id FOR UPDATE
), held AS MATERIALIZED (
    SELECT asked.* FROM asked JOIN replies
           ON replies.message_id = asked.message_id AND replies.lease_token = asked.lease_token AND lease_until IS NOT NULL
), numbered AS MATERIALIZED (
    SELECT *, ((known_seq, known_event) = (SELECT known.last_seq, known.last_event FROM conversations AS known
                                           WHERE known.id = conversation_id)) IS TRUE AS is_known
    FROM (
        SELECT *, first_value(last_seq) OVER earlier AS known_seq, first_value(last_event) OVER earlier AS known_event,
               greatest(first_value(last_event) OVER earlier,
                        CASE first_value(last_seq) OVER earlier
                        WHEN 0 THEN 0 ELSE first_value(last_seq) OVER earlier * $7::bigint + $8::bigint END)
               + row_number() OVER earlier - 1 AS number
        FROM (
            SELECT message_id, conversation_id, attempt, text, at, place, NULL::bigint AS last_seq,
                   NULL::bigint AS last_event
            FROM held
            UNION ALL
            SELECT NULL, id, NULL, NULL, NULL, 0, last_seq, last_event FROM locked
        ) AS in_order
        WINDOW earlier AS (PARTITION BY conversation_id ORDER BY place)
    ) AS numbered
    -- Where no number is left, nothing can be told.
    WHERE place > 0 AND number / $7 = known_seq
), happened AS (
    INSERT INTO events (conversation_id, number, kind, at, reply_id, attempt, text)
    SELECT conversation_id, number, CASE WHEN text IS NULL THEN 'started' ELSE 'delta' END, at, message_id,
           coalesce(attempt, 0), text
    FROM numbered WHERE is_known
), moved AS (
    UPDATE conversations SET last_event = newest.number
    FROM (SELECT conversation_id, max(number) AS number FROM numbered WHERE is_known GROUP BY conversation_id) AS newest
    WHERE conversations.id = newest.conversation_id
)
SELECT message_id, is_known FROM numbered
