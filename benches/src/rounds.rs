//! Rows that are measured in turns, so that whatever the machine does meanwhile meets all of them.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

/// Something to measure.
pub(crate) struct Row<'a, Id> {
    pub(crate) id: Id,
    /// Does it some times, and gives what one time costs, in seconds.
    pub(crate) run: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a, Id> Row<'a, Id> {
    pub(crate) fn new(id: Id, run: impl FnMut() -> f64 + 'a) -> Self {
        let run = Box::new(run);
        Self { id, run }
    }
}

/// The median of what single calls took, in seconds. It does not see a call that was interrupted.
pub(crate) fn median(calls: impl IntoIterator<Item = Duration>) -> f64 {
    let mut calls: Vec<Duration> = calls.into_iter().collect();
    calls.sort();
    calls[calls.len() / 2].as_secs_f64()
}

/// Runs all rows in every round, and gives what was measured in each round. The order changes from
/// round to round, so that no row has always the same one before it.
pub(crate) fn interleave<Id>(mut rows: Vec<Row<'_, Id>>, rounds: usize) -> Vec<(Id, Vec<f64>)> {
    let mut measured = vec![Vec::with_capacity(rounds); rows.len()];
    // One round more, which fills caches.
    for round in 0..=rounds {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.rotate_left(round % rows.len());
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let seconds = (rows[index].run)();
            if round > 0 {
                measured[index].push(seconds);
            }
        }
        show_progress(round, rounds);
    }
    rows.into_iter().map(|row| row.id).zip(measured).collect()
}

fn show_progress(round: usize, rounds: usize) {
    let mut stderr = stderr();
    if stderr.is_terminal() {
        let end = if round == rounds { '\r' } else { ' ' };
        let _ = write!(stderr, "\r{round} of {rounds} rounds{end}");
    }
}
