//! A database where every function, operator and type of PostgreSQL has a double that fails.

use super::{connect_to, database, execute};

/// Doubles what can be doubled: pseudo-types and the like cannot.
const DOUBLES: &str = r"
    CREATE SCHEMA hostile;
    DO $do$
    DECLARE it record;
    BEGIN
        FOR it IN
            SELECT proname AS name, pg_catalog.oidvectortypes(proargtypes) AS arguments,
                pg_catalog.format_type(prorettype, NULL) AS result
            FROM pg_catalog.pg_proc
            WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset
        LOOP
            BEGIN
                EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
                    '$$BEGIN RAISE EXCEPTION ''hostile''; END$$', it.name, it.arguments, it.result);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
        FOR it IN
            SELECT oid, oprname AS name, oprleft::regtype AS l, oprright::regtype AS r,
                oprresult::regtype AS result
            FROM pg_catalog.pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
        LOOP
            BEGIN
                EXECUTE format('CREATE FUNCTION hostile.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS '
                    '$$BEGIN RAISE EXCEPTION ''hostile''; END$$', it.oid, it.l, it.r, it.result);
                EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, '
                    'FUNCTION = hostile.operator_%s)', it.name, it.l, it.r, it.oid);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
        FOR it IN
            SELECT typname AS name FROM pg_catalog.pg_type
            WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname NOT LIKE '\_%'
        LOOP
            EXECUTE format('CREATE TYPE hostile.%I AS (nothing pg_catalog.bool)', it.name);
        END LOOP;
    END
    $do$;";

/// Puts the doubles first.
pub(crate) const HOSTILE: &str = "SET search_path = hostile, pg_catalog";

/// A database with the doubles: its URL.
pub(crate) fn hostile_database() -> String {
    let url = database();
    execute(&mut connect_to(&url), DOUBLES);
    url
}
