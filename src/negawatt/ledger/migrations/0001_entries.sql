-- The chain. Texts are kept exactly as they were hashed.
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY,
  time     TEXT NOT NULL,  -- UTC, fixed width, so that text order is time order
  kind     TEXT NOT NULL,
  who      TEXT NOT NULL,
  host     TEXT NOT NULL,
  body     TEXT NOT NULL,  -- canonical JSON
  versions TEXT NOT NULL,  -- canonical JSON
  previous TEXT NOT NULL,  -- hash of the entry before
  hash     TEXT NOT NULL UNIQUE
) STRICT;

CREATE INDEX entries_by_kind ON entries (kind, time);

-- Where the chain ends: without it, entries cut from the end would not be missed.
CREATE TABLE head (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  sequence INTEGER NOT NULL,
  hash     TEXT NOT NULL
) STRICT;

INSERT INTO head VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Append-only against accidents; the chain itself stands against the rest.
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER entries_remain BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER head_advances BEFORE UPDATE ON head WHEN NEW.sequence <> OLD.sequence + 1
BEGIN SELECT RAISE(ABORT, 'the head moves one entry at a time'); END;

CREATE TRIGGER head_remains BEFORE DELETE ON head
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
