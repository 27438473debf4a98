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

/// Wraps the body of a function in `conn.advisory(…).run(…)`, or in
/// `conn.advisory_session(…).run(…)`.
///
/// So this function
///
/// ```
/// # use diesel_advisory_sandbox::schema::invoices;
/// use diesel::prelude::*;
/// use diesel_advisory::advisory;
///
/// #[advisory("invoice:{invoice_id}", timeout = "2s")]
/// fn pay(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<usize> {
///     diesel::update(invoices::table.find(invoice_id))
///         .set(invoices::paid.eq(true))
///         .execute(conn)
/// }
/// # diesel_advisory_sandbox::doctest!(conn);
/// # assert_eq!(pay(conn, 42)?, 1);
/// # Ok::<_, diesel::result::Error>(())
/// ```
///
/// does the same as this one:
///
/// ```
/// # use diesel_advisory_sandbox::schema::invoices;
/// use std::time::Duration;
///
/// use diesel::prelude::*;
/// use diesel_advisory::AdvisoryConnection;
///
/// fn pay(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<usize> {
///     conn.advisory(format!("invoice:{invoice_id}"))
///         .timeout(Duration::from_secs(2))
///         .run(|conn| {
///             diesel::update(invoices::table.find(invoice_id))
///                 .set(invoices::paid.eq(true))
///                 .execute(conn)
///         })
/// }
/// # diesel_advisory_sandbox::doctest!(conn);
/// # assert_eq!(pay(conn, 42)?, 1);
/// # Ok::<_, diesel::result::Error>(())
/// ```
///
/// The body runs in a transaction that holds the lock. If it returns `Ok`, the transaction commits; if
/// it returns `Err` or panics, the transaction is rolled back; the lock is released with it. If a
/// transaction is open when the function is called, the body runs in a savepoint, and the lock is
/// released when the outermost transaction ends.
///
/// # The id
///
/// The first item is the id of the lock. Default: the path of the function.
///
/// | | the lock |
/// |---|---|
/// | `#[advisory("import")]` | has this name |
/// | `#[advisory("invoice:{invoice_id}")]` | has a name with arguments of the function in it, as in `format!`. `{self}` and formats such as `{day:02}` work too. Write `{{` and `}}` for braces in the name |
/// | `#[advisory(LOCK)]`, `#[advisory(("invoice", self.id))]` | is what the expression says: anything that `conn.advisory(…)` takes, with or without arguments of the function |
/// | `#[advisory]` | has the function's path as its name: `my_crate::billing::close_month` |
///
/// The id is made before the lock is taken, and before the body has the arguments. If the body needs an
/// argument, borrow it in the expression: `("tenant", &name)`.
///
/// The path is the one of [`module_path!`] with the function's name. It changes when the function is
/// renamed or moved: while an old and a new version of the program run side by side, they take
/// different locks. It begins with the name of the crate, so programs that exclude each other need a
/// name. And these have the same path, and so exclude each other:
///
/// - methods with the same name in one module, whatever their types;
/// - the instances of a generic function, and of a provided method of a trait;
/// - functions with the same name inside of other functions of one module.
///
/// # Options
///
/// After the id, or alone. Options named after a builder method behave like it.
///
/// | option | default | |
/// |---|---|---|
/// | `timeout = "2s"` | the session's `lock_timeout` | How long to wait for the lock. The units are `ms`, `s`, `m` and `h`. An expression of type `Duration` or `Option<Duration>` works too, and can use the arguments. `None` waits without a limit |
/// | `no_wait` | it waits | Does not wait for the lock |
/// | `skip` | it fails | Returns `Ok(None)` if the lock is unavailable or the function is not due, [see below](#skip). Needs `no_wait`, `timeout`, `every` or `once` |
/// | `every = "20h"` | always | Runs the body only if it was not started for that long. An expression of type `Duration` works too. Needs the lock catalog |
/// | `once` | always | Runs the body only if it was never run under this id, which has to be a name. Needs the lock catalog |
/// | `shared` | exclusive | Takes a shared lock, which excludes only exclusive ones |
/// | `allow_standby` | refused | Takes the lock on a standby too, where it excludes only sessions of that server |
/// | `session` | a transaction | Holds the lock for the session. No transaction is opened: each statement commits on its own |
/// | `permits = 3` | one | How many sessions can run the function at once, each with a permit. Needs `session`. An expression of type `u32` works too, and can use the arguments |
/// | `conn = db` | the first argument | Which argument is the connection |
/// | `read_committed`, `repeatable_read`, `serializable` | the session's | The isolation level of the transaction. Its snapshot is taken after the lock |
/// | `read_only`, `read_write` | the session's | The access mode of the transaction |
/// | `deferrable`, `not_deferrable` | the session's | Whether a serializable, read-only transaction waits for a safe snapshot |
///
/// # Skip
///
/// A job that every instance starts, and only one should do, returns `Result<Option<T>, E>`. With
/// `skip` it returns `Ok(None)` if another one has the lock, and otherwise what the body returns:
///
/// ```
/// # use diesel_advisory_sandbox::schema::invoices;
/// use diesel::prelude::*;
/// use diesel_advisory::advisory;
///
/// #[advisory("reminders", no_wait, skip)]
/// fn send_reminders(conn: &mut PgConnection) -> QueryResult<Option<usize>> {
///     let unpaid = invoices::table.filter(invoices::paid.eq(false));
///     let sent = diesel::update(unpaid).set(invoices::reminded.eq(true)).execute(conn)?;
///     Ok(Some(sent))
/// }
///
/// # diesel_advisory_sandbox::doctest!(conn, other);
/// # use diesel_advisory::AdvisoryConnection;
/// match send_reminders(conn)? {
///     Some(sent) => println!("{sent} reminders sent"),
///     None => println!("another instance sends them"),
/// }
/// # assert_eq!(send_reminders(conn)?, Some(3));
/// # let held = other.advisory_session("reminders").acquire()?;
/// # assert_eq!(send_reminders(conn)?, None);
/// # held.release()?;
/// # Ok::<_, diesel_advisory::Error>(())
/// ```
///
/// The same for a job that should run once a night, whichever instance comes first:
///
/// ```
/// # use diesel_advisory_sandbox::schema::invoices;
/// use diesel::prelude::*;
/// use diesel_advisory::advisory;
///
/// #[advisory("nightly:{today}", once, no_wait, skip)]
/// fn clean_up(conn: &mut PgConnection, today: &str) -> QueryResult<Option<usize>> {
///     diesel::delete(invoices::table.filter(invoices::paid)).execute(conn).map(Some)
/// }
///
/// # diesel_advisory_sandbox::doctest!(conn);
/// # diesel_advisory::catalog::install(conn)?;
/// if clean_up(conn, "2026-11-25")?.is_none() {
///     println!("it was done, or another instance does it now");
/// }
/// # assert_eq!(clean_up(conn, "2026-11-25")?, None);
/// # Ok::<_, diesel_advisory::Error>(())
/// ```
///
/// With any other type, the function returns `Ok(Default::default())`, which may not tell whether the
/// body ran.
///
/// # The function
///
/// A function or a method, also a generic one or a provided method of a trait. It cannot be `const` or
/// `unsafe`.
///
/// The name of its return type must contain `Result`, as in `Result<T, E>`, `QueryResult<T>` or
/// `anyhow::Result<T>`. The error type must implement `From<diesel_advisory::Error>`, as Diesel's does.
///
/// The connection is an argument with a name, and a `&mut` reference: `&mut PgConnection`, `&mut C`
/// where `C: AdvisoryConnection`, `&mut PooledConnection<…>`, or a reference to whatever else derefs to
/// a connection. In the body it is a reference to the connection itself: a `&mut PgConnection` for a
/// pooled one. If the connection is a field, the attribute cannot be used: call
/// `self.conn.advisory(…).run(…)` in the body.
///
/// The body becomes a closure, so `return` and `?` end it as they would end the function. The function
/// cannot return what borrows from the connection.
///
/// # Async functions
///
/// With the feature `async`, an `async fn` takes a connection of `diesel-async`, such as `&mut
/// AsyncPgConnection`. What the body holds while it awaits must be `Send`, as for `run`.
///
/// The same holds for functions that return a future: an `impl Future<Output = …>`, a `Pin<Box<dyn
/// Future<Output = …>>>`, or a type whose name ends in `Future`, such as `BoxFuture<…>`. The body must
/// end in an `async` block, as in `async move { … }` or `Box::pin(async move { … })`. Only this block
/// runs under the lock: what stands before it runs when the function is called.
///
/// So the attribute works on the methods of `#[async_trait]`:
///
/// ```
/// # use diesel_advisory_sandbox::schema::invoices;
/// use async_trait::async_trait;
/// use diesel::prelude::*;
/// use diesel_advisory::advisory;
/// use diesel_async::{AsyncPgConnection, RunQueryDsl};
///
/// #[async_trait]
/// trait Job {
///     async fn run(&self, conn: &mut AsyncPgConnection) -> QueryResult<usize>;
/// }
///
/// struct Payment {
///     invoice_id: i32,
/// }
///
/// #[async_trait]
/// impl Job for Payment {
///     #[advisory(("invoice", self.invoice_id))]
///     async fn run(&self, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
///         diesel::update(invoices::table.find(self.invoice_id))
///             .set(invoices::paid.eq(true))
///             .execute(conn)
///             .await
///     }
/// }
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// # assert_eq!(Payment { invoice_id: 42 }.run(conn).await?, 1);
/// # });
/// ```
///
/// # Errors
///
/// Those of `run`, converted to the error type of the function: if the body fails, you get its error.
/// Otherwise, `Error::Unavailable` if the wait ended without the lock, and `Error::NotDue` if the function is not
/// due, unless there is `skip`;
/// `Error::InTransaction` if there is `session` and a transaction is open; `Error::Database` if the
/// lock, the `BEGIN` or the `COMMIT` failed.
///
/// # Panics
///
/// If the body panics, the transaction is rolled back or the session lock released, while the panic
/// goes on.
///
/// # Cancel safety
///
/// If the future of an async function is dropped, the session ends, as for `run`: the transaction is
/// rolled back, and the lock is released.
///
/// # Example
///
/// A method with a pooled connection that is not the first argument. The lock has the default id:
///
/// ```
/// mod billing {
/// #   use diesel_advisory_sandbox::schema::books;
///     use diesel::prelude::*;
///     use diesel::r2d2::{ConnectionManager, PooledConnection};
///     use diesel_advisory::advisory;
///
///     pub struct Ledger {
///         pub closed: Vec<i32>,
///     }
///
///     impl Ledger {
///         // The lock is `my_crate::billing::close_month`.
///         #[advisory(conn = db)]
///         pub fn close_month(
///             &mut self,
///             month: i32,
///             db: &mut PooledConnection<ConnectionManager<PgConnection>>,
///         ) -> QueryResult<()> {
/// #           use diesel_advisory::AdvisoryConnection;
/// #           let id = concat!(module_path!(), "::close_month");
/// #           assert!(id.ends_with("::billing::close_month") && db.is_advisory_locked(id)?);
///             diesel::update(books::table.find(month)).set(books::closed.eq(true)).execute(db)?;
///             self.closed.push(month);
///             Ok(())
///         }
///     }
/// }
///
/// # use diesel::connection::SimpleConnection;
/// # use diesel::r2d2::{ConnectionManager, Pool};
/// # let manager = ConnectionManager::<diesel::PgConnection>::new(diesel_advisory_sandbox::database_url());
/// # let pool = Pool::builder().max_size(1).build(manager)?;
/// # pool.get()?.batch_execute(diesel_advisory_sandbox::schema::SET_UP)?;
/// let mut ledger = billing::Ledger { closed: Vec::new() };
/// ledger.close_month(1, &mut pool.get()?)?;
/// # assert_eq!(ledger.closed, [1]);
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
