-- Names for the keys of advisory locks, and who holds or waits for which lock.
--
-- Everything is in a schema of its own, which may be there already: Diesel's table of migrations can
-- live in it.
CREATE SCHEMA IF NOT EXISTS diesel_advisory;

CREATE TABLE diesel_advisory.lock_names (
    name text NOT NULL CHECK (name <> ''),
    -- The key, as pg_locks shows it.
    classid oid NOT NULL,
    objid oid NOT NULL,
    objsubid smallint NOT NULL CHECK (objsubid IN (1, 2)),
    registered_at timestamptz NOT NULL DEFAULT now(),
    -- One key can have several names. That is an accident, but one that has to be seen.
    PRIMARY KEY (classid, objid, objsubid, name)
);

COMMENT ON TABLE diesel_advisory.lock_names IS 'Known names of advisory locks, and their keys';

CREATE FUNCTION diesel_advisory.lock_key(classid oid, objid oid, objsubid smallint) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE objsubid
        WHEN 1 THEN ((classid::bigint << 32) | objid::bigint)::text
        ELSE pg_catalog.format('(%s, %s)', classid::int, objid::int)
    END
$$;

COMMENT ON FUNCTION diesel_advisory.lock_key IS
    'The key of an advisory lock as its functions take it, from its columns in pg_locks';

CREATE VIEW diesel_advisory.name_collisions AS
SELECT
    diesel_advisory.lock_key(classid, objid, objsubid) AS key,
    array_agg(name ORDER BY name) AS names
FROM diesel_advisory.lock_names
GROUP BY classid, objid, objsubid
HAVING count(*) > 1;

COMMENT ON VIEW diesel_advisory.name_collisions IS
    'Names that share one key: their locks exclude each other';

CREATE VIEW diesel_advisory.locks AS
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

COMMENT ON VIEW diesel_advisory.locks IS
    'Every advisory lock of this database, held or waited for. Of other roles'' sessions, a role '
    'without the rights of pg_read_all_stats does not see client, state, since and query.';
