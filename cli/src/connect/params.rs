//! The keywords of a connection, and where each is looked for.

use std::collections::BTreeMap;

use crate::exit::Failure;

/// What libpq knows, and the variable that gives its default.
const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", None),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("service", Some("PGSERVICE")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
    // Without a meaning for a client that is not libpq, or with rustls.
    ("gssdelegation", None),
    ("gsslib", None),
    ("krbsrvname", None),
    ("sslcertmode", None),
    ("sslcompression", None),
    ("sslsni", None),
    ("ssl_max_protocol_version", None),
    ("ssl_min_protocol_version", None),
];

/// Those that make a connection safer. To ignore them would be worse than to refuse them.
const REFUSED: &[&str] = &[
    "requirepeer",
    "require_auth",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
];

/// Values by keyword. An empty value counts as set, and means the built-in default, as in libpq.
#[derive(Clone, Default)]
pub(crate) struct Params(BTreeMap<&'static str, String>);

impl Params {
    pub(crate) fn set(&mut self, keyword: &'static str, value: String) {
        self.0.insert(keyword, value);
    }

    pub(crate) fn set_unless_empty(&mut self, keyword: &'static str, value: String) {
        if !value.is_empty() {
            self.set(keyword, value);
        }
    }

    /// The value, unless it is empty.
    pub(crate) fn get(&self, keyword: &str) -> Option<&str> {
        self.0
            .get(keyword)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Takes from the other what is not set here.
    pub(crate) fn fill_from(&mut self, other: Self) {
        for (keyword, value) in other.0 {
            self.0.entry(keyword).or_insert(value);
        }
    }

    pub(crate) fn remove(&mut self, keyword: &str) -> Option<String> {
        self.0.remove(keyword)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// The variables that libpq reads.
    pub(crate) fn of_environment(var: impl Fn(&str) -> Option<String>) -> Self {
        let mut params = Self::default();
        for (keyword, variable) in KEYWORDS {
            if let Some(value) = variable.and_then(&var) {
                params.set(keyword, value);
            }
        }
        params
    }

    /// Written as a connection string, to be handed on.
    pub(crate) fn to_conninfo(&self) -> String {
        let pairs = self.iter().map(|(keyword, value)| {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            format!("{keyword}='{value}'")
        });
        pairs.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn check_supported(&self) -> Result<(), Failure> {
        for keyword in REFUSED {
            if self.get(keyword).is_some() {
                return Err(Failure::usage(format!(
                    "the connection option `{keyword}` is not supported by this program"
                )));
            }
        }
        if self.get("gssencmode") == Some("require") {
            return Err(Failure::usage(
                "`gssencmode=require` is not supported by this program",
            ));
        }
        Ok(())
    }
}

/// Secrets are not for a debugger's output either.
impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The keyword of this name. What is none may be part of a password that was not quoted.
pub(crate) fn keyword(name: &str) -> Result<&'static str, Failure> {
    KEYWORDS
        .iter()
        .find_map(|(keyword, _)| (*keyword == name).then_some(*keyword))
        .ok_or_else(|| Failure::usage("the connection string has an unknown option"))
}
