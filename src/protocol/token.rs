//! Fencing tokens.

use diesel::result::Error as DieselError;

use super::link::Link;
use crate::error::Error;
use crate::lock::token::FencingToken;
use crate::sql::answer::{Releasing, Taking};
use crate::sql::release::HeldLocks;
use crate::sql::token::{NO_RIGHT, TokenRow, check_before_token, give_token, may_be_given};

/// Gives a token to the session that holds the locks.
///
/// # Errors
///
/// - [`Error::InTransaction`], [`Error::Standby`] and [`Error::NotHeld`].
/// - [`Error::NoToken`] if the role may not call what makes one.
pub(crate) async fn token<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<FencingToken, Error> {
    if link.transaction_depth()?.is_some() {
        return Err(Error::InTransaction);
    }
    if let Err(error) = link.batch(&check_before_token(locks)).await {
        return Err(match Releasing::of_error(&error) {
            Some(Releasing::InTransaction) => Error::InTransaction,
            Some(Releasing::NotHeld) => Error::NotHeld,
            _ if Taking::of_error(&error) == Some(Taking::Standby) => Error::Standby,
            _ => error.into(),
        });
    }
    match give(link).await {
        Ok(token) => Ok(token),
        // It may be the right that is missing, which the error says in the server's language only.
        Err(error) => match may(link).await {
            Ok(false) => Err(Error::NoToken(NO_RIGHT)),
            _ => Err(error),
        },
    }
}

/// Gives a token to a session that has just taken its locks outside of a transaction, or says why there is
/// none.
///
/// # Errors
///
/// [`Error::Database`] if it fails for another reason than that.
pub(crate) async fn token_or_reason<L: Link>(
    link: &mut L,
) -> Result<Result<FencingToken, &'static str>, Error> {
    if !may(link).await? {
        return Ok(Err(NO_RIGHT));
    }
    give(link).await.map(Ok)
}

async fn may<L: Link>(link: &mut L) -> Result<bool, Error> {
    Ok(link.look(may_be_given()).await?.trim() == "1")
}

async fn give<L: Link>(link: &mut L) -> Result<FencingToken, Error> {
    let rows = link.rows::<TokenRow>(give_token()).await?;
    let token = rows.first().and_then(TokenRow::token);
    token.ok_or_else(|| DieselError::NotFound.into())
}
