//! Who holds the lock, as `Unavailable` says it.

use diesel_advisory::{Error, Unavailable};
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{self, Holder, unique};

/// Asks for a lock that is held, inside of the open transaction.
#[helper]
async fn refused(conn: &mut Conn, lock: &str) -> Unavailable {
    let acquired = conn.advisory_xact(lock).no_wait().acquire().await;
    match acquired {
        Err(Error::Unavailable(unavailable)) => unavailable,
        other => panic!("{other:?}"),
    }
}

/// In a transaction, PostgreSQL goes on showing the activity that it has shown first.
#[scenario]
async fn in_one_transaction_each_holder_is_told_as_it_is_now() {
    let (mut conn, lock) = (connect().await, unique("holders"));
    begin(&mut conn).await;
    for name in ["first", "second"] {
        let url = format!("{}&application_name={name}", Sandbox::shared().url());
        let _holder = Holder::at(&url, lock.clone());
        let holder = refused(&mut conn, &lock).await.holders.remove(0);
        assert_eq!(holder.application_name.as_deref(), Some(name));
        assert_eq!(holder.state.as_deref(), Some("idle"));
    }
    roll_back(&mut conn).await;
}

#[scenario]
async fn a_prepared_transaction_is_told_as_what_it_is() {
    let builder = Sandbox::builder().setting("max_prepared_transactions", "1");
    let server = builder.start().unwrap();
    let mut other = support::connect_to(server.url());
    let lock = support::function_call("pg_advisory_xact_lock", "holders");
    support::execute(
        &mut other,
        &format!("BEGIN; {lock}; PREPARE TRANSACTION 'x'"),
    );
    let mut conn = connect_to(server.url()).await;
    begin(&mut conn).await;
    let unavailable = refused(&mut conn, "holders").await;
    roll_back(&mut conn).await;
    assert_eq!(unavailable.holders.len(), 1);
    assert!(unavailable.holders[0].is_prepared_transaction());
    let message = unavailable.to_string();
    assert!(message.contains("prepared transaction"), "{message}");
    support::execute(&mut other, "ROLLBACK PREPARED 'x'");
}
