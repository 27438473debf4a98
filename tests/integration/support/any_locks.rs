//! Locks of all kinds, at random.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Oid, SmallInt, Text};
use diesel_advisory::{LockId, LockKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Level, PATIENCE, Wait};

/// As `pg_locks` shows it.
pub(crate) type Key = (u32, u32, i16);

#[diesel::declare_sql_function]
extern "SQL" {
    fn hashtext(text: Text) -> Integer;
    fn hashtextextended(text: Text, seed: BigInt) -> BigInt;
}

/// Locks that are asked for together, and how.
#[derive(Debug, Clone)]
pub(crate) struct AnyLocks {
    pub(crate) ids: Vec<LockId<'static>>,
    /// What the server has to hold then.
    pub(crate) keys: Vec<Key>,
    /// Names that are not harmless in a comment.
    pub(crate) hidden: Vec<String>,
    pub(crate) wait: Wait,
    pub(crate) shared: bool,
    pub(crate) level: Option<Level>,
    pub(crate) standard_strings: bool,
}

#[derive(Debug, Clone)]
enum Id {
    Name(String),
    Number(i64),
    Pair(i32, i32),
    HashText(String, String),
    HashTextExtended(String),
}

/// Texts with what could end a literal, a comment or a statement.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'"),
        Just("''"),
        Just("\\"),
        Just("\\'"),
        Just("*/"),
        Just("/*"),
        Just("--"),
        Just("$$"),
        Just("$1"),
        Just("\""),
        Just(";"),
        Just("\n"),
        Just("\r"),
        Just("\t"),
        Just("%"),
        Just("{}"),
        Just(":x"),
        Just("é"),
        Just("🔒"),
        Just("\u{202e}"),
        Just("\u{feff}"),
        Just("COMMIT"),
    ];
    let pieces = vec(piece, 1..8).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, "[^\0]{1,40}"]
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        3 => text().prop_map(Id::Name),
        // The server never sees it, so that any text will do.
        1 => ".{1,20}".prop_map(|name| Id::Name(format!("{name}\0"))),
        2 => any::<i64>().prop_map(Id::Number),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1)].prop_map(Id::Number),
        2 => any::<(i32, i32)>().prop_map(|(first, second)| Id::Pair(first, second)),
        1 => Just(Id::Pair(i32::MIN, i32::MIN)),
        2 => (text(), text()).prop_map(|(namespace, text)| Id::HashText(namespace, text)),
        2 => text().prop_map(Id::HashTextExtended),
    ]
}

impl AnyLocks {
    /// So many of them. The server that `conn` leads to tells what it hashes a text to.
    pub(crate) fn some(cases: usize, conn: &mut PgConnection) -> Vec<Self> {
        let wait = prop_oneof![
            Just(Wait::Inherit),
            Just(Wait::Forever),
            Just(Wait::No),
            Just(Wait::AtMost(PATIENCE)),
            (1_u64..1_000_000)
                .prop_map(|more| Wait::AtMost(PATIENCE + Duration::from_micros(more))),
        ];
        let level = prop_oneof![
            Just(None),
            Just(Some(Level::ReadCommitted)),
            Just(Some(Level::RepeatableRead)),
            Just(Some(Level::Serializable)),
        ];
        let case = (vec(id(), 1..5), wait, any::<bool>(), level, any::<bool>());
        let mut runner = TestRunner::default();
        let new = || {
            let (ids, wait, shared, level, standard_strings) =
                case.new_tree(&mut runner).unwrap().current();
            let hidden = ids.iter().filter_map(Id::hidden).collect();
            let mut keys: Vec<_> = ids.iter().map(|id| id.key(conn).to_pg_locks()).collect();
            keys.sort_unstable();
            keys.dedup();
            Self {
                keys,
                ids: ids.into_iter().map(Id::into_lock_id).collect(),
                hidden,
                wait,
                shared,
                level,
                standard_strings,
            }
        };
        std::iter::repeat_with(new).take(cases).collect()
    }
}

impl Id {
    fn into_lock_id(self) -> LockId<'static> {
        match self {
            Self::Name(name) => LockId::from(name),
            Self::Number(number) => LockId::from(number),
            Self::Pair(first, second) => LockId::from((first, second)),
            Self::HashText(namespace, text) => LockId::hashtext_pair(namespace, text),
            Self::HashTextExtended(text) => LockId::hashtextextended(text),
        }
    }

    fn key(&self, conn: &mut PgConnection) -> LockKey {
        match self {
            Self::Name(name) => LockKey::from_name(name),
            Self::Number(number) => LockKey::BigInt(*number),
            Self::Pair(first, second) => LockKey::Pair(*first, *second),
            Self::HashText(namespace, text) => {
                let query = diesel::select((hashtext(namespace), hashtext(text)));
                let (first, second) = query.get_result(conn).unwrap();
                LockKey::Pair(first, second)
            }
            Self::HashTextExtended(text) => {
                let query = diesel::select(hashtextextended(text, 0));
                LockKey::BigInt(query.get_result(conn).unwrap())
            }
        }
    }

    /// The name, if no statement of this crate can hold it by chance.
    fn hidden(&self) -> Option<String> {
        match self {
            Self::Name(name) if !name.is_ascii() || name.contains('\0') => Some(name.clone()),
            _ => None,
        }
    }
}

/// The advisory locks that the session holds.
pub(crate) fn keys_of(pid: i32, observer: &mut PgConnection) -> Vec<Key> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        classid: u32,
        #[diesel(sql_type = Oid)]
        objid: u32,
        #[diesel(sql_type = SmallInt)]
        objsubid: i16,
    }
    let query = diesel::sql_query(format!(
        "SELECT DISTINCT classid, objid, objsubid FROM pg_locks \
         WHERE locktype = 'advisory' AND pid = {pid} ORDER BY classid, objid, objsubid"
    ));
    let rows = query.load::<Row>(observer).unwrap();
    rows.iter()
        .map(|row| (row.classid, row.objid, row.objsubid))
        .collect()
}
