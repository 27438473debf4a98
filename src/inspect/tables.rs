//! The columns of PostgreSQL's views that describe locks and sessions.

diesel::table! {
    /// [`pg_locks`](https://www.postgresql.org/docs/current/view-pg-locks.html)
    pg_catalog.pg_locks (pid) {
        /// `advisory` for all that [`locks`](crate::inspect::locks) selects.
        locktype -> Text,
        /// The database that the lock belongs to.
        database -> Nullable<Oid>,
        /// The upper half of a single key, or the first key of a pair.
        classid -> Nullable<Oid>,
        /// The lower half of a single key, or the second key of a pair.
        objid -> Nullable<Oid>,
        /// 1 for a single key, 2 for a pair.
        objsubid -> Nullable<SmallInt>,
        /// The process that holds the lock or waits for it; null for a prepared transaction.
        pid -> Nullable<Integer>,
        /// `ExclusiveLock` or `ShareLock`.
        mode -> Text,
        /// Whether the lock is held. Otherwise, the process waits for it.
        granted -> Bool,
        /// When the wait began; null for a held lock.
        waitstart -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// [`pg_stat_activity`](https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW)
    pg_catalog.pg_stat_activity (pid) {
        /// The process of the session.
        pid -> Integer,
        /// The role that has logged in.
        #[sql_name = "usename"]
        username -> Nullable<Text>,
        /// The session's `application_name`.
        application_name -> Nullable<Text>,
        /// The client's address; null for a Unix socket.
        client_addr -> Nullable<Inet>,
        /// When the session began.
        backend_start -> Nullable<Timestamptz>,
        /// When the open transaction began.
        xact_start -> Nullable<Timestamptz>,
        /// When the current statement began, or the last one if there is none.
        query_start -> Nullable<Timestamptz>,
        /// When the session entered its state.
        state_change -> Nullable<Timestamptz>,
        /// `active`, `idle`, `idle in transaction`, …
        state -> Nullable<Text>,
        /// The current statement, or the last one if there is none.
        query -> Nullable<Text>,
    }
}

diesel::table! {
    /// The table `runs` of the [catalog](crate::catalog).
    #[sql_name = "runs"]
    diesel_advisory.advisory_runs (name) {
        /// The name of the job.
        name -> Text,
        /// When it was started last.
        started_at -> Timestamptz,
        /// The session that started it.
        started_by -> Nullable<Text>,
        /// When it was done; null while it runs, and if it failed or crashed.
        finished_at -> Nullable<Timestamptz>,
        /// Whether it is never to run again.
        once -> Bool,
    }
}

diesel::allow_tables_to_appear_in_same_query!(pg_locks, pg_stat_activity);
