//! The languages in which the server speaks.

use diesel::prelude::*;

use super::{connect, skip};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
}

impl Language {
    /// Those that the server knows.
    pub(crate) fn all() -> Vec<Self> {
        let mut conn = connect();
        let is_set = diesel::sql_query(Self::German.set()).execute(&mut conn);
        let error = diesel::sql_query("SELECT 1 / 0").execute(&mut conn);
        let speaks_german =
            is_set.is_ok() && error.unwrap_err().to_string() == "Division durch Null";
        if !speaks_german {
            skip("the server does not speak German");
            return vec![Self::English];
        }
        vec![Self::English, Self::German]
    }

    /// The statement that has the server speak so to a session.
    pub(crate) fn set(self) -> &'static str {
        match self {
            Self::English => "SET lc_messages = 'C'",
            Self::German => "SET lc_messages = 'de_DE.UTF-8'",
        }
    }
}
