//! Ids that are expressions.

use super::*;

const NAME: &str = "attribute.constant";
const NUMBER: i64 = -4_711;

#[advisory(NAME)]
fn constant(_conn: &mut PgConnection) -> QueryResult<()> {
    assert_locked(NAME);
    Ok(())
}

#[advisory(self::NUMBER, shared)]
fn number(_conn: &mut PgConnection) -> QueryResult<()> {
    Ok(())
}

#[advisory(-4_712)]
fn literal(_conn: &mut PgConnection) -> QueryResult<()> {
    assert_locked(-4_712);
    Ok(())
}

#[advisory((4_713, -1))]
fn pair(_conn: &mut PgConnection) -> QueryResult<()> {
    assert_locked((4_713, -1));
    Ok(())
}

#[advisory(LockKey::from_name("attribute.key"), timeout = "1m")]
fn key(_conn: &mut PgConnection) -> QueryResult<()> {
    assert_locked("attribute.key");
    Ok(())
}

#[test]
fn without_arguments() {
    assert_held_by(NAME, constant);
    assert_held_by(NUMBER, number);
    assert_held_by(-4_712, literal);
    assert_held_by((4_713, -1), pair);
    assert_held_by("attribute.key", key);
}

#[advisory(("attribute.borrowed", &name))]
fn borrowed(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
    assert_locked("attribute.borrowed:a");
    Ok(name)
}

#[advisory(name.as_str())]
fn method(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
    assert_locked("attribute.method");
    Ok(name)
}

#[advisory(format!("attribute.{}", name.len()))]
fn call(_conn: &mut PgConnection, name: String) -> QueryResult<String> {
    assert_locked("attribute.1");
    Ok(name)
}

#[advisory(id)]
fn any(_conn: &mut PgConnection, id: LockId<'_>) -> QueryResult<()> {
    assert_locked("attribute.any");
    Ok(())
}

#[test]
fn of_arguments_that_the_body_takes() {
    let name = || "a".to_owned();
    assert_held_by("attribute.borrowed:a", |conn| borrowed(conn, name()));
    assert_held_by("attribute.method", |conn| {
        method(conn, "attribute.method".to_owned())
    });
    assert_held_by("attribute.1", |conn| call(conn, name()));
    assert_held_by("attribute.any", |conn| any(conn, "attribute.any".into()));
}

/// A connection that knows whose it is.
struct TenantConnection {
    conn: PgConnection,
    tenant: i32,
}

impl std::ops::Deref for TenantConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl std::ops::DerefMut for TenantConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

#[advisory(("attribute.tenant", db.tenant))]
fn tenant(db: &mut TenantConnection) -> QueryResult<usize> {
    assert_locked("attribute.tenant:7");
    diesel::sql_query("SELECT 1").execute(db)
}

#[test]
fn of_the_connection() {
    let mut db = TenantConnection {
        conn: connect(),
        tenant: 7,
    };
    assert_eq!(tenant(&mut db), Ok(1));
}

struct Tenant {
    name: String,
    work: u32,
}

impl Tenant {
    #[advisory(("attribute.tenant", &self.name))]
    fn work(&mut self, _conn: &mut PgConnection) -> QueryResult<u32> {
        assert_locked("attribute.tenant:a");
        self.work += 1;
        Ok(self.work)
    }
}

#[test]
fn of_a_field() {
    let name = "a".to_owned();
    let mut tenant = Tenant { name, work: 0 };
    let work = assert_held_by("attribute.tenant:a", |conn| tenant.work(conn));
    assert_eq!((work, tenant.work), (1, 1));
}
