//! The service over real HTTP, with guests who all come at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use booking::Service;
use diesel_advisory::AsyncAdvisoryConnection;
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use reqwest::{Client, StatusCode};
use tokio::sync::{Barrier, Semaphore};
use tokio::time::timeout;

const SEATS: [&str; 4] = ["1", "2", "3", "4"];
const GUESTS: [&str; 2] = ["Ada", "Ben"];

/// A service on this server, and its address.
async fn serve(sandbox: &Sandbox, change: impl FnOnce(&mut Service)) -> String {
    let mut service = Service::new(sandbox.url()).await.unwrap();
    change(&mut service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, service.router()).await });
    url
}

/// The same, of a service whose work adds to the first semaphore when it is in, and goes on with a permit of the
/// second.
async fn serve_held(sandbox: &Sandbox) -> (String, Arc<Semaphore>, Arc<Semaphore>) {
    let (is_in, may_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let url = serve(sandbox, |service| {
        let (is_in, may_go) = (is_in.clone(), may_go.clone());
        service.between = Arc::new(move || {
            let (is_in, may_go) = (is_in.clone(), may_go.clone());
            Box::pin(async move {
                is_in.add_permits(1);
                may_go.acquire().await.unwrap().forget();
            })
        });
    })
    .await;
    (url, is_in, may_go)
}

/// All guests want all seats. How often each seat was booked.
///
/// Whoever has seen a free seat waits until all others have seen one too, or until `limit`.
async fn everybody_at_once(locks: bool, limit: Duration) -> BTreeMap<String, usize> {
    let sandbox = Sandbox::start().unwrap();
    let everybody = Arc::new(Barrier::new(SEATS.len() * GUESTS.len()));
    let url = serve(&sandbox, |service| {
        service.locks = locks;
        service.patience = Duration::from_secs(60);
        service.between = Arc::new(move || {
            let everybody = everybody.clone();
            Box::pin(async move {
                let _ = timeout(limit, everybody.wait()).await;
            })
        });
    })
    .await;

    let client = Client::new();
    let mut requests = Vec::new();
    for seat in SEATS {
        for guest in GUESTS {
            let request = client.post(format!("{url}/seats/{seat}")).body(guest);
            requests.push(tokio::spawn(request.send()));
        }
    }
    for request in requests {
        let status = request.await.unwrap().unwrap().status();
        assert!(
            [StatusCode::CREATED, StatusCode::CONFLICT].contains(&status),
            "{status}"
        );
    }

    let page = client.get(format!("{url}/seats")).send().await.unwrap();
    let mut booked = BTreeMap::new();
    for line in page.text().await.unwrap().lines() {
        let (seat, _guest) = line.split_once(' ').unwrap();
        *booked.entry(seat.to_owned()).or_default() += 1;
    }
    booked
}

#[tokio::test]
async fn no_seat_is_booked_twice() {
    let booked = everybody_at_once(true, Duration::from_secs(1)).await;
    assert_eq!(booked, SEATS.map(|seat| (seat.to_owned(), 1)).into());
}

/// What the test above is worth.
#[tokio::test]
async fn without_the_lock_every_seat_is() {
    let booked = everybody_at_once(false, Duration::from_secs(60)).await;
    assert_eq!(
        booked,
        SEATS.map(|seat| (seat.to_owned(), GUESTS.len())).into()
    );
}

#[tokio::test]
async fn a_guest_who_waits_too_long_may_try_again() {
    let sandbox = Sandbox::start().unwrap();
    let url = serve(&sandbox, |service| {
        service.patience = Duration::from_millis(20);
    })
    .await;
    let mut other = AsyncPgConnection::establish(sandbox.url()).await.unwrap();
    let held = other.advisory_session("seat:1").acquire().await.unwrap();

    let book = || {
        Client::new()
            .post(format!("{url}/seats/1"))
            .body("Ada")
            .send()
    };
    let response = book().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");

    held.release().await.unwrap();
    assert_eq!(book().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn the_nightly_job_runs_in_one_instance_and_can_be_seen() {
    let sandbox = Sandbox::start().unwrap();
    let (busy, is_in, may_go) = serve_held(&sandbox).await;
    let idle = serve(&sandbox, |_| {}).await;
    let client = Client::new();
    let nightly = |url: &str| client.post(format!("{url}/nightly")).send();

    let first = tokio::spawn(nightly(&busy));
    is_in.acquire().await.unwrap().forget();
    let second = nightly(&idle).await.unwrap();
    assert_eq!(second.status(), StatusCode::NO_CONTENT);
    let locks = client.get(format!("{idle}/locks")).send().await.unwrap();
    assert!(
        locks
            .text()
            .await
            .unwrap()
            .starts_with("booking.nightly is held by ")
    );

    may_go.add_permits(1);
    let first = first.await.unwrap().unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.text().await.unwrap(), "0 seats are booked\n");
    assert_eq!(nightly(&idle).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn as_many_tickets_are_printed_at_once_as_there_are_printers() {
    let sandbox = Sandbox::start().unwrap();
    let (busy, is_in, may_go) = serve_held(&sandbox).await;
    let hasty = serve(&sandbox, |service| {
        service.patience = Duration::from_millis(20);
    })
    .await;
    let client = Client::new();
    let booked = client.post(format!("{hasty}/seats/7")).body("Ada").send();
    assert_eq!(booked.await.unwrap().status(), StatusCode::CREATED);
    let print = |url: &str| client.post(format!("{url}/tickets/7")).send();

    let printing = [tokio::spawn(print(&busy)), tokio::spawn(print(&busy))];
    is_in.acquire_many(2).await.unwrap().forget();
    let third = print(&hasty).await.unwrap();
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    let locks = client.get(format!("{hasty}/locks")).send().await.unwrap();
    let locks = locks.text().await.unwrap();
    for printer in ["booking.printer (1 of 2)", "booking.printer (2 of 2)"] {
        assert!(locks.contains(&format!("{printer} is held by ")), "{locks}");
    }

    may_go.add_permits(2);
    for ticket in printing {
        let ticket = ticket.await.unwrap().unwrap();
        assert_eq!(ticket.text().await.unwrap(), "seat 7: Ada\n");
    }
    assert_eq!(print(&hasty).await.unwrap().status(), StatusCode::OK);
}
