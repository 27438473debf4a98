//! A booking service: a pool, a lock per seat, and answers for those who come too late.
//!
//! | | |
//! |---|---|
//! | `POST /seats/{seat}` with the guest's name | `201`, `409` if the seat is taken, `503` with `Retry-After` if too many want it |
//! | `GET /seats` | who sits where |
//! | `POST /nightly` | the report; `204` if another instance is at it |
//! | `POST /tickets/{seat}` | the printed ticket; `503` with `Retry-After` if all printers are busy |
//! | `GET /locks` | who holds or waits for which lock now |

mod error;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use diesel::prelude::*;
use diesel_advisory::AsyncAdvisoryConnection;
use diesel_advisory::inspect::{self, Lock, LockName, Names};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

pub use self::error::Error;

diesel::table! {
    /// Nothing in here keeps two guests from one seat: that is what the lock is for.
    bookings (id) {
        /// In the order of the bookings.
        id -> Integer,
        /// The number of the seat.
        seat -> Integer,
        /// Who sits there.
        guest -> Text,
    }
}

/// The service, with what a test wants to change of it.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "there is nothing to show of a pool and a closure"
)]
pub struct Service {
    /// Where the connections come from.
    pub pool: Pool<AsyncPgConnection>,
    /// How long a guest waits for others who want the same seat.
    pub patience: Duration,
    /// Whether to take the lock. A service without it books seats twice.
    pub locks: bool,
    /// Is called after a guest has seen that the seat is free, and before the seat is taken.
    pub between: Arc<dyn Fn() -> Pause + Send + Sync>,
}

/// Something to wait for.
pub type Pause = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Service {
    /// A service on this database, with its table.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn new(url: &str) -> Result<Self, Error> {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
        let pool = Pool::builder(manager)
            .max_size(8)
            .build()
            .map_err(Error::other)?;
        let mut conn = pool.get().await.map_err(Error::other)?;
        // Every instance does this when it starts.
        conn.advisory("booking.setup")
            .run(async |conn| {
                conn.batch_execute(
                    "CREATE TABLE IF NOT EXISTS bookings \
                     (id serial PRIMARY KEY, seat int NOT NULL, guest text NOT NULL)",
                )
                .await
            })
            .await?;
        Ok(Self {
            pool,
            patience: Duration::from_secs(5),
            locks: true,
            between: Arc::new(|| Box::pin(async {})),
        })
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/seats", get(seats))
            .route("/seats/{seat}", post(book))
            .route("/nightly", post(nightly))
            .route("/tickets/{seat}", post(ticket))
            .route("/locks", get(locks))
            .with_state(self)
    }

    /// Books the seat, if it is free.
    async fn take(
        &self,
        conn: &mut AsyncPgConnection,
        seat: i32,
        guest: &str,
    ) -> Result<(), Error> {
        let taken = bookings::table.filter(bookings::seat.eq(seat));
        if taken.count().get_result::<i64>(conn).await? > 0 {
            return Err(Error::Taken);
        }
        (self.between)().await;
        diesel::insert_into(bookings::table)
            .values((bookings::seat.eq(seat), bookings::guest.eq(guest)))
            .execute(conn)
            .await?;
        Ok(())
    }
}

async fn book(
    State(service): State<Service>,
    Path(seat): Path<i32>,
    guest: String,
) -> Result<StatusCode, Error> {
    let mut conn = service.pool.get().await.map_err(Error::other)?;
    if service.locks {
        conn.advisory(("seat", seat))
            .timeout(service.patience)
            .run(async |conn| service.take(conn, seat, &guest).await)
            .await?;
    } else {
        conn.transaction(async |conn| service.take(conn, seat, &guest).await)
            .await?;
    }
    Ok(StatusCode::CREATED)
}

async fn seats(State(service): State<Service>) -> Result<String, Error> {
    let mut conn = service.pool.get().await.map_err(Error::other)?;
    let bookings = bookings::table
        .order((bookings::seat, bookings::id))
        .select((bookings::seat, bookings::guest))
        .load::<(i32, String)>(&mut conn)
        .await?;
    let mut page = String::new();
    for (seat, guest) in bookings {
        let _ = writeln!(page, "{seat} {guest}");
    }
    Ok(page)
}

/// For a scheduler that calls every instance at the same time.
async fn nightly(State(service): State<Service>) -> Result<(StatusCode, String), Error> {
    let mut conn = service.pool.get().await.map_err(Error::other)?;
    let report = conn
        .advisory_session("booking.nightly")
        .no_wait()
        .try_run(async |conn| {
            (service.between)().await;
            bookings::table.count().get_result::<i64>(conn).await
        })
        .await?;
    Ok(match report {
        Some(count) => (StatusCode::OK, format!("{count} seats are booked\n")),
        None => (StatusCode::NO_CONTENT, String::new()),
    })
}

/// How many tickets are printed at once, by all instances together.
pub const PRINTERS: u32 = 2;

/// Prints the ticket for a seat. There are so many printers, and they are slow.
async fn ticket(
    State(service): State<Service>,
    Path(seat): Path<i32>,
) -> Result<(StatusCode, String), Error> {
    let mut conn = service.pool.get().await.map_err(Error::other)?;
    let guest = conn
        .advisory_session("booking.printer")
        .permits(PRINTERS)
        .timeout(service.patience)
        .run(async |conn| {
            (service.between)().await;
            let guest = bookings::table.filter(bookings::seat.eq(seat));
            let guest = guest.select(bookings::guest).first::<String>(conn).await;
            guest.optional()
        })
        .await?;
    Ok(match guest {
        Some(guest) => (StatusCode::OK, format!("seat {seat}: {guest}\n")),
        None => (
            StatusCode::NOT_FOUND,
            String::from("nobody has that seat\n"),
        ),
    })
}

async fn locks(State(service): State<Service>) -> Result<String, Error> {
    let mut conn = service.pool.get().await.map_err(Error::other)?;
    let seats = bookings::table
        .select(bookings::seat)
        .load::<i32>(&mut conn)
        .await?;
    let mut names: Names = ["booking.nightly"].into_iter().collect();
    names.extend(LockName::permits("booking.printer", PRINTERS));
    names.extend(
        seats
            .into_iter()
            .chain(1..=100)
            .map(|seat| format!("seat:{seat}")),
    );

    let mut page = String::new();
    for lock in inspect::locks().load::<Lock>(&mut conn).await? {
        let (name, pid) = (lock.name(&names), lock.pid.unwrap_or(0));
        let status = if lock.granted {
            "is held by"
        } else {
            "is waited for by"
        };
        let _ = writeln!(page, "{name} {status} {pid}");
    }
    Ok(page)
}
