//! What is told of a lock and who has to do with it, and where its name comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use diesel_advisory::inspect::{Lock, Names};
use diesel_advisory::{LockKey, catalog};
use diesel_async::AsyncPgConnection;

use super::others;
use crate::connect;
use crate::exit::Failure;
use crate::locks;

/// A lock that is held or waited for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// As `pg_locks` has it: `classid`, `objid` and `objsubid`.
    pub(crate) parts: (u32, u32, i16),
    pub(crate) name: Option<String>,
    pub(crate) shared: bool,
    pub(crate) granted: bool,
    pub(crate) who: Who,
    pub(crate) user: Option<String>,
    /// When the wait began, or the earliest time at which the lock can have been granted.
    pub(crate) since: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Who {
    Session(Session),
    /// A transaction that was prepared under this name.
    Prepared(Option<String>),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Session {
    pub(crate) pid: i32,
    pub(crate) application: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) waits_for: Vec<i32>,
    pub(crate) query: Option<String>,
    pub(crate) hidden: bool,
}

impl Entry {
    /// The key, unless only an extension can take such a lock.
    pub(crate) fn key(&self) -> Option<LockKey> {
        let (classid, objid, objsubid) = self.parts;
        LockKey::from_pg_locks(classid, objid, objsubid)
    }

    /// The key as text.
    pub(crate) fn key_text(&self) -> String {
        match (self.key(), self.parts) {
            (Some(LockKey::BigInt(key)), _) => key.to_string(),
            (Some(LockKey::Pair(first, second)), _) => format!("({first}, {second})"),
            (None, (classid, objid, objsubid)) => format!("{classid}/{objid}/{objsubid}"),
        }
    }

    /// What people call the lock.
    pub(crate) fn title(&self) -> String {
        match (&self.name, self.key()) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => self.key_text(),
            (None, None) => format!("{} (an extension's)", self.key_text()),
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.who {
            Who::Session(session) => Some(session),
            Who::Prepared(_) => None,
        }
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        self.session().map(|session| session.pid)
    }
}

/// All locks of the database: those of a key together, the ones that are held first.
pub(crate) async fn load(
    conn: &mut AsyncPgConnection,
    given: &[String],
) -> Result<Vec<Entry>, Failure> {
    let rows = locks::load(conn).await?;
    let mut entries: Vec<Entry> = rows
        .into_iter()
        // What prepared transactions hold comes with their names below.
        .filter_map(|row| Some(of_session(row.lock.pid?, row.lock, row.since)))
        .collect();
    entries.extend(others::load(conn).await?);
    // Without the catalog, or the right to read it, there are no names of it.
    let catalog = catalog::names_async(conn).await.unwrap_or_default();
    name(&mut entries, &catalog, given);
    entries.sort_by(|a, b| {
        let a = (a.title(), a.parts, !a.granted);
        a.cmp(&(b.title(), b.parts, !b.granted))
    });
    Ok(entries)
}

fn of_session(pid: i32, lock: Lock, since: Option<SystemTime>) -> Entry {
    let hidden = lock.is_hidden();
    Entry {
        parts: lock.key.to_pg_locks(),
        name: None,
        shared: lock.shared,
        granted: lock.granted,
        user: lock.user,
        since,
        who: Who::Session(Session {
            pid,
            application: lock.application,
            client: lock.client,
            state: lock.state,
            waits_for: lock.blocked_by,
            query: lock.query,
            hidden,
        }),
    }
}

/// Names locks: by the catalog, else by the names that were given, else by what sessions say of themselves.
fn name(entries: &mut [Entry], catalog: &Names, given: &[String]) {
    let mut known = BTreeMap::new();
    let sessions = entries.iter().filter_map(Entry::session);
    let said: BTreeSet<&str> = sessions.flat_map(labels).collect();
    for name in said {
        add(&mut known, name);
    }
    for name in given {
        add(&mut known, name);
    }
    for entry in entries {
        let Some(key) = entry.key() else { continue };
        entry.name = match catalog.of(key) {
            [] => known.get(&key).cloned(),
            _ => Some(catalog.display(key)),
        };
    }
}

/// A name of a lock, and those of its permits.
fn add(known: &mut BTreeMap<LockKey, String>, name: &str) {
    known.insert(LockKey::from_name(name), name.to_owned());
    for (number, key) in (1..).zip(locks::permits(name, locks::PERMITS)) {
        known.insert(key, format!("{name} (permit {number})"));
    }
    if let Some(gate) = locks::gate(name) {
        known.insert(gate, format!("{name} (gate)"));
    }
}

/// The names in the comment of a statement that waits, and in the name of a session of `pg-advisory run`. Only
/// a key tells whether it is the session's.
fn labels(session: &Session) -> Vec<&str> {
    let query = session.query.as_deref().unwrap_or_default();
    let comment = query
        .split_once("/* advisory lock ")
        .and_then(|(_, rest)| rest.split_once(" */"));
    let names = comment.map_or("", |(names, _)| names).split(' ');
    let application = session.application.as_deref();
    let own = application.and_then(connect::name_in_label);
    names.filter(|name| !name.is_empty()).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use diesel_advisory::LockKey;
    use diesel_advisory::inspect::Names;

    use super::{Entry, Session, Who, name};

    fn entry(key: LockKey, session: Session) -> Entry {
        Entry {
            parts: key.to_pg_locks(),
            name: None,
            shared: false,
            granted: true,
            who: Who::Session(session),
            user: None,
            since: None,
        }
    }

    fn named(key: LockKey, application: &str, query: &str) -> Option<String> {
        let session = Session {
            application: Some(application.into()),
            query: Some(query.into()),
            ..Session::default()
        };
        let mut entries = [entry(key, session)];
        let catalog = Names::from_iter(["of the catalog"]);
        name(
            &mut entries,
            &catalog,
            &[String::from("given"), String::from("of the catalog")],
        );
        entries[0].name.clone()
    }

    #[test]
    fn a_name_has_one_of_three_sources_and_fits_its_key() {
        let key = LockKey::from_name;
        assert_eq!(
            named(key("of the catalog"), "", "").as_deref(),
            Some("of the catalog")
        );
        assert_eq!(named(key("given"), "", "").as_deref(), Some("given"));
        assert_eq!(
            named(key("nightly"), "pg-advisory nightly", "").as_deref(),
            Some("nightly")
        );
        let comment = "SELECT 1; /* advisory lock a b */ SELECT 2";
        assert_eq!(named(key("b"), "", comment).as_deref(), Some("b"));
        let permit = named(key("render\0#2"), "pg-advisory render", "");
        assert_eq!(permit.as_deref(), Some("render (permit 2)"));
        assert_eq!(named(key("else"), "pg-advisory nightly", comment), None);
    }

    #[test]
    fn a_lock_of_an_extension_is_called_one() {
        let mut entry = entry(LockKey::BigInt(1), Session::default());
        assert_eq!(entry.title(), "1");
        entry.parts = (7, 8, 4);
        assert_eq!(entry.title(), "7/8/4 (an extension's)");
    }
}
