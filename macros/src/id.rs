//! The id of the lock.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, LitStr, Result};

use crate::args;
use crate::connection::Connection;
use crate::function::Function;
use crate::template::{self, Template};

/// Where it is made of arguments, it is made before the connection is borrowed, and keeps no borrow
/// of an argument that the body may move.
pub(crate) struct Id {
    pub(crate) before: Option<TokenStream>,
    pub(crate) value: TokenStream,
}

impl Id {
    pub(crate) fn new(id: Option<&Expr>, function: &Function, conn: &Connection) -> Result<Self> {
        let Some(id) = id else {
            return Ok(Self::inline(default(&function.sig.ident)));
        };
        if let Some(literal) = args::string(id) {
            return Self::from_literal(literal, function, conn);
        }
        let names = function.binding_names();
        if let Some(name) = args::name(id) {
            let is_argument = names.iter().any(|argument| name.unraw() == argument);
            let is_lowercase = name.to_string().chars().all(|c| !c.is_uppercase());
            if is_lowercase && !is_argument {
                return Err(args::unknown_option(name));
            }
            return Ok(Self::inline(name));
        }
        if mentions(id.to_token_stream(), &names) {
            // Where the type does not convert into an id, this is what rustc points at.
            let site = id.span().resolved_at(Span::mixed_site());
            return Ok(Self::made_before(quote_spanned! {site=>
                ::diesel_advisory::IntoLockId::into_lock_id(#id).into_owned()
            }));
        }
        Ok(Self::inline(id))
    }

    fn from_literal(literal: &LitStr, function: &Function, conn: &Connection) -> Result<Self> {
        let at_literal = |mistake: String| Error::new(literal.span(), mistake);
        match template::parse(&literal.value()).map_err(at_literal)? {
            Template::Plain(name) if name.is_empty() => Err(at_literal(
                "the name of a lock must not be empty: write one, or leave it out to use the function's \
                 path"
                    .to_owned(),
            )),
            Template::Plain(name) => Ok(Self::inline(LitStr::new(&name, literal.span()))),
            Template::Format(arguments) => {
                let mut names = function.binding_names();
                names.retain(|name| conn.pattern.ident.unraw() != name);
                for argument in arguments {
                    if !names.contains(&argument) {
                        return Err(at_literal(format!(
                            "`{}` has no argument `{argument}` for the id{}",
                            function.sig.ident,
                            could_be(&names),
                        )));
                    }
                }
                let site = Span::mixed_site();
                Ok(Self::made_before(
                    quote_spanned!(site=> ::std::format!(#literal)),
                ))
            }
        }
    }

    fn inline(value: impl ToTokens) -> Self {
        Self {
            before: None,
            value: value.into_token_stream(),
        }
    }

    fn made_before(value: impl ToTokens) -> Self {
        let site = Span::mixed_site();
        Self {
            before: Some(quote_spanned!(site=> let id = #value;)),
            value: quote_spanned!(site=> id),
        }
    }
}

/// The function's path. A method's type is not part of it, because nothing that is stable over
/// compilers says it.
fn default(function: &Ident) -> TokenStream {
    let name = function.unraw().to_string();
    quote_spanned!(Span::mixed_site()=> ::core::concat!(::core::module_path!(), "::", #name))
}

fn could_be(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(": write `{{{}}}`", names.join("}` or `{")),
    }
}

/// Whether any of the names stands in the tokens, or in a string that a macro may format.
pub(crate) fn mentions(tokens: TokenStream, names: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), names),
        TokenTree::Ident(ident) => names.iter().any(|name| ident.unraw() == name),
        TokenTree::Literal(literal) => {
            let literal = literal.to_string();
            let has = |part: String| literal.contains(&part);
            (names.iter()).any(|name| has(format!("{{{name}")) || has(format!("{name}$")))
        }
        TokenTree::Punct(_) => false,
    })
}
