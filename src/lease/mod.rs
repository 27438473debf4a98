//! Leases: session locks that are kept alive, and know when they are lost.
//!
//! The [clock](clock::Clock) is a state machine without I/O. The faces ask the questions.

pub(crate) mod clock;
pub(crate) mod handle;
pub(crate) mod keeping;
pub(crate) mod leader;
pub(crate) mod options;
pub(crate) mod shutdown;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
