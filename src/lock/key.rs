//! What PostgreSQL sees of a lock: one `bigint`, or two `int`s.

use std::fmt;

/// The key of an advisory lock, as PostgreSQL sees it.
///
/// The two forms are separate key spaces: a [`BigInt`](LockKey::BigInt) lock and a
/// [`Pair`](LockKey::Pair) lock never conflict, whatever their bits
/// (see [Advisory Lock Functions]).
///
/// Keys are ordered, and a set of locks is always taken in this order, so that two sessions that
/// need the same locks cannot wait for each other in a circle.
///
/// [Advisory Lock Functions]: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKey {
    /// A single 64-bit key: `pg_advisory_lock(key bigint)`.
    BigInt(i64),
    /// Two 32-bit keys: `pg_advisory_lock(key1 integer, key2 integer)`.
    Pair(i32, i32),
}

/// `pg_locks.objsubid` of a single 64-bit key.
const BIGINT_OBJSUBID: i16 = 1;
/// `pg_locks.objsubid` of a pair of 32-bit keys.
const PAIR_OBJSUBID: i16 = 2;

impl LockKey {
    /// Derives the key of a named lock: the first 8 bytes of `blake3(name)`, big endian.
    ///
    /// This derivation is a wire format. It is the same on every machine and in every release of
    /// this crate, so that old and new processes exclude each other during a deployment. The first
    /// 16 hex digits that `b3sum` prints for the name are the key in hex.
    ///
    /// ```
    /// use diesel_advisory::LockKey;
    ///
    /// // $ printf billing.close_month | b3sum
    /// // 027c0ceba37744a7…
    /// let key = LockKey::from_name("billing.close_month");
    /// assert_eq!(key, LockKey::BigInt(0x027c_0ceb_a377_44a7));
    /// assert_eq!(key.to_pg_locks(), (0x027c_0ceb, 0xa377_44a7, 1));
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Self::BigInt(i64::from_be_bytes(first))
    }

    /// Returns `(classid, objid, objsubid)`, exactly as the view [`pg_locks`] shows this key.
    ///
    /// `classid` and `objid` are of type `oid` there, so they are unsigned: a key whose upper bit
    /// is set shows as a large number, not as a negative one. `objsubid` is 1 for a
    /// [`BigInt`](LockKey::BigInt) and 2 for a [`Pair`](LockKey::Pair).
    ///
    /// ```
    /// use diesel_advisory::LockKey;
    ///
    /// assert_eq!(LockKey::BigInt(42).to_pg_locks(), (0, 42, 1));
    /// assert_eq!(LockKey::Pair(-1, 7).to_pg_locks(), (4_294_967_295, 7, 2));
    /// ```
    ///
    /// [`pg_locks`]: https://www.postgresql.org/docs/current/view-pg-locks.html
    #[must_use]
    #[expect(clippy::many_single_char_names, reason = "they are bytes")]
    pub const fn to_pg_locks(self) -> (u32, u32, i16) {
        match self {
            Self::BigInt(key) => {
                let [a, b, c, d, e, f, g, h] = key.to_be_bytes();
                (
                    u32::from_be_bytes([a, b, c, d]),
                    u32::from_be_bytes([e, f, g, h]),
                    BIGINT_OBJSUBID,
                )
            }
            Self::Pair(first, second) => (
                u32::from_be_bytes(first.to_be_bytes()),
                u32::from_be_bytes(second.to_be_bytes()),
                PAIR_OBJSUBID,
            ),
        }
    }

    /// Reads a key back from the columns `(classid, objid, objsubid)` of [`pg_locks`].
    ///
    /// Returns `None` for an `objsubid` that no advisory lock has.
    ///
    /// ```
    /// use diesel_advisory::LockKey;
    ///
    /// let (classid, objid, objsubid) = LockKey::BigInt(-3).to_pg_locks();
    /// let key = LockKey::from_pg_locks(classid, objid, objsubid);
    /// assert_eq!(key, Some(LockKey::BigInt(-3)));
    /// ```
    ///
    /// [`pg_locks`]: https://www.postgresql.org/docs/current/view-pg-locks.html
    #[must_use]
    #[expect(clippy::many_single_char_names, reason = "they are bytes")]
    pub const fn from_pg_locks(classid: u32, objid: u32, objsubid: i16) -> Option<Self> {
        match objsubid {
            BIGINT_OBJSUBID => {
                let [a, b, c, d] = classid.to_be_bytes();
                let [e, f, g, h] = objid.to_be_bytes();
                Some(Self::BigInt(i64::from_be_bytes([a, b, c, d, e, f, g, h])))
            }
            PAIR_OBJSUBID => Some(Self::Pair(
                i32::from_be_bytes(classid.to_be_bytes()),
                i32::from_be_bytes(objid.to_be_bytes()),
            )),
            _ => None,
        }
    }
}

