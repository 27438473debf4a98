//! The id that a function has by itself.

use super::*;

#[advisory]
fn close_month(conn: &mut PgConnection) -> QueryResult<Option<u32>> {
    assert_locked("integration::attribute::default_id::close_month");
    assert_eq!(
        LockKey::from_name("integration::attribute::default_id::close_month"),
        LockId::from("integration::attribute::default_id::close_month")
            .key()
            .unwrap(),
    );
    Ok(depth(conn))
}

#[test]
fn is_the_path_of_the_function() {
    let id = "integration::attribute::default_id::close_month";
    assert_eq!(assert_held_by(id, close_month), Some(1));
}

struct Ledger;

impl Ledger {
    #[advisory]
    fn close_year(&self, _conn: &mut PgConnection) -> QueryResult<()> {
        let Self = self;
        assert_locked("integration::attribute::default_id::close_year");
        Ok(())
    }

    #[advisory()]
    fn r#type(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked("integration::attribute::default_id::type");
        Ok(())
    }
}

#[test]
fn of_a_method_is_without_its_type() {
    assert_held_by("integration::attribute::default_id::close_year", |conn| {
        Ledger.close_year(conn)
    });
    let id = "integration::attribute::default_id::type";
    assert_held_by(id, Ledger::r#type);
}

#[test]
fn of_a_function_in_a_function_is_that_of_the_module() {
    #[advisory]
    fn inner(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked("integration::attribute::default_id::inner");
        Ok(())
    }
    assert_held_by("integration::attribute::default_id::inner", inner);
}
