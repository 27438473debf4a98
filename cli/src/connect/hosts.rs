//! The servers to try.

use std::path::Path;

use super::params::Params;
use super::settings::invalid;
use crate::exit::Failure;

/// Folders of the server's socket, where none is named: Debian's and that of PostgreSQL itself.
pub(super) const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One of the servers to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// A name, an address, or the folder of a socket.
    pub(super) name: String,
    pub(super) hostaddr: Option<String>,
    pub(super) port: u16,
}

impl Host {
    pub(super) fn is_socket(&self) -> bool {
        self.hostaddr.is_none() && self.name.starts_with(['/', '@'])
    }
}

/// Those of the settings, which may name several.
pub(super) fn hosts(params: &Params) -> Result<Vec<Host>, Failure> {
    let list = |keyword| -> Vec<&str> {
        params
            .get(keyword)
            .map_or_else(Vec::new, |l| l.split(',').collect())
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(Failure::usage(
            "`host` and `hostaddr` have to name the same number of servers",
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Failure::usage(
            "there have to be as many ports as hosts, or one",
        ));
    }
    let item =
        |list: &[&str], index: usize| list.get(index).copied().unwrap_or_default().to_owned();
    (0..count)
        .map(|index| {
            let port = match ports.get(if ports.len() == 1 { 0 } else { index }) {
                None | Some(&"") => 5432,
                Some(port) => port.trim().parse().map_err(|_| invalid("port"))?,
            };
            let hostaddr = Some(item(&addresses, index)).filter(|address| !address.is_empty());
            let mut name = item(&names, index);
            if name.is_empty() && hostaddr.is_none() {
                name = default_host(port);
            }
            Ok(Host {
                name,
                hostaddr,
                port,
            })
        })
        .collect()
}

/// The folder of a server's socket, or this machine.
fn default_host(port: u16) -> String {
    let has_socket = |folder: &&&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    let folder = SOCKET_FOLDERS.iter().find(has_socket);
    folder.copied().unwrap_or("localhost").to_owned()
}
