//! What counts as a run: failures, panics and crashes.

use super::*;

#[scenario]
async fn in_a_transaction_a_failure_does_not_count() {
    let mut conn = prepared().await;
    for level in [None].into_iter().chain(LEVELS.map(Some)) {
        let (scope, job) = (Scope::Run(level), unique("intervals.failure"));
        let started = AtomicU32::new(0);
        for work in [Work::Fails, Work::FailsInside] {
            let failed = scope.run(&mut conn, &job, HOUR, work, &started).await;
            assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
            assert_eq!(row(&job), "");
        }
        assert!(scope.is_due(&mut conn, &job, HOUR).await, "{level:?}");
        edit(&job, "started_at = now() - interval '2 hours'");
        let before = row(&job);
        let failed = scope
            .run(&mut conn, &job, HOUR, Work::Fails, &started)
            .await;
        failed.unwrap_err();
        assert_eq!(row(&job), before, "{level:?}");
        assert!(scope.is_due(&mut conn, &job, HOUR).await, "{level:?}");
        assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{level:?}");
        assert_eq!(started.into_inner(), 3);
        assert_clean(&mut conn).await;
    }
}

/// What has failed is not committed, so the run is not either, and nobody is told that it was.
#[scenario]
async fn in_a_transaction_a_failed_statement_that_is_kept_quiet_does_not_count() {
    let mut conn = prepared().await;
    let job = unique("intervals.quiet");
    let quiet = conn.advisory(&job).at_most_every(HOUR).run(async |conn| {
        conn.batch_execute("SELECT 1 / 0").await.unwrap_err();
        Ok::<_, Error>(())
    });
    let quiet = quiet.await;
    assert!(matches!(quiet, Err(Error::Database(_))), "{quiet:?}");
    assert_clean(&mut conn).await;
    assert_eq!(row(&job), "");
}

