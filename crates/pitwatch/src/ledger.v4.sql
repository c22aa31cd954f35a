-- Version 4 of the ledger: how far each source's publications are in published runs.

DROP TABLE watermarks;
-- Everything that a source published of an area up to `published_until` is in a published run.
CREATE TABLE watermarks (
  area_id TEXT NOT NULL,
  source TEXT NOT NULL,
  published_until TEXT NOT NULL,
  PRIMARY KEY (area_id, source)
) STRICT, WITHOUT ROWID;
