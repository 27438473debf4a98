-- PostgreSQL replaces a view only by one that has the same columns, which these have.
CREATE OR REPLACE VIEW diesel_advisory.locks AS
SELECT
    coalesce(known.names, diesel_advisory.lock_key(l.classid, l.objid, l.objsubid)) AS lock,
    CASE l.mode WHEN 'ShareLock' THEN 'shared' ELSE 'exclusive' END AS mode,
    CASE WHEN l.granted THEN 'held' ELSE 'waiting' END AS status,
    l.pid,
    a.usename::text AS username,
    nullif(a.application_name, '') AS application,
    coalesce(a.client_hostname, pg_catalog.host(a.client_addr)) AS client,
    a.state,
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
    -- Advisory locks belong to a database; pg_locks shows those of the whole cluster.
    AND l.database = (
        SELECT d.oid FROM pg_catalog.pg_database AS d
        WHERE d.datname = pg_catalog.current_database()
    )
ORDER BY lock, l.granted DESC, since;

DROP INDEX diesel_advisory.lock_names_key;
ALTER TABLE diesel_advisory.lock_names ADD PRIMARY KEY (classid, objid, objsubid, name);
