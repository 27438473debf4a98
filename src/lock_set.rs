//! What every builder collects: which locks, in which mode, and how long to wait for them.

use crate::wait::Wait;
use crate::{LockId, LockKey};

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

/// What is left of a [`LockSet`] when its locks are held.
#[derive(Debug)]
pub(crate) struct HeldLocks {
    pub(crate) keys: Vec<LockKey>,
    pub(crate) mode: Mode,
}

impl<'a> Request<'a> {
    pub(crate) fn new(id: LockId<'a>) -> Self {
        Self {
            ids: vec![id],
            mode: Mode::default(),
            wait: Wait::default(),
        }
    }

    /// The locks in their order. `hashed` are the keys that the server has computed, one for each
    /// [`ServerHash`](crate::lock_id::ServerHash) of the request.
    pub(crate) fn into_lock_set(self, mut hashed: impl Iterator<Item = LockKey>) -> LockSet<'a> {
        let with_key = |id: LockId<'a>| {
            let key = match id.server_hash() {
                Some(_) => hashed.next()?,
                None => id.key(),
            };
            Some(Lock { key, id })
        };
        let mut locks: Vec<_> = self.ids.into_iter().filter_map(with_key).collect();
        locks.sort_by_key(|lock| lock.key);
        locks.dedup_by_key(|lock| lock.key);
        LockSet {
            locks,
            mode: self.mode,
            wait: self.wait,
        }
    }
}

impl From<&LockSet<'_>> for HeldLocks {
    fn from(set: &LockSet<'_>) -> Self {
        Self {
            keys: set.locks.iter().map(|lock| lock.key).collect(),
            mode: set.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::LockId;

    fn taken(ids: &[LockId<'static>]) -> Vec<String> {
        let mut request = Request::new(ids[0].clone());
        request.ids.extend_from_slice(&ids[1..]);
        let set = request.into_lock_set(std::iter::empty());
        set.locks.iter().map(|lock| lock.id.to_string()).collect()
    }

    #[test]
    fn a_set_has_one_order_however_it_was_written() {
        let one_way = taken(&["b".into(), 7.into(), (1, 2).into(), "a".into()]);
        let other_way = taken(&["a".into(), (1, 2).into(), "b".into(), 7.into()]);
        assert_eq!(one_way, other_way);
        assert_eq!(one_way.len(), 4);
    }

    #[test]
    fn a_lock_that_is_named_twice_is_taken_once() {
        let same_key = LockId::from("a").key().into();
        let ids = ["a".into(), "b".into(), "a".into(), same_key];
        assert_eq!(taken(&ids).len(), 2);
    }
}
