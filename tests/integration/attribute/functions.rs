//! What the function can be.

use super::*;

#[advisory("attribute.early return")]
fn early(conn: &mut PgConnection, number: &str) -> Result<i32, Box<dyn StdError>> {
    if number.is_empty() {
        return Ok(0);
    }
    let number = number.parse::<i32>()?;
    conn.transaction(|conn| diesel::sql_query("SELECT 1").execute(conn))?;
    Ok(number)
}

#[test]
fn can_return_early() {
    let number = |text: &'static str| {
        assert_held_by("attribute.early return", |conn| {
            QueryResult::Ok(early(conn, text).ok())
        })
    };
    assert_eq!(
        (number(""), number("x"), number("7")),
        (Some(0), None, Some(7))
    );
}

#[advisory("attribute.lifetimes")]
fn longest<'a, 'b: 'a, T>(
    _conn: &mut PgConnection,
    first: &'a [T],
    second: &'b [T],
    log: &'a mut Vec<usize>,
) -> QueryResult<(&'a [T], &'a mut [usize])>
where
    T: Clone,
{
    log.push(first.len());
    log.push(second.len());
    let longest = if first.len() > second.len() {
        first
    } else {
        second
    };
    Ok((longest, &mut log[..]))
}

#[test]
fn can_return_what_arguments_lend() {
    let mut log = vec![0];
    let (longest, log) = assert_held_by("attribute.lifetimes", |conn| {
        longest(conn, &["a"], &["b", "c"], &mut log)
    });
    assert_eq!((longest, &*log), (&["b", "c"][..], &[0, 1, 2][..]));
}

struct Words(String);

impl Words {
    #[advisory("attribute.elided lifetime")]
    fn first(&self, _conn: &mut PgConnection) -> QueryResult<&str> {
        Ok(self.0.split(' ').next().unwrap_or_default())
    }

    #[advisory("attribute.last", conn = conn)]
    fn into_last(self, conn: &mut PgConnection) -> QueryResult<String> {
        assert_eq!(depth(conn), Some(1));
        let Self(words) = self;
        Ok(words.split(' ').next_back().unwrap_or_default().to_owned())
    }
}

#[test]
fn can_be_methods() {
    let words = Words("a b c".to_owned());
    let conn = &mut connect();
    assert_eq!(words.first(conn), Ok("a"));
    assert_eq!(words.into_last(conn).as_deref(), Ok("c"));
}

trait Job {
    fn run(&mut self, conn: &mut PgConnection) -> QueryResult<u32>;

    #[advisory("attribute.provided method")]
    fn run_twice(&mut self, conn: &mut PgConnection) -> QueryResult<u32> {
        self.run(conn)?;
        self.run(conn)
    }
}

impl Job for u32 {
    #[advisory("attribute.trait method")]
    fn run(&mut self, conn: &mut PgConnection) -> QueryResult<u32> {
        assert_eq!(depth(conn), Some(2));
        assert_locked("attribute.provided method");
        assert_locked("attribute.trait method");
        *self += 1;
        Ok(*self)
    }
}

#[test]
fn can_be_methods_of_traits() {
    let last = assert_held_by("attribute.provided method", |conn| 0.run_twice(conn));
    assert_eq!(last, 2);
}

#[advisory("attribute.impl trait")]
fn doubled(
    _conn: &mut PgConnection,
    numbers: impl IntoIterator<Item = i32>,
    times: impl Fn(i32) -> i32,
) -> Result<impl Iterator<Item = i32>, Error> {
    let doubled = numbers.into_iter().map(times).collect::<Vec<_>>();
    Ok(doubled.into_iter())
}

#[test]
fn can_have_impl_trait_on_both_sides() {
    let conn = &mut connect();
    let doubled = doubled(conn, [1, 2], |number| number * 2).unwrap();
    assert_eq!(doubled.collect::<Vec<_>>(), [2, 4]);
}

struct Point {
    x: i32,
    y: i32,
}

#[advisory("attribute.point:{x}:{b}")]
fn patterns(
    _conn: &mut PgConnection,
    Point { x, y: mut z }: Point,
    [a, .., b]: [i32; 3],
    &[c, ..]: &[i32; 8],
) -> QueryResult<i32> {
    assert_locked("attribute.point:1:5");
    z *= 10;
    Ok(x + z + a + b + c)
}

#[test]
fn can_have_patterns_as_arguments() {
    let sum = assert_held_by("attribute.point:1:5", |conn| {
        patterns(conn, Point { x: 1, y: 2 }, [3, 4, 5], &[6; 8])
    });
    assert_eq!(sum, 35);
}
