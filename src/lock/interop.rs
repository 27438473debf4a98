//! Keys as other programs derive them, so that both exclude each other.

use std::borrow::Cow;

use super::id::{LockId, ServerHash};
use super::key::LockKey;

impl LockKey {
    /// The key of a lock that [django-pglock] knows by this name: the first 8 bytes of
    /// `sha256(name)`, as a little-endian signed number.
    ///
    /// A Rust service and a Django one exclude each other with it. It is the key of
    /// `pglock.advisory` with a string; where the Python code has a number, use that number.
    ///
    /// ```
    /// use diesel_advisory::LockKey;
    ///
    /// let key = LockKey::django_pglock("hello");
    /// assert_eq!(key, LockKey::BigInt(1_054_880_662_928_880_172));
    /// assert_eq!(key.to_pg_locks(), (245_608_543, 3_125_670_444, 1));
    /// ```
    ///
    /// [django-pglock]: https://django-pglock.readthedocs.io
    #[cfg(feature = "django-pglock")]
    #[must_use]
    pub fn django_pglock(name: &str) -> Self {
        use sha2::{Digest, Sha256};

        let hash = Sha256::digest(name);
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self::BigInt(i64::from_le_bytes(first))
    }
}

impl<'a> LockId<'a> {
    /// The lock `pg_advisory_lock(hashtext(namespace), hashtext(text))`.
    ///
    /// PostgreSQL does not document `hashtext`, and it hashes the text in the encoding of the
    /// database. So the server does the hashing: taking this lock costs one round trip more,
    /// before all others.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn, other);
    /// # use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, LockId};
    ///
    /// diesel::sql_query("SELECT pg_advisory_lock(hashtext('jobs'), hashtext('import'))").execute(other)?;
    ///
    /// let id = LockId::hashtext_pair("jobs", "import");
    /// assert!(!conn.transaction(|conn| conn.advisory_xact(id).no_wait().try_acquire())?);
    /// # Ok::<_, diesel_advisory::Error>(())
    /// ```
    #[must_use]
    pub fn hashtext_pair(
        namespace: impl Into<Cow<'a, str>>,
        text: impl Into<Cow<'a, str>>,
    ) -> Self {
        ServerHash::Pair(namespace.into(), text.into()).into()
    }

    /// The lock `pg_advisory_lock(hashtextextended(text, 0))`.
    ///
    /// As with [`hashtext_pair`](Self::hashtext_pair), the server does the hashing, in one round
    /// trip more.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn, other);
    /// # use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, LockId};
    ///
    /// diesel::sql_query("SELECT pg_advisory_lock(hashtextextended('import', 0))").execute(other)?;
    ///
    /// assert!(conn.is_advisory_locked(LockId::hashtextextended("import"))?);
    /// # Ok::<_, diesel_advisory::Error>(())
    /// ```
    #[must_use]
    pub fn hashtextextended(text: impl Into<Cow<'a, str>>) -> Self {
        ServerHash::Extended(text.into()).into()
    }
}

#[cfg(all(test, feature = "django-pglock"))]
mod tests {
    use crate::lock::key::LockKey;

    #[test]
    fn django_pglock_names_have_their_golden_keys() {
        for (name, key) in [
            ("hello", 1_054_880_662_928_880_172),
            ("billing.close_month", 5_261_360_521_771_703_993),
            ("réunion", 7_967_632_472_543_561_100),
            ("🔒", -1_544_007_693_426_826_902),
            ("", 1_449_310_910_991_872_227),
        ] {
            assert_eq!(
                LockKey::django_pglock(name),
                LockKey::BigInt(key),
                "{name:?}"
            );
        }
    }
}
