-- Version 3 of the ledger: the ground of each alert, so that its site is followed when the period moves on.

-- EPSG code of the reference system on whose lattice `pixels` lie; null in rows of an earlier version.
ALTER TABLE alerts ADD COLUMN epsg INTEGER;
-- The alert's pixels: for each three 32-bit integers, little-endian: lattice row, lattice column, day of its report since 1970-01-01.
ALTER TABLE alerts ADD COLUMN pixels BLOB;
