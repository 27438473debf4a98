//! Lock ids: names, and the keys of other programs.

#[cfg(feature = "django-pglock")]
mod django;
mod hashed;
mod names;
