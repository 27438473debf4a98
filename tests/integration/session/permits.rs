//! Permits that many sessions want, some of which are killed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, AdvisoryGuard, Error};

use crate::support::*;

/// What is known of all sessions.
#[derive(Debug, Default)]
struct Room {
    alive: BTreeSet<i32>,
    killed: BTreeSet<i32>,
    /// Those that hold a permit and are alive.
    inside: BTreeSet<i32>,
    /// As many as were ever inside at once.
    most: usize,
    grants: usize,
}

impl Room {
    const GRANTS: usize = 600;
    const KILLS: usize = 25;

    fn is_over(&self) -> bool {
        let is_done = self.grants >= Self::GRANTS && self.killed.len() >= Self::KILLS;
        is_done || self.most > 3
    }

    fn enter(&mut self, pid: i32) {
        self.grants += 1;
        if !self.killed.contains(&pid) {
            self.inside.insert(pid);
            self.most = self.most.max(self.inside.len());
        }
    }

    fn leave(&mut self, pid: i32) {
        self.inside.remove(&pid);
    }

    /// Kills one of the sessions. It does not count any more before that.
    fn kill(&mut self, index: usize, conn: &mut PgConnection) {
        let Some(pid) = self.alive.iter().nth(index % self.alive.len().max(1)) else {
            return;
        };
        let pid = *pid;
        self.alive.remove(&pid);
        self.inside.remove(&pid);
        self.killed.insert(pid);
        execute(conn, &format!("SELECT pg_terminate_backend({pid})"));
    }
}

/// A session that wants a permit again and again, until it is killed.
fn live(name: &str, room: &Mutex<Room>) -> Result<(), Error> {
    let mut conn = connect();
    let pid = pid(&mut conn);
    room.lock().unwrap().alive.insert(pid);
    let mut round = 0;
    while !room.lock().unwrap().is_over() {
        round += 1;
        let lock = conn.advisory_session(name).permits(3);
        let lock = match round % 4 {
            0 => lock.no_wait(),
            1 => lock.timeout(Duration::from_millis(3)),
            _ => lock,
        };
        if let Some(held) = lock.try_acquire()? {
            visit(held, pid, room)?;
        }
    }
    Ok(())
}

fn visit(
    mut held: AdvisoryGuard<&mut PgConnection>,
    pid: i32,
    room: &Mutex<Room>,
) -> Result<(), Error> {
    room.lock().unwrap().enter(pid);
    let slept = diesel::sql_query("SELECT pg_sleep(0.002)").execute(&mut *held);
    room.lock().unwrap().leave(pid);
    slept?;
    held.release()
}

#[test]
fn never_more_than_three_of_three_permits_though_sessions_are_killed() {
    let (name, room) = (unique("permits.killed"), Mutex::new(Room::default()));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while !room.lock().unwrap().is_over() {
                    // It fails when the session is killed.
                    let _ = live(&name, &room);
                }
            });
        }
        let (mut conn, mut index) = (connect(), 0);
        while !room.lock().unwrap().is_over() {
            index += 7;
            room.lock().unwrap().kill(index, &mut conn);
            execute(&mut conn, "SELECT pg_sleep(0.02)");
        }
    });
    let room = room.into_inner().unwrap();
    assert_eq!(room.most, 3, "{room:?}");
    for number in 0..=3 {
        wait_until_free(permit(&name, number));
    }
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    const CLIENTS: usize = 12;

    let (name, served) = (unique("permits.order"), Mutex::new(Vec::new()));
    let mut holder = Holder::of(permit(&name, 1));
    holder.lock(permit(&name, 2));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (name, served) = (&name, &served);
            scope.spawn(move || {
                let mut conn = connect();
                let mut held = conn.advisory_session(name).permits(2).acquire().unwrap();
                served.lock().unwrap().push(client);
                execute(&mut held, "SELECT pg_sleep(0.02)");
                held.release().unwrap();
            });
            if client == 0 {
                wait_until("the first is at the gate", || {
                    connect().is_advisory_locked(gate(name)).unwrap()
                });
            } else {
                wait_until_queued(gate(name), i32::try_from(client).unwrap());
            }
        }
        drop(holder);
    });
    let served = served.into_inner().unwrap();
    assert_eq!(served.len(), CLIENTS);
    for (position, client) in served.iter().enumerate() {
        let before = served[..position].iter();
        let overtakers = before.filter(|other| *other > client).count();
        assert!(overtakers <= 2, "{served:?}");
    }
}
