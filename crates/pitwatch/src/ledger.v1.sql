-- Version 1 of the ledger. Times are RFC 3339 text in UTC, JSON is text, counts and booleans are integers.

-- The letters pitw: a file of another program is not taken for a ledger.
PRAGMA application_id = 1885959287;

-- Published runs, in the order in which they were published.
CREATE TABLE runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL UNIQUE,
  -- The run published before; null for the first. The manifest says the same.
  previous_run TEXT,
  pipeline_sha256 TEXT NOT NULL,
  manifest_sha256 TEXT NOT NULL,
  -- 'published'; 'imported': was in the folder before the ledger, and has no events.
  state TEXT NOT NULL CHECK (state IN ('published', 'imported')),
  -- By the clock.
  started_at TEXT,
  ended_at TEXT,
  -- 0 or 4, as the exit code.
  exit_code INTEGER
) STRICT;

-- The run whose folder is being put in place: a row here at the start of a run means that the last one was stopped there.
CREATE TABLE pending (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  run_id TEXT NOT NULL
) STRICT;

-- What is known of each expected or found acquisition, by the newest run that spoke of it.
CREATE TABLE looks (
  area_id TEXT NOT NULL,
  datetime TEXT NOT NULL,
  platform TEXT NOT NULL,
  tile TEXT NOT NULL,
  scene_id TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  PRIMARY KEY (area_id, datetime, platform, tile, scene_id)
) STRICT, WITHOUT ROWID;

-- Every alert that was ever published. A retracted one stays.
CREATE TABLE alerts (
  alert_id TEXT PRIMARY KEY,
  area_id TEXT NOT NULL,
  -- Number of the alert's newest event, from 1.
  revision INTEGER NOT NULL,
  standing TEXT NOT NULL CHECK (standing IN ('provisional', 'confirmed', 'retracted')),
  -- The look at which it was first reported.
  alert_datetime TEXT NOT NULL,
  -- Lattice place of the pixel that gave the name.
  first_row INTEGER NOT NULL,
  first_col INTEGER NOT NULL,
  -- The flat GeoJSON feature of the newest run that had the alert, all columns, geometry in longitude and latitude.
  feature TEXT NOT NULL,
  -- The feature of its newest event: what consumers were told last.
  told TEXT NOT NULL,
  -- The first and the newest run that had it among its alerts.
  first_run TEXT NOT NULL REFERENCES runs (run_id),
  last_run TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_by_area ON alerts (area_id, alert_id);

CREATE TABLE sites (
  site_id TEXT PRIMARY KEY,
  area_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  -- The site's word for its state, or 'retracted' if none of its alerts stands.
  state TEXT NOT NULL,
  feature TEXT NOT NULL,
  last_run TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;

-- The newest verdict on each subject: an area and a reporting period.
CREATE TABLE assessments (
  subject TEXT PRIMARY KEY,
  revision INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  row TEXT NOT NULL,
  last_run TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;

-- What reviewers said; of several for one alert the one with the highest id holds. Rows are added, never changed.
CREATE TABLE reviews (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  -- No foreign key: a review may be imported before its alert is found again.
  alert_id TEXT NOT NULL,
  review TEXT NOT NULL CHECK (review IN ('unreviewed', 'confirmed', 'dismissed')),
  reason TEXT NOT NULL,
  reviewer TEXT NOT NULL,
  -- By the clock, when it was said.
  reviewed_at TEXT NOT NULL
) STRICT;
CREATE INDEX reviews_by_alert ON reviews (alert_id, id);

-- The outbox: every event that was ever published, in order. Rows are added, never changed.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  run_id TEXT NOT NULL REFERENCES runs (run_id),
  subject TEXT NOT NULL,
  revision INTEGER NOT NULL,
  type TEXT NOT NULL,
  -- The line of alerts.ndjson, without the line feed.
  body TEXT NOT NULL,
  UNIQUE (subject, revision)
) STRICT;
CREATE INDEX events_by_run ON events (run_id, seq);

-- Where events are pushed to. Addresses and secrets stand elsewhere.
CREATE TABLE endpoints (
  name TEXT PRIMARY KEY,
  -- Events up to this seq were taken up into deliveries.
  cursor INTEGER NOT NULL DEFAULT 0,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  disabled_reason TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
  event_id TEXT NOT NULL REFERENCES events (event_id),
  endpoint TEXT NOT NULL REFERENCES endpoints (name),
  -- Attempts made so far.
  attempt INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  -- When the next attempt is due; null if none is.
  next_at TEXT,
  last_error TEXT,
  PRIMARY KEY (endpoint, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (state, next_at);

-- Up to which look each area is published.
CREATE TABLE watermarks (
  area_id TEXT PRIMARY KEY,
  published_until TEXT NOT NULL
) STRICT, WITHOUT ROWID;
