//! The client that a fault strikes: written once, and compiled for both kinds of connection.

use diesel_advisory::Error;

use super::super::task::{Gates, Scope, Stop, Task};
use super::side::*;

/// Does the task, stops where it is told to, and tells in the end what it has seen.
#[helper]
pub(crate) async fn act(task: &Task, gates: &Gates) {
    let Ok(mut conn) = Conn::establish(&task.url).await else {
        gates.tell("cannot connect");
        return;
    };
    gates.tell(&pid(&mut conn).await.to_string());
    let result = lock_and_work(&mut conn, task, gates).await;
    let usable = conn.batch_execute("SELECT 1").await.is_ok();
    let seen = match result {
        Ok(()) => "done".to_owned(),
        Err(Error::Database(error)) => format!("database error: {error}").replace('\n', " "),
        Err(error) => format!("{error:?}"),
    };
    gates.tell(&format!("{seen}|{usable}"));
}

#[helper]
async fn lock_and_work(conn: &mut Conn, task: &Task, gates: &Gates) -> Result<(), Error> {
    stop(conn, task, gates, Stop::Asking).await?;
    let wait = task.wait();
    match task.scope {
        Scope::Transaction => {
            let lock = wait.on(conn.advisory(&task.lock));
            lock.run(async |conn| work(conn, task, gates).await).await
        }
        Scope::RepeatableRead => {
            let lock = wait.on(conn.advisory(&task.lock)).repeatable_read();
            lock.run(async |conn| work(conn, task, gates).await).await
        }
        Scope::Xact => {
            conn.transaction(async |conn| {
                let lock = wait.on(conn.advisory_xact(&task.lock));
                lock.acquire().await?;
                work(conn, task, gates).await
            })
            .await
        }
        Scope::Session => {
            let lock = wait.on(conn.advisory_session(&task.lock));
            lock.run(async |conn| {
                both(conn, task, 1).await?;
                stop(conn, task, gates, Stop::Holding).await?;
                both(conn, task, 3).await?;
                stop(conn, task, gates, Stop::Ending).await
            })
            .await
        }
    }
}

/// What is done in the transaction that has the lock.
#[helper]
async fn work(conn: &mut Conn, task: &Task, gates: &Gates) -> Result<(), Error> {
    insert(conn, &task.table, 1).await?;
    stop(conn, task, gates, Stop::Holding).await?;
    insert(conn, &task.table, 2).await?;
    stop(conn, task, gates, Stop::Ending).await
}

/// A transaction of the work under a session lock.
#[helper]
async fn both(conn: &mut Conn, task: &Task, first: i32) -> Result<(), Error> {
    conn.transaction(async |conn| {
        insert(conn, &task.table, first).await?;
        insert(conn, &task.table, first + 1).await?;
        Ok(())
    })
    .await
}

#[helper]
async fn stop(conn: &mut Conn, task: &Task, gates: &Gates, stop: Stop) -> Result<(), Error> {
    if task.set_at == Some(stop) {
        conn.batch_execute(&task.set).await?;
    }
    gates.stop(stop);
    Ok(())
}
