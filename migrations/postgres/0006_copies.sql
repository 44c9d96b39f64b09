-- Copies of another database into this one. While one is unfinished, this database is not whole, and no service
-- starts on it.

CREATE TABLE copies (
    started_at  bigint           NOT NULL PRIMARY KEY,
    -- Where from, for people: no password.
    source      text COLLATE "C" NOT NULL,
    finished_at bigint
);
