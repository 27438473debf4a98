//! The arguments of `#[advisory(…)]`: the id of the lock, then options.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprPath, Ident, Lit, LitStr, Result, Token};

use self::Effect::{Conn, Interval, Method, Mode, Session, Skip};
use self::Value::{No, Yes};
use crate::duration::Duration;

/// Every option: its key, its value, and what it does.
const OPTIONS: &[(&str, Value, Effect)] = &[
    ("timeout", Yes(timeout, "\"2s\""), Method("timeout")),
    ("no_wait", No, Method("no_wait")),
    ("skip", No, Skip),
    ("shared", No, Method("shared")),
    ("allow_standby", No, Method("allow_standby")),
    ("session", No, Session),
    ("permits", Yes(permits, "3"), Method("permits")),
    ("every", Yes(every, "\"20h\""), Interval("at_most_every")),
    ("once", No, Interval("once")),
    ("conn", Yes(argument_name, "db"), Conn),
    ("read_committed", No, Mode("read_committed")),
    ("repeatable_read", No, Mode("repeatable_read")),
    ("serializable", No, Mode("serializable")),
    ("read_only", No, Mode("read_only")),
    ("read_write", No, Mode("read_write")),
    ("deferrable", No, Mode("deferrable")),
    ("not_deferrable", No, Mode("not_deferrable")),
];

/// How long to wait.
const WAITS: &[&str] = &["timeout", "no_wait"];

/// How often the work may start.
const INTERVALS: &[&str] = &["every", "once"];

/// Options of which a function can have one.
const CONTRADICTIONS: &[&[&str]] = &[
    WAITS,
    &["shared", "permits"],
    INTERVALS,
    &["every", "read_only"],
    &["once", "read_only"],
    &["every", "shared"],
    &["once", "shared"],
    &["every", "allow_standby"],
    &["once", "allow_standby"],
    &["every", "permits"],
    &["once", "permits"],
    &["read_committed", "repeatable_read", "serializable"],
    &["read_only", "read_write"],
    &["deferrable", "not_deferrable"],
];

