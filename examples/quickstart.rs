//! Workers on connections of their own, and one lock: one is in at a time, one skips, and one gives
//! up and says who holds the lock.
//!
//! `cargo run --example quickstart` uses a throwaway PostgreSQL, or the server of `DATABASE_URL`.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_advisory::AdvisoryConnection;

const LOCK: &str = "billing.close_month";

/// How long it takes to close the month here.
const WORK: Duration = Duration::from_millis(600);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let url = diesel_advisory_sandbox::database_url();
    let start = Instant::now();
    let say = |who: &str, what: &str| {
        println!("{:5.2} s  {who:<10} {what}", start.elapsed().as_secs_f64());
    };

    println!("Three workers close the month under the lock {LOCK:?}.\n");
    let (entered, has_entered) = mpsc::channel();

    // Waits for the lock, and works while it has it.
    let work = |who: &str| -> Result<()> {
        let mut conn = connect(&url, who)?;
        say(who, "wants the lock");
        conn.advisory(LOCK).run(|_conn| {
            say(who, "has it, and closes the month");
            entered.clone().send(())?;
            thread::sleep(WORK);
            say(who, "is done");
            Ok(())
        })
    };

    // Does not wait at all.
    let skip = |who: &str| -> Result<()> {
        let mut conn = connect(&url, who)?;
        let done = conn
            .advisory(LOCK)
            .no_wait()
            .try_run(|_conn| Result::Ok(()))?;
        if done.is_none() {
            say(who, "skips: somebody is at it already");
        }
        Ok(())
    };

    // Waits, but not for long.
    let hurry = |who: &str| -> Result<()> {
        let mut conn = connect(&url, who)?;
        let lock = conn.advisory(LOCK).timeout(Duration::from_millis(200));
        if let Err(error) = lock.run(|_conn| Result::Ok(())) {
            say(who, &format!("gives up: {error}"));
        }
        Ok(())
    };

    thread::scope(|scope| {
        let mut threads = vec![
            scope.spawn(|| work("worker 1")),
            scope.spawn(|| work("worker 2")),
            scope.spawn(|| work("worker 3")),
        ];
        has_entered.recv()?;
        threads.push(scope.spawn(|| skip("nightly")));
        threads.push(scope.spawn(|| hurry("impatient")));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no worker panics"))
    })?;

    println!("\nEverybody who waited was in, one at a time.");
    Ok(())
}

fn connect(url: &str, name: &str) -> Result<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    diesel::sql_query("SELECT set_config('application_name', $1, false)")
        .bind::<Text, _>(name)
        .execute(&mut conn)?;
    Ok(conn)
}
