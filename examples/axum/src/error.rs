//! What can go wrong, and how it is answered.

use std::error::Error as StdError;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

/// Why a request was not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else has the seat.
    Taken,
    /// Too many want the same at the same time.
    Busy(diesel_advisory::Error),
    /// Something else is broken.
    Other(Box<dyn StdError + Send + Sync>),
}

impl Error {
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}

impl From<diesel_advisory::Error> for Error {
    fn from(error: diesel_advisory::Error) -> Self {
        if error.is_unavailable() {
            Self::Busy(error)
        } else {
            Self::other(error)
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        diesel_advisory::Error::from(error).into()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => (StatusCode::CONFLICT, "the seat is taken\n").into_response(),
            Self::Busy(error) => {
                eprintln!("busy: {error}");
                let retry_after = [(RETRY_AFTER, "1")];
                (StatusCode::SERVICE_UNAVAILABLE, retry_after, "try again\n").into_response()
            }
            Self::Other(error) => {
                eprintln!("error: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
