//! What every builder collects: which locks, in which mode, and how long to wait for them.

use crate::wait::Wait;
use crate::{Error, LockId, LockKey};

/// The locks that a user asked for, as written.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) ids: Vec<LockId<'a>>,
    pub(crate) mode: Mode,
    pub(crate) wait: Wait,
}

/// The mode of a lock, in the words of `pg_locks.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Excludes everybody.
    #[default]
    Exclusive,
    /// Excludes exclusive locks only.
    Share,
}

/// The locks of a [`Request`] in the order in which they are taken: by key, each once.
#[derive(Debug)]
pub(crate) struct LockSet<'a> {
    pub(crate) locks: Vec<Lock<'a>>,
    pub(crate) mode: Mode,
    pub(crate) wait: Wait,
}

#[derive(Debug)]
pub(crate) struct Lock<'a> {
    pub(crate) key: LockKey,
    pub(crate) id: LockId<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(id: LockId<'a>) -> Self {
        Self {
            ids: vec![id],
            mode: Mode::default(),
            wait: Wait::default(),
        }
    }

    /// # Errors
    ///
    /// [`Error::EmptyName`] if one of the names is empty.
    pub(crate) fn into_lock_set(self) -> Result<LockSet<'a>, Error> {
        let mut locks = self
            .ids
            .into_iter()
            .map(|id| id.checked_key().map(|key| Lock { key, id }))
            .collect::<Result<Vec<_>, _>>()?;
        locks.sort_by_key(|lock| lock.key);
        locks.dedup_by_key(|lock| lock.key);
        Ok(LockSet {
            locks,
            mode: self.mode,
            wait: self.wait,
        })
    }
}

impl LockSet<'_> {
    pub(crate) fn into_owned(self) -> LockSet<'static> {
        let into_owned = |lock: Lock<'_>| Lock {
            key: lock.key,
            id: lock.id.into_owned(),
        };
        LockSet {
            locks: self.locks.into_iter().map(into_owned).collect(),
            mode: self.mode,
            wait: self.wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::{Error, LockId};

    fn taken(ids: &[LockId<'static>]) -> Result<Vec<String>, Error> {
        let mut request = Request::new(ids[0].clone());
        request.ids.extend_from_slice(&ids[1..]);
        let set = request.into_lock_set()?;
        Ok(set.locks.iter().map(|lock| lock.id.to_string()).collect())
    }

    #[test]
    fn a_set_has_one_order_however_it_was_written() {
        let one_way = taken(&["b".into(), 7.into(), (1, 2).into(), "a".into()]).unwrap();
        let other_way = taken(&["a".into(), (1, 2).into(), "b".into(), 7.into()]).unwrap();
        assert_eq!(one_way, other_way);
        assert_eq!(one_way.len(), 4);
    }

    #[test]
    fn a_lock_that_is_named_twice_is_taken_once() {
        let same_key = LockId::from("a").key().into();
        let ids = ["a".into(), "b".into(), "a".into(), same_key];
        assert_eq!(taken(&ids).unwrap().len(), 2);
    }

    #[test]
    fn an_empty_name_anywhere_is_an_error() {
        let ids = ["a".into(), "".into()];
        assert!(matches!(taken(&ids), Err(Error::EmptyName)));
    }
}
