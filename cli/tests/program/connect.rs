//! Which server is taken, and how a password gets there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use diesel_advisory_sandbox::Sandbox;

use crate::support::{Done, Running, at, bare, client, done, holder};

/// A server that lets this role in by its password.
pub(crate) fn with_password(folder: &Path) -> Sandbox {
    let hba = folder.join("hba");
    fs::write(
        &hba,
        "local all postgres trust\nlocal all all scram-sha-256\n",
    )
    .unwrap();
    let server = Sandbox::builder()
        .setting("hba_file", hba.to_str().unwrap())
        .start()
        .unwrap();
    client(&server)
        .batch_execute("CREATE ROLE guest LOGIN PASSWORD 'hush-hush'")
        .unwrap();
    server
}

/// The folder of the server's socket.
fn socket(server: &Sandbox) -> String {
    let query = "SELECT current_setting('unix_socket_directories')";
    client(server).query_one(query, &[]).unwrap().get(0)
}

fn who(vars: &[(&str, &str)], args: &[&str]) -> Done {
    let mut run = bare(&[&["who", "-w"], args].concat());
    run.envs(vars.iter().copied());
    done(run)
}

#[test]
fn a_password_comes_from_the_environment_the_url_or_the_password_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_password(folder.path());
    let socket = socket(&server);
    let place = [
        ("PGHOST", &*socket),
        ("PGUSER", "guest"),
        ("PGDATABASE", "postgres"),
    ];
    let with = |more: &[(&str, &str)]| who(&[&place, more].concat(), &[]);

    let without = with(&[]);
    assert_eq!(without.code, 77, "{}", without.err);
    assert!(
        without.err.contains("asks for a password"),
        "{}",
        without.err
    );
    let wrong = with(&[("PGPASSWORD", "hush-wrong")]);
    assert_eq!(wrong.code, 77);
    assert!(!wrong.err.contains("hush"), "{}", wrong.err);
    assert_eq!(with(&[("PGPASSWORD", "hush-hush")]).code, 0);
    let url = server
        .url_as("guest", "postgres")
        .replacen("guest@", "guest:hush-hush@", 1);
    assert_eq!(done(at(&url, &["who", "-w"])).code, 0);
    assert_eq!(who(&[], &["-d", &url]).code, 0);

    let file = folder.path().join("pgpass");
    fs::write(
        &file,
        format!("other:*:*:*:wrong\n{socket}:5432:postgres:guest:hush-hush\n"),
    )
    .unwrap();
    let passfile = [("PGPASSFILE", file.to_str().unwrap())];
    for (mode, code) in [(0o644, 77), (0o640, 77), (0o600, 0), (0o400, 0)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let found = with(&passfile);
        assert_eq!(found.code, code, "{mode:o}: {}", found.err);
        assert_eq!(
            found.err.contains("group or world access"),
            code != 0,
            "{}",
            found.err
        );
    }
    // That of the home folder.
    fs::rename(&file, folder.path().join(".pgpass")).unwrap();
    assert_eq!(with(&[("HOME", folder.path().to_str().unwrap())]).code, 0);
}

#[test]
fn a_service_is_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Sandbox::shared();
    let file = folder.path().join("services");
    let text = format!(
        "[app]\nhost={}\nuser=postgres\ndbname=postgres\n",
        socket(server)
    );
    fs::write(&file, text).unwrap();
    let file = [("PGSERVICEFILE", file.to_str().unwrap())];
    assert_eq!(
        who(&[&file[..], &[("PGSERVICE", "app")]].concat(), &[]).code,
        0
    );
    assert_eq!(who(&file, &["-d", "service=app"]).code, 0);
    let missing = who(&file, &["-d", "service=none"]);
    assert_eq!(missing.code, 78, "{}", missing.err);
}

#[test]
fn of_several_servers_the_first_that_is_fit_is_taken() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let hosts = format!("/no/such/folder,{},{}", socket(&standby), socket(&primary));
    let run = |attrs: &str| {
        let text = format!("host={hosts} port=5432 user=postgres dbname=postgres {attrs}");
        done(bare(&["run", "several", "-d", &text, "--", "true"]))
    };
    let any = run("");
    assert_eq!(any.code, 69, "{}", any.err);
    assert!(any.err.contains("the server is a standby"), "{}", any.err);
    for attrs in ["read-write", "primary"] {
        let taken = run(&format!("target_session_attrs={attrs}"));
        assert_eq!(taken.code, 0, "{attrs}: {}", taken.err);
    }
    for attrs in ["standby", "read-only", "prefer-standby"] {
        let taken = run(&format!("target_session_attrs={attrs}"));
        assert_eq!(taken.code, 69, "{attrs}: {}", taken.err);
        assert!(
            taken.err.contains("the server is a standby"),
            "{attrs}: {}",
            taken.err
        );
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let found = who(
        &[("PGCONNECT_TIMEOUT", "1"), ("PGSSLMODE", "disable")],
        &["-h", "127.0.0.1", "-p", &port],
    );
    assert_eq!(found.code, 69);
    assert!(
        found.err.contains("no answer within 1s") || found.err.contains("timed out"),
        "{}",
        found.err
    );
}

#[test]
fn others_see_the_name_of_the_lock_or_the_one_that_was_given() {
    let server = Sandbox::shared();
    let mut sql = client(server);
    for (given, seen) in [(None, "pg-advisory app-name"), (Some("cron"), "cron")] {
        let mut run = at(server.url(), &["run", "app-name", "--", "sleep", "1000"]);
        if let Some(given) = given {
            run.env("PGAPPNAME", given);
        }
        let run = Running::start(run);
        let pid = holder(&mut sql, "app-name");
        let query = "SELECT application_name FROM pg_stat_activity WHERE pid = $1";
        let name: String = sql.query_one(query, &[&pid]).unwrap().get(0);
        assert_eq!(name, seen);
        run.signal("TERM");
        assert_eq!(run.end().code, 143);
    }
}
