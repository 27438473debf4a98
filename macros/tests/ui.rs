//! What the attribute says of mistakes, and that it says nothing of what is right.

#[test]
fn mistakes_have_one_message_each() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
