//! `pg-advisory who`: who holds which lock, and who waits.

pub(crate) mod entry;
mod json;
mod others;
pub(crate) mod table;
mod watch;

use diesel_async::AsyncPgConnection;

use self::entry::Entry;
use self::table::Style;
use crate::args::WhoArgs;
use crate::connect::{self, Settings};
use crate::exit::Failure;
use crate::locks;
use crate::output::out;

/// Where it is looked.
struct Server {
    settings: Settings,
    conn: AsyncPgConnection,
}

pub(crate) async fn who(args: &WhoArgs) -> Result<u8, Failure> {
    let settings = Settings::of(&args.connect)?;
    let conn = connect::open(&settings, "pg-advisory who").await?;
    let mut server = Server { settings, conn };
    if args.watch {
        return watch::watch(args, server).await;
    }
    let entries = fetch(&mut server, &args.names).await?;
    if args.json {
        out(&json::lines(&entries))?;
    } else {
        let lines = table::lines(&entries, Style::of_stdout(args.verbose));
        out(&(lines.join("\n") + "\n"))?;
    }
    Ok(0)
}

/// The locks of these names, or all.
async fn fetch(server: &mut Server, names: &[String]) -> Result<Vec<Entry>, Failure> {
    let mut entries = entry::load(&mut server.conn, names).await?;
    if !names.is_empty() {
        let keys: Vec<_> = names.iter().flat_map(|name| locks::keys(name)).collect();
        entries.retain(|entry| entry.key().is_some_and(|key| keys.contains(&key)));
    }
    Ok(entries)
}
