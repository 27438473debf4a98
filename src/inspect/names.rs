//! Names for keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::lock::key::LockKey;
use crate::lock::permits;

/// The name of a lock and its key.
///
/// You rarely write this type: what takes names accepts whatever converts into it.
///
/// | from | key |
/// |---|---|
/// | `&str`, `String`, `Cow<str>` | derived from the name: see [`LockKey::from_name`] |
/// | `(name, i64)`, `(name, LockKey)` | that key, for keys that older code or other programs use |
///
/// ```
/// use diesel_advisory::LockKey;
/// use diesel_advisory::inspect::LockName;
///
/// let name = LockName::from("billing.close_month");
/// assert_eq!(name.key(), LockKey::from_name("billing.close_month"));
/// assert_eq!(LockName::from(("import of 2019", 4711)).key(), LockKey::BigInt(4711));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName<'a> {
    key: LockKey,
    name: Cow<'a, str>,
}

impl LockName<'_> {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of a lock's permits, `"render (1 of 3)"` and so on, and of the gate where sessions wait
    /// for one, `"render (gate)"`: see [`permits`](crate::AdvisorySession::permits).
    ///
    /// # Example
    ///
    /// ```
    /// use diesel_advisory::LockKey;
    /// use diesel_advisory::inspect::{LockName, Names};
    ///
    /// let mut names = Names::from_iter(["billing.close_month"]);
    /// names.extend(LockName::permits("render", 3));
    ///
    /// let key = LockKey::from_name("render\0#2");
    /// assert_eq!(names.display(key), "render (2 of 3)");
    /// ```
    pub fn permits(name: &str, count: u32) -> impl Iterator<Item = LockName<'static>> {
        let names = (1..=count).map(move |number| {
            let shown = format!("{name} ({number} of {count})");
            LockName::from((shown, permits::key(name, number)))
        });
        let gate = LockName::from((format!("{name} (gate)"), permits::key(name, 0)));
        names.chain([gate])
    }

    /// Returns the key.
    #[must_use]
    pub const fn key(&self) -> LockKey {
        self.key
    }
}

impl<'a> From<Cow<'a, str>> for LockName<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        Self {
            key: LockKey::from_name(&name),
            name,
        }
    }
}

impl<'a> From<&'a str> for LockName<'a> {
    fn from(name: &'a str) -> Self {
        Cow::Borrowed(name).into()
    }
}

impl<'a> From<&'a String> for LockName<'a> {
    fn from(name: &'a String) -> Self {
        name.as_str().into()
    }
}

impl From<String> for LockName<'_> {
    fn from(name: String) -> Self {
        Cow::<str>::Owned(name).into()
    }
}

impl<'a, N: Into<Cow<'a, str>>> From<(N, LockKey)> for LockName<'a> {
    fn from((name, key): (N, LockKey)) -> Self {
        Self {
            key,
            name: name.into(),
        }
    }
}

impl<'a, N: Into<Cow<'a, str>>> From<(N, i64)> for LockName<'a> {
    fn from((name, key): (N, i64)) -> Self {
        (name, LockKey::BigInt(key)).into()
    }
}

/// Known names of locks, to show instead of keys.
///
/// A name cannot be computed from its key. Collect the names that your program uses, or load those of the
/// [catalog](crate::catalog) with [`catalog::names`].
///
/// # Example
///
/// ```
/// use diesel_advisory::LockKey;
/// use diesel_advisory::inspect::Names;
///
/// let names = Names::from_iter(["billing.close_month", "reports.nightly"]);
/// let key = LockKey::from_name("reports.nightly");
/// assert_eq!(names.display(key), "reports.nightly");
/// assert_eq!(names.display(LockKey::Pair(1, 2)), "(1, 2)");
/// ```
///
/// [`catalog::names`]: crate::catalog::names
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<LockKey, Vec<String>>);

impl Names {
    /// Returns the names of a key, in the order in which they were added: usually one or none.
    #[must_use]
    pub fn of(&self, key: LockKey) -> &[String] {
        self.0.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Returns the name of the key, or the key itself if no name is known.
    ///
    /// Several names of one key are joined by ` | `.
    #[must_use]
    pub fn display(&self, key: LockKey) -> String {
        match self.of(key) {
            [] => key.to_string(),
            names => names.join(" | "),
        }
    }
}

impl<'a, N: Into<LockName<'a>>> Extend<N> for Names {
    fn extend<I: IntoIterator<Item = N>>(&mut self, names: I) {
        for name in names {
            let LockName { key, name } = name.into();
            let known = self.0.entry(key).or_default();
            if !known.iter().any(|known| *known == name) {
                known.push(name.into_owned());
            }
        }
    }
}

impl<'a, N: Into<LockName<'a>>> FromIterator<N> for Names {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        let mut all = Self::default();
        all.extend(names);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::lock::key::LockKey;

    #[test]
    fn a_key_can_have_several_names_but_each_once() {
        let mut names = Names::from_iter([("old", 7), ("new", 7), ("old", 7)]);
        names.extend([("pair", LockKey::Pair(0, 7))]);
        assert_eq!(names.of(LockKey::BigInt(7)), ["old", "new"]);
        assert_eq!(names.display(LockKey::BigInt(7)), "old | new");
        assert_eq!(names.display(LockKey::Pair(0, 7)), "pair");
        assert_eq!(names.display(LockKey::BigInt(-8)), "-8");
    }
}
