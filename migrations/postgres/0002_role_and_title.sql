-- Messages learn who speaks, conversations get a name.
-- Everything said before there were roles was said by a user.

ALTER TABLE messages ADD COLUMN role text COLLATE "C" NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'assistant'));

ALTER TABLE conversations ADD COLUMN title text COLLATE "C";
