//! Tokens never go back, whatever becomes of the server.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, FencingToken};
use diesel_advisory_sandbox::{Direction, Sandbox};

use crate::support::{self, *};

fn token(conn: &mut PgConnection) -> Result<FencingToken, Error> {
    let mut held = conn.advisory_session("tokens").acquire()?;
    let token = held.fencing_token()?;
    held.release()?;
    Ok(token)
}

#[track_caller]
fn assert_forward(url: &str, last: &mut FencingToken, what: &str) {
    let next = token(&mut support::connect_to(url)).unwrap();
    assert!(next > *last, "{what}: {next} after {last}");
    *last = next;
}

/// Nobody waits for the disk here but who asks for a token. So what was given last is at risk the most.
#[test]
fn they_go_forward_after_crashes_in_the_middle_of_writes() {
    const CRASHES: usize = 6;
    const WRITERS: usize = 3;

    let server = Sandbox::builder()
        .setting("synchronous_commit", "off")
        .setting("wal_writer_delay", "10s")
        .start()
        .unwrap();
    execute(
        &mut connect_to(server.url()),
        "CREATE TABLE written (value text)",
    );
    let mut given = 0;
    for crash in 0..CRASHES {
        let largest = Mutex::new(None);
        let counted = std::sync::atomic::AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        // One that connects late would meet the crash in the middle of that.
        let writers = [(); WRITERS].map(|()| connect_to(server.url()));
        std::thread::scope(|scope| {
            for mut conn in writers {
                let (largest, counted, is_over) = (&largest, &counted, &is_over);
                scope.spawn(move || {
                    while let Ok(token) = token(&mut conn) {
                        let mut largest = largest.lock().unwrap();
                        *largest = (*largest).max(Some(token));
                        drop(largest);
                        counted.fetch_add(1, Ordering::Relaxed);
                        let sql = format!("INSERT INTO written VALUES ('{token}')");
                        let _ = diesel::sql_query(sql).execute(&mut conn);
                    }
                    is_over.store(true, Ordering::SeqCst);
                });
            }
            wait_until("tokens are given", || {
                counted.load(Ordering::Relaxed) >= 30 * (crash + 1)
            });
            assert!(!is_over.load(Ordering::SeqCst));
            if crash % 2 == 0 {
                server.crash().unwrap();
            } else {
                server.stop_immediately().unwrap();
            }
        });
        given += counted.into_inner();
        server.start_again().unwrap();
        let mut largest = largest.into_inner().unwrap().unwrap();
        assert_forward(server.url(), &mut largest, "a crash");
    }
    assert!(given >= WRITERS * CRASHES);
}

/// The standby knows nothing of the last tokens, whose positions it writes once more.
#[test]
fn they_go_forward_on_a_promoted_standby_that_lagged_behind() {
    let primary = Sandbox::start().unwrap();
    let proxy = primary.proxy();
    let standby = primary.standby().through(&proxy).start().unwrap();
    let mut last = token(&mut connect_to(primary.url())).unwrap();
    proxy.swallow(Direction::Both);
    for _ in 0..100 {
        assert_forward(primary.url(), &mut last, "the primary");
    }
    primary.crash().unwrap();
    standby.promote().unwrap();
    for _ in 0..3 {
        assert_forward(standby.url(), &mut last, "the standby");
    }
}

/// The message is flushed by the server itself, not by a standby that is away.
#[test]
fn they_do_not_wait_for_a_synchronous_standby_that_is_away() {
    let server = Sandbox::builder()
        .setting("synchronous_standby_names", "nobody")
        .setting("synchronous_commit", "on")
        .start()
        .unwrap();
    let mut conn = connect_to(server.url());
    let first = token(&mut conn).unwrap();
    assert!(token(&mut conn).unwrap() > first);
}

/// What takes minutes.
mod full {
    use diesel_advisory_sandbox::is_full_run;

    use super::*;

    #[test]
    fn they_go_forward_after_an_upgrade() {
        if !is_full_run() {
            return;
        }
        let mut server = Sandbox::builder().version(15).start().unwrap();
        let mut last = token(&mut connect_to(server.url())).unwrap();
        server.upgrade(18).unwrap();
        assert_forward(server.url(), &mut last, "the upgrade");
    }
}