#[scenario]
async fn in_the_session_a_failure_counts() {
    let mut conn = prepared().await;
    for work in [Work::Fails, Work::FailsInside, Work::FailsInRaw] {
        let (job, started) = (unique("intervals.counts"), AtomicU32::new(0));
        let failed = Scope::Session
            .run(&mut conn, &job, HOUR, work, &started)
            .await;
        failed.unwrap_err();
        assert!(is(&job, "finished_at IS NULL"), "{work:?}: {}", row(&job));
        assert!(
            !Scope::Session.is_due(&mut conn, &job, HOUR).await,
            "{work:?}"
        );
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_failure_that_is_to_be_retried_puts_back_what_was_before() {
    let mut conn = prepared().await;
    for work in [Work::Fails, Work::FailsInside, Work::FailsInRaw] {
        let (job, started) = (unique("intervals.retry"), AtomicU32::new(0));
        let failed = Scope::Retry
            .run(&mut conn, &job, HOUR, work, &started)
            .await;
        failed.unwrap_err();
        assert_eq!(row(&job), "", "{work:?}");
        assert!(Scope::Retry.is_due(&mut conn, &job, HOUR).await, "{work:?}");
        for set in [
            "started_at = '2020-02-29 12:00:00.123457', started_by = 'it''s \\ mine', once = true",
            "started_at = '1969-01-01 00:00:00.000001', finished_at = '2001-02-03', once = false",
            "started_at = '2020-01-01', started_by = NULL, finished_at = NULL",
        ] {
            edit(&job, set);
            let before = row(&job);
            let failed = Scope::Retry
                .run(&mut conn, &job, HOUR, work, &started)
                .await;
            failed.unwrap_err();
            assert_eq!(row(&job), before, "{work:?}");
        }
        assert!(Scope::Retry.is_due(&mut conn, &job, HOUR).await, "{work:?}");
        assert!(
            !Scope::Retry.is_due(&mut conn, &job, HOUR).await,
            "{work:?}"
        );
        assert_clean(&mut conn).await;
        assert_free(job);
    }
}

#[scenario]
async fn what_another_has_started_since_is_not_put_back() {
    let mut conn = prepared().await;
    let job = unique("intervals.since");
    let run = conn
        .advisory_session(&job)
        .at_most_every(HOUR)
        .retry_failed();
    let failed = run.run(async |_| {
        edit(&job, "started_at = '2001-01-01', started_by = 'another'");
        Err::<(), _>(Failure::OnPurpose)
    });
    failed.await.unwrap_err();
    assert!(
        is(&job, "started_at = '2001-01-01' AND started_by = 'another'"),
        "{}",
        row(&job)
    );
}

#[scenario]
async fn a_panic_counts_as_a_failure_does() {
    #[helper]
    async fn fall(scope: Scope, job: String, inside: bool) {
        let mut conn = connect().await;
        let fall = async |conn: &mut Conn| -> Result<(), Error> {
            if inside {
                begin(conn).await;
            }
            Work::Panics.do_it(conn, &AtomicU32::new(0)).await.unwrap();
            Ok(())
        };
        let fell = match scope {
            Scope::Run(_) => conn.advisory(job).at_most_every(HOUR).run(fall).await,
            Scope::Session => {
                conn.advisory_session(job)
                    .at_most_every(HOUR)
                    .run(fall)
                    .await
            }
            Scope::Retry => {
                let run = conn.advisory_session(job).at_most_every(HOUR);
                run.retry_failed().run(fall).await
            }
        };
        fell.unwrap();
    }

    let mut conn = prepared().await;
    for scope in [Scope::Run(None), Scope::Session, Scope::Retry] {
        for inside in [false, true] {
            let job = unique("intervals.panic");
            let named = job.clone();
            panics(move || fall(scope, named, inside)).await;
            // Nobody waits for what the driver sends after a panic.
            let began = Instant::now();
            let is_over = || is_free(&job) && row(&job).is_empty() != (scope == Scope::Session);
            while !is_over() {
                assert!(began.elapsed() < PATIENCE, "{scope:?}, inside: {inside}");
                pause(1).await;
            }
            let counts = scope == Scope::Session;
            assert_eq!(
                scope.is_due(&mut conn, &job, HOUR).await,
                !counts,
                "{scope:?}"
            );
        }
    }
}

#[scenario]
async fn a_crash_counts_in_the_session_and_not_in_a_transaction() {
    let mut conn = prepared().await;
    for scope in [Scope::Run(None), Scope::Session, Scope::Retry] {
        let job = unique("intervals.crash");
        let mut crashing = connect().await;
        let crash = async |conn: &mut Conn| -> Result<(), Error> {
            let pid = pid(conn).await;
            Sandbox::shared().kill_backend(pid).unwrap();
            wait_until("it is gone", || support::state_of(pid) == "gone");
            Ok(conn.batch_execute("SELECT").await?)
        };
        let crashed = match scope {
            Scope::Run(_) => crashing.advisory(&job).at_most_every(HOUR).run(crash).await,
            Scope::Session => {
                let run = crashing.advisory_session(&job).at_most_every(HOUR);
                run.run(crash).await
            }
            Scope::Retry => {
                let run = crashing.advisory_session(&job).at_most_every(HOUR);
                run.retry_failed().run(crash).await
            }
        };
        assert!(matches!(crashed, Err(Error::Database(_))), "{crashed:?}");
        let counts = !matches!(scope, Scope::Run(_));
        assert_eq!(
            is(&job, "finished_at IS NULL"),
            counts,
            "{scope:?}: {}",
            row(&job)
        );
        assert_eq!(
            scope.is_due(&mut conn, &job, HOUR).await,
            !counts,
            "{scope:?}"
        );
    }
}

#[scenario]
async fn what_the_work_of_a_session_leaves_open_is_not_finished() {
    let mut conn = prepared().await;
    for raw in [false, true] {
        let job = unique("intervals.open");
        let run = conn.advisory_session(&job).at_most_every(HOUR);
        let left = run.run(async |conn| {
            if raw {
                execute(conn, "BEGIN").await;
            } else {
                begin(conn).await;
            }
            Ok::<_, Error>(())
        });
        let left = left.await;
        assert!(matches!(left, Err(Error::TransactionLeftOpen)), "{left:?}");
        assert!(is(&job, "finished_at IS NULL"), "{}", row(&job));
        assert_clean(&mut conn).await;
    }
}
