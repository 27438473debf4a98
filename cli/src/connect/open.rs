//! Opens a session at the first server that is fit.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use diesel_async::AsyncPgConnection;

use tokio_postgres::config::SslMode as Encryption;
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::config;
use super::hosts::Host;
use super::settings::{Attrs, Settings, SslMode};
use super::tls;
use crate::exit::{Failure, NO_SERVER, NOT_ALLOWED};

/// A session of tokio-postgres that was just made.
type Pair<T> = (Client, Connection<Socket, T>);

/// What a session is to become. Its connection is driven by a task.
pub(crate) trait Opened: Sized + Send {
    fn of<T>(pair: Pair<T>) -> impl Future<Output = Result<Self, Failure>> + Send
    where
        T: TlsStream + Unpin + Send + 'static;
}

impl Opened for AsyncPgConnection {
    async fn of<T>((client, connection): Pair<T>) -> Result<Self, Failure>
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        Self::try_from_client_and_connection(client, connection)
            .await
            .map_err(|error| Failure::new(NO_SERVER, error.to_string()))
    }
}

/// Of which nothing has been asked yet, and nothing is prepared.
impl Opened for Client {
    async fn of<T>((client, connection): Pair<T>) -> Result<Self, Failure>
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Opens a session. `application_name` is for who has not set one.
pub(crate) async fn open<C: Opened>(
    settings: &Settings,
    application_name: &str,
) -> Result<C, Failure> {
    if settings.ask_password && settings.params.get("password").is_none() {
        let settings = with_password(settings)?;
        return Ok(open_somewhere(&settings, application_name).await?);
    }
    match open_somewhere(settings, application_name).await {
        Err(Failed::PasswordMissing(failure)) => {
            if settings.no_password || !has_terminal() {
                return Err(failure);
            }
            let settings = with_password(settings)?;
            Ok(open_somewhere(&settings, application_name).await?)
        }
        opened => Ok(opened?),
    }
}

fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

fn with_password(settings: &Settings) -> Result<Settings, Failure> {
    let prompt = format!("Password for user {}: ", settings.user);
    let password = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::new(NOT_ALLOWED, format!("no password could be read: {error}"))
    })?;
    let mut settings = settings.clone();
    settings.params.set("password", password);
    settings.ask_password = false;
    Ok(settings)
}

/// Why a server cannot be used.
enum Failed {
    PasswordMissing(Failure),
    Other(Failure),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::PasswordMissing(failure) | Failed::Other(failure) => failure,
        }
    }
}

async fn open_somewhere<C: Opened>(settings: &Settings, name: &str) -> Result<C, Failed> {
    let mut hosts: Vec<&Host> = settings.hosts.iter().collect();
    if settings.params.get("load_balance_hosts") == Some("random") {
        let random = RandomState::new();
        hosts.sort_by_key(|host| random.hash_one((&host.name, &host.hostaddr, host.port)));
    }
    let passes: &[Attrs] = match settings.attrs {
        Attrs::PreferStandby => &[Attrs::Standby, Attrs::Any],
        ref attrs => std::slice::from_ref(attrs),
    };
    let mut failures = Vec::new();
    for attrs in passes {
        for host in &hosts {
            let opened = match settings.connect_timeout {
                Some(limit) => tokio::time::timeout(limit, open_at(settings, host, *attrs, name))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Failure::new(NO_SERVER, format!("no answer within {limit:?}")).into())
                    }),
                None => open_at(settings, host, *attrs, name).await,
            };
            match opened {
                Ok(conn) => return Ok(conn),
                Err(Failed::PasswordMissing(failure)) => {
                    return Err(Failed::PasswordMissing(at(host, &failure)));
                }
                // As in libpq: the next server would refuse the same, and must not be asked for it.
                Err(Failed::Other(failure)) if failure.code == NOT_ALLOWED => {
                    return Err(at(host, &failure).into());
                }
                Err(Failed::Other(failure)) => failures.push(at(host, &failure)),
            }
        }
    }
    let code = failures.first().map_or(NO_SERVER, |failure| failure.code);
    let messages: Vec<_> = failures
        .into_iter()
        .map(|failure| failure.message)
        .collect();
    Err(Failure::new(code, messages.join("\n  and ")).into())
}

fn at(host: &Host, failure: &Failure) -> Failure {
    let Host {
        name,
        hostaddr,
        port,
    } = host;
    let place = match hostaddr {
        Some(address) => format!("{address} port {port}"),
        None => format!("{name:?} port {port}"),
    };
    Failure::new(
        failure.code,
        format!("no session at {place}: {}", failure.message),
    )
}

