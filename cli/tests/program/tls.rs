//! TLS with certificates of the tests' own.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use diesel_advisory_sandbox::Sandbox;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{Done, bare, client, done};

/// A server that answers on an address of its own, by TLS alone, with a certificate for `db.test`.
struct Server {
    _running: Sandbox,
    folder: TempDir,
    address: Ipv4Addr,
}

impl Server {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let path = folder.path();
        let issuer = issuer(path, "root.crt");
        issuer_of_nobody(path);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from("db.test")]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(path.join("server.crt"), certificate.pem()).unwrap();
        fs::write(path.join("server.key"), key.serialize_pem()).unwrap();
        fs::write(
            path.join("hba"),
            "local all all trust\nhostssl all all samenet trust\n",
        )
        .unwrap();
        // The server is another user's process if root runs the tests, and wants a key of its own.
        let query = "SELECT current_setting('data_directory')";
        let data: String = client(Sandbox::shared())
            .query_one(query, &[])
            .unwrap()
            .get(0);
        let owner = fs::metadata(data).unwrap().uid();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        let key = path.join("server.key");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        chown(&key, Some(owner), None).unwrap();
        let bytes = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 100 + bytes[1] % 100, bytes[2], bytes[3].max(1));
        let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
        let server = Sandbox::builder()
            .setting("listen_addresses", address.to_string())
            .setting("ssl", "on")
            .setting("ssl_cert_file", file("server.crt"))
            .setting("ssl_key_file", file("server.key"))
            .setting("hba_file", file("hba"))
            .start()
            .unwrap();
        Self {
            _running: server,
            folder,
            address,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, host: &str, options: &str) -> Done {
        let text = format!(
            "host={host} hostaddr={} user=postgres dbname=postgres connect_timeout=20 {options}",
            self.address
        );
        let show = "echo ran";
        done(bare(&["run", "tls", "-d", &text, "--", "sh", "-c", show]))
    }
}

fn issuer(folder: &Path, file: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join(file), issuer.pem()).unwrap();
    issuer
}

fn issuer_of_nobody(folder: &Path) {
    issuer(folder, "other.crt");
}

#[test]
fn a_certificate_is_verified_as_far_as_asked() {
    let server = Server::shared();
    let root = format!("sslrootcert={}", server.file("root.crt").display());
    let other = format!("sslrootcert={}", server.file("other.crt").display());
    for (host, options, code) in [
        ("db.test", format!("sslmode=verify-full {root}"), 0),
        ("db.test", format!("sslmode=verify-full {other}"), 69),
        ("wrong.test", format!("sslmode=verify-full {root}"), 69),
        ("wrong.test", format!("sslmode=verify-ca {root}"), 0),
        ("wrong.test", format!("sslmode=verify-ca {other}"), 69),
        ("wrong.test", String::from("sslmode=require"), 0),
        // As in libpq, a root certificate that is there is used.
        ("wrong.test", format!("sslmode=require {other}"), 69),
        ("db.test", String::from("sslmode=prefer"), 0),
        ("db.test", String::from("sslmode=allow"), 0),
        ("db.test", String::from("sslmode=disable"), 77),
    ] {
        let found = server.run(host, &options);
        assert_eq!(found.code, code, "{host} {options}: {}", found.err);
        assert_eq!(found.out, if code == 0 { "ran\n" } else { "" });
    }
}

#[test]
fn what_cannot_be_verified_is_said_to_be_so() {
    let server = Server::shared();
    let root = server.file("root.crt");
    let wrong = server.run(
        "wrong.test",
        &format!("sslmode=verify-full sslrootcert={}", root.display()),
    );
    assert!(
        wrong.err.contains("certificate not valid for name"),
        "{}",
        wrong.err
    );
    let without = server.run("db.test", "sslmode=verify-full");
    assert_eq!(without.code, 78, "{}", without.err);
    assert!(
        without.err.contains("there is no root certificate"),
        "{}",
        without.err
    );
}
