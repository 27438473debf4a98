//! What takes minutes: `script/test --full` runs it. Every test begins with a look at
//! [`is_full_run`](diesel_advisory_sandbox::is_full_run), and is skipped in other runs.

mod faults;
mod permits;
mod soak;
