-- Which machine an entry was written on, and where an imported one stood in its first chain.
-- All four are NULL in entries of schema 1, whose hashes do not hold them.
ALTER TABLE entries ADD COLUMN machine TEXT;
ALTER TABLE entries ADD COLUMN origin_sequence INTEGER;
ALTER TABLE entries ADD COLUMN origin_previous TEXT;
ALTER TABLE entries ADD COLUMN origin_hash TEXT;

-- One entry is kept once, however many ways it came.
CREATE UNIQUE INDEX entries_by_id ON entries (coalesce(origin_hash, hash));

-- Signed ends of the chain, as JSON.
CREATE TABLE checkpoints (
  number INTEGER PRIMARY KEY,
  text   TEXT NOT NULL
) STRICT;

CREATE TRIGGER checkpoints_stay BEFORE UPDATE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER checkpoints_remain BEFORE DELETE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- INSERT OR REPLACE removes rows without asking a DELETE trigger: refuse what it would replace.
CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.sequence <> (SELECT sequence + 1 FROM head)
  OR EXISTS (SELECT 1 FROM entries WHERE hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a new entry follows the last'); END;

CREATE TRIGGER head_is_one BEFORE INSERT ON head
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: it has one head'); END;

CREATE TRIGGER checkpoints_follow BEFORE INSERT ON checkpoints
WHEN EXISTS (SELECT 1 FROM checkpoints WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
