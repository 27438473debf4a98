//! The attribute of [`diesel-advisory`](https://docs.rs/diesel-advisory). Use it from there: this
//! crate is an implementation detail.

mod args;
mod connection;
mod duration;
mod expand;
mod function;
mod id;
mod returns;
mod template;
mod work;

use proc_macro::TokenStream;

/// Runs the whole function under an advisory lock.
///
/// It is `conn.advisory(…).run(…)` around the body, or `conn.advisory_session(…).run(…)`, and
/// nothing else:
///
/// ```
/// # use diesel::prelude::*;
/// use diesel_advisory::advisory;
///
/// #[advisory("invoice:{invoice_id}", timeout = "2s")]
/// fn bill(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<usize> {
///     diesel::sql_query("SELECT 'the invoice'").execute(conn)
/// }
/// # diesel_advisory_sandbox::doctest!(conn);
/// # assert_eq!(bill(conn, 42)?, 1);
/// # Ok::<_, diesel::result::Error>(())
/// ```
///
/// is the same as
///
/// ```
/// # use diesel::prelude::*;
/// # use std::time::Duration;
/// use diesel_advisory::AdvisoryConnection;
///
/// fn bill(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<usize> {
///     conn.advisory(format!("invoice:{invoice_id}"))
///         .timeout(Duration::from_secs(2))
///         .run(|conn| diesel::sql_query("SELECT 'the invoice'").execute(conn))
/// }
/// # diesel_advisory_sandbox::doctest!(conn);
/// # assert_eq!(bill(conn, 42)?, 1);
/// # Ok::<_, diesel::result::Error>(())
/// ```
///
/// So a transaction begins with the lock. `Ok` commits it, `Err` and a panic roll it back, and the
/// lock ends with it. If a transaction is open when the function is called, the lock ends with that
/// one.
///
/// # The id
///
/// The id of the lock is the first item:
///
/// | | id |
/// |---|---|
/// | `#[advisory("import")]` | this name |
/// | `#[advisory("invoice:{invoice_id}")]` | a name with arguments of the function in it, as in `format!`, also `{self}`, and formats such as `{day:02}`. A brace that is part of the name is doubled |
/// | `#[advisory(LOCK)]` | an expression: all that `advisory(…)` takes, so a constant, a number, a `LockId`, a `LockKey` |
/// | `#[advisory(("invoice", self.id))]` | an expression can use the arguments too |
/// | `#[advisory]` | the path of the function: `module::path::function` |
///
/// It is made before the connection is borrowed and before the body has the arguments, so that the
/// body can move them. An argument that the id should leave to the body is borrowed, as in
/// `("tenant", &name)`.
///
/// The path is that of [`module_path!`], which begins with the name of the crate; crates that have
/// to exclude each other need a name. It changes when the function is renamed or moved. While an
/// old and a new version of a program run side by side, they then hold different locks. And it does
/// not tell apart
///
/// - methods of the same name in one module, whatever their types: an attribute on a method does
///   not see the `impl` around it;
/// - the types that a generic function, or a provided method of a trait, is called with;
/// - functions of the same name inside of other functions, where the module is the same.
///
/// These run one at a time. Where that is too much, give the lock a name.
///
/// # The keys
///
/// After the id, or alone:
///
/// | key | |
/// |---|---|
/// | `timeout = "2s"` | waits no longer than this. Units are `ms`, `s`, `m` and `h`. An expression of type `Duration` will do as well, which can use the arguments, and `None` waits without end |
/// | `no_wait` | does not wait at all |
/// | `skip` | where the lock is unavailable, the body does not run, and the function returns `Ok(Default::default())`. It needs `timeout` or `no_wait`, since it would wait without end |
/// | `shared` | excludes exclusive locks only |
/// | `session` | holds the lock for the session, and opens no transaction |
/// | `conn = db` | the argument that is the connection |
/// | `read_committed`, `repeatable_read`, `serializable` | the isolation level of the transaction, with a snapshot that is not older than the lock |
/// | `read_only`, `read_write`, `deferrable`, `not_deferrable` | more modes of the transaction |
///
/// Those that are methods of `AdvisoryLock` do what they do there.
///
/// Default: exclusive, in a transaction of its own, waiting as long as the session's `lock_timeout`
/// lets it, on the connection that is the first argument.
///
/// # The function
///
/// It can be a function or a method, generic, a provided method of a trait, and `async`, where the
/// connection is one of `diesel-async` and the feature `async` is needed. It cannot be `const` or
/// `unsafe`.
///
/// The connection is an argument with a name whose type is a `&mut`: a `&mut PgConnection`, a `&mut
/// C` where `C: AdvisoryConnection`, or a `&mut PooledConnection<…>` and whatever else derefs to a
/// connection. In the body it is a reference to the connection itself, so a `&mut PgConnection` for
/// the pooled one. Nothing that borrows from it can be returned.
///
/// The body becomes a closure: `return` and `?` in it end it as they would end the function.
///
/// # Errors
///
/// The function returns a `Result` by some name that contains this word, and its error type is
/// `From<diesel_advisory::Error>`. Without `skip`, a lock that is unavailable is
/// `Error::Unavailable` in that type.
///
/// # Panics
///
/// If the body panics, the transaction is rolled back or the session lock released, while the panic
/// goes on.
///
/// # Examples
///
/// A job that every instance starts, and one does:
///
/// ```
/// use diesel::prelude::*;
/// use diesel_advisory::{Error, advisory};
///
/// #[advisory("import", no_wait, skip)]
/// fn import(conn: &mut PgConnection) -> Result<Option<usize>, Error> {
///     let rows = diesel::sql_query("SELECT 'one row'").execute(conn)?;
///     Ok(Some(rows))
/// }
///
/// # diesel_advisory_sandbox::doctest!(conn, other);
/// # use diesel_advisory::AdvisoryConnection;
/// assert_eq!(import(conn)?, Some(1));
///
/// // Elsewhere somebody is at it.
/// let held = other.advisory_session("import").acquire()?;
/// assert_eq!(import(conn)?, None);
/// # held.release()?;
/// # Ok::<_, Error>(())
/// ```
///
/// A method, on a pooled connection that is not the first argument, with the default id:
///
/// ```
/// mod billing {
///     use diesel::prelude::*;
///     use diesel::r2d2::{ConnectionManager, PooledConnection};
///     use diesel_advisory::advisory;
///
///     pub struct Books {
///         pub months: Vec<u32>,
///     }
///
///     impl Books {
///         #[advisory(conn = db)]
///         pub fn close_month(
///             &mut self,
///             month: u32,
///             db: &mut PooledConnection<ConnectionManager<PgConnection>>,
///         ) -> QueryResult<()> {
///             diesel::sql_query("SELECT 'the books'").execute(db)?;
/// #           use diesel_advisory::AdvisoryConnection;
/// #           let id = concat!(module_path!(), "::close_month");
/// #           assert!(id.ends_with("::billing::close_month") && db.is_advisory_locked(id)?);
///             self.months.push(month);
///             Ok(())
///         }
///     }
/// }
/// # use diesel::r2d2::{ConnectionManager, Pool};
/// # let url = diesel_advisory_sandbox::database_url();
/// # let pool = Pool::builder().max_size(1).build(ConnectionManager::new(url))?;
///
/// // The lock is "my_crate::billing::close_month".
/// let mut books = billing::Books { months: Vec::new() };
/// books.close_month(5, &mut pool.get()?)?;
/// # assert_eq!(books.months, [5]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_attribute]
pub fn advisory(args: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse(args)
        .and_then(|args| Ok((args, syn::parse(item.clone())?)))
        .and_then(|(args, function)| expand::expand(&args, function));
    match expanded {
        Ok(tokens) => tokens.into(),
        // With the function still there, nothing else complains of its absence.
        Err(mistake) => [item, mistake.into_compile_error().into()]
            .into_iter()
            .collect(),
    }
}
