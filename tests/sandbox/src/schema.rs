//! The tables that the examples in the documentation work on.

diesel::table! {
    /// Accounting periods.
    books (id) {
        /// The period.
        id -> Integer,
        /// Whether it is closed.
        closed -> Bool,
    }
}

diesel::table! {
    /// Invoices.
    invoices (id) {
        /// The number.
        id -> Integer,
        /// Whether it is paid.
        paid -> Bool,
        /// Whether the customer was reminded.
        reminded -> Bool,
    }
}

/// Makes the tables for one connection.
pub const SET_UP: &str = "\
    CREATE TEMPORARY TABLE books (id int PRIMARY KEY, closed bool NOT NULL DEFAULT false); \
    CREATE TEMPORARY TABLE invoices (id int PRIMARY KEY, paid bool NOT NULL DEFAULT false, \
    reminded bool NOT NULL DEFAULT false); \
    INSERT INTO books VALUES (1); INSERT INTO invoices VALUES (7), (12), (42)";
