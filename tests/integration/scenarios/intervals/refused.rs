//! Where no run can be kept.

use super::*;

#[scenario]
async fn inside_a_transaction_the_run_counts_when_that_commits() {
    let mut conn = prepared().await;
    let (scope, job) = (Scope::Run(None), unique("intervals.nested"));
    begin(&mut conn).await;
    assert!(scope.is_due(&mut conn, &job, HOUR).await);
    // The savepoint of one that is not due is gone, and the transaction goes on.
    assert!(!scope.is_due(&mut conn, &job, HOUR).await);
    assert_taken(job.clone());
    roll_back(&mut conn).await;
    assert_eq!(row(&job), "");
    begin(&mut conn).await;
    let started = AtomicU32::new(0);
    let failed = scope
        .run(&mut conn, &job, HOUR, Work::Fails, &started)
        .await;
    failed.unwrap_err();
    assert!(scope.is_due(&mut conn, &job, HOUR).await);
    commit(&mut conn).await;
    assert!(!scope.is_due(&mut conn, &job, HOUR).await);
    assert_clean(&mut conn).await;
}

/// Its snapshot may be older than the last run.
#[scenario]
async fn inside_a_transaction_above_read_committed_it_is_refused() {
    let mut conn = prepared().await;
    for level in [Level::RepeatableRead, Level::Serializable] {
        let (job, level) = (unique("intervals.above"), level.name());
        begin(&mut conn).await;
        execute(
            &mut conn,
            &format!("SET TRANSACTION ISOLATION LEVEL {level}"),
        )
        .await;
        let started = AtomicU32::new(0);
        let refused = Scope::Run(None).run(&mut conn, &job, HOUR, Work::Succeeds, &started);
        let refused = refused.await;
        assert!(
            matches!(refused, Err(Failure::Lock(Error::Unsupported(_)))),
            "{level}: {refused:?}"
        );
        assert_eq!(started.into_inner(), 0);
        assert_free(job);
        commit(&mut conn).await;
    }
}

#[scenario]
async fn what_cannot_keep_runs_is_refused_before_anything_is_sent() {
    let mut conn = prepared().await;
    let work = async |_: &mut Conn| -> Result<(), Error> { panic!("it is refused") };
    let name = unique("intervals.refused");
    let long = "x".repeat(2_001);
    let once = conn.advisory(&name).read_only().once().run(work).await;
    assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    let once = conn.advisory(&name).once().shared().run(work).await;
    assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    let once = conn.advisory(&name).once().allow_standby().run(work).await;
    assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    let once = conn.advisory(&name).and("b").once().try_run(work).await;
    assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    let once = conn.advisory_session(&name).shared().once().run(work).await;
    assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    for id in [
        LockId::from(7),
        LockId::from((7, 7)),
        LockId::hashtextextended("intervals"),
        LockId::from("a\0b"),
        LockId::from(long),
    ] {
        let once = conn.advisory(id.clone()).once().run(work).await;
        assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
        let once = conn.advisory_session(id).once().try_run(work).await;
        assert!(matches!(once, Err(Error::Unsupported(_))), "{once:?}");
    }
    let once = conn.advisory("").once().run(work).await;
    assert!(matches!(once, Err(Error::EmptyName)), "{once:?}");
    let once = conn.advisory_session("").once().run(work).await;
    assert!(matches!(once, Err(Error::EmptyName)), "{once:?}");
    begin(&mut conn).await;
    let once = conn.advisory_session(&name).once().run(work).await;
    assert!(matches!(once, Err(Error::InTransaction)), "{once:?}");
    commit(&mut conn).await;
    assert_free(name);
}

#[scenario]
async fn without_the_catalog_the_error_says_how_to_install_it() {
    let url = support::database();
    let mut conn = connect_to(&url).await;
    let job = unique("intervals.missing");
    let old = "CREATE SCHEMA diesel_advisory; CREATE TABLE diesel_advisory.lock_names ()";
    for before in ["SELECT", old] {
        execute(&mut conn, before).await;
        for scope in SCOPES {
            let started = AtomicU32::new(0);
            let failed = scope
                .run(&mut conn, &job, HOUR, Work::Succeeds, &started)
                .await;
            let Err(Failure::Lock(error @ Error::NoCatalog)) = failed else {
                panic!("{scope:?}: {failed:?}");
            };
            assert!(
                error.to_string().contains("catalog::install(conn)"),
                "{error}"
            );
            assert_eq!(started.into_inner(), 0);
            assert_clean(&mut conn).await;
        }
        // A transaction that is open is still usable.
        begin(&mut conn).await;
        let once = conn.advisory(&job).once().run(async |_| Ok::<_, Error>(()));
        assert!(matches!(once.await, Err(Error::NoCatalog)));
        execute(&mut conn, "SELECT").await;
        commit(&mut conn).await;
    }
    let forgotten = forget(&mut conn, HOUR).await;
    assert!(matches!(forgotten, Err(Error::NoCatalog)), "{forgotten:?}");
}

#[scenario]
async fn a_role_without_the_rights_is_told_which_it_needs() {
    let url = support::database();
    let mut owner = support::connect_to(&url);
    catalog::install(&mut owner).unwrap();
    let role = unique("intervals").replace('.', "_");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let mut conn = connect_to(&Sandbox::shared().url_as(&role, &database)).await;
    let job = unique("intervals.rights");
    for grant in [
        "USAGE ON SCHEMA diesel_advisory",
        "SELECT ON diesel_advisory.runs",
        "INSERT ON diesel_advisory.runs",
        "UPDATE ON diesel_advisory.runs",
    ] {
        for scope in SCOPES {
            let started = AtomicU32::new(0);
            let failed = scope
                .run(&mut conn, &job, HOUR, Work::Succeeds, &started)
                .await;
            let Err(Failure::Lock(error @ Error::NoGrants)) = failed else {
                panic!("{scope:?} before {grant}: {failed:?}");
            };
            assert!(
                error
                    .to_string()
                    .contains("GRANT USAGE ON SCHEMA diesel_advisory"),
                "{error}"
            );
            assert_eq!(started.into_inner(), 0);
            assert_clean(&mut conn).await;
        }
        support::execute(&mut owner, &format!("GRANT {grant} TO {role}"));
    }
    // What it may not put back, it does not begin.
    let started = AtomicU32::new(0);
    let failed = Scope::Retry
        .run(&mut conn, &job, HOUR, Work::Succeeds, &started)
        .await;
    assert!(
        matches!(failed, Err(Failure::Lock(Error::NoGrants))),
        "{failed:?}"
    );
    let forgotten = forget(&mut conn, HOUR).await;
    assert!(matches!(forgotten, Err(Error::NoGrants)), "{forgotten:?}");
    assert!(Scope::Session.is_due(&mut conn, &job, HOUR).await);
    assert!(!Scope::Run(None).is_due(&mut conn, &job, HOUR).await);
    support::execute(
        &mut owner,
        &format!("GRANT DELETE ON diesel_advisory.runs TO {role}"),
    );
    assert!(!Scope::Retry.is_due(&mut conn, &job, HOUR).await);
    assert_eq!(forget(&mut conn, HOUR).await.unwrap(), 0);
}
