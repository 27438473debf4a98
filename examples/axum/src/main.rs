//! `cargo run -p booking` serves on a throwaway PostgreSQL, or on that of `DATABASE_URL`, and says what
//! to try. `cargo run -p booking -- --demo` tries it, and ends.

use std::error::Error;

use booking::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = Service::new(&diesel_advisory_sandbox::database_url())
        .await
        .map_err(|error| format!("{error:?}"))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = axum::serve(listener, service.router());

    if std::env::args().any(|arg| arg == "--demo") {
        tokio::spawn(async { serving.await });
        return demo(&url).await;
    }
    println!("Book a seat:   curl -d Ada {url}/seats/7");
    println!("Who sits:      curl {url}/seats");
    println!("The report:    curl -d '' {url}/nightly");
    println!("The locks:     curl {url}/locks");
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serving.with_graceful_shutdown(interrupted).await?;
    Ok(())
}

/// Eight guests who want the same seat at the same time.
async fn demo(url: &str) -> Result<(), Box<dyn Error>> {
    const GUESTS: [&str; 8] = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hal"];

    let client = reqwest::Client::new();
    let requests = GUESTS.map(|guest| {
        let request = client.post(format!("{url}/seats/7")).body(guest);
        tokio::spawn(async move { (guest, request.send().await) })
    });
    for request in requests {
        let (guest, response) = request.await?;
        println!("{guest:5} {}", response?.status());
    }
    let seats = client
        .get(format!("{url}/seats"))
        .send()
        .await?
        .text()
        .await?;
    println!("\nThe seats:\n{seats}");
    Ok(())
}
