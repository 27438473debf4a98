//! `--json`: one object a line. `cli/README.md` documents the fields; none is renamed or taken away.

use serde::Serialize;

use super::entry::{Entry, Who};
use crate::text::timestamp;

#[derive(Serialize)]
struct Line<'a> {
    /// The name, if one is known.
    lock: Option<&'a str>,
    key: String,
    kind: &'static str,
    classid: u32,
    objid: u32,
    objsubid: i16,
    mode: &'static str,
    status: &'static str,
    holder: &'static str,
    since: Option<String>,
    pid: Option<i32>,
    prepared_transaction: Option<&'a str>,
    user: Option<&'a str>,
    application: Option<&'a str>,
    client: Option<&'a str>,
    state: Option<&'a str>,
    waits_for: &'a [i32],
    query: Option<&'a str>,
    hidden: bool,
}

pub(crate) fn lines(entries: &[Entry]) -> String {
    entries.iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let (classid, objid, objsubid) = entry.parts;
    let session = entry.session();
    let line = Line {
        lock: entry.name.as_deref(),
        key: entry.key_text(),
        kind: match objsubid {
            1 => "bigint",
            2 => "pair",
            _ => "extension",
        },
        classid,
        objid,
        objsubid,
        mode: if entry.shared { "shared" } else { "exclusive" },
        status: if entry.granted { "held" } else { "waiting" },
        holder: match entry.who {
            Who::Session(_) => "session",
            Who::Prepared(_) => "prepared transaction",
        },
        since: entry.since.map(timestamp),
        pid: entry.pid(),
        prepared_transaction: match &entry.who {
            Who::Session(_) => None,
            Who::Prepared(gid) => gid.as_deref(),
        },
        user: entry.user.as_deref(),
        application: session.and_then(|session| session.application.as_deref()),
        client: session.and_then(|session| session.client.as_deref()),
        state: session.and_then(|session| session.state.as_deref()),
        waits_for: session.map_or(&[], |session| &session.waits_for),
        query: session.and_then(|session| session.query.as_deref()),
        hidden: session.is_some_and(|session| session.hidden),
    };
    // Strings and numbers only, which cannot fail.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}
