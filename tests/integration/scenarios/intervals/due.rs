//! When work is due, and who starts it.

use super::*;

#[scenario]
async fn of_eight_callers_at_once_one_starts_the_work() {
    const CALLERS: usize = 8;

    #[helper]
    async fn call(scope: Scope, job: &str, period: Duration, table: &str, all: &Barrier) -> bool {
        let mut conn = connect().await;
        let work = async |conn: &mut Conn| insert(conn, table, 1).await;
        all.wait();
        let ran = match scope {
            Scope::Run(level) => {
                let run = at_level!(level, conn.advisory(job)).at_most_every(period);
                run.try_run(work).await
            }
            Scope::Session | Scope::Retry => {
                let run = conn.advisory_session(job).at_most_every(period);
                run.try_run(work).await
            }
        };
        ran.unwrap().is_some()
    }

    let mut conn = prepared().await;
    for scope in SCOPES {
        for period in [HOUR, HOUR, Duration::MAX] {
            let (job, table) = (unique("intervals.eight"), table(&mut conn).await);
            let all = Barrier::new(CALLERS);
            let ran = thread::scope(|threads| {
                let call = || complete(call(scope, &job, period, &table, &all));
                let callers = [(); CALLERS].map(|()| threads.spawn(call));
                callers.map(|caller| caller.join().unwrap())
            });
            let count = ran.iter().filter(|ran| **ran).count();
            assert_eq!(count, 1, "{scope:?}, {period:?}");
            assert_eq!(committed(&table), [1], "{scope:?}, {period:?}");
            assert_free(job);
        }
    }
}

#[scenario]
async fn one_that_is_not_due_says_when_it_ran_and_when_it_is_due() {
    let mut conn = prepared().await;
    execute(&mut conn, "SET application_name = 'web-3'").await;
    let by = format!("pid {} (web-3)", pid(&mut conn).await);
    for scope in [Scope::Run(None), Scope::Session] {
        let job = unique("intervals.says");
        let before = SystemTime::now();
        assert!(scope.is_due(&mut conn, &job, HOUR).await);
        let after = SystemTime::now();
        let not_called = async |_: &mut Conn| -> Result<(), Error> { panic!("it is not due") };
        let refused = if scope == Scope::Session {
            let run = conn.advisory_session(&job).at_most_every(HOUR);
            run.run(not_called).await
        } else {
            conn.advisory(&job)
                .at_most_every(HOUR)
                .run(not_called)
                .await
        };
        let refused = not_due(refused);
        assert_eq!(refused.lock, LockId::from(&job));
        assert_eq!(refused.started_by.as_deref(), Some(&*by));
        // What the answer is late by is less.
        let late = Duration::from_secs(2);
        let is_between = |time: SystemTime| before - late <= time && time <= after + late;
        assert!(is_between(refused.started_at), "{refused:?}");
        assert!(refused.finished_at.is_some_and(is_between), "{refused:?}");
        assert!(is_between(refused.due_at.unwrap() - HOUR), "{refused:?}");
        let text = Error::NotDue(refused).to_string();
        let begin = format!("\"{job}\" is not due: {by} started it ");
        assert!(text.starts_with(&begin), "{text}");
        assert!(text.contains(", and it is due in 59m "), "{text}");
        assert_clean(&mut conn).await;
        assert_free(job);
    }
}

#[scenario]
async fn while_it_runs_it_is_unavailable_and_not_finished() {
    let mut conn = prepared().await;
    for scope in [Scope::Run(None), Scope::Session] {
        let job = unique("intervals.runs");
        let look = async |_: &mut Conn| {
            assert_taken(job.clone());
            let in_work = row(&job);
            Ok::<_, Error>(in_work)
        };
        let in_work = match scope {
            Scope::Run(_) => conn.advisory(&job).at_most_every(HOUR).run(look).await,
            _ => {
                conn.advisory_session(&job)
                    .at_most_every(HOUR)
                    .run(look)
                    .await
            }
        };
        let in_work = in_work.unwrap();
        // Others see the row of a session before the work is done, and that of a transaction after it.
        assert_eq!(in_work.is_empty(), scope != Scope::Session, "{in_work}");
        assert_eq!(
            in_work.matches('|').count(),
            if in_work.is_empty() { 0 } else { 2 }
        );
        assert!(is(&job, "finished_at >= started_at"), "{}", row(&job));
        let holder = Holder::of(job.clone());
        let tried = if scope == Scope::Session {
            let run = conn.advisory_session(&job).at_most_every(HOUR);
            let run = run.timeout(Duration::from_millis(1));
            run.run(async |_| Ok::<_, Error>(())).await
        } else {
            let run = conn.advisory(&job).at_most_every(HOUR).no_wait();
            run.run(async |_| Ok::<_, Error>(())).await
        };
        assert!(tried.is_err_and(|error| error.is_unavailable()));
        drop(holder);
    }
}

