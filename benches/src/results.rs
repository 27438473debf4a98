//! What was measured.

use serde::{Deserialize, Serialize};

use crate::cases::{Client, Operation, Who};
use crate::workloads::Workload;

/// What one row was measured as. A run is a list of these, one JSON object a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) id: Id,
    /// Seconds, for each round. Rows of the same part can be compared round by round.
    pub(crate) rounds: Vec<f64>,
    /// Where it was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) growth: Option<Growth>,
}

/// What the session has kept of all the locks that it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) prepared_statements: i64,
    pub(crate) bytes: i64,
}

impl Measured {
    pub(crate) fn of((id, rounds): (Id, Vec<f64>)) -> Self {
        Self {
            id,
            rounds,
            growth: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Id {
    pub(crate) workload: Workload,
    pub(crate) part: Part,
    pub(crate) client: Client,
    pub(crate) operation: Operation,
    pub(crate) who: Who,
}

/// What is measured in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    All,
    Clients(usize),
    Locks(usize),
    OneName,
    NewNames,
}

/// The middle of many values, and between what half of them lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Self {
            low: at(1),
            median: at(2),
            high: at(3),
        }
    }

    /// How many times the other, round by round.
    pub(crate) fn ratio(these: &[f64], others: &[f64]) -> Self {
        Self::of(these.iter().zip(others).map(|(this, other)| this / other))
    }
}

impl Id {
    /// What it is compared with.
    pub(crate) fn floor(&self) -> Self {
        Self {
            operation: self.operation.floor(),
            who: Who::Floor,
            ..self.clone()
        }
    }
}

/// The row with that id.
pub(crate) fn find<'a>(results: &'a [Measured], id: &Id) -> Option<&'a Measured> {
    results.iter().find(|measured| measured.id == *id)
}
