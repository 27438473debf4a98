//! `conn.advisory(…)`: a lock around a transaction of its own, or inside of an open one.

mod closures;
mod contention;
mod isolation;
mod lost;
mod pools;
