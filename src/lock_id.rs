//! What the user writes to say which lock: a name, a number, a pair of numbers, a name with a row.

use std::borrow::Cow;
use std::fmt;

use crate::LockKey;

/// Says which advisory lock is meant: a name, a number, a pair of numbers, or a name with a row id.
///
/// You rarely name this type: everything that takes a lock takes `impl Into<LockId>`.
///
/// | from | key |
/// |---|---|
/// | `&str`, `String`, `Cow<str>` | [`BigInt`](LockKey::BigInt): see [`LockKey::from_name`] |
/// | `i64` | [`BigInt`](LockKey::BigInt), unchanged |
/// | `(i32, i32)` | [`Pair`](LockKey::Pair), unchanged |
/// | `(&str, D)` with `D: Display` | the name `"{0}:{1}"`: `("invoice", 42)` is the lock `"invoice:42"` |
/// | [`LockKey`] | that key. For keys that other programs derive, see [its functions](LockKey#implementations) |
///
/// `Display` prints what was written.
///
/// ```
/// use diesel_advisory::{LockId, LockKey};
///
/// assert_eq!(LockId::from(("invoice", 42)), LockId::from("invoice:42"));
/// assert_eq!(LockId::from(42).key(), LockKey::BigInt(42));
/// assert_eq!(LockId::from((1, 2)).key(), LockKey::Pair(1, 2));
/// assert_eq!(LockId::from("billing.close_month").to_string(), "billing.close_month");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockId<'a>(Repr<'a>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Repr<'a> {
    Name(Cow<'a, str>),
    Key(LockKey),
    ServerHash(ServerHash<'a>),
}

/// Texts that the server hashes to a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ServerHash<'a> {
    /// `hashtext(namespace), hashtext(text)`
    Pair(Cow<'a, str>, Cow<'a, str>),
    /// `hashtextextended(text, 0)`
    Extended(Cow<'a, str>),
}

impl LockId<'_> {
    /// The key that PostgreSQL sees.
    ///
    /// # Panics
    ///
    /// If it is a key that only the server can compute: one of [`LockKey::hashtext_pair`] or
    /// [`LockKey::hashtextextended`].
    #[must_use]
    pub fn key(&self) -> LockKey {
        match &self.0 {
            Repr::Name(name) => LockKey::from_name(name),
            Repr::Key(key) => *key,
            Repr::ServerHash(_) => panic!("the key of {self} is computed by the server"),
        }
    }

    /// The same lock id, no longer borrowed from anything.
    #[must_use]
    pub fn into_owned(self) -> LockId<'static> {
        fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        LockId(match self.0 {
            Repr::Name(name) => Repr::Name(owned(name)),
            Repr::Key(key) => Repr::Key(key),
            Repr::ServerHash(hash) => Repr::ServerHash(match hash {
                ServerHash::Pair(namespace, text) => {
                    ServerHash::Pair(owned(namespace), owned(text))
                }
                ServerHash::Extended(text) => ServerHash::Extended(owned(text)),
            }),
        })
    }

    /// An empty name is a forgotten one.
    pub(crate) fn is_empty_name(&self) -> bool {
        matches!(&self.0, Repr::Name(name) if name.is_empty())
    }

    pub(crate) fn server_hash(&self) -> Option<&ServerHash<'_>> {
        match &self.0 {
            Repr::ServerHash(hash) => Some(hash),
            Repr::Name(_) | Repr::Key(_) => None,
        }
    }
}

impl fmt::Display for LockId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Name(name) => f.write_str(name),
            Repr::Key(key) => key.fmt(f),
            Repr::ServerHash(ServerHash::Pair(namespace, text)) => {
                write!(f, "hashtext_pair({namespace}, {text})")
            }
            Repr::ServerHash(ServerHash::Extended(text)) => write!(f, "hashtextextended({text})"),
        }
    }
}

impl<'a> From<Cow<'a, str>> for LockId<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        Self(Repr::Name(name))
    }
}

impl<'a> From<&'a str> for LockId<'a> {
    fn from(name: &'a str) -> Self {
        Cow::Borrowed(name).into()
    }
}

impl<'a> From<&'a String> for LockId<'a> {
    fn from(name: &'a String) -> Self {
        name.as_str().into()
    }
}

impl From<String> for LockId<'_> {
    fn from(name: String) -> Self {
        Cow::<str>::Owned(name).into()
    }
}

impl<D: fmt::Display> From<(&str, D)> for LockId<'_> {
    fn from((name, row): (&str, D)) -> Self {
        format!("{name}:{row}").into()
    }
}

impl<'a> From<ServerHash<'a>> for LockId<'a> {
    fn from(hash: ServerHash<'a>) -> Self {
        Self(Repr::ServerHash(hash))
    }
}

impl From<LockKey> for LockId<'_> {
    fn from(key: LockKey) -> Self {
        Self(Repr::Key(key))
    }
}

impl From<i64> for LockId<'_> {
    fn from(key: i64) -> Self {
        LockKey::BigInt(key).into()
    }
}

impl From<(i32, i32)> for LockId<'_> {
    fn from((first, second): (i32, i32)) -> Self {
        LockKey::Pair(first, second).into()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::LockId;
    use crate::LockKey;

    #[test]
    fn every_way_to_write_a_name_is_the_same_lock() {
        let name = String::from("invoice:42");
        for id in [
            LockId::from("invoice:42"),
            LockId::from(&name),
            LockId::from(name.clone()),
            LockId::from(Cow::Borrowed(name.as_str())),
            LockId::from(("invoice", 42)),
            LockId::from(("invoice", "42")),
        ] {
            assert_eq!(id.key(), LockKey::from_name("invoice:42"));
            assert_eq!(id.to_string(), "invoice:42");
        }
    }

    #[test]
    fn numbers_are_keys_unchanged() {
        for number in [0, -1, 42, i64::MIN, i64::MAX] {
            assert_eq!(LockId::from(number).key(), LockKey::BigInt(number));
            assert_eq!(LockId::from(number).to_string(), number.to_string());
        }
        for (first, second) in [(0, 0), (-1, 1), (i32::MIN, i32::MAX)] {
            assert_eq!(
                LockId::from((first, second)).key(),
                LockKey::Pair(first, second)
            );
            assert_eq!(
                LockId::from((first, second)).to_string(),
                format!("({first}, {second})")
            );
        }
    }

    #[test]
    fn only_a_whole_name_can_be_empty() {
        assert!(LockId::from("").is_empty_name());
        assert!(LockId::from(String::new()).is_empty_name());
        assert!(!LockId::from(("", 1)).is_empty_name());
        assert!(!LockId::from(0).is_empty_name());
    }
}
