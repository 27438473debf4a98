//! What is kept of runs, whatever the session is like.

use super::*;

#[scenario]
async fn a_hostile_search_path_changes_nothing_about_a_run() {
    let url = hostile_database();
    catalog::install(&mut support::connect_to(&url)).unwrap();
    let mut conn = connect_to(&url).await;
    execute(&mut conn, HOSTILE).await;
    for scope in SCOPES {
        let (job, started) = (unique("intervals.hostile"), AtomicU32::new(0));
        let failed = scope
            .run(&mut conn, &job, HOUR, Work::Fails, &started)
            .await;
        assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
        assert_eq!(
            scope.is_due(&mut conn, &job, HOUR).await,
            scope != Scope::Session
        );
        assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{scope:?}");
        assert!(
            !scope.is_due(&mut conn, &job, Duration::MAX).await,
            "{scope:?}"
        );
        assert!(
            scope.is_due(&mut conn, &job, Duration::ZERO).await,
            "{scope:?}"
        );
        // There is one to be put back now.
        let failed = scope
            .run(&mut conn, &job, Duration::ZERO, Work::Fails, &started)
            .await;
        assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
    }
    let not_called = async |_: &mut Conn| -> Result<(), Error> { panic!("it is not due") };
    let (job, scope) = (unique("intervals.hostile"), Scope::Run(None));
    begin(&mut conn).await;
    assert!(scope.is_due(&mut conn, &job, HOUR).await);
    not_due(
        conn.advisory(&job)
            .at_most_every(HOUR)
            .run(not_called)
            .await,
    );
    commit(&mut conn).await;
    assert_eq!(forget(&mut conn, HOUR).await.unwrap(), 0);
    assert!(runs(&mut conn).await.iter().any(|run| run.name == job));
}

/// It writes, whatever the defaults of the session are.
#[scenario]
async fn the_defaults_of_a_session_do_not_matter_to_its_runs() {
    let mut conn = prepared().await;
    for set in [
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = serializable",
        "SET synchronous_commit = off",
        "SET standard_conforming_strings = off",
        "SET intervalstyle = sql_standard; SET datestyle = 'German'; SET timezone = 'Asia/Kathmandu'",
    ] {
        execute(&mut conn, set).await;
        for scope in [Scope::Session, Scope::Retry] {
            let (job, started) = (unique("intervals.defaults"), AtomicU32::new(0));
            let failed = scope
                .run(&mut conn, &job, HOUR, Work::Fails, &started)
                .await;
            assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
            assert_eq!(row(&job).is_empty(), scope == Scope::Retry, "{set}");
            assert!(scope.is_due(&mut conn, &job, Duration::ZERO).await, "{set}");
            assert!(
                is(&job, "finished_at >= started_at"),
                "{set}: {}",
                row(&job)
            );
            assert!(!scope.is_due(&mut conn, &job, HOUR).await, "{set}");
        }
    }
}

#[scenario]
async fn names_of_all_kinds_have_runs_of_their_own() {
    let mut conn = prepared().await;
    let prefix = unique("intervals.names");
    let names = ["it's", "it''s", "\\", "\"; --", "é🔒", "$1", "%", "E'", " "];
    let names = names.map(|name| format!("{prefix} {name}"));
    let long = [
        prefix.clone() + &"x".repeat(1_900),
        prefix + &"y".repeat(1_900),
    ];
    for name in names.iter().chain(&long) {
        assert!(
            Scope::Run(None).is_due(&mut conn, name, HOUR).await,
            "{name}"
        );
        assert!(
            !Scope::Session.is_due(&mut conn, name, HOUR).await,
            "{name}"
        );
    }
    let known = runs(&mut conn).await;
    for name in names.iter().chain(&long) {
        assert!(known.iter().any(|run| run.name == *name), "{name}");
    }
}

#[scenario]
async fn runs_are_listed_until_they_are_forgotten() {
    let url = support::database();
    let mut owner = support::connect_to(&url);
    catalog::install(&mut owner).unwrap();
    let mut conn = connect_to(&url).await;
    execute(&mut conn, "SET application_name = 'web-3'").await;
    let by = format!("pid {} (web-3)", pid(&mut conn).await);
    assert_eq!(runs(&mut conn).await, []);
    for (job, period) in [("new", HOUR), ("old", HOUR), ("once", Duration::MAX)] {
        assert!(Scope::Run(None).is_due(&mut conn, job, period).await);
    }
    let started = AtomicU32::new(0);
    let failed = Scope::Session.run(&mut conn, "failed", HOUR, Work::Fails, &started);
    failed.await.unwrap_err();
    let age = "UPDATE diesel_advisory.runs SET started_at = started_at - interval '3 days' \
               WHERE name IN ('old', 'once')";
    execute(&mut conn, age).await;
    let mut listed = runs(&mut conn).await;
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let names = listed.iter().map(|run| run.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["failed", "new", "old", "once"]);
    let day = HOUR * 24;
    for run in &listed {
        assert_eq!(run.started_by.as_deref(), Some(&*by));
        assert_eq!(run.finished_at.is_none(), run.name == "failed");
        assert_eq!(run.once, run.name == "once");
        let age = run.started_at.elapsed().unwrap_or_default();
        let is_old = matches!(&*run.name, "old" | "once");
        let expected = if is_old { day * 3 } else { Duration::ZERO };
        assert!(expected <= age && age < expected + HOUR, "{run:?}");
    }
    begin(&mut conn).await;
    let inside = forget(&mut conn, day).await;
    assert!(
        matches!(
            inside,
            Err(Error::Database(DieselError::AlreadyInTransaction))
        ),
        "{inside:?}"
    );
    commit(&mut conn).await;
    assert_eq!(forget(&mut conn, Duration::MAX).await.unwrap(), 0);
    assert_eq!(forget(&mut conn, day * 4).await.unwrap(), 0);
    assert_eq!(forget(&mut conn, day).await.unwrap(), 1);
    assert_eq!(runs(&mut conn).await.len(), 3);
    assert_eq!(forget(&mut conn, Duration::ZERO).await.unwrap(), 2);
    let left = runs(&mut conn).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].once);
}