async fn open_at<C: Opened>(
    settings: &Settings,
    host: &Host,
    attrs: Attrs,
    name: &str,
) -> Result<C, Failed> {
    let config = config(settings, host, name)?;
    if host.is_socket() {
        return open_with(config, NoTls, &[Encryption::Disable], attrs).await;
    }
    let tls = MakeRustlsConnect::new(tls::config(settings)?);
    let encryptions: &[Encryption] = match settings.ssl_mode {
        SslMode::Disable => &[Encryption::Disable],
        SslMode::Allow => &[Encryption::Disable, Encryption::Require],
        SslMode::Prefer => &[Encryption::Prefer, Encryption::Disable],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Require],
    };
    open_with(config, tls, encryptions, attrs).await
}

/// Tries one encryption after the other.
async fn open_with<C, T>(
    mut config: Config,
    tls: T,
    encryptions: &[Encryption],
    attrs: Attrs,
) -> Result<C, Failed>
where
    C: Opened,
    T: MakeTlsConnect<Socket, Stream: Send + 'static> + Clone,
{
    let mut failed = None;
    for encryption in encryptions {
        config.ssl_mode(*encryption);
        match config.connect(tls.clone()).await {
            Ok((client, connection)) => {
                let (client, connection) = check(client, connection, attrs).await?;
                return Ok(C::of((client, connection)).await?);
            }
            Err(error) => {
                failed.get_or_insert(failure_of(&error));
                if !may_do_with_another_encryption(&error) {
                    break;
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| Failure::new(NO_SERVER, "it was not tried").into()))
}

/// The handshake failed, or the server has no line in `pg_hba.conf` for a session like this.
fn may_do_with_another_encryption(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => code.code() == "28000",
        None => is_of_tls(error),
    }
}

fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error
        .to_string()
        .starts_with("error performing TLS handshake")
}

fn failure_of(error: &tokio_postgres::Error) -> Failed {
    let mut message = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause.filter(|_| error.as_db_error().is_none()) {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    if message.contains("password missing") {
        let message = "the server asks for a password, and none is given";
        return Failed::PasswordMissing(Failure::new(NOT_ALLOWED, message));
    }
    let code = match error.code().map(tokio_postgres::error::SqlState::code) {
        // Invalid authorization, no such database, no right to connect.
        Some(code) if code.starts_with("28") || code == "3D000" || code == "42501" => NOT_ALLOWED,
        _ => NO_SERVER,
    };
    Failure::new(code, message).into()
}

/// Asks for what `target_session_attrs` wants to know.
async fn check<S>(client: Client, mut connection: S, attrs: Attrs) -> Result<(Client, S), Failed>
where
    S: Future<Output = Result<(), tokio_postgres::Error>> + Unpin,
{
    if attrs == Attrs::Any {
        return Ok((client, connection));
    }
    let query = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
    let rows = tokio::select! {
        rows = client.simple_query(query) => rows,
        ended = &mut connection => match ended {
            Err(error) => Err(error),
            Ok(()) => return Err(Failure::new(NO_SERVER, "the connection was closed").into()),
        },
    };
    let rows = rows.map_err(|error| failure_of(&error))?;
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let is = |index, value| row.and_then(|row| row.get(index)) == Some(value);
    let (standby, read_only) = (is(0, "t"), is(1, "on"));
    let wrong = match attrs {
        Attrs::ReadWrite if read_only || standby => "the session is read-only",
        Attrs::ReadOnly if !read_only && !standby => "the session is not read-only",
        Attrs::Primary if standby => "the server is a standby",
        Attrs::Standby if !standby => "the server is no standby",
        _ => return Ok((client, connection)),
    };
    Err(Failure::new(NO_SERVER, wrong).into())
}

/// Ends what a session waits for.
pub(crate) struct Canceller {
    token: CancelToken,
    tls: MakeRustlsConnect,
}

impl Canceller {
    pub(crate) fn of(settings: &Settings, conn: &AsyncPgConnection) -> Result<Self, Failure> {
        Ok(Self {
            token: conn.cancel_token(),
            tls: MakeRustlsConnect::new(tls::config(settings)?),
        })
    }

    /// Asks the server for it, which does not say whether it has done it.
    pub(crate) async fn cancel(self) {
        let asked = async {
            // A socket has no name for TLS.
            if self.token.cancel_query(self.tls).await.is_err() {
                let _ = self.token.cancel_query(NoTls).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), asked).await;
    }
}
