//! Under what circumstances the cases are measured.

mod crowd;
mod latency;
mod names;
mod sets;

use clap::ValueEnum;
use diesel_advisory_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::results::Measured;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Workload {
    /// A lock that is free, client and server on one core.
    Latency,
    /// A lock that is free, over a network with a round trip of 1 ms.
    Network,
    /// Many clients that want the same lock.
    Hot,
    /// Many clients, each with a lock of its own.
    Own,
    /// Many locks at once.
    Sets,
    /// Many names, each once.
    Names,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [
        Self::Latency,
        Self::Network,
        Self::Hot,
        Self::Own,
        Self::Sets,
        Self::Names,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Latency => "A free lock",
            Self::Network => "A free lock over a network",
            Self::Hot => "One hot lock",
            Self::Own => "A lock for each client",
            Self::Sets => "Many locks at once",
            Self::Names => "Many names",
        }
    }

    /// As it is written on the command line.
    pub(crate) fn argument(self) -> String {
        let value = self.to_possible_value().expect("none is hidden");
        value.get_name().to_owned()
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Latency => {
                "The time to take and end a lock that nobody else wants. Client and server share one \
                 core,\nso that the scheduler does not decide."
            }
            Self::Network => {
                "The same through a proxy that adds half a millisecond each way: what counts are the \
                 round trips."
            }
            Self::Hot => {
                "How often in a second a lock that all clients want goes from one to the next, and \
                 which part that is\nof what plain SQL reaches. On all cores."
            }
            Self::Own => {
                "How many locks all clients together take and end in a second, each client its own, \
                 and which part that\nis of what plain SQL reaches. On all cores."
            }
            Self::Sets => {
                "Sets of locks, all or none, in one round trip. Plain SQL takes them by \
                 `FROM unnest(…)`, in the order of\ntheir keys; by hand there is a statement for each. \
                 On one core."
            }
            Self::Names => {
                "100,000 names, each used once, beside one name that is used as often. Nothing may \
                 pile up on their\naccount, on the client or on the server. On one core."
            }
        }
    }

    /// Whether client and server share one core, so that the scheduler does not decide.
    pub(crate) fn is_on_one_core(self) -> bool {
        !matches!(self, Self::Hot | Self::Own)
    }

    /// Measures it on a server of its own.
    pub(crate) fn measure(self, quick: bool) -> Vec<Measured> {
        let sandbox = Sandbox::builder()
            .setting("max_connections", "600")
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        match self {
            Self::Latency => latency::latency(&sandbox, quick),
            Self::Network => latency::network(&sandbox, quick),
            Self::Hot | Self::Own => crowd::measure(self, &sandbox, quick),
            Self::Sets => sets::measure(&sandbox, quick),
            Self::Names => names::measure(&sandbox, quick),
        }
    }
}
