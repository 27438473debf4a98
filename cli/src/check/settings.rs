//! What the server's settings and views tell.

use tokio_postgres::Client;

use super::finding::Finding;
use super::{row, value};
use crate::exit::Failure;

/// The server's major version.
pub(super) async fn version(client: &Client, findings: &mut Vec<Finding>) -> Result<u32, Failure> {
    let text = value(client, "SELECT version()").await?;
    let number = value(client, "SHOW server_version_num").await?;
    let major = number.parse::<u32>().unwrap_or(0) / 10_000;
    let name = text.split(" on ").next().unwrap_or_default().to_owned();
    findings.push(if !text.starts_with("PostgreSQL ") {
        Finding::fail("server", format!("{name}: this is not PostgreSQL"))
            .advice("what only speaks its protocol may accept locks and not keep them")
    } else if major < 14 {
        Finding::fail("server", format!("{name}: too old"))
            .advice("PostgreSQL 14 or later is needed")
    } else {
        Finding::ok("server", name)
    });
    Ok(major)
}

pub(super) async fn primary(client: &Client, findings: &mut Vec<Finding>) -> Result<bool, Failure> {
    let standby = value(client, "SELECT pg_catalog.pg_is_in_recovery()").await? == "t";
    findings.push(if standby {
        Finding::fail(
            "primary",
            "this server is a standby: its locks exclude nobody on the primary",
        )
        .advice(
            "connect to the primary, or name all servers and add `target_session_attrs=read-write`",
        )
    } else {
        Finding::ok("primary", "this server is a primary")
    });
    Ok(!standby)
}

/// Those that would end a wait, or a holder.
pub(super) async fn timeouts(
    client: &Client,
    findings: &mut Vec<Finding>,
    version: u32,
) -> Result<(), Failure> {
    const ADVICE: &str = "it ends waits for locks and long transactions: `ALTER ROLE … SET … = 0` for the role that \
         waits, or use --wait with less";
    let mut settings = vec!["statement_timeout", "idle_in_transaction_session_timeout"];
    if version >= 17 {
        settings.push("transaction_timeout");
    }
    for setting in settings {
        let value = value(client, &format!("SHOW {setting}")).await?;
        findings.push(match value.as_str() {
            "0" => Finding::ok(setting, "off"),
            value => Finding::warn(setting, value).advice(ADVICE),
        });
    }
    let value = value(client, "SHOW lock_timeout").await?;
    findings.push(match value.as_str() {
        "0" => Finding::ok("lock_timeout", "off"),
        value => Finding::warn("lock_timeout", value).advice(
            "programs that set no timeout for a lock wait no longer; `pg-advisory run` does",
        ),
    });
    Ok(())
}

/// What lets a client that is gone keep its locks.
pub(super) async fn dead_clients(
    client: &Client,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let check = value(client, "SHOW client_connection_check_interval").await?;
    findings.push(match check.as_str() {
        "0" => Finding::warn("client_connection_check_interval", "0: a client that goes while it waits stays in the queue")
            .advice("set it to 10s or so, so that one that is gone is neither waited for nor granted the lock"),
        value => Finding::ok("client_connection_check_interval", value),
    });
    let idle = value(client, "SHOW tcp_keepalives_idle").await?;
    let interval = value(client, "SHOW tcp_keepalives_interval").await?;
    let count = value(client, "SHOW tcp_keepalives_count").await?;
    let seconds = |text: &str| text.parse::<u64>().unwrap_or(0);
    let socket = value(client, "SELECT pg_catalog.inet_server_addr() IS NULL").await? == "t";
    let all = seconds(&idle) + seconds(&interval) * seconds(&count);
    findings.push(if socket {
        Finding::ok("tcp_keepalives", "not used on a Unix socket")
    } else if all == 0 || all > 300 {
        let message = match all {
            0 => String::from("left to the server's system, which waits for two hours as a rule"),
            all => format!("a machine that is gone is noticed after {all} s"),
        };
        Finding::warn("tcp_keepalives", message).advice(
            "until then, session locks of programs outlive their machine (leases do not): set \
             tcp_keepalives_idle, _interval and _count",
        )
    } else {
        Finding::ok(
            "tcp_keepalives",
            format!("a machine that is gone is noticed after {all} s"),
        )
    });
    Ok(())
}

/// How many locks there can be.
pub(super) async fn room(client: &Client, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let each = value(client, "SHOW max_locks_per_transaction").await?;
    let connections = value(client, "SHOW max_connections").await?;
    let prepared = value(client, "SHOW max_prepared_transactions").await?;
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let all = number(&each) * (number(&connections) + number(&prepared));
    let message = format!("{each}, so about {all} locks in all");
    findings.push(match number(&each) {
        0..64 => Finding::warn("max_locks_per_transaction", message).advice(
            "less than the default: large sets of locks fail with \"out of shared memory\"",
        ),
        _ => Finding::ok("max_locks_per_transaction", message),
    });
    Ok(())
}

pub(super) async fn catalog(client: &Client, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    const ADVICE: &str = "locks without a name that anybody tells are shown by their keys: \
         `pg-advisory install` makes the catalog, which \
         `run --every` needs too";
    let table = value(
        client,
        "SELECT pg_catalog.to_regclass('diesel_advisory.lock_names')",
    )
    .await?;
    if table.is_empty() {
        findings.push(Finding::ok("catalog", "not installed").advice(ADVICE));
        return Ok(());
    }
    let readable = value(
        client,
        "SELECT pg_catalog.has_schema_privilege('diesel_advisory', 'USAGE') \
         AND pg_catalog.has_table_privilege('diesel_advisory.lock_names', 'SELECT')",
    );
    if readable.await? != "t" {
        findings.push(Finding::warn("catalog", "installed, and this role may not read it").advice(
            "GRANT USAGE ON SCHEMA diesel_advisory TO …; GRANT SELECT ON ALL TABLES IN SCHEMA diesel_advisory TO …",
        ));
        return Ok(());
    }
    // Another tool may have installed it, by the migrations of an application.
    let version = "SELECT max(version) FROM diesel_advisory.__diesel_schema_migrations";
    let version = value(client, version).await.unwrap_or_default();
    findings.push(Finding::ok(
        "catalog",
        match version.as_str() {
            "" => String::from("installed, of an unknown version"),
            version => format!("installed, version {version}"),
        },
    ));
    Ok(())
}

/// What `who` and `kill` may see and do.
pub(super) async fn rights(client: &Client, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let roles = row(
        client,
        "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
         pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'), current_user",
    );
    let roles = roles.await?;
    let has = |index: usize| roles.get(index).and_then(Option::as_deref) == Some("t");
    findings.push(if has(0) {
        Finding::ok("rights to see", "all sessions")
    } else {
        Finding::warn(
            "rights to see",
            "not the statements and addresses of other roles' sessions",
        )
        .advice("GRANT pg_read_all_stats TO …, for `pg-advisory who`")
    });
    findings.push(if has(1) {
        Finding::ok("rights to end", "all sessions, but those of superusers")
    } else {
        Finding::warn("rights to end", "only sessions of this role")
            .advice("GRANT pg_signal_backend TO …, for `pg-advisory kill`")
    });
    Ok(())
}