/// Prints `42`, or `(1, 2)`.
impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BigInt(key) => write!(f, "{key}"),
            Self::Pair(first, second) => write!(f, "({first}, {second})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::LockKey;

    /// The wire format: these values must never change.
    const GOLDEN: &[(&str, u64)] = &[
        ("a", 0x1776_2fdd_d969_a453),
        ("billing.close_month", 0x027c_0ceb_a377_44a7),
        ("invoice:42", 0xbef4_d07d_5dc6_854c),
        ("réunion", 0x6f28_b198_5a76_15d3),
        ("🔒", 0x0ab6_75ac_fca6_44fe),
        ("reports.nightly", 0xae8a_d7e0_863d_5f14),
        ("it's */ -- \n", 0x1618_b56c_8da7_402b),
    ];

    #[test]
    fn names_have_their_golden_keys() {
        for &(name, bits) in GOLDEN {
            assert_eq!(
                LockKey::from_name(name),
                LockKey::BigInt(i64::from_be_bytes(bits.to_be_bytes())),
                "{name:?}"
            );
        }
    }

    #[test]
    fn pg_locks_halves_go_both_ways() {
        for (key, halves) in [
            (LockKey::BigInt(0), (0, 0, 1)),
            (LockKey::BigInt(-1), (u32::MAX, u32::MAX, 1)),
            (LockKey::BigInt(i64::MIN), (0x8000_0000, 0, 1)),
            (LockKey::BigInt(i64::MAX), (0x7fff_ffff, u32::MAX, 1)),
            (LockKey::BigInt(0x0000_0001_8000_0000), (1, 0x8000_0000, 1)),
            (LockKey::Pair(0, 0), (0, 0, 2)),
            (LockKey::Pair(-1, i32::MIN), (u32::MAX, 0x8000_0000, 2)),
            (LockKey::Pair(i32::MAX, 1), (0x7fff_ffff, 1, 2)),
        ] {
            let (classid, objid, objsubid) = halves;
            assert_eq!(key.to_pg_locks(), halves);
            assert_eq!(LockKey::from_pg_locks(classid, objid, objsubid), Some(key));
        }
    }

    #[test]
    fn pg_locks_rows_of_other_kinds_are_no_keys() {
        for objsubid in [-1, 0, 3] {
            assert_eq!(LockKey::from_pg_locks(1, 2, objsubid), None);
        }
    }

    proptest! {
        #[test]
        fn every_key_goes_both_ways(key: i64, first: i32, second: i32) {
            for key in [LockKey::BigInt(key), LockKey::Pair(first, second)] {
                let (classid, objid, objsubid) = key.to_pg_locks();
                prop_assert_eq!(LockKey::from_pg_locks(classid, objid, objsubid), Some(key));
            }
        }

        #[test]
        fn every_row_of_an_advisory_lock_is_a_key(classid: u32, objid: u32, objsubid in 1..=2_i16) {
            let key = LockKey::from_pg_locks(classid, objid, objsubid);
            prop_assert_eq!(key.map(LockKey::to_pg_locks), Some((classid, objid, objsubid)));
        }

        #[test]
        fn the_key_of_every_name_is_what_its_hash_begins_with(name: String) {
            let (classid, objid, objsubid) = LockKey::from_name(&name).to_pg_locks();
            let hash = blake3::hash(name.as_bytes()).to_hex();
            prop_assert_eq!(format!("{classid:08x}{objid:08x}"), &hash[..16]);
            prop_assert_eq!(objsubid, 1);
        }
    }
}
