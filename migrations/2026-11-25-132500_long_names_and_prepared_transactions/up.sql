-- Names of any length: an index takes values of up to 2,704 bytes.
ALTER TABLE diesel_advisory.lock_names DROP CONSTRAINT lock_names_pkey;
CREATE UNIQUE INDEX lock_names_key ON diesel_advisory.lock_names
    (classid, objid, objsubid, pg_catalog.md5(name));

-- Prepared transactions are called what they are, locks of extensions are left out, and what is seen in a
-- transaction is as new as the locks.
CREATE OR REPLACE VIEW diesel_advisory.locks AS
SELECT
    coalesce(known.names, diesel_advisory.lock_key(l.classid, l.objid, l.objsubid)) AS lock,
    CASE l.mode WHEN 'ShareLock' THEN 'shared' ELSE 'exclusive' END AS mode,
    CASE WHEN l.granted THEN 'held' ELSE 'waiting' END AS status,
    l.pid,
    a.usename::text AS username,
    nullif(a.application_name, '') AS application,
    coalesce(a.client_hostname, pg_catalog.host(a.client_addr)) AS client,
    -- A prepared transaction belongs to no session.
    CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE a.state END AS state,
    -- PostgreSQL does not note when a lock was granted: of a holder, this is since when it has been in
    -- its state.
    CASE WHEN l.granted THEN a.state_change ELSE coalesce(l.waitstart, a.query_start) END AS since,
    CASE WHEN l.granted THEN '{}' ELSE pg_catalog.pg_blocking_pids(l.pid) END AS blocked_by,
    a.query,
    diesel_advisory.lock_key(l.classid, l.objid, l.objsubid) AS key,
    l.classid,
    l.objid,
    l.objsubid
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN LATERAL (
    SELECT string_agg(n.name, ' | ' ORDER BY n.name) AS names
    FROM diesel_advisory.lock_names AS n
    WHERE n.classid = l.classid AND n.objid = l.objid AND n.objsubid = l.objsubid
) AS known ON true
WHERE l.locktype = 'advisory'
    -- Extensions use further forms of keys for locks of their own.
    AND l.objsubid IN (1, 2)
    -- In a transaction, the activity that was seen first would be shown for ever. This is evaluated
    -- before anything else of the query.
    AND (SELECT pg_catalog.pg_stat_clear_snapshot()::text) IS NOT NULL
    -- Advisory locks belong to a database; pg_locks shows those of the whole cluster.
    AND l.database = (
        SELECT d.oid FROM pg_catalog.pg_database AS d
        WHERE d.datname = pg_catalog.current_database()
    )
ORDER BY lock, l.granted DESC, since;
