//! Locks of sessions that the server ends when they are silent.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::attempt::Attempt;
use super::link::Link;
use super::{check_names, end_session, session};
use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lock::request::Request;
use crate::sql::answer::Taking;
use crate::sql::lease::{Different, LeaseSettings};
use crate::sql::release::HeldLocks;

/// Takes the locks for a session that has a time to live.
///
/// # Errors
///
/// The same as [`session::acquire`]. Then nothing is held, and the session has the settings that it had, or
/// it has been ended.
pub(crate) async fn acquire<'a, L: Link>(
    link: &mut L,
    mut request: Request<'a>,
    settings: &LeaseSettings,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    // The lock of a standby would survive its promotion beside that of the old primary.
    request.on_standby = false;
    if link.transaction_depth()?.is_some() {
        return Err(Error::InTransaction);
    }
    check_names(&request)?;
    if let Err(error) = link.batch(&settings.set()).await {
        return Err(match Taking::of_error(&error) {
            Some(Taking::InTransaction) => Error::InTransaction,
            Some(Taking::Standby) => Error::Standby,
            Some(Taking::SharedSession) => Error::SharedSession,
            _ => error.into(),
        });
    }
    let attempt = session::acquire_once(link, request).await;
    if !matches!(attempt, Ok(Attempt::Granted(_))) {
        put_back(link, settings).await;
    }
    attempt
}

/// Asks whether the session is still that of the lease.
pub(crate) async fn ask<L: Link>(link: &mut L, settings: &LeaseSettings) -> Result<(), HowLost> {
    let Err(error) = link.batch(&settings.question()).await else {
        return Ok(());
    };
    Err(match (Different::of_error(&error), error) {
        (Some(Different::Mark), _) => HowLost::Mark,
        (Some(Different::Timeout), _) => HowLost::Setting,
        (None, DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)) => {
            HowLost::Connection
        }
        (None, DieselError::DatabaseError(..)) => HowLost::Answer,
        (None, _) => HowLost::Connection,
    })
}

/// Releases the locks, and gives the session the settings that it had.
///
/// # Errors
///
/// The same as [`session::release`].
pub(crate) async fn finish<L: Link>(
    link: &mut L,
    locks: &HeldLocks,
    settings: &LeaseSettings,
) -> Result<(), Error> {
    let released = session::release_once(link, locks).await;
    put_back(link, settings).await;
    released
}

/// A session whose settings cannot be put back is ended: in a pool, it would be one that ends by itself.
async fn put_back<L: Link>(link: &mut L, settings: &LeaseSettings) {
    if link.batch(&settings.put_back()).await.is_err() {
        end_session(link).await;
    }
}
