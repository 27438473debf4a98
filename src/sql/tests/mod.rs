//! What is sent, and how answers are read.

mod rows;
mod statements;

use proptest::collection::vec;
use proptest::prelude::*;

use super::push_label_comment;
use crate::lock::request::Request;
use crate::lock::set::LockSet;

fn label_comment(set: &LockSet<'_>) -> String {
    let mut sql = String::new();
    push_label_comment(&mut sql, set);
    sql
}

#[test]
fn a_comment_shows_names_without_what_could_end_it() {
    let long = "x".repeat(1_000_000);
    let shown = format!("{}...", "x".repeat(100));
    for (name, label) in [
        ("billing.close_month", "billing.close_month"),
        ("a-b:c_D.9", "a-b:c_D.9"),
        ("*/ DROP TABLE x; --", "___DROP_TABLE_x__--"),
        ("it's $$ \\ \" \0 \n", "it_s___________"),
        ("réunion 🔒", "r_union__"),
        (&long, &shown),
    ] {
        let set = LockSet::new(Request::new([name]), std::iter::empty());
        assert_eq!(label_comment(&set), format!("/* advisory lock {label} */ "));
    }
}

proptest! {
    #[test]
    fn every_comment_is_short_and_ends_where_it_should(names in vec(".*|[*/'\\\\$-]*", 1..9)) {
        let names = names.iter().filter(|name| !name.is_empty()).map(String::as_str);
        let names: Vec<_> = names.chain(["last"]).collect();
        let set = LockSet::new(Request::new(names), std::iter::empty());
        let comment = label_comment(&set);
        let label = comment
            .strip_prefix("/* advisory lock ")
            .and_then(|rest| rest.strip_suffix(" */ "));
        let label = label.unwrap();
        let is_harmless =
            |char: char| char.is_ascii_alphanumeric() || "_.:- ".contains(char);
        prop_assert!(label.chars().all(is_harmless), "{}", label);
        prop_assert!(label.len() <= 120, "{}", label);
    }
}
