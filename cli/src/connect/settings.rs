//! What is to be connected to, by the order of precedence that libpq's programs have.

use std::time::Duration;

use super::conninfo::{is_conninfo, parse};
use super::files;
use super::hosts::{Host, SOCKET_FOLDERS, hosts};
use super::params::Params;
use crate::args::ConnectArgs;
use crate::exit::Failure;
use crate::secrets::HANDED_ON;

/// libpq waits for ever. A job that nobody watches should not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to get a session.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) hosts: Vec<Host>,
    pub(super) attrs: Attrs,
    pub(super) user: String,
    pub(super) dbname: String,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) ssl_mode: SslMode,
    pub(super) params: Params,
    /// Never ask for a password.
    pub(super) no_password: bool,
    /// Ask for a password before anything else.
    pub(super) ask_password: bool,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Settings {
    /// From the command line and the environment.
    pub(crate) fn of(args: &ConnectArgs) -> Result<Self, Failure> {
        let var = |name: &str| std::env::var(name).ok();
        let user = || {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
            user.ok().flatten().map(|user| user.name)
        };
        Self::resolve(args, var, user)
    }

    fn resolve(
        args: &ConnectArgs,
        var: impl Fn(&str) -> Option<String> + Copy,
        os_user: impl Fn() -> Option<String>,
    ) -> Result<Self, Failure> {
        let params = collect(args, var)?;
        params.check_supported()?;
        let user = match params.get("user") {
            Some(user) => user.to_owned(),
            None => os_user().ok_or_else(|| Failure::usage("there is no user to connect as"))?,
        };
        let dbname = params.get("dbname").unwrap_or(&user).to_owned();
        let hosts = hosts(&params)?;
        let attrs = match params.get("target_session_attrs").unwrap_or("any") {
            "any" => Attrs::Any,
            "read-write" => Attrs::ReadWrite,
            "read-only" => Attrs::ReadOnly,
            "primary" => Attrs::Primary,
            "standby" => Attrs::Standby,
            "prefer-standby" => Attrs::PreferStandby,
            _ => return Err(invalid("target_session_attrs")),
        };
        let ssl_mode = match params.get("sslmode").unwrap_or("prefer") {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return Err(invalid("sslmode")),
        };
        if params.get("sslrootcert") == Some("system") && ssl_mode != SslMode::VerifyFull {
            if params.get("sslmode").is_some() {
                return Err(Failure::usage(
                    "`sslrootcert=system` needs `sslmode=verify-full`",
                ));
            }
            let mut params = params;
            params.set("sslmode", String::from("verify-full"));
            return Self::finish(
                args,
                params,
                hosts,
                attrs,
                SslMode::VerifyFull,
                user,
                dbname,
            );
        }
        Self::finish(args, params, hosts, attrs, ssl_mode, user, dbname)
    }

    fn finish(
        args: &ConnectArgs,
        params: Params,
        hosts: Vec<Host>,
        attrs: Attrs,
        ssl_mode: SslMode,
        user: String,
        dbname: String,
    ) -> Result<Self, Failure> {
        let connect_timeout = match number::<i32>(&params, "connect_timeout")? {
            None => Some(CONNECT_TIMEOUT),
            Some(seconds) => u64::try_from(seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        };
        Ok(Self {
            hosts,
            attrs,
            user,
            dbname,
            connect_timeout,
            ssl_mode,
            params,
            no_password: args.no_password,
            ask_password: args.password,
        })
    }

    /// What others see of the session.
    pub(super) fn application_name(&self, otherwise: &str) -> String {
        let name = ["application_name", "fallback_application_name"];
        let name = name.iter().find_map(|keyword| self.params.get(keyword));
        name.unwrap_or(otherwise).to_owned()
    }

    /// The password that was given, or that of the password file.
    pub(super) fn password(&self, host: &Host) -> Option<String> {
        if let Some(password) = self.params.get("password") {
            return Some(password.to_owned());
        }
        let name = match &host.name {
            folder if SOCKET_FOLDERS.contains(&folder.as_str()) => "localhost",
            name if name.is_empty() => host.hostaddr.as_deref().unwrap_or("localhost"),
            name => name,
        };
        let port = host.port.to_string();
        files::password_for(
            self.params.get("passfile"),
            [name, &port, &self.dbname, &self.user],
        )
    }
}

/// Looks in the command line, `DATABASE_URL`, the service file and the environment, in this order.
fn collect(
    args: &ConnectArgs,
    var: impl Fn(&str) -> Option<String> + Copy,
) -> Result<Params, Failure> {
    let mut params = Params::default();
    match &args.dbname {
        Some(text) if is_conninfo(text) => {
            params.fill_from(parse(text)?);
            if let Some(password) = var(HANDED_ON) {
                params.set("password", password);
            }
        }
        Some(name) => params.set("dbname", name.clone()),
        None => {}
    }
    let mut flags = Params::default();
    for (keyword, value) in [
        ("host", args.host.clone()),
        ("port", args.port.map(|port| port.to_string())),
        ("user", args.username.clone()),
    ] {
        if let Some(value) = value {
            flags.set(keyword, value);
        }
    }
    params.fill_from(flags);
    // The password in it is for its own server.
    if args.dbname.is_none() && args.host.is_none() {
        if let Some(url) = var("DATABASE_URL").filter(|url| !url.is_empty()) {
            let url =
                parse(&url).map_err(|error| Failure::usage(format!("DATABASE_URL: {error}")))?;
            params.fill_from(url);
        }
    }
    let environment = Params::of_environment(var);
    let service = params.get("service").or_else(|| environment.get("service"));
    if let Some(service) = service {
        let service = files::service(service, var)?;
        params.fill_from(service);
    }
    params.fill_from(environment);
    Ok(params)
}

pub(super) fn number<T: std::str::FromStr>(
    params: &Params,
    keyword: &'static str,
) -> Result<Option<T>, Failure> {
    let parse = |value: &str| value.trim().parse().map_err(|_| invalid(keyword));
    params.get(keyword).map(parse).transpose()
}

/// The value may be a password that went to the wrong place.
pub(super) fn invalid(keyword: &str) -> Failure {
    Failure::usage(format!(
        "the connection option `{keyword}` has an invalid value"
    ))
}

#[cfg(test)]
mod tests {
    use super::{Attrs, Settings, SslMode};
    use crate::args::ConnectArgs;
    use crate::exit::Failure;

    fn resolve(args: &ConnectArgs, vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let var = |name: &str| {
            let found = vars.iter().find(|(var, _)| *var == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(args, var, || Some(String::from("os-user")))
    }

    fn summary(args: &ConnectArgs, vars: &[(&str, &str)]) -> String {
        let settings = resolve(args, vars).unwrap();
        let hosts: Vec<_> = settings
            .hosts
            .iter()
            .map(|h| format!("{}:{}", h.name, h.port))
            .collect();
        format!("{}@{}/{}", settings.user, hosts.join(","), settings.dbname)
    }

    fn args(dbname: Option<&str>, host: Option<&str>) -> ConnectArgs {
        ConnectArgs {
            dbname: dbname.map(String::from),
            host: host.map(String::from),
            ..ConnectArgs::default()
        }
    }

    #[test]
    fn what_is_nearer_to_the_command_line_counts() {
        let vars = [
            ("DATABASE_URL", "postgres://url-user@url-host/url-db"),
            ("PGHOST", "env-host"),
            ("PGPORT", "5433"),
            ("PGUSER", "env-user"),
            ("PGDATABASE", "env-db"),
        ];
        assert_eq!(
            summary(&args(None, None), &vars),
            "url-user@url-host:5433/url-db"
        );
        assert_eq!(
            summary(&args(None, None), &vars[1..]),
            "env-user@env-host:5433/env-db"
        );
        assert_eq!(
            summary(&args(None, Some("h")), &vars),
            "env-user@h:5433/env-db"
        );
        assert_eq!(
            summary(&args(Some("db"), None), &vars),
            "env-user@env-host:5433/db"
        );
        // As in psql, a connection string counts more than the options.
        assert_eq!(
            summary(&args(Some("host=c"), Some("h")), &vars),
            "env-user@c:5433/env-db"
        );
        assert_eq!(
            summary(&args(None, Some("h")), &[]),
            "os-user@h:5432/os-user"
        );
        let some = ConnectArgs {
            username: Some("u".into()),
            port: Some(7),
            ..ConnectArgs::default()
        };
        assert_eq!(summary(&some, &vars), "u@url-host:7/url-db");
    }

    #[test]
    fn several_hosts_share_a_port_or_have_their_own() {
        let hosts = |text| summary(&args(Some(text), None), &[]);
        assert_eq!(hosts("host=a,b port=7"), "os-user@a:7,b:7/os-user");
        assert_eq!(hosts("host=a,b port=7,"), "os-user@a:7,b:5432/os-user");
        assert!(resolve(&args(Some("host=a,b port=7,8,9"), None), &[]).is_err());
    }

    #[test]
    fn modes_are_read_and_wrong_values_not_repeated() {
        let read = |text| resolve(&args(Some(text), None), &[]);
        let settings = read("host=h sslmode=verify-full target_session_attrs=read-write").unwrap();
        assert_eq!(
            (settings.ssl_mode, settings.attrs),
            (SslMode::VerifyFull, Attrs::ReadWrite)
        );
        assert_eq!(
            read("host=h sslrootcert=system").unwrap().ssl_mode,
            SslMode::VerifyFull
        );
        assert!(read("host=h sslrootcert=system sslmode=require").is_err());
        for text in [
            "host=h sslmode=secret",
            "host=h port=secret",
            "host=h connect_timeout=secret",
        ] {
            let message = read(text).unwrap_err().message;
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(
            read("host=h sslcrl=file")
                .unwrap_err()
                .message
                .contains("`sslcrl`")
        );
    }

    #[test]
    fn a_connection_is_not_waited_for_for_ever_unless_told() {
        let wait = |text| {
            resolve(&args(Some(text), None), &[])
                .unwrap()
                .connect_timeout
        };
        assert_eq!(wait("host=h").map(|t| t.as_secs()), Some(30));
        assert_eq!(
            wait("host=h connect_timeout=3").map(|t| t.as_secs()),
            Some(3)
        );
        assert_eq!(wait("host=h connect_timeout=0"), None);
    }
}
