//! The compile errors that this crate words.

#![cfg(feature = "async")]

#[test]
fn what_cannot_be_locked_is_refused_with_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
