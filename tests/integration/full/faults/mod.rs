//! Faults, each at every moment, in every scope and in both colours: what the caller sees, when the
//! lock is free again, and that nothing is done by halves.

#![allow(
    clippy::duplicate_mod,
    reason = "the client is compiled for both kinds"
)]

mod client;
mod expected;
mod stage;
mod strike;
mod task;
mod trial;

#[path = "."]
mod asynchronous {
    pub(crate) mod victim;

    use crate::scenarios::asynchronous::side;
}

#[path = "."]
mod blocking {
    pub(crate) mod victim;

    use crate::scenarios::blocking::side;
}

use client::Colour;
use diesel_advisory_sandbox::is_full_run;
use stage::Stage;
use task::Scope;
use trial::Trial;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `pg_terminate_backend`.
    Terminate,
    /// `pg_cancel_backend`.
    Cancel,
    /// A backend is killed, and the server recovers.
    Crash,
    /// The server is stopped at once, and started again.
    Restart,
    /// The server is lost, and its standby takes its place.
    Promotion,
    /// The client is killed.
    Client,
    /// The network swallows everything, until the client gives up.
    Swallowed,
    IdleInTransaction,
    IdleSession,
    StatementTimeout,
    TransactionTimeout,
    /// The server's table of locks is full.
    LockTable,
    /// The server lets nobody in.
    Connections,
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the lock is asked for.
    Asking,
    /// While another session has the lock.
    Waiting,
    /// Halfway through the work.
    Holding,
    /// While the commit, or the release, is on its way to the server.
    Ending,
    /// While the server is at the commit.
    Committing,
}

fn check(fault: Fault, moment: Moment) {
    if !is_full_run() {
        return;
    }
    let mut stage = Stage::new(fault);
    let waits = if matches!(moment, Moment::Asking | Moment::Waiting) {
        &[false, true][..]
    } else {
        &[false]
    };
    for &timed in waits {
        for scope in Scope::ALL {
            for colour in Colour::ALL {
                if stage.is_spent() {
                    stage = Stage::new(fault);
                }
                let trial = Trial {
                    fault,
                    moment,
                    scope,
                    colour,
                    timed,
                };
                let finding = trial.run(&stage);
                eprintln!("{trial:?}: {finding:?}");
                trial.assert_expected(&finding);
            }
        }
    }
}

macro_rules! faults {
    ($($name:ident: $fault:ident;)+) => {$(
        mod $name {
            use super::{Fault, Moment, check};

            #[test]
            fn while_asking() {
                check(Fault::$fault, Moment::Asking);
            }

            #[test]
            fn while_waiting() {
                check(Fault::$fault, Moment::Waiting);
            }

            #[test]
            fn while_holding() {
                check(Fault::$fault, Moment::Holding);
            }

            #[test]
            fn on_the_way_to_the_end() {
                check(Fault::$fault, Moment::Ending);
            }

            #[test]
            fn at_commit() {
                check(Fault::$fault, Moment::Committing);
            }
        }
    )+};
}

faults! {
    terminated: Terminate;
    cancelled: Cancel;
    crashed: Crash;
    restarted: Restart;
    promoted: Promotion;
    killed: Client;
    swallowed: Swallowed;
    idle_in_transaction: IdleInTransaction;
    idle_session: IdleSession;
    long_statement: StatementTimeout;
    long_transaction: TransactionTimeout;
    no_locks_left: LockTable;
    no_connections_left: Connections;
}
