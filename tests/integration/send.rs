//! Every future can be that of a handler of axum, and that of a task.

use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::handler::Handler;
use diesel_advisory::{AsyncAdvisoryConnection, Error, IntoAsyncAdvisorySession};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::support::asynchronous::{connect, integer};
use crate::support::{assert_free, unique};

/// Calls everything there is, on whatever derefs to a connection. The names and the results are not
/// `'static`, and some are `String`s.
macro_rules! call_everything {
    ($conn:ident, $name:ident) => {{
        let name: String = $name;
        let seven = async |conn: &mut AsyncPgConnection| {
            Ok::<_, Error>(integer(conn, "SELECT 7 AS value").await)
        };

        let conn = &mut *$conn;
        let mut sum = conn.advisory(&name).run(seven).await?;
        sum += conn.advisory(&*name).try_run(seven).await?.unwrap_or(0);
        let lock = conn.advisory((&*name, 1)).and(name.clone()).shared();
        let lock = lock.serializable().timeout(Duration::from_secs(60));
        sum += lock.run(seven).await?;

        let transaction = conn.transaction(async |conn| {
            conn.advisory_xact(&name).acquire().await?;
            assert!(conn.advisory_xact(&name).no_wait().try_acquire().await?);
            conn.advisory(&name).run(seven).await
        });
        sum += transaction.await?;

        sum += conn.advisory_session(&name).run(seven).await?;
        sum += conn
            .advisory_session(&name)
            .try_run(seven)
            .await?
            .unwrap_or(0);
        let mut held = conn.advisory_session(&name).acquire().await?;
        assert!(held.is_held().await?);
        tokio::select! {
            () = held.lost(Duration::from_secs(60)) => panic!("{name} is lost"),
            () = tokio::task::yield_now() => {}
        }
        sum += seven(&mut held).await?;
        held.release().await?;
        if let Some(held) = conn.advisory_session(&name).try_acquire().await? {
            held.release().await?;
        }
        assert!(!conn.is_advisory_locked(&name).await?);

        let mut owned = $conn.into_advisory_session(&name).acquire().await?;
        // The guard goes to another task, and comes back.
        owned = tokio::spawn(async move {
            assert!(owned.is_held().await.unwrap());
            owned
        })
        .await
        .unwrap();
        owned.release().await?;
        Ok::<i32, Error>(sum)
    }};
}

async fn with_deadpool(State(app): State<App>) -> String {
    let (mut conn, name) = (app.deadpool.get().await.unwrap(), app.name);
    let called = async { call_everything!(conn, name) };
    called.await.unwrap().to_string()
}

async fn with_bb8(State(app): State<App>) -> String {
    let (mut conn, name) = (app.bb8.get_owned().await.unwrap(), app.name);
    let called = async { call_everything!(conn, name) };
    called.await.unwrap().to_string()
}

#[derive(Clone)]
struct App {
    deadpool: deadpool::Pool<AsyncPgConnection>,
    bb8: bb8::Pool<AsyncPgConnection>,
    name: String,
}

impl App {
    async fn new(name: &str) -> Self {
        let manager = || AsyncDieselConnectionManager::new(Sandbox::shared().url());
        let bb8 = bb8::Pool::builder().max_size(1).build(manager());
        Self {
            deadpool: deadpool::Pool::builder(manager()).build().unwrap(),
            bb8: bb8.await.unwrap(),
            name: name.to_owned(),
        }
    }
}

/// What a handler is asked for, and a task.
async fn respond<T>(handler: impl Handler<T, App>, app: App) -> Vec<u8> {
    let request = axum::extract::Request::default();
    let response = tokio::spawn(handler.call(request, app)).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX);
    body.await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_called_by_a_handler() {
    let lock = unique("send.handler");
    let app = App::new(&lock).await;
    assert_eq!(respond(with_deadpool, app.clone()).await, b"49");
    assert_eq!(respond(with_bb8, app).await, b"49");
    assert_free(lock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_called_by_a_task() {
    let lock = unique("send.task");
    let name = lock.clone();
    let mut conn = Box::new(connect().await);
    let task = tokio::spawn(async move { call_everything!(conn, name) });
    assert_eq!(task.await.unwrap().unwrap(), 49);
    assert_free(lock);
}

/// Each future on its own, and generic over the connection.
#[test]
fn every_future_is_send() {
    fn send<T>(_: impl Future<Output = T> + Send) {}

    fn check<C: AsyncAdvisoryConnection + 'static>(conn: &mut C) {
        send(conn.advisory("x").run(async |_| Ok::<_, Error>(())));
        send(conn.advisory("x").try_run(async |_| Ok::<_, Error>(())));
        send(conn.advisory_xact("x").acquire());
        send(conn.advisory_xact("x").try_acquire());
        send(conn.advisory_session("x").run(async |_| Ok::<_, Error>(())));
        send(
            conn.advisory_session("x")
                .try_run(async |_| Ok::<_, Error>(())),
        );
        send(conn.advisory_session("x").acquire());
        send(conn.advisory_session("x").try_acquire());
        send(conn.is_advisory_locked("x"));
        send(async {
            let mut held = conn.advisory_session("x").acquire().await.unwrap();
            held.lost(Duration::from_secs(1)).await;
            held.release().await
        });
    }

    let _: fn(&mut AsyncPgConnection) = check;
}
