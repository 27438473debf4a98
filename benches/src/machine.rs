//! Where and with what it was measured.

use std::fs;
use std::thread;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_advisory_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::cases::blocking;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) server: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        #[derive(QueryableByName)]
        struct Version {
            #[diesel(sql_type = Text)]
            server_version: String,
        }

        let sandbox = Sandbox::start().unwrap_or_else(|error| panic!("{error}"));
        let conn = &mut blocking::connect(sandbox.url());
        let version: QueryResult<Version> = sql_query("SHOW server_version").get_result(conn);
        Self {
            processor: processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: thread::available_parallelism().map_or(1, Into::into),
            server: version.expect("the server's version").server_version,
        }
    }
}

fn processor() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The version of a crate that this program was built with.
pub(crate) fn crate_version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let package = format!("name = \"{name}\"\nversion = \"");
    version_after(lock, &package, '"')
}

/// The version of a Python package that its environment is made with.
pub(crate) fn python_version(name: &str) -> &'static str {
    let requirements = include_str!("../../tests/django/requirements.txt");
    version_after(requirements, &format!("{name}=="), '\n')
}

fn version_after(text: &'static str, before: &str, end: char) -> &'static str {
    let version = text.split_once(before).map_or("", |(_, after)| after);
    version.split(end).next().unwrap_or_default()
}
