//! The lock catalog.

mod install;
mod names;
mod view;

use diesel::prelude::*;
use diesel_advisory::catalog;

use crate::support::*;

/// A connection to a database of one's own that has the catalog.
fn installed() -> (String, PgConnection) {
    let url = database();
    let mut conn = connect_to(&url);
    catalog::install(&mut conn).unwrap();
    (url, conn)
}
