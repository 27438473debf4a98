DROP VIEW diesel_advisory.locks;
DROP VIEW diesel_advisory.name_collisions;
DROP FUNCTION diesel_advisory.lock_key;
DROP TABLE diesel_advisory.lock_names;

-- Diesel's table of migrations can live in this schema, and then it is still needed.
DO $$
BEGIN
    DROP SCHEMA diesel_advisory;
EXCEPTION
    WHEN dependent_objects_still_exist THEN NULL;
END
$$;
