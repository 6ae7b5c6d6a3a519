-- The chain. Texts are kept exactly as they were hashed.
CREATE TABLE negawatt.entries (
  sequence        bigint PRIMARY KEY,
  time            text COLLATE "C" NOT NULL,  -- UTC, fixed width: text order is time order
  kind            text NOT NULL,
  who             text NOT NULL,
  host            text NOT NULL,
  body            text NOT NULL,  -- canonical JSON; jsonb would write it anew
  versions        text NOT NULL,  -- canonical JSON
  previous        text NOT NULL,  -- hash of the entry before
  hash            text NOT NULL UNIQUE,
  machine         text,
  origin_sequence bigint,  -- where an imported entry stood in its first chain
  origin_previous text,
  origin_hash     text
);

CREATE INDEX entries_by_kind ON negawatt.entries (kind, time);

-- One entry is kept once, however many ways it came.
CREATE UNIQUE INDEX entries_by_id ON negawatt.entries (coalesce(origin_hash, hash));

-- Where the chain ends: without it, entries cut from the end would not be missed.
CREATE TABLE negawatt.head (
  one      integer PRIMARY KEY CHECK (one = 1),
  sequence bigint NOT NULL,
  hash     text NOT NULL
);

INSERT INTO negawatt.head VALUES (1, 0, repeat('0', 64));

-- Signed ends of the chain, as JSON.
CREATE TABLE negawatt.checkpoints (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  text   text NOT NULL
);

-- Append-only against accidents; the chain itself stands against the rest.
CREATE FUNCTION negawatt.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION negawatt.follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.sequence <> (SELECT sequence + 1 FROM negawatt.head) THEN
    RAISE EXCEPTION 'the ledger is append-only: a new entry follows the last'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION negawatt.advance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.sequence <> OLD.sequence + 1 THEN
    RAISE EXCEPTION 'the head moves one entry at a time'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER entries_follow BEFORE INSERT ON negawatt.entries
  FOR EACH ROW EXECUTE FUNCTION negawatt.follow();
CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE ON negawatt.entries
  FOR EACH ROW EXECUTE FUNCTION negawatt.refuse();
CREATE TRIGGER entries_remain BEFORE TRUNCATE ON negawatt.entries
  FOR EACH STATEMENT EXECUTE FUNCTION negawatt.refuse();

CREATE TRIGGER head_advances BEFORE UPDATE ON negawatt.head
  FOR EACH ROW EXECUTE FUNCTION negawatt.advance();
CREATE TRIGGER head_stays BEFORE INSERT OR DELETE ON negawatt.head
  FOR EACH ROW EXECUTE FUNCTION negawatt.refuse();
CREATE TRIGGER head_remains BEFORE TRUNCATE ON negawatt.head
  FOR EACH STATEMENT EXECUTE FUNCTION negawatt.refuse();

CREATE TRIGGER checkpoints_stay BEFORE UPDATE OR DELETE ON negawatt.checkpoints
  FOR EACH ROW EXECUTE FUNCTION negawatt.refuse();
CREATE TRIGGER checkpoints_remain BEFORE TRUNCATE ON negawatt.checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION negawatt.refuse();
