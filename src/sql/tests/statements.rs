//! The texts that are sent, as they are in `statements.sql`. What they do is tested on a real server.
//!
//! `UPDATE_GENERATED=1 cargo test --lib statements` writes that file. What differs in it is what is sent
//! differently.

use std::fmt::Write as _;
use std::time::Duration;

use diesel::debug_query;
use diesel::pg::Pg;

use crate::lock::id::LockId;
use crate::lock::interval::Interval;
use crate::sql::guards::Checks;
use crate::sql::lease::{LeaseSettings, SessionName};
use crate::sql::look::{self, Look};
use crate::sql::marks::{self, Mark};
use crate::sql::permits::{Own, take_free, wait, waited_for};
use crate::sql::release::{HeldLocks, release, release_by_query, release_unheard};
use crate::sql::runs::{self, StampRow};
use crate::sql::session::{take_for_session, take_if_free, try_take_for_session};
use crate::sql::statement::Statement;
use crate::sql::take;
use crate::sql::{carry, token, verdict};

use crate::lock::permits::Permits;
use crate::lock::request::{Mode, Request};
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;

const WAITS: [Wait; 3] = [Wait::Inherit, Wait::AtMost(1_500), Wait::Forever];

/// Texts with what they are for.
#[derive(Default)]
struct Texts(String);

impl Texts {
    fn add(&mut self, title: &str, text: &str) {
        writeln!(self.0, "-- {title}\n{text}\n").unwrap();
    }

    /// As a blocking connection sends it, and as an asynchronous one prepares it.
    fn both(&mut self, title: &str, statement: &Statement) {
        self.add(title, &statement.to_string());
        let prepared = debug_query::<Pg, _>(statement).to_string();
        self.add(&format!("{title}, prepared"), &prepared);
    }

    /// As it is asked where an answer can be read, and where an error has to tell it.
    fn look(&mut self, title: &str, look: &Look) {
        self.add(title, &look.query());
        self.add(&format!("{title}, by an error"), &look.statement());
    }
}

fn set<const N: usize>(ids: [LockId<'static>; N], mode: Mode, wait: Wait) -> LockSet<'static> {
    let mut request = Request::new(ids);
    request.mode = mode;
    request.wait = wait;
    LockSet::new(request, std::iter::empty())
}

fn one(wait: Wait) -> LockSet<'static> {
    set([42.into()], Mode::Exclusive, wait)
}

fn few(wait: Wait) -> LockSet<'static> {
    let ids = [(-1, 2).into(), i64::MIN.into(), 7.into(), (3, 4).into()];
    set(ids, Mode::Share, wait)
}

fn many(wait: Wait) -> LockSet<'static> {
    let ids = std::array::from_fn::<_, 17, _>(|index| LockId::from(i64::try_from(index).unwrap()));
    set(ids, Mode::Exclusive, wait)
}

