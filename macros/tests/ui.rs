//! The attribute's compile errors, and that correct functions compile without warnings.

#[test]
fn mistakes_have_one_message_each() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
