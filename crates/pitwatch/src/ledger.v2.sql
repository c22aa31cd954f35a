-- Version 2 of the ledger: what was handed out, and to whom.

-- Every attempt to deliver an event, in order. Rows are added, never changed.
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- By the clock, when the attempt ended.
  attempted_at TEXT NOT NULL,
  endpoint TEXT NOT NULL REFERENCES endpoints (name),
  event_id TEXT NOT NULL REFERENCES events (event_id),
  -- Number of the attempt since the event was taken up or replayed, from 1.
  attempt INTEGER NOT NULL,
  -- HTTP status; null if no answer came.
  status INTEGER,
  -- 'dead': a failure after which none is tried again; 'disabled': the endpoint said that it is gone.
  outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'failed', 'dead', 'disabled')),
  -- What went wrong; no query string, no secret.
  message TEXT
) STRICT;
CREATE INDEX attempts_by_event ON attempts (endpoint, event_id, id);

-- Every export of exact locations and every other decision about who gets them, in order. Rows are added, never changed.
CREATE TABLE accesses (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- By the clock.
  accessed_at TEXT NOT NULL,
  -- Who, as they said.
  person TEXT NOT NULL,
  -- 'export': exact locations were written to a file; 'replay': an endpoint gets events again; 'enable': it gets events again after it was gone.
  action TEXT NOT NULL CHECK (action IN ('export', 'replay', 'enable')),
  -- The file or the endpoint.
  object TEXT NOT NULL,
  -- Alerts exported or events replayed.
  n INTEGER NOT NULL
) STRICT;
