//! A future that is dropped, at whatever point, leaves nothing behind.

mod actions;
mod closures;
mod connections;
mod every_point;
mod guards;
mod inner;
mod looks;
mod polls;
mod roles;
mod runs;
mod transactions;
mod waits;
mod ways;
mod witness;
