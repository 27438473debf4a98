//! Pools of one connection, of all kinds.

use std::ops::{Deref, DerefMut};

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool, mobc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bb8,
    Deadpool,
    Mobc,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bb8, Self::Deadpool, Self::Mobc];

    pub(crate) async fn pool_of_one(self, url: &str) -> PoolOfOne {
        let manager = AsyncDieselConnectionManager::new(url);
        match self {
            Self::Bb8 => {
                let pool = bb8::Pool::builder().max_size(1).build(manager);
                PoolOfOne::Bb8(pool.await.unwrap())
            }
            Self::Deadpool => {
                let pool = deadpool::Pool::builder(manager).max_size(1).build();
                PoolOfOne::Deadpool(pool.unwrap())
            }
            Self::Mobc => PoolOfOne::Mobc(mobc::Pool::builder().max_open(1).build(manager)),
        }
    }
}

#[derive(Clone)]
pub(crate) enum PoolOfOne {
    Bb8(bb8::Pool<AsyncPgConnection>),
    Deadpool(deadpool::Pool<AsyncPgConnection>),
    Mobc(mobc::Pool<AsyncPgConnection>),
}

impl PoolOfOne {
    pub(crate) async fn get(&self) -> Pooled {
        Pooled(match self {
            Self::Bb8(pool) => Box::new(pool.get_owned().await.unwrap()),
            Self::Deadpool(pool) => Box::new(pool.get().await.unwrap()),
            Self::Mobc(pool) => Box::new(pool.get().await.unwrap()),
        })
    }
}

/// A connection that goes back to its pool when it is dropped.
pub(crate) struct Pooled(Box<dyn DerefMut<Target = AsyncPgConnection> + Send>);

impl Deref for Pooled {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