/// Whether an option has a value.
#[derive(Clone, Copy)]
enum Value {
    No,
    /// How it is read, and an example.
    Yes(fn(&Expr) -> Result<TokenStream>, &'static str),
}

/// What an option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Calls this method of the builder.
    Method(&'static str),
    /// The same, for a method that changes the transaction.
    Mode(&'static str),
    /// The same, for a method after which there is no other one but `run`.
    Interval(&'static str),
    Session,
    Skip,
    Conn,
}

#[derive(Default)]
pub(crate) struct Args {
    /// The id of the lock. It is always the first item.
    pub(crate) id: Option<Expr>,
    /// The name of the argument that is the connection.
    pub(crate) conn: Option<Ident>,
    pub(crate) session: Option<Ident>,
    pub(crate) skip: Option<Ident>,
    /// In the order in which they were written.
    pub(crate) calls: Vec<Call>,
    /// The call that comes last.
    pub(crate) interval: Option<Call>,
}

/// A call of a method of the builder.
pub(crate) struct Call {
    /// Reported at the key.
    pub(crate) method: Ident,
    pub(crate) value: TokenStream,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self::default();
        let mut keys = Vec::new();
        let mut is_first = true;
        while !input.is_empty() {
            match Item::parse(input)? {
                Item::Option { key, value: None } if is_first && find(&key).is_none() => {
                    args.id = Some(Expr::Path(path(key)));
                }
                Item::Option { key, value } => {
                    args.set(&key, value.as_ref())?;
                    if keys.contains(&key) {
                        return Err(Error::new(key.span(), format!("duplicate option `{key}`")));
                    }
                    keys.push(key);
                }
                Item::Other(id) if is_first => args.id = Some(id),
                Item::Other(other) => {
                    return Err(Error::new_spanned(
                        other,
                        "the id of the lock must be the first item",
                    ));
                }
            }
            is_first = false;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        check(&args, &keys)?;
        Ok(args)
    }
}

impl Args {
    fn set(&mut self, key: &Ident, value: Option<&Expr>) -> Result<()> {
        let Some((_, takes, effect)) = find(key) else {
            return Err(unknown_option(key));
        };
        let value = match (takes, value) {
            (No, None) => TokenStream::new(),
            (No, Some(value)) => {
                let message = format!("`{key}` has no value: write it alone, or leave it out");
                return Err(Error::new_spanned(value, message));
            }
            (Yes(_, example), None) => {
                let message = format!("`{key}` needs a value, as in `{key} = {example}`");
                return Err(Error::new(key.span(), message));
            }
            (Yes(read, _), Some(value)) => read(value)?,
        };
        match effect {
            Method(name) | Mode(name) => self.calls.push(Call {
                method: Ident::new(name, key.span()),
                value,
            }),
            Interval(name) => {
                self.interval = Some(Call {
                    method: Ident::new(name, key.span()),
                    value,
                });
            }
            Session => self.session = Some(key.clone()),
            Skip => self.skip = Some(key.clone()),
            Conn => self.conn = Some(syn::parse2(value)?),
        }
        Ok(())
    }
}

/// Refuses options that contradict each other.
fn check(args: &Args, keys: &[Ident]) -> Result<()> {
    for group in CONTRADICTIONS {
        let mut chosen = keys.iter().filter(|key| group.iter().any(|it| key == it));
        if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
            return Err(Error::new(
                second.span(),
                format!("`{second}` contradicts `{first}`: write one of them"),
            ));
        }
    }
    let is_limit = |key: &Ident| WAITS.iter().chain(INTERVALS).any(|limit| key == limit);
    match &args.skip {
        Some(skip) if !keys.iter().any(is_limit) => {
            return Err(Error::new(
                skip.span(),
                "without a limit the function waits for the lock and never skips: add `no_wait`, \
                 a `timeout`, `every` or `once`",
            ));
        }
        _ => {}
    }
    if let (None, Some(permits)) = (&args.session, keys.iter().find(|key| *key == "permits")) {
        return Err(Error::new(
            permits.span(),
            "permits are held by a session: add `session`",
        ));
    }
    let is_mode = |key: &&Ident| matches!(find(key), Some((_, _, Mode(_))));
    if let (Some(_), Some(mode)) = (&args.session, keys.iter().find(is_mode)) {
        return Err(Error::new(
            mode.span(),
            format!(
                "`session` opens no transaction, so `{mode}` has no effect: remove one of them"
            ),
        ));
    }
    Ok(())
}

/// What stands between two commas.
enum Item {
    /// A name, or a name and a value.
    Option {
        key: Ident,
        value: Option<Expr>,
    },
    Other(Expr),
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let ahead = input.fork();
        let is_name = ahead.call(Ident::parse_any).is_ok();
        if is_name && (ahead.is_empty() || ahead.peek(Token![,])) {
            let key = input.call(Ident::parse_any)?;
            return Ok(Self::Option { key, value: None });
        }
        if is_name && ahead.peek(Token![=]) && !ahead.peek(Token![==]) {
            let key = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value = Some(input.parse()?);
            return Ok(Self::Option { key, value });
        }
        input.parse().map(Self::Other)
    }
}

fn find(key: &Ident) -> Option<(&'static str, Value, Effect)> {
    OPTIONS.iter().find(|(known, ..)| key == known).copied()
}

pub(crate) fn unknown_option(key: &Ident) -> Error {
    let known = OPTIONS.iter().map(|(known, ..)| format!("`{known}`"));
    let known = known.collect::<Vec<_>>().join(", ");
    let message = format!("unknown option `{key}`: the options are {known}");
    Error::new(key.span(), message)
}

/// Reads how long to wait.
fn timeout(value: &Expr) -> Result<TokenStream> {
    duration(
        value,
        "\"250ms\" or \"2s\"",
        "a timeout of zero does not wait: write `no_wait` instead",
    )
}

/// Reads how often.
fn every(value: &Expr) -> Result<TokenStream> {
    duration(
        value,
        "\"15m\" or \"20h\"",
        "a period of zero is always over: leave out `every`",
    )
}

/// Reads a duration: a string such as `"2s"`, or an expression.
fn duration(value: &Expr, examples: &str, zero: &str) -> Result<TokenStream> {
    let Some(text) = string(value) else {
        if let Expr::Lit(literal) = ungrouped(value) {
            let message = format!("this number has no unit: write a string such as {examples}");
            return Err(Error::new_spanned(literal, message));
        }
        return Ok(value.to_token_stream());
    };
    let span = text.span().resolved_at(Span::mixed_site());
    let duration = text.value().parse::<Duration>();
    let duration = duration.map_err(|mistake| Error::new(text.span(), mistake))?;
    let (constructor, number) = match duration {
        Duration::Millis(0) | Duration::Secs(0) => return Err(Error::new(text.span(), zero)),
        Duration::Millis(millis) => ("from_millis", millis),
        Duration::Secs(secs) => ("from_secs", secs),
    };
    let constructor = Ident::new(constructor, span);
    let number = Literal::u64_unsuffixed(number);
    Ok(quote_spanned!(span=> ::core::time::Duration::#constructor(#number)))
}

/// Reads a number of permits: a literal, or an expression.
fn permits(value: &Expr) -> Result<TokenStream> {
    if let Expr::Lit(literal) = ungrouped(value) {
        let number = match &literal.lit {
            Lit::Int(number) => number.base10_parse::<u32>().ok(),
            _ => None,
        };
        match number {
            Some(1..=1_000) => {}
            Some(0) => {
                let message = "no permits would let nobody run the function: write at least one";
                return Err(Error::new_spanned(literal, message));
            }
            _ => {
                let message = "expected a number of permits up to 1000, as in `permits = 3`";
                return Err(Error::new_spanned(literal, message));
            }
        }
    }
    Ok(value.to_token_stream())
}

/// Reads the name of an argument.
fn argument_name(value: &Expr) -> Result<TokenStream> {
    match name(value) {
        Some(name) if name != "self" => Ok(name.to_token_stream()),
        _ => Err(Error::new_spanned(
            value,
            "expected the name of an argument, as in `conn = db`; if the connection is a field, \
             call `self.conn.advisory(…).run(…)` in the body instead",
        )),
    }
}

/// The string, if the expression is a literal one.
pub(crate) fn string(expr: &Expr) -> Option<&LitStr> {
    match ungrouped(expr) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(string) => Some(string),
            _ => None,
        },
        _ => None,
    }
}

/// The name, if the expression is nothing else.
pub(crate) fn name(expr: &Expr) -> Option<&Ident> {
    match ungrouped(expr) {
        Expr::Path(path) => path.path.get_ident(),
        _ => None,
    }
}

/// The expression without the invisible group that `macro_rules!` puts around an `$e:expr`.
fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        expr => expr,
    }
}

fn path(ident: Ident) -> ExprPath {
    ExprPath {
        attrs: Vec::new(),
        qself: None,
        path: ident.into(),
    }
}
