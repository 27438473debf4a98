//! `#[advisory]`: the whole function runs under a lock.

use std::cell::Cell;
use std::error::Error as StdError;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey, advisory};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, assert_clean, assert_free, committed, connect, insert, pool_of_one, table, text,
    unavailable,
};

/// Whether it is held by whoever it is, and not even shared.
#[track_caller]
fn assert_locked(id: impl Into<LockId<'static>>) {
    let id = id.into();
    let granted = connect()
        .advisory(id.clone())
        .shared()
        .no_wait()
        .try_run(|_| Ok::<_, Error>(()));
    assert!(granted.unwrap().is_none(), "{id} is not held");
}

/// Calls a function that asserts inside that its lock is held.
#[track_caller]
fn assert_held_by<T, E: std::fmt::Debug>(
    id: impl Into<LockId<'static>>,
    function: impl FnOnce(&mut PgConnection) -> Result<T, E>,
) -> T {
    let (id, mut conn) = (id.into(), connect());
    assert_free(id.clone());
    let value = function(&mut conn).unwrap();
    assert_free(id);
    assert_clean(&mut conn);
    value
}

fn depth(conn: &mut PgConnection) -> Option<u32> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().unwrap().map(u32::from)
}

mod default_id {
    use super::*;

    #[advisory]
    fn close_month(conn: &mut PgConnection) -> QueryResult<Option<u32>> {
        assert_locked("integration::attribute::default_id::close_month");
        assert_eq!(
            LockKey::from_name("integration::attribute::default_id::close_month"),
            LockId::from("integration::attribute::default_id::close_month").key(),
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
}

mod formatted_id {
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
}

mod expression_id {
    use super::*;

    const NAME: &str = "attribute.constant";
    const NUMBER: i64 = -4_711;

    #[advisory(NAME)]
    fn constant(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked(NAME);
        Ok(())
    }

    #[advisory(self::NUMBER, shared)]
    fn number(_conn: &mut PgConnection) -> QueryResult<()> {
        Ok(())
    }

    #[advisory(-4_712)]
    fn literal(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked(-4_712);
        Ok(())
    }

    #[advisory((4_713, -1))]
    fn pair(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked((4_713, -1));
        Ok(())
    }

    #[advisory(LockKey::from_name("attribute.key"), timeout = "1m")]
    fn key(_conn: &mut PgConnection) -> QueryResult<()> {
        assert_locked("attribute.key");
        Ok(())
    }

    #[test]
    fn without_arguments() {
        assert_held_by(NAME, constant);
        assert_held_by(NUMBER, number);
        assert_held_by(-4_712, literal);
        assert_held_by((4_713, -1), pair);
        assert_held_by("attribute.key", key);
    }

    #[advisory(("attribute.borrowed", &name))]
    fn borrowed(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
        assert_locked("attribute.borrowed:a");
        Ok(name)
    }

    #[advisory(name.as_str())]
    fn method(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
        assert_locked("attribute.method");
        Ok(name)
    }

    #[advisory(format!("attribute.{}", name.len()))]
    fn call(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
        assert_locked("attribute.1");
        Ok(name)
    }

    #[advisory(id)]
    fn any(_conn: &mut PgConnection, id: LockId<'_>) -> QueryResult<()> {
        assert_locked("attribute.any");
        Ok(())
    }

    #[test]
    fn of_arguments_that_the_body_takes() {
        let name = || "a".to_owned();
        assert_held_by("attribute.borrowed:a", |conn| borrowed(conn, name()));
        assert_held_by("attribute.method", |conn| {
            method(conn, "attribute.method".to_owned())
        });
        assert_held_by("attribute.1", |conn| call(conn, name()));
        assert_held_by("attribute.any", |conn| any(conn, "attribute.any".into()));
    }

    /// A connection that knows whose it is.
    struct TenantConnection {
        conn: PgConnection,
        tenant: i32,
    }

    impl std::ops::Deref for TenantConnection {
        type Target = PgConnection;

        fn deref(&self) -> &PgConnection {
            &self.conn
        }
    }

    impl std::ops::DerefMut for TenantConnection {
        fn deref_mut(&mut self) -> &mut PgConnection {
            &mut self.conn
        }
    }

    #[advisory(("attribute.tenant", db.tenant))]
    fn tenant(db: &mut TenantConnection) -> QueryResult<usize> {
        assert_locked("attribute.tenant:7");
        diesel::sql_query("SELECT 1").execute(db)
    }

    #[test]
    fn of_the_connection() {
        let mut db = TenantConnection {
            conn: connect(),
            tenant: 7,
        };
        assert_eq!(tenant(&mut db), Ok(1));
    }

    struct Tenant {
        name: String,
        work: u32,
    }

    impl Tenant {
        #[advisory(("attribute.tenant", &self.name))]
        fn work(&mut self, _conn: &mut PgConnection) -> QueryResult<u32> {
            assert_locked("attribute.tenant:a");
            self.work += 1;
            Ok(self.work)
        }
    }

    #[test]
    fn of_a_field() {
        let name = "a".to_owned();
        let mut tenant = Tenant { name, work: 0 };
        let work = assert_held_by("attribute.tenant:a", |conn| tenant.work(conn));
        assert_eq!((work, tenant.work), (1, 1));
    }
}

mod waiting {
    use super::*;

    const HELD: &str = "attribute.held by another";

    fn hold() -> Holder {
        Holder::of(HELD)
    }

    #[derive(Debug)]
    enum AppError {
        Lock(Error),
        #[expect(dead_code, reason = "it stands for the other errors of an application")]
        Other,
    }

    impl From<Error> for AppError {
        fn from(error: Error) -> Self {
            Self::Lock(error)
        }
    }

    #[advisory(HELD, timeout = "20ms")]
    fn with_own_error(_conn: &mut PgConnection) -> Result<(), AppError> {
        unreachable!("the lock is held by another")
    }

    #[advisory(HELD, no_wait)]
    fn with_diesel_error(_conn: &mut PgConnection) -> QueryResult<i32> {
        unreachable!("the lock is held by another")
    }

    #[advisory(HELD, timeout = Duration::from_millis(1))]
    fn with_boxed_error(_conn: &mut PgConnection) -> Result<(), Box<dyn StdError + Send + Sync>> {
        unreachable!("the lock is held by another")
    }

    #[advisory(HELD, timeout = patience, session)]
    fn with_anyhow(_conn: &mut PgConnection, patience: Duration) -> anyhow::Result<()> {
        unreachable!("the lock is held by another")
    }

    #[test]
    fn unavailable_is_an_error_of_the_own_type() {
        let (holder, mut conn) = (hold(), connect());

        let AppError::Lock(error) = with_own_error(&mut conn).unwrap_err() else {
            panic!("the lock is held by another");
        };
        assert!(error.is_unavailable());
        assert!(unavailable(error).to_string().contains(HELD));

        let error: DieselError = with_diesel_error(&mut conn).unwrap_err();
        assert!(Error::find_in(&error).is_some_and(Error::is_unavailable));

        let error = with_boxed_error(&mut conn).unwrap_err();
        assert!(Error::find_in(&*error).is_some_and(Error::is_unavailable));

        let error = with_anyhow(&mut conn, Duration::from_millis(1)).unwrap_err();
        assert!(Error::find_in(error.as_ref()).is_some_and(Error::is_unavailable));

        assert_clean(&mut conn);
        drop(holder);
    }

    #[advisory(HELD, skip, no_wait)]
    fn skip_nothing(_conn: &mut PgConnection, ran: &Cell<bool>) -> Result<(), Error> {
        ran.set(true);
        Ok(())
    }

    #[advisory(HELD, timeout = "1ms", skip)]
    fn skip_option(_conn: &mut PgConnection, ran: &Cell<bool>) -> QueryResult<Option<String>> {
        ran.set(true);
        Ok(Some("ran".to_owned()))
    }

    #[advisory(HELD, session, timeout = "1ms", skip)]
    fn skip_default(_conn: &mut PgConnection, ran: &Cell<bool>) -> QueryResult<Vec<i32>> {
        ran.set(true);
        Ok(vec![1])
    }

    #[advisory(HELD, no_wait, skip)]
    fn skip_failing(_conn: &mut PgConnection) -> QueryResult<()> {
        Err(DieselError::NotFound)
    }

    #[test]
    fn skip_is_the_default_value() {
        let (holder, mut conn, ran) = (hold(), connect(), Cell::new(false));
        skip_nothing(&mut conn, &ran).unwrap();
        assert_eq!(skip_option(&mut conn, &ran), Ok(None));
        assert_eq!(skip_default(&mut conn, &ran), Ok(Vec::new()));
        assert_eq!(skip_failing(&mut conn), Ok(()));
        assert!(!ran.get());
        assert_clean(&mut conn);
        drop(holder);
    }

    #[test]
    fn timeout_none_waits_whatever_lock_timeout_says() {
        #[advisory("attribute.forever", timeout = None)]
        fn forever(_conn: &mut PgConnection) -> QueryResult<()> {
            Ok(())
        }

        let mut conn = connect();
        diesel::sql_query("SET lock_timeout = '1ms'")
            .execute(&mut conn)
            .unwrap();
        let released = Holder::of("attribute.forever").until_queued("attribute.forever");
        forever(&mut conn).unwrap();
        released.join().unwrap();
    }

    #[test]
    fn shared_locks_do_not_exclude_each_other() {
        #[advisory("attribute.shared", shared, no_wait)]
        fn read(_conn: &mut PgConnection, depth: u32) -> QueryResult<()> {
            match depth {
                0 => Ok(()),
                depth => read(&mut connect(), depth - 1),
            }
        }

        read(&mut connect(), 2).unwrap();
        let mut holder = Holder::of("attribute.another");
        holder.lock_shared("attribute.shared");
        read(&mut connect(), 2).unwrap();
    }
}

mod skip_with_a_free_lock {
    use super::*;

    #[advisory("attribute.skip, free", no_wait, skip)]
    fn optional(_conn: &mut PgConnection, value: QueryResult<i32>) -> QueryResult<Option<i32>> {
        assert_locked("attribute.skip, free");
        value.map(Some)
    }

    #[test]
    fn runs_the_body() {
        let mut conn = connect();
        assert_eq!(optional(&mut conn, Ok(1)), Ok(Some(1)));
        let failed = optional(&mut conn, Err(DieselError::NotFound));
        assert_eq!(failed, Err(DieselError::NotFound));
        assert_clean(&mut conn);
    }
}

mod scopes {
    use super::*;

    #[advisory("attribute.rolled back")]
    fn write(conn: &mut PgConnection, table: &str, fail: bool) -> QueryResult<()> {
        insert(conn, table, 1)?;
        if fail {
            return Err(DieselError::RollbackTransaction);
        }
        Ok(())
    }

    #[test]
    fn lock_and_work_share_one_fate() {
        let mut conn = connect();
        let table = table(&mut conn);
        let failed = write(&mut conn, &table, true);
        assert_eq!(failed, Err(DieselError::RollbackTransaction));
        assert_eq!(committed(&table), []);
        assert_held_by("attribute.rolled back", |conn| write(conn, &table, false));
        assert_eq!(committed(&table), [1]);
    }

    #[advisory("attribute.session", session)]
    fn report(conn: &mut PgConnection, result: QueryResult<()>) -> QueryResult<()> {
        assert_eq!(depth(conn), None);
        conn.transaction(|_| QueryResult::Ok(()))?;
        assert_locked("attribute.session");
        result
    }

    #[test]
    fn session_opens_no_transaction() {
        assert_held_by("attribute.session", |conn| report(conn, Ok(())));
        let mut conn = connect();
        let failed = report(&mut conn, Err(DieselError::NotFound));
        assert_eq!(failed, Err(DieselError::NotFound));
        assert_clean(&mut conn);
    }

    /// Isolation level, read only, deferrable.
    fn modes(conn: &mut PgConnection) -> String {
        text(
            conn,
            "SELECT concat_ws(' ', current_setting('transaction_isolation'), \
             current_setting('transaction_read_only'), \
             current_setting('transaction_deferrable')) AS value",
        )
    }

    #[advisory("attribute.modes", read_committed, read_only)]
    fn read_committed(conn: &mut PgConnection) -> QueryResult<String> {
        Ok(modes(conn))
    }

    #[advisory("attribute.modes", repeatable_read, read_write)]
    fn repeatable_read(conn: &mut PgConnection) -> QueryResult<String> {
        Ok(modes(conn))
    }

    #[advisory("attribute.modes", deferrable, serializable, read_only)]
    fn deferrable(conn: &mut PgConnection) -> QueryResult<String> {
        Ok(modes(conn))
    }

    #[advisory("attribute.modes", serializable, not_deferrable)]
    fn serializable(conn: &mut PgConnection) -> QueryResult<String> {
        Ok(modes(conn))
    }

    #[test]
    fn the_transaction_has_the_modes_of_the_keys() {
        let mut conn = connect();
        let sql = "SET default_transaction_deferrable = on";
        diesel::sql_query(sql).execute(&mut conn).unwrap();
        for (function, expected) in [
            (read_committed as fn(&mut _) -> _, "read committed on on"),
            (repeatable_read, "repeatable read off on"),
            (deferrable, "serializable on on"),
            (serializable, "serializable off off"),
        ] {
            assert_eq!(function(&mut conn).as_deref(), Ok(expected));
        }
    }
}

mod connections {
    use super::*;

    type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

    #[advisory("attribute.named connection", conn = db)]
    fn named(first: i32, db: &mut PgConnection, last: i32) -> QueryResult<i32> {
        assert_locked("attribute.named connection");
        diesel::sql_query("SELECT 1").execute(db)?;
        Ok(first + last)
    }

    #[advisory("attribute.mut connection")]
    #[expect(clippy::mut_mut, reason = "something has to need the `mut`")]
    fn mutable(mut conn: &mut PgConnection) -> QueryResult<usize> {
        assert_locked("attribute.mut connection");
        let conn = &mut conn;
        diesel::sql_query("SELECT 1").execute(*conn)
    }

    #[advisory("attribute.generic connection")]
    fn generic<C: AdvisoryConnection>(conn: &mut C) -> QueryResult<bool> {
        Ok(conn.is_advisory_locked("attribute.generic connection")?)
    }

    #[advisory("attribute.impl connection")]
    fn anonymous(conn: &mut impl AdvisoryConnection) -> QueryResult<bool> {
        Ok(conn.is_advisory_locked("attribute.impl connection")?)
    }

    #[advisory("attribute.deref")]
    fn deref<C>(conn: &mut C) -> QueryResult<usize>
    where
        C: std::ops::DerefMut<Target = PgConnection>,
    {
        assert_locked("attribute.deref");
        diesel::sql_query("SELECT 1").execute(conn)
    }

    #[test]
    fn are_found_by_place_or_by_name() {
        let sum = assert_held_by("attribute.named connection", |conn| named(1, conn, 2));
        assert_eq!(sum, 3);
        assert_held_by("attribute.mut connection", mutable);
        assert!(assert_held_by("attribute.generic connection", generic));
        assert!(assert_held_by("attribute.impl connection", anonymous));
        assert_held_by("attribute.deref", |mut conn| deref(&mut conn));
    }

    #[advisory("attribute.pooled connection", timeout = "1h")]
    fn pooled(conn: &mut Pooled, name: &str) -> QueryResult<usize> {
        assert_locked("attribute.pooled connection");
        assert_eq!(text(conn, &format!("SELECT '{name}' AS value")), name);
        diesel::sql_query("SELECT 1").execute(conn)
    }

    #[advisory("attribute.pooled session", session)]
    fn pooled_session(conn: &mut Pooled) -> QueryResult<usize> {
        assert_locked("attribute.pooled session");
        diesel::sql_query("SELECT 1").execute(conn)
    }

    #[test]
    fn can_be_pooled() {
        let pool = pool_of_one(Sandbox::shared().url());
        let conn = &mut pool.get().unwrap();
        assert_eq!(pooled(conn, "name"), Ok(1));
        assert_eq!(pooled_session(conn), Ok(1));
        assert_clean(conn);
    }
}

mod functions {
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
            assert_eq!(depth(conn), Some(1));
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

    macro_rules! locked {
        ($name:ident, $id:literal, $conn:ident: $ty:ty => $result:ty $body:block) => {
            #[advisory($id, no_wait)]
            fn $name($conn: $ty) -> $result {
                assert_locked($id);
                $body
            }
        };
        ($name:ident, $id:expr) => {
            #[advisory($id)]
            fn $name(conn: &mut PgConnection) -> QueryResult<Option<u32>> {
                assert_locked($id);
                Ok(depth(conn))
            }
        };
    }

    locked!(by_macro, "attribute.macro", conn: &mut PgConnection => QueryResult<usize> {
        diesel::sql_query("SELECT 1").execute(conn)
    });
    locked!(by_hygienic_macro, "attribute.hygienic macro");

    #[test]
    fn can_be_made_by_macros() {
        assert_held_by("attribute.macro", by_macro);
        assert_held_by("attribute.hygienic macro", by_hygienic_macro);
    }
}

/// Checked by clippy: what it would report of a function it reports still, and nothing else.
mod lints {
    use super::*;

    #[advisory("attribute.lints")]
    #[expect(clippy::needless_pass_by_value)]
    fn by_value(_conn: &mut PgConnection, name: String) -> QueryResult<usize> {
        Ok(name.len())
    }

    #[advisory("attribute.lints")]
    #[expect(clippy::needless_question_mark)]
    fn returns(_conn: &mut PgConnection, value: QueryResult<()>) -> QueryResult<()> {
        Ok(value?)
    }

    #[advisory("attribute.lints")]
    #[expect(clippy::used_underscore_binding)]
    fn uses(_conn: &mut PgConnection) -> QueryResult<usize> {
        diesel::sql_query("SELECT 1").execute(_conn)
    }

    #[advisory("attribute.lints")]
    #[warn(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]
    fn shadows(conn: &mut PgConnection, rows: usize) -> QueryResult<usize> {
        #[expect(clippy::shadow_reuse)]
        let rows = rows + diesel::sql_query("SELECT 1").execute(conn)?;
        Ok(rows)
    }

    struct Ledger;

    impl Ledger {
        #[advisory("attribute.lints:{id}")]
        #[expect(clippy::let_and_return, clippy::unused_self)]
        fn bind(&self, conn: &mut PgConnection, id: i32) -> QueryResult<usize> {
            let rows = diesel::sql_query("SELECT 1").execute(conn);
            rows
        }
    }

    #[test]
    fn do_not_change_what_runs() {
        let conn = &mut connect();
        assert_eq!(by_value(conn, "name".to_owned()), Ok(4));
        assert_eq!(returns(conn, Ok(())), Ok(()));
        assert_eq!(uses(conn), Ok(1));
        assert_eq!(shadows(conn, 1), Ok(2));
        assert_eq!(Ledger.bind(conn, 1), Ok(1));
    }
}

#[cfg(feature = "async")]
mod asynchronous {
    use diesel_advisory::AsyncAdvisoryConnection;
    use diesel_async::pooled_connection::AsyncDieselConnectionManager;
    use diesel_async::pooled_connection::bb8::{Pool, PooledConnection};
    use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

    use super::{
        DieselError, Duration, Error, Holder, LockId, QueryResult, Sandbox, advisory, assert_free,
        assert_locked,
    };

    async fn connect() -> AsyncPgConnection {
        let url = Sandbox::shared().url();
        AsyncPgConnection::establish(url).await.unwrap()
    }

    /// Calls it on a task of its own, where its future has to be `Send`.
    async fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        tokio::spawn(work).await.unwrap()
    }

    struct Ledger {
        name: String,
        closed: u32,
    }

    impl Ledger {
        #[advisory("attribute.async:{month}")]
        async fn close(&mut self, conn: &mut AsyncPgConnection, month: u32) -> QueryResult<usize> {
            assert_locked(("attribute.async", month));
            if month == 0 {
                return Err(DieselError::NotFound);
            }
            let rows = diesel::sql_query("SELECT 1").execute(conn).await?;
            self.closed = month;
            Ok(rows)
        }

        #[advisory(("attribute.async", &self.name), session, timeout = Duration::from_secs(60))]
        async fn report(self, conn: &mut AsyncPgConnection, text: &str) -> Result<String, Error> {
            assert_locked("attribute.async:books");
            diesel::sql_query("SELECT 1").execute(conn).await?;
            Ok(self.name + text)
        }
    }

    #[tokio::test]
    async fn functions_run_under_a_lock() {
        let (name, closed) = ("books".to_owned(), 0);
        let report = spawn(async move {
            let mut conn = connect().await;
            let mut ledger = Ledger { name, closed };
            let failed = ledger.close(&mut conn, 0).await;
            assert_eq!(failed, Err(DieselError::NotFound));
            assert_eq!(ledger.close(&mut conn, 7).await, Ok(1));
            assert_eq!(ledger.closed, 7);
            ledger.report(&mut conn, " closed").await.unwrap()
        });
        assert_eq!(report.await, "books closed");
        assert_free(("attribute.async", 7));
        assert_free("attribute.async:books");
    }

    #[advisory("attribute.async, generic")]
    async fn generic<C, T>(conn: &mut C, value: T) -> QueryResult<(T, bool)>
    where
        C: AsyncAdvisoryConnection,
        T: Send,
    {
        let locked = conn.is_advisory_locked("attribute.async, generic").await?;
        Ok((value, locked))
    }

    #[advisory(id, no_wait, skip, shared, read_only)]
    #[expect(clippy::mut_mut, reason = "something has to need the `mut`")]
    async fn pooled(
        mut conn: &mut PooledConnection<'_, AsyncPgConnection>,
        id: LockId<'_>,
    ) -> QueryResult<Option<usize>> {
        let conn = &mut conn;
        diesel::sql_query("SELECT 1").execute(*conn).await.map(Some)
    }

    #[tokio::test]
    async fn connections_can_be_generic_or_pooled() {
        let value = generic(&mut connect().await, "value").await;
        assert_eq!(value, Ok(("value", true)));

        let id = || LockId::from("attribute.async, pooled");
        let manager = AsyncDieselConnectionManager::new(Sandbox::shared().url());
        let pool = Pool::builder().build(manager).await.unwrap();
        let mut conn = pool.get().await.unwrap();
        assert_eq!(pooled(&mut conn, id()).await, Ok(Some(1)));
        let holder = Holder::of(id());
        assert_eq!(pooled(&mut conn, id()).await, Ok(None));
        drop(holder);
    }
}
