//! What was measured, as tables and as a picture.

mod document;
mod picture;
mod table;
mod tables;
mod targets;

pub(crate) use self::document::document;
pub(crate) use self::picture::picture;
pub(crate) use self::tables::tables;
pub(crate) use self::targets::targets;
