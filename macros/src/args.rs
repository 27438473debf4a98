//! What stands in the parentheses of `#[advisory(…)]`.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprPath, Ident, Lit, LitStr, Result, Token};

use crate::duration::Duration;

/// Those of the transaction, of which each row can have one. They are methods of the builder.
const MODES: &[&[&str]] = &[
    &["read_committed", "repeatable_read", "serializable"],
    &["read_only", "read_write"],
    &["deferrable", "not_deferrable"],
];

/// The others.
const KEYS: &[&str] = &["timeout", "no_wait", "skip", "shared", "session", "conn"];

#[derive(Debug, Default)]
pub(crate) struct Args {
    /// The id of the lock. It is always the first item.
    pub(crate) id: Option<Expr>,
    /// The name of the argument that is the connection.
    pub(crate) conn: Option<Ident>,
    pub(crate) session: Option<Ident>,
    pub(crate) skip: Option<Ident>,
    /// Methods of the builder, in the order in which they were written.
    pub(crate) options: Vec<Setting>,
}

/// A method of the builder. The key has its name.
#[derive(Debug)]
pub(crate) struct Setting {
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
                Item::Key { key, value: None } if is_first && !is_key(&key) => {
                    args.id = Some(Expr::Path(path(key)));
                }
                Item::Key { key, value } => {
                    if keys.contains(&key) {
                        return Err(Error::new(
                            key.span(),
                            format!("`{key}` stands here twice: once is enough"),
                        ));
                    }
                    keys.push(key.clone());
                    args.set(key, value)?;
                }
                Item::Other(id) if is_first => args.id = Some(id),
                Item::Other(other) => {
                    return Err(Error::new_spanned(
                        other,
                        format!(
                            "the id stands first, and after it keys only: {}",
                            all_keys()
                        ),
                    ));
                }
            }
            is_first = false;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        args.check()?;
        Ok(args)
    }
}

impl Args {
    fn set(&mut self, key: Ident, value: Option<Expr>) -> Result<()> {
        match (key.to_string().as_str(), value) {
            ("timeout", value) => {
                let value = timeout(&key, value)?;
                self.options.push(Setting { method: key, value });
            }
            ("conn", Some(Expr::Path(path))) if path.path.get_ident().is_some() => {
                self.conn = path.path.get_ident().cloned();
            }
            ("conn", value) => {
                let place = value.map_or_else(|| key.to_token_stream(), |v| v.to_token_stream());
                return Err(Error::new_spanned(
                    place,
                    "the name of an argument has to stand here: `conn = db`",
                ));
            }
            (_, _) if !is_key(&key) => return Err(unknown_key(&key)),
            (_, Some(value)) => {
                return Err(Error::new_spanned(
                    value,
                    format!("`{key}` has no value: write it alone, or leave it out"),
                ));
            }
            ("session", None) => self.session = Some(key),
            ("skip", None) => self.skip = Some(key),
            (_, None) => {
                let value = TokenStream::new();
                self.options.push(Setting { method: key, value });
            }
        }
        Ok(())
    }

    /// Looks for keys that contradict each other.
    fn check(&self) -> Result<()> {
        let chosen = |names: &[&str]| {
            let methods = self.options.iter().map(|option| &option.method);
            let mut methods = methods.filter(|method| names.iter().any(|name| method == name));
            (methods.next(), methods.next())
        };

        let waits = chosen(&["timeout", "no_wait"]);
        if let (Some(_), Some(second)) = waits {
            return Err(Error::new(
                second.span(),
                "`timeout` waits and `no_wait` does not: write one of them",
            ));
        }
        if let (Some(skip), (None, _)) = (&self.skip, waits) {
            return Err(Error::new(
                skip.span(),
                "this would wait without end and never skip: add `no_wait`, or a `timeout`",
            ));
        }
        for modes in MODES {
            let (first, second) = chosen(modes);
            if let (Some(first), Some(second)) = (first, second) {
                return Err(Error::new(
                    second.span(),
                    format!("`{second}` contradicts `{first}`: write one of them"),
                ));
            }
            if let (Some(_), Some(mode)) = (&self.session, first) {
                return Err(Error::new(
                    mode.span(),
                    format!(
                        "`session` opens no transaction that could be `{mode}`: leave one of \
                         them out"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// What stands between two commas.
enum Item {
    /// A name, or a name and a value.
    Key {
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
            return Ok(Self::Key { key, value: None });
        }
        if is_name && ahead.peek(Token![=]) && !ahead.peek(Token![==]) {
            let key = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value = Some(input.parse()?);
            return Ok(Self::Key { key, value });
        }
        input.parse().map(Self::Other)
    }
}

pub(crate) fn unknown_key(key: &Ident) -> Error {
    Error::new(
        key.span(),
        format!("there is no key `{key}`: the keys are {}", all_keys()),
    )
}

/// The string, if it is a literal one, also where `macro_rules` has put it into an invisible group.
pub(crate) fn string(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Group(group) => string(&group.expr),
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(string) => Some(string),
            _ => None,
        },
        _ => None,
    }
}

fn timeout(key: &Ident, value: Option<Expr>) -> Result<TokenStream> {
    let Some(value) = value else {
        return Err(Error::new(
            key.span(),
            "how long? Write `timeout = \"2s\"`, or `no_wait` to not wait at all",
        ));
    };
    if let Some(text) = string(&value) {
        let span = text.span().resolved_at(Span::mixed_site());
        return match text.value().parse() {
            Ok(Duration::Millis(millis)) => {
                let millis = Literal::u64_unsuffixed(millis);
                Ok(quote_spanned! {span=>
                    ::core::time::Duration::from_millis(#millis)
                })
            }
            Ok(Duration::Secs(secs)) => {
                let secs = Literal::u64_unsuffixed(secs);
                Ok(quote_spanned! {span=>
                    ::core::time::Duration::from_secs(#secs)
                })
            }
            Err(mistake) => Err(Error::new(text.span(), mistake)),
        };
    }
    if let Expr::Lit(literal) = value {
        return Err(Error::new_spanned(
            literal,
            "a number alone says no unit: write it as in `timeout = \"250ms\"` or `\"2s\"`",
        ));
    }
    Ok(value.into_token_stream())
}

fn is_key(key: &Ident) -> bool {
    KEYS.iter()
        .chain(MODES.iter().copied().flatten())
        .any(|known| key == known)
}

fn all_keys() -> String {
    let keys = KEYS.iter().chain(MODES.iter().copied().flatten());
    let keys = keys.map(|key| format!("`{key}`")).collect::<Vec<_>>();
    keys.join(", ")
}

fn path(ident: Ident) -> ExprPath {
    ExprPath {
        attrs: Vec::new(),
        qself: None,
        path: ident.into(),
    }
}
