//! Functions that a `macro_rules!` makes. What it passes on can stand in invisible groups.

use super::*;

macro_rules! locked {
    ($name:ident, $id:literal, $conn:ident: $ty:ty => $result:ty $body:block) => {
        #[advisory($id, no_wait)]
        fn $name($conn: $ty) -> $result $body
    };
    ($name:ident, $id:expr) => {
        #[advisory($id)]
        fn $name(conn: &mut PgConnection) -> QueryResult<Option<u32>> {
            assert_locked($id);
            Ok(depth(conn))
        }
    };
}

locked!(by_block, "attribute.block", conn: &mut PgConnection => QueryResult<usize> {
    assert_locked("attribute.block");
    diesel::sql_query("SELECT 1").execute(conn)
});
locked!(by_hygiene, "attribute.hygiene");
locked!(by_constant, ID);
locked!(by_tuple, ("attribute.tuple", 7));

const ID: &str = "attribute.constant";

#[test]
fn fragments_can_be_the_body_and_the_id() {
    assert_held_by("attribute.block", by_block);
    assert_held_by("attribute.hygiene", by_hygiene);
    assert_held_by(ID, by_constant);
    assert_held_by("attribute.tuple:7", by_tuple);
}

macro_rules! fragments {
    (
        $(#[$attr:meta])*
        $vis:vis fn $name:ident<$lifetime:lifetime>(
            $pattern:pat_param = $argument:ty, $conn:ident: $connection:ty
        ) -> Result<$ok:ty, $error:path>
        $id:path, $method:ident, conn = $db:expr, timeout = $timeout:literal,
        $block:block
    ) => {
        #[advisory($id, $method, conn = $db, timeout = $timeout)]
        $(#[$attr])*
        $vis fn $name<$lifetime>(
            $pattern: $argument, $conn: $connection
        ) -> Result<$ok, $error> $block
    };
}

fragments! {
    #[inline]
    fn private<'a>((_, numbers) = (String, &'a [i32]), db: &mut PgConnection)
        -> Result<&'a [i32], Error>
    self::ID, read_only, conn = db, timeout = "60s",
    {
        assert_eq!(depth(db), Some(1));
        Ok(numbers)
    }
}

mod inner {
    use super::*;

    fragments! {
        pub(super) fn public<'a>(words = &'a [String], db: &mut PgConnection)
            -> Result<Option<&'a str>, Error>
        super::ID, session, conn = db, timeout = "60s",
        {
            assert_eq!(depth(db), None);
            Ok(words.first().map(String::as_str))
        }
    }
}

#[test]
fn every_part_can_be_a_fragment() {
    let conn = &mut connect();
    let numbers = private((String::new(), &[1, 2]), conn).unwrap();
    assert_eq!(numbers, [1, 2]);
    let words = ["a".to_owned()];
    assert_eq!(inner::public(&words, conn).unwrap(), Some("a"));
}

macro_rules! with_attribute {
    ($attribute:meta, $function:item) => {
        #[$attribute]
        $function
    };
}

with_attribute! {
    advisory("attribute.item:{number:02}", no_wait),
    fn by_item(_conn: &mut PgConnection, number: i32) -> QueryResult<i32> {
        assert_locked(format!("attribute.item:{number:02}"));
        Ok(number)
    }
}

macro_rules! with_options {
    ($name:ident: $($options:tt)*) => {
        #[advisory("attribute.tokens", $($options)*)]
        fn $name(_conn: &mut PgConnection) -> QueryResult<Option<i32>> {
            Ok(Some(1))
        }
    };
}

with_options!(by_tokens: timeout = Duration::from_millis(1), skip);

#[test]
fn attributes_and_functions_can_be_fragments() {
    assert_held_by("attribute.item:07", |conn| by_item(conn, 7));
    let conn = &mut connect();
    assert_eq!(by_tokens(conn), Ok(Some(1)));
    let holder = Holder::of("attribute.tokens");
    assert_eq!(by_tokens(conn), Ok(None));
    drop(holder);
}
