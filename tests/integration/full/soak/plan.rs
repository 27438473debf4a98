//! What a client does next, at random.

use std::fmt::Write;
use std::time::Duration;

use crate::support::{Level, Wait};

/// How many locks there are: few, so that they are waited for.
pub(crate) const LOCKS: i32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Transaction,
    Xact,
    Session,
    /// A session lock by a guard, which is dropped or released.
    Guard,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scope: Scope,
    /// Of a transaction around the work.
    pub(crate) level: Option<Level>,
    pub(crate) wait: Wait,
    pub(crate) shared: bool,
    /// One, or two of them.
    pub(crate) locks: Vec<i32>,
    /// How long the work takes on the server.
    pub(crate) micros: u32,
    /// When the future is dropped, if it is one.
    pub(crate) patience: Option<Duration>,
    pub(crate) released: bool,
}

impl Plan {
    pub(crate) fn next(random: &mut fastrand::Rng) -> Self {
        let scopes = [
            Scope::Transaction,
            Scope::Xact,
            Scope::Session,
            Scope::Guard,
        ];
        let wait = match random.u32(0..4) {
            0 => Wait::No,
            1 => Wait::Forever,
            _ => Wait::AtMost(Duration::from_millis(random.u64(1..30))),
        };
        let mut locks: Vec<_> = (0..random.usize(1..3))
            .map(|_| random.i32(0..LOCKS))
            .collect();
        locks.dedup();
        Self {
            scope: random.choice(scopes).unwrap_or(Scope::Transaction),
            level: random.bool().then_some(Level::RepeatableRead),
            wait,
            shared: random.u32(0..4) == 0,
            locks,
            micros: random.u32(0..2000),
            patience: (random.u32(0..8) == 0).then(|| Duration::from_micros(random.u64(0..10_000))),
            released: random.bool(),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.locks.iter().map(|lock| format!("soak:{lock}"))
    }

    fn ids(&self) -> String {
        let ids: Vec<_> = self.locks.iter().map(ToString::to_string).collect();
        ids.join(", ")
    }

    /// Reads what the locks guard, without locking it, and then takes its time.
    pub(crate) fn read(&self) -> String {
        format!(
            "SELECT id, value, began FROM (SELECT id, value, clock_timestamp()::text AS began \
             FROM counters WHERE id IN ({}) ORDER BY id) AS guarded, \
             LATERAL (SELECT pg_sleep({} * 1e-6) WHERE began IS NOT NULL OFFSET 0) AS worked",
            self.ids(),
            self.micros,
        )
    }

    /// Writes what follows from that, and when it was so.
    pub(crate) fn write(&self, read: &[(i32, i32, String)]) -> String {
        let mut values = String::new();
        for (id, value, began) in read {
            let comma = if values.is_empty() { "" } else { ", " };
            let _ = write!(values, "{comma}({id}, {value}, timestamptz '{began}')");
        }
        let step = i32::from(!self.shared);
        // What was shared has to be as it was.
        format!(
            "WITH read (id, value, began) AS (VALUES {values}), \
             changed AS (UPDATE counters SET value = read.value + 1 FROM read \
                 WHERE counters.id = read.id AND {step} = 1), \
             same AS (SELECT count(*) AS count FROM counters JOIN read USING (id, value)) \
             INSERT INTO intervals \
             SELECT id, {step} = 1, same.count = {}, began, clock_timestamp() FROM read, same",
            read.len(),
        )
    }
}
