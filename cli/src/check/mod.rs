//! `pg-advisory check`: whether a server, what stands in between, and a role are fit for locks.

mod finding;
mod sessions;
mod settings;

use diesel_async::AsyncPgConnection;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::finding::{Finding, Status};
use crate::args::CheckArgs;
use crate::connect::{self, Settings};
use crate::exit::{Failure, NO_SERVER, SOFTWARE};
use crate::output::out;

/// How sessions of these checks are called.
const NAME: &str = "pg-advisory check";

/// It is not fit.
const UNFIT: u8 = 1;

pub(crate) async fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let settings = Settings::of(&args.connect)?;
    let mut findings = Vec::new();
    let code = match look(&settings, &mut findings).await {
        Ok(())
            if findings
                .iter()
                .any(|finding| finding.status == Status::Fail) =>
        {
            UNFIT
        }
        Ok(()) => 0,
        Err(failure) => {
            findings.push(Finding::fail("connection", failure.message).advice(
                "see that the server runs, that its pg_hba.conf lets this role in, and that host and port are right",
            ));
            failure.code
        }
    };
    if args.json {
        out(&findings.iter().map(Finding::json).collect::<String>())?;
        return Ok(code);
    }
    let mut text = String::new();
    for finding in findings
        .iter()
        .filter(|finding| args.all || finding.status != Status::Ok)
    {
        text.push_str(&finding.text());
    }
    text.push_str(match code {
        0 => "Fit for `pg-advisory run`.\n",
        _ => "Not fit for `pg-advisory run`.\n",
    });
    out(&text)?;
    Ok(code)
}

/// The later ones make sense only if the earlier ones are as they should be.
async fn look(settings: &Settings, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let first: Client = connect::open(settings, NAME).await?;
    let version = settings::version(&first, findings).await?;
    let second: Client = connect::open(settings, NAME).await?;
    let own = sessions::of_one_s_own(&first, &second, findings).await?;
    let exclude = sessions::exclude(&first, &second, findings).await?;
    settings::timeouts(&first, findings, version).await?;
    settings::dead_clients(&first, findings).await?;
    settings::room(&first, findings).await?;
    settings::catalog(&first, findings).await?;
    settings::rights(&first, findings).await?;
    let primary = settings::primary(&first, findings).await?;
    if own && exclude && primary {
        let third: Client = connect::open(settings, NAME).await?;
        sessions::idle_timeout(&third, findings).await;
        let conn: AsyncPgConnection = connect::open(settings, NAME).await?;
        sessions::lease(conn, findings).await;
    }
    Ok(())
}

/// The first row of what a query returns, as text. No statement is prepared: a pooler might not know of it.
async fn row(client: &Client, query: &str) -> Result<Vec<Option<String>>, Failure> {
    let messages = client
        .simple_query(query)
        .await
        .map_err(|error| match error.as_db_error() {
            Some(error) => Failure::new(SOFTWARE, error.message()),
            None => Failure::new(NO_SERVER, error.to_string()),
        })?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| Failure::new(SOFTWARE, "the server answered without a row"))?;
    Ok((0..row.len())
        .map(|index| row.get(index).map(String::from))
        .collect())
}

/// The first column of the first row; empty where it is null.
async fn value(client: &Client, query: &str) -> Result<String, Failure> {
    let row = row(client, query).await?;
    Ok(row.into_iter().next().flatten().unwrap_or_default())
}
