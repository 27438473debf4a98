//! The locks of a request, in the order in which they are taken.

use super::id::LockId;
use super::key::LockKey;
use super::request::{Mode, Request};
use super::wait::Wait;

/// The locks of a [`Request`]: by key, each once.
#[derive(Debug, Clone)]
pub(crate) struct LockSet<'a> {
    pub(crate) locks: Vec<KeyedLock<'a>>,
    pub(crate) mode: Mode,
    pub(crate) wait: Wait,
    pub(crate) on_standby: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyedLock<'a> {
    pub(crate) key: LockKey,
    pub(crate) id: LockId<'a>,
}

impl<'a> LockSet<'a> {
    /// Orders the locks of a request. `hashed` are the keys that the server has computed, one for
    /// each [`ServerHash`](super::id::ServerHash) of the request.
    pub(crate) fn new(request: Request<'a>, mut hashed: impl Iterator<Item = LockKey>) -> Self {
        let Request {
            ids,
            mode,
            wait,
            on_standby,
            permits: _,
        } = request;
        let with_key = |id: LockId<'a>| {
            let key = id.key().or_else(|| hashed.next())?;
            Some(KeyedLock { key, id })
        };
        let mut locks: Vec<_> = ids.into_iter().filter_map(with_key).collect();
        if locks.len() > 1 {
            locks.sort_by_key(|lock| lock.key);
            locks.dedup_by_key(|lock| lock.key);
        }
        Self {
            locks,
            mode,
            wait,
            on_standby,
        }
    }

    pub(crate) fn keys(&self) -> Vec<LockKey> {
        self.locks.iter().map(|lock| lock.key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::LockSet;
    use crate::lock::id::LockId;
    use crate::lock::request::Request;

    fn taken<const N: usize>(ids: [LockId<'static>; N]) -> Vec<String> {
        let set = LockSet::new(Request::new(ids), std::iter::empty());
        set.locks.iter().map(|lock| lock.id.to_string()).collect()
    }

    #[test]
    fn a_set_has_one_order_however_it_was_written() {
        let one_way = taken(["b".into(), 7.into(), (1, 2).into(), "a".into()]);
        let other_way = taken(["a".into(), (1, 2).into(), "b".into(), 7.into()]);
        assert_eq!(one_way, other_way);
        assert_eq!(one_way.len(), 4);
    }

    #[test]
    fn a_lock_that_is_named_twice_is_taken_once() {
        let same_key = LockId::from("a").key().unwrap().into();
        let ids = ["a".into(), "b".into(), "a".into(), same_key];
        assert_eq!(taken(ids).len(), 2);
    }
}
