//! What converts into a [`LockId`].

use std::borrow::Cow;
use std::fmt::Display;

use super::id::{LockId, Repr, ServerHash};
use super::key::LockKey;

/// Whatever converts into a [`LockId`].
///
/// It adds nothing to `Into<LockId>` but the compiler's message for what does not convert.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an advisory lock",
    label = "not a name, an `i64`, a pair of `i32`, or a name with a row",
    note = "to lock a row, name its table too, as another table can have the same id: `(\"invoice\", id)`",
    note = "if the number is a key that other code uses, convert it: `i64::from(id)`"
)]
pub trait IntoLockId<'a> {
    #[doc(hidden)]
    fn into_lock_id(self) -> LockId<'a>;
}

#[diagnostic::do_not_recommend]
impl<'a, T: Into<LockId<'a>>> IntoLockId<'a> for T {
    fn into_lock_id(self) -> LockId<'a> {
        self.into()
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

/// A name followed by parts, joined by colons.
macro_rules! from_parts {
    ($format:literal: $($part:ident $Part:ident),+) => {
        from_parts!(&str, $format: $($part $Part),+);
        from_parts!(&String, $format: $($part $Part),+);
        from_parts!(String, $format: $($part $Part),+);
    };
    ($Name:ty, $format:literal: $($part:ident $Part:ident),+) => {
        impl<$($Part: Display),+> From<($Name, $($Part),+)> for LockId<'_> {
            fn from((name, $($part),+): ($Name, $($Part),+)) -> Self {
                format!($format, name, $($part),+).into()
            }
        }
    };
}

from_parts!("{}:{}": a A);
from_parts!("{}:{}:{}": a A, b B);
from_parts!("{}:{}:{}:{}": a A, b B, c C);
from_parts!("{}:{}:{}:{}:{}": a A, b B, c C, d D);
from_parts!("{}:{}:{}:{}:{}:{}": a A, b B, c C, d D, e E);

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
