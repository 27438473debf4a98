//! Locks that an extension takes by PostgreSQL's own interface: they have a form of their own.

use std::fs;
use std::path::Path;

use diesel::prelude::*;
use diesel_advisory::inspect::{self, Lock};
use diesel_advisory::{AdvisoryConnection, LockKey, catalog};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// A key whose bytes are found again.
const KEY: i64 = 0x1971_5a3e_7c44_0d61;

/// No SQL takes such a lock. So a prepared transaction, whose locks are in a file while the server does not
/// run, is given one.
fn server_with_a_lock_of_an_extension() -> Sandbox {
    let builder = Sandbox::builder().setting("max_prepared_transactions", "1");
    let server = builder.start().unwrap();
    let mut conn = connect_to(server.url());
    catalog::install(&mut conn).unwrap();
    let lock = function_call("pg_advisory_xact_lock", KEY);
    execute(
        &mut conn,
        &format!("BEGIN; {lock}; PREPARE TRANSACTION 'x'"),
    );
    let data = text(
        &mut conn,
        "SELECT current_setting('data_directory') AS value",
    );
    drop(conn);
    server.stop().unwrap();
    change_form(&Path::new(&data).join("pg_twophase"));
    server.start_again().unwrap();
    server
}

/// Changes the 1 behind the key, which says that the key is one number, to a 3.
fn change_form(folder: &Path) {
    let mut files = fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    let (classid, objid, form) = key(KEY).to_pg_locks();
    let before = [
        &classid.to_ne_bytes()[..],
        &objid.to_ne_bytes(),
        &form.to_ne_bytes(),
    ]
    .concat();
    let at = bytes
        .windows(before.len())
        .position(|window| window == before)
        .unwrap();
    bytes[at + 8..at + 10].copy_from_slice(&3_i16.to_ne_bytes());
    let end = bytes.len() - 4;
    let sum = crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_ne_bytes());
    fs::write(file, bytes).unwrap();
}

/// The checksum of such a file.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[test]
fn locks_of_extensions_are_left_out() {
    let server = server_with_a_lock_of_an_extension();
    let mut conn = connect_to(server.url());
    let forms = "SELECT string_agg(objsubid::text, ' ') AS value FROM pg_locks \
                 WHERE locktype = 'advisory'";
    assert_eq!(text(&mut conn, forms), "3");
    let in_view = "SELECT count(*)::int AS value FROM diesel_advisory.locks";
    assert_eq!(integer(&mut conn, in_view), 0);
    let locks: Vec<Lock> = inspect::locks().load(&mut conn).unwrap();
    assert_eq!(locks, []);

    // Locks of the same numbers are others.
    let (classid, objid, _) = key(KEY).to_pg_locks();
    let pair = LockKey::from_pg_locks(classid, objid, 2).unwrap();
    for key in [LockKey::BigInt(KEY), pair] {
        assert!(!conn.is_advisory_locked(key).unwrap());
        let held = conn.advisory_session(key).no_wait().acquire().unwrap();
        let mut other = connect_to(server.url());
        let refused = other.advisory_session(key).no_wait().acquire();
        assert_eq!(unavailable(refused.map(drop).unwrap_err()).holders.len(), 1);
        let locks: Vec<Lock> = inspect::locks().load(&mut other).unwrap();
        assert_eq!(locks.len(), 1);
        assert_eq!(locks[0].key, key);
        assert_eq!(integer(&mut other, in_view), 1);
        held.release().unwrap();
    }
}
