-- When each job was started last. A version of the crate that does not know this table leaves it behind when
-- it uninstalls the catalog, so it may be there.
CREATE TABLE IF NOT EXISTS diesel_advisory.runs (
    -- "C", because an update of the operating system changes the order of other collations under their indexes.
    name text COLLATE pg_catalog."C" PRIMARY KEY,
    started_at timestamptz NOT NULL,
    started_by text,
    -- Null while it runs, and for ever if it crashed.
    finished_at timestamptz,
    -- It is never to run again, so this row is never forgotten.
    once boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE diesel_advisory.runs IS
    'When each job that runs at most once in a while was started last. Delete a row to have its job run again.';
