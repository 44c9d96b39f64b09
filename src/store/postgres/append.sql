-- append_message, finish_reply: answered
--
-- Appends messages ($1 ids, $2 conversations, $3 roles, $4 dates, $5 texts, $6 folded texts), some of which answer a user
-- message ($7) under a lease ($8), and some of whose replies are claimed at once for a while ($10). Gives the dates of those
-- that found a place, and whether somebody else's turn in their conversation has to be looked for. Due times go by the
-- callers' dates if $9 says so, and by the server's clock otherwise. Replies have lanes ($11), options ($12) and owners
-- ($16) and traces ($17), answers accounts ($13). A message has so many numbers of events ($14). One that has to have its own date ($15) and
-- cannot, as its conversation has a later one, finds no place.
--
-- What is to be remembered of it, and what is given, comes behind this (`messages.rs`).
--
-- Conversations are taken in the order of their ids, so that no two groups wait for each other, and before replies. A
-- conversation is put in front of its messages, so that places are given out in one sorted pass, without a join.
--
-- Only first attempts are answered here, by answers of which there is nothing more to tell: so no event has a row.
--
-- A reply that takes turns is due at once only where nobody has an unfinished one. What this statement sees is as old as its
-- beginning, and the wait for the conversation comes after that: if that has moved on by then, somebody else's may have
-- come, and the reply waits until it is looked for anew.
WITH asked AS MATERIALIZED (
    SELECT *, CASE WHEN $9 THEN said_at ELSE (extract(epoch FROM statement_timestamp()) * 1000000)::bigint END AS now
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::uuid[], $8::bigint[],
                $10::bigint[], $11::text[], $12::text[], $13::text[], $15::boolean[], $16::uuid[], $17::text[])
         WITH ORDINALITY
         AS asked (id, conversation_id, role, said_at, text, folded, reply_to, lease_token, lease, lane, options, account,
                   exact, owner_id, trace, place)
), locked AS MATERIALIZED (
    SELECT id, last_seq, updated_at, last_event FROM conversations WHERE id = ANY ($2) ORDER BY id FOR UPDATE
), closed AS (
    UPDATE replies
    SET status = 'succeeded', lease_until = NULL, finished_at = greatest(started_at, now), account = asked.account
    FROM asked
    WHERE (asked.conversation_id IN (SELECT id FROM locked)) IS TRUE
          AND message_id = reply_to AND replies.lease_token = asked.lease_token AND lease_until IS NOT NULL
          AND tries = 0 AND attempts = 1
    RETURNING message_id, turn
), placed AS MATERIALIZED (
    SELECT *, CASE WHEN lane IS NULL THEN false
                   WHEN askers > 1 THEN true
                   ELSE ((known_seq, known_event) = (SELECT known.last_seq, known.last_event FROM conversations AS known
                                                     WHERE known.id = conversation_id)) IS NOT TRUE
                        OR EXISTS (SELECT FROM replies AS others
                                   WHERE others.conversation_id = placed.conversation_id
                                         AND turn IS NOT NULL AND finished_at IS NULL) END AS waits
    FROM (
        SELECT *, first_value(last_seq) OVER earlier AS known_seq, first_value(last_event) OVER earlier AS known_event,
               first_value(last_seq) OVER earlier + row_number() OVER earlier - 1 AS seq,
               greatest(first_value(updated_at) OVER earlier, max(said_at) OVER earlier) AS at,
               count(lane) OVER earlier AS askers
        FROM (
            SELECT id, conversation_id, role, said_at, text, folded, reply_to, lease, lane, options, owner_id, trace, now,
                   place, NULL::bigint AS last_seq, NULL::bigint AS updated_at, NULL::bigint AS last_event
            FROM asked
            WHERE (reply_to IS NULL OR reply_to IN (SELECT message_id FROM closed))
                  AND (exact AND said_at < (SELECT updated_at FROM locked WHERE locked.id = conversation_id)) IS NOT TRUE
            UNION ALL
            SELECT NULL, id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, last_seq, updated_at, last_event
            FROM locked
        ) AS in_order
        WINDOW earlier AS (PARTITION BY conversation_id ORDER BY place)
    ) AS placed
    WHERE place > 0 AND seq IS NOT NULL
), stored AS (
    INSERT INTO messages (id, conversation_id, seq, role, created_at, updated_at, text, folded, reply_to)
    SELECT id, conversation_id, seq, role, at, at, text, folded, reply_to FROM placed
), queued AS (
    INSERT INTO replies (message_id, conversation_id, run_after, created_at, status, attempts, lease_token, lease_until,
                         started_at, lane, turn, options, queued_event, owner_id, trace)
    SELECT id, conversation_id, CASE WHEN waits THEN 9223372036854775807 ELSE now END, at,
           CASE WHEN lease IS NULL THEN 'queued' ELSE 'running' END,
           CASE WHEN lease IS NULL THEN 0 ELSE 1 END, CASE WHEN lease IS NULL THEN 0 ELSE 1 END, now + lease,
           CASE WHEN lease IS NOT NULL THEN greatest(at, now) END, lane, CASE WHEN lane IS NOT NULL THEN seq END, options,
           seq * $14, owner_id, trace
    FROM (SELECT id, conversation_id, role, CASE WHEN NOT waits THEN lease END AS lease, at, lane, seq, options, owner_id,
                 trace, waits, CASE WHEN $9 THEN at ELSE now END AS now
          FROM placed) AS placed
    WHERE role = 'user'
), moved AS (
    UPDATE conversations
    SET last_seq = newest.seq, user_count = user_count + users,
        assistant_count = assistant_count + assistants, updated_at = at
    FROM (SELECT conversation_id, max(seq) AS seq, max(at) AS at,
                 count(*) FILTER (WHERE role = 'user') AS users,
                 count(*) FILTER (WHERE role = 'assistant') AS assistants
          FROM placed GROUP BY conversation_id) AS newest
    WHERE conversations.id = newest.conversation_id
)
