//! The sandbox against a real server, seen through a real client.

mod backends;
mod faults;
mod poolers;
mod proxy;
mod server;
mod standby;
mod versions;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

const SECOND: Duration = Duration::from_secs(1);

fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap()
}

fn show(client: &mut Client, setting: &str) -> String {
    client
        .query_one(&format!("SHOW {setting}"), &[])
        .unwrap()
        .get(0)
}

fn backend_pid(client: &mut Client) -> i32 {
    client
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0)
}

/// The folder that everything of the server behind this URL is in.
fn folder_of(url: &str) -> PathBuf {
    let data = show(&mut connect(url), "data_directory");
    Path::new(&data).parent().unwrap().to_owned()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