fn on_standby(mut set: LockSet<'static>) -> LockSet<'static> {
    set.on_standby = true;
    set
}

fn in_transactions(texts: &mut Texts) {
    texts.add("begin", take::begin_checked(&one(Wait::Inherit)));
    let standby = on_standby(one(Wait::Inherit));
    texts.add("begin, also on a standby", take::begin_checked(&standby));
    texts.add(
        "why it was refused",
        &take::why_refused(&one(Wait::Inherit)),
    );
    for wait in WAITS {
        for (which, set) in [("one", one(wait)), ("few", few(wait)), ("many", many(wait))] {
            let text = take::take(&set, Checks::None) + take::late_timeout(&set);
            texts.add(&format!("take {which}, {wait:?}"), &text);
        }
    }
    for (which, set) in [
        ("one", one(Wait::Inherit)),
        ("many", many(Wait::Inherit)),
        ("one, also on a standby", on_standby(one(Wait::Inherit))),
    ] {
        for checks in [Checks::Standby, Checks::Snapshot] {
            let title = format!("take {which}, checking {checks:?}");
            texts.add(&title, &take::take(&set, checks));
        }
    }
    for (which, set) in [("one", one(Wait::No)), ("few", few(Wait::No))] {
        let title = format!("take {which} without waiting");
        texts.both(&title, &take::try_take(&set, Checks::Snapshot));
        texts.add(&format!("{title}, or fail"), &take::try_take_or_fail(&set));
        texts.add(&format!("carry {which} out"), &carry::carry_out(&set));
        texts.add(&format!("carry {which} in"), &carry::carry_in(&set));
        let title = format!("carry {which} out without waiting");
        texts.add(&title, &carry::try_carry_out(&set));
        let title = format!("carry {which} in, if it was taken");
        texts.add(&title, &carry::try_carry_in(&set));
        texts.add(
            &format!("drop {which} on the way"),
            &carry::drop_carried(&set),
        );
    }
    texts.both("was it taken", &carry::carried_code());
    for wait in &WAITS[..2] {
        for (which, set) in [("one", one(*wait)), ("few", few(*wait))] {
            let text = verdict::verdict(&set, "zu spät", Duration::from_millis(1_501));
            texts.add(&format!("has {which} timed out, {wait:?}"), &text);
        }
    }
}

fn in_sessions(texts: &mut Texts, mark: Mark) {
    for (which, set) in [
        ("one", one(Wait::Inherit)),
        ("one, in time", one(Wait::AtMost(1_500))),
        ("few", few(Wait::Inherit)),
        ("many", many(Wait::Forever)),
        ("one, also on a standby", on_standby(one(Wait::Inherit))),
    ] {
        texts.add(&format!("hold {which}"), &take_for_session(&set, mark));
    }
    for (which, set) in [("one", one(Wait::No)), ("few", few(Wait::No))] {
        let title = format!("hold {which} without waiting");
        texts.both(&title, &try_take_for_session(&set, mark));
        let held = HeldLocks {
            keys: set.keys(),
            mode: set.mode,
            mark,
        };
        texts.add(&format!("release {which}"), &release(&held));
        if let Some(query) = take_if_free(&set, mark) {
            texts.both(&format!("hold {which} if it is free"), &query);
        }
        if let Some(query) = release_by_query(&held) {
            texts.both(&format!("release {which} by a query"), &query);
        }
        let [release, end] = release_unheard(&held);
        texts.add(&format!("release {which} unheard"), &release);
        let title = format!("end the session if {which} was not released");
        texts.add(&title, &end);
        texts.look(&format!("is {which} held here"), &look::held_here(&held));
        let title = format!("may {which} have a token");
        texts.add(&title, &token::check_before_token(&held));
    }
    texts.look("may the role have a token", &token::may_be_given());
    texts.add("give a token", &token::give_token());
    texts.add("forget the mark", &mark.forget());
    texts.add("tell others of the same session", &marks::tell_others());
}

fn with_permits(texts: &mut Texts, mark: Mark) {
    let render = |wait| set(["render".into()], Mode::Exclusive, wait);
    let permits = Permits::of("render", 3);
    for (own, wait) in [
        (Own::Ask, Wait::Inherit),
        (Own::Ask, Wait::No),
        (Own::Again, Wait::No),
    ] {
        let statement = take_free(&render(wait), &permits, mark, own);
        texts.both(
            &format!("take a free permit, {own:?}, {wait:?}"),
            &statement,
        );
    }
    for limit in WAITS {
        let text = wait(&render(limit), &permits, mark, 1_499);
        texts.add(&format!("wait for a permit, {limit:?}"), &text);
    }
    texts.both("which permit is it", &waited_for(mark));
    texts.add("who has permits", &look::permit_holders(&permits));
}

fn of_runs(texts: &mut Texts) {
    texts.look("above read committed", &runs::is_above_read_committed());
    for interval in [Interval::AtMostEvery(20_000_000), Interval::Once] {
        texts.add(
            &format!("claim, {interval:?}"),
            &runs::claim("job", interval),
        );
        let title = format!("claim for a session, {interval:?}");
        texts.add(&title, &runs::claim_for_session("job", interval));
        texts.add(&format!("forget, {interval:?}"), &runs::forget(interval));
    }
    texts.add("last run", &runs::last_run("job"));
    let claimed = StampRow { stamp: 17 }.claimed("job");
    texts.add("it is done, in its transaction", &claimed.finish());
    texts.add("it is done", &claimed.finish_alone());
    texts.add(
        "it was the first, and has failed",
        &claimed.put_back_alone(),
    );
}

fn of_looks(texts: &mut Texts) {
    let ids = [
        "x".into(),
        (-1, 2).into(),
        LockId::hashtext_pair("a", "b"),
        LockId::hashtextextended("it's"),
    ];
    texts.look("are they locked", &look::are_locked(&ids));
    texts.add("their keys", &look::server_hashes(&ids).unwrap());
    for id in &ids {
        texts.add(&format!("is it {id}"), &look::is_key_of("l", id));
    }
    texts.add("who holds them", &look::holders(&few(Wait::No), None));
    texts.add(
        "who holds one of them",
        &look::holders(&few(Wait::No), Some(1)),
    );
}

fn of_leases(texts: &mut Texts) {
    for name in [
        None,
        Some(SessionName::Always(String::from("me"))),
        Some(SessionName::IfUnset(String::from("host:1"))),
    ] {
        let title = format!("{name:?}");
        let settings = LeaseSettings::new(15_000, name);
        let mark = format!("{settings:?}");
        let mark = mark.split('"').nth(1).unwrap();
        assert!(
            mark.len() == 16 && u64::from_str_radix(mark, 16).is_ok(),
            "{mark}"
        );
        for (what, text) in [
            ("is set", settings.set()),
            ("is asked", settings.question()),
            ("is put back", settings.put_back()),
        ] {
            let text = text.replace(mark, "<lease>");
            texts.add(&format!("a lease {what}, {title}"), &text);
        }
    }
}

#[test]
fn what_is_sent_is_what_was_agreed_on() {
    let mark = Mark::new();
    let mut texts = Texts::default();
    in_transactions(&mut texts);
    in_sessions(&mut texts, mark);
    with_permits(&mut texts, mark);
    of_runs(&mut texts);
    of_looks(&mut texts);
    of_leases(&mut texts);

    // What is random in each process.
    let process = marks::process();
    let texts = texts
        .0
        .replace(&mark.to_string(), "<process><guard>")
        .replace(&format!("{process:08x}"), "<process>")
        .replace(&format!("'{process}'"), "'<process>'")
        .replace(
            &format!("'{}'::int", i32::from_ne_bytes(process.to_ne_bytes())),
            "'<process>'::int",
        );

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql/tests/statements.sql");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(file, &texts).unwrap();
    }
    let agreed = std::fs::read_to_string(file).unwrap();
    for (sent, agreed) in texts.split("\n\n").zip(agreed.split("\n\n")) {
        assert_eq!(sent, agreed);
    }
    assert_eq!(texts, agreed);
}

#[test]
fn the_limits_of_a_set_are_kept_to_the_lock() {
    let of = |count: i64| {
        let request = Request::new((0..count).map(LockId::from));
        LockSet::new(request, std::iter::empty())
    };
    assert!(take::are_few(&of(16)));
    assert!(!take::are_few(&of(17)));
    let keep = |count| {
        let mut sql = String::new();
        carry::push_keep(&mut sql, &of(count));
        sql
    };
    assert_eq!(keep(1_000).matches("pg_advisory_lock(").count(), 1_000);
    assert_eq!(keep(1_001).matches("pg_advisory_lock(").count(), 1);
    let tries = |count| {
        let statement = try_take_for_session(&of(count), Mark::new()).to_string();
        statement.matches("pg_try_advisory_lock(").count()
    };
    assert_eq!(tries(1_000), 1_000);
    assert_eq!(tries(1_001), 1);
}

#[test]
fn the_server_is_asked_for_no_key_that_is_known() {
    assert_eq!(look::server_hashes(&["x".into(), 7.into()]), None);
}
