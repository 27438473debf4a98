//! What is asked for a lease, and what its clock hears of it.

use super::handle::Lease;
use crate::error::Error;
use crate::protocol::lease;
use crate::protocol::link::Link;
use crate::protocol::token::token_or_reason;
use crate::sql::lease::LeaseSettings;

/// Begins a lease whose lock has been granted: gives it its token, and lets its time begin with a question that
/// is sent now. The request that was granted may have waited for long.
///
/// # Errors
///
/// [`Error::Lost`], or what the token fails with. The lock is still held then, as far as anybody knows.
pub(crate) async fn begin<L: Link>(
    link: &mut L,
    lease: &Lease,
    settings: &LeaseSettings,
) -> Result<(), Error> {
    lease.set_token(token_or_reason(link).await?);
    ask(link, lease, settings).await;
    lease.check_not_lost()
}

/// Asks a question, unless the lease is lost.
pub(crate) async fn ask<L: Link>(link: &mut L, lease: &Lease, settings: &LeaseSettings) {
    lease.asked();
    match lease::ask(link, settings).await {
        Ok(()) => lease.answered(),
        Err(how) => lease.found(how),
    }
}
