//! Ids that are made of arguments.

use super::*;

#[advisory("attribute.bill:{invoice_id}")]
fn bill(_conn: &mut PgConnection, invoice_id: i32) -> QueryResult<()> {
    assert_locked(("attribute.bill", invoice_id));
    Ok(())
}

#[test]
fn has_arguments_by_name() {
    assert_held_by("attribute.bill:42", |conn| bill(conn, 42));
}

#[advisory("attribute.{name:?}:{number:>width$x}:{{{{{N:03}}}}}")]
fn formats<const N: usize>(
    _conn: &mut PgConnection,
    name: &str,
    (number, width): (u8, usize),
) -> QueryResult<()> {
    assert_locked("attribute.\"a\":  ff:{{007}}");
    Ok(())
}

#[test]
fn is_formatted_as_in_format() {
    assert_held_by("attribute.\"a\":  ff:{{007}}", |conn| {
        formats::<7>(conn, "a", (255, 4))
    });
}

#[advisory(r"attribute.\{{no argument}}")]
fn escapes(_conn: &mut PgConnection) -> QueryResult<()> {
    assert_locked("attribute.\\{no argument}");
    Ok(())
}

#[test]
fn has_escapes_also_without_arguments() {
    assert_held_by("attribute.\\{no argument}", escapes);
}

#[advisory("attribute.moved:{name}")]
fn moves(_conn: &mut PgConnection, name: String, r#type: i32) -> QueryResult<String> {
    assert_locked("attribute.moved:a");
    Ok(std::iter::repeat_n(name, 2).collect::<String>() + &r#type.to_string())
}

#[advisory("attribute.raw:{type}")]
fn raw(_conn: &mut PgConnection, r#type: i32) -> QueryResult<()> {
    assert_locked(("attribute.raw", r#type));
    Ok(())
}

#[test]
fn is_made_before_the_body_takes_the_arguments() {
    let moved = assert_held_by("attribute.moved:a", |conn| moves(conn, "a".to_owned(), 1));
    assert_eq!(moved, "aa1");
    assert_held_by("attribute.raw:2", |conn| raw(conn, 2));
}

struct Invoice(i32);

impl std::fmt::Display for Invoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "attribute.invoice:{}", self.0)
    }
}

impl Invoice {
    #[advisory("{self}")]
    fn pay(self, _conn: &mut PgConnection) -> QueryResult<Self> {
        assert_locked("attribute.invoice:7");
        Ok(self)
    }
}

#[test]
fn may_be_made_of_self() {
    let invoice = assert_held_by("attribute.invoice:7", |conn| Invoice(7).pay(conn));
    assert_eq!(invoice.0, 7);
}

#[test]
fn can_turn_out_empty() {
    #[advisory("{name}")]
    fn named(_conn: &mut PgConnection, name: &str) -> Result<(), Error> {
        panic!("{name:?} is no name");
    }
    let error = named(&mut connect(), "").unwrap_err();
    assert!(matches!(error, Error::EmptyName), "{error:?}");
}
