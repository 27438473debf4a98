//! What the user writes to name a lock.

use std::borrow::Cow;
use std::fmt;

use super::key::LockKey;

/// Names an advisory lock: by a name, a number, a pair of numbers, or a name with a row id.
///
/// You rarely write this type: every method that takes a lock accepts whatever converts into it.
///
/// | from | key |
/// |---|---|
/// | `&str`, `String`, `Cow<str>` | [`BigInt`](LockKey::BigInt), derived from the name: see [`LockKey::from_name`] |
/// | `(&str, D, …)`, `(String, D, …)` with `D: Display`, up to six parts | that of the name which joins the parts with `:`. `("invoice", 42)` is the lock `"invoice:42"` |
/// | `i64` | [`BigInt`](LockKey::BigInt), unchanged |
/// | `(i32, i32)` | [`Pair`](LockKey::Pair), unchanged |
/// | [`LockKey`] | that key |
///
/// Other integers are refused by the compiler, because row 42 of two tables would be one lock: write
/// `("invoice", id)`. If the number is a key that older code uses, write `i64::from(id)`.
///
/// Parts are joined as they are. A part that contains a colon itself can make two names equal:
/// `("a:b", "c")` and `("a", "b:c")` are the same lock, so that their holders wait for each other
/// without need. They never miss each other.
///
/// `Display` prints what was written.
///
/// ```
/// use diesel_advisory::{LockId, LockKey};
///
/// assert_eq!(LockId::from(("invoice", 42)), LockId::from("invoice:42"));
/// assert_eq!(LockId::from(("tenant", 7, "invoice", 42)), LockId::from("tenant:7:invoice:42"));
/// assert_eq!(LockId::from(42).key(), Some(LockKey::BigInt(42)));
/// assert_eq!(LockId::from((1, 2)).key(), Some(LockKey::Pair(1, 2)));
/// assert_eq!(LockId::from("billing.close_month").to_string(), "billing.close_month");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockId<'a>(pub(super) Repr<'a>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Repr<'a> {
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
    /// Returns the key that PostgreSQL sees, or `None` if only the server can compute it: that of
    /// [`hashtext_pair`](Self::hashtext_pair) and [`hashtextextended`](Self::hashtextextended).
    ///
    /// ```
    /// use diesel_advisory::{LockId, LockKey};
    ///
    /// assert_eq!(LockId::from(42).key(), Some(LockKey::BigInt(42)));
    /// assert_eq!(LockId::hashtextextended("import").key(), None);
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<LockKey> {
        match &self.0 {
            Repr::Name(name) => Some(LockKey::from_name(name)),
            Repr::Key(key) => Some(*key),
            Repr::ServerHash(_) => None,
        }
    }

    /// Returns the same lock id, borrowed from nothing.
    ///
    /// ```
    /// use diesel_advisory::LockId;
    ///
    /// let owned: LockId<'static> = LockId::from(String::from("import").as_str()).into_owned();
    /// assert_eq!(owned.to_string(), "import");
    /// ```
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
        self.name().is_some_and(str::is_empty)
    }

    /// The name, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.0 {
            Repr::Name(name) => Some(name),
            Repr::Key(_) | Repr::ServerHash(_) => None,
        }
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::LockId;
    use crate::lock::key::LockKey;

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
            LockId::from((String::from("invoice"), 42)),
            LockId::from((&String::from("invoice"), 42_u64)),
        ] {
            assert_eq!(id.key(), Some(LockKey::from_name("invoice:42")));
            assert_eq!(id.to_string(), "invoice:42");
        }
    }

    #[test]
    fn numbers_are_keys_unchanged() {
        for number in [0, -1, 42, i64::MIN, i64::MAX] {
            assert_eq!(LockId::from(number).key(), Some(LockKey::BigInt(number)));
            assert_eq!(LockId::from(number).to_string(), number.to_string());
        }
        for (first, second) in [(0, 0), (-1, 1), (i32::MIN, i32::MAX)] {
            assert_eq!(
                LockId::from((first, second)).key(),
                Some(LockKey::Pair(first, second))
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

    proptest! {
        #[test]
        fn every_name_with_parts_is_the_joined_name(name: String, number: u64, text: String) {
            let joined = format!("{name}:{number}:{text}");
            let id = LockId::from((&name, number, &text));
            prop_assert_eq!(&id, &LockId::from(&joined));
            prop_assert_eq!(id.to_string(), joined.clone());
            prop_assert_eq!(id.key(), Some(LockKey::from_name(&joined)));
            prop_assert_eq!(id.clone().into_owned(), id);
        }

        #[test]
        fn every_number_is_its_own_key(key: i64, first: i32, second: i32) {
            prop_assert_eq!(LockId::from(key).key(), Some(LockKey::BigInt(key)));
            prop_assert_eq!(LockId::from((first, second)).key(), Some(LockKey::Pair(first, second)));
        }
    }
}