#[scenario]
async fn the_period_counts_from_the_start() {
    let mut conn = prepared().await;
    for scope in SCOPES {
        let job = unique("intervals.period");
        assert!(scope.is_due(&mut conn, &job, HOUR).await);
        let ran = |minutes: u32| {
            format!("started_at = now() - interval '{minutes} minutes', finished_at = now()")
        };
        edit(&job, &ran(59));
        assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
        assert!(
            scope
                .is_due(&mut conn, &job, Duration::from_secs(58 * 60))
                .await
        );
        edit(&job, &ran(60));
        assert!(scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
        assert!(is(&job, "started_at > now() - interval '1 minute'"));
        // Whatever it is, it may have none.
        assert!(
            scope.is_due(&mut conn, &job, Duration::ZERO).await,
            "{scope:?}"
        );
    }
}

/// As after a clock was wrong, or was set back.
#[scenario]
async fn a_start_that_is_further_ahead_than_the_period_is_not_believed() {
    let mut conn = prepared().await;
    for scope in SCOPES {
        let job = unique("intervals.ahead");
        assert!(scope.is_due(&mut conn, &job, HOUR).await);
        edit(&job, "started_at = now() + interval '50 minutes'");
        assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
        for ahead in ["400 days", "61 minutes"] {
            edit(&job, &format!("started_at = now() + interval '{ahead}'"));
            assert!(scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
            assert!(is(&job, "started_at <= now()"), "{scope:?}");
        }
        for infinite in ["infinity", "-infinity"] {
            edit(&job, &format!("started_at = '{infinite}'"));
            assert!(scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
        }
        assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
    }
}

#[scenario]
async fn once_is_never_again_under_that_name() {
    let mut conn = prepared().await;
    let job = unique("intervals.once");
    let ran = conn
        .advisory(&job)
        .once()
        .try_run(async |_| Ok::<_, Error>(()));
    assert!(ran.await.unwrap().is_some());
    edit(
        &job,
        "started_at = '2001-01-01', finished_at = '2001-01-01'",
    );
    for scope in SCOPES {
        assert!(
            !scope.is_due(&mut conn, &job, Duration::MAX).await,
            "{scope:?}"
        );
    }
    let again = conn
        .advisory_session(&job)
        .once()
        .run(async |_| Ok::<_, Error>(()));
    let again = not_due(again.await);
    assert_eq!(again.due_at, None);
    assert!(
        again.to_string().ends_with("and it is never to run again"),
        "{again}"
    );
    assert!(
        is(&job, "once AND started_at = '2001-01-01'"),
        "{}",
        row(&job)
    );
    // Whoever has a period instead does not make it one that can be forgotten.
    assert!(Scope::Session.is_due(&mut conn, &job, HOUR).await);
    assert!(is(
        &job,
        "once AND started_at > now() - interval '1 minute'"
    ));
}

/// A transaction that has read a page of the table would fail for every other job that writes there.
#[scenario]
async fn jobs_that_overlap_do_not_fail_each_other() {
    let (mut one, mut two) = (prepared().await, connect().await);
    for level in LEVELS {
        let ran = at_level!(Some(level), one.advisory(unique("intervals.overlap")));
        let ran = ran.at_most_every(HOUR).run(async |_| {
            for _ in 0..2 {
                let job = unique("intervals.overlap");
                assert!(Scope::Run(Some(level)).is_due(&mut two, &job, HOUR).await);
                let ran = at_level!(Some(level), two.advisory(&job)).at_most_every(HOUR);
                not_due(ran.run(async |_| Ok::<_, Error>(())).await);
            }
            Ok::<_, Error>(())
        });
        ran.await.unwrap();
    }
}
