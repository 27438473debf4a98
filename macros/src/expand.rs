//! What the attribute expands to.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Error, Expr, Ident, LitStr, Result, Token};

use crate::args::{self, Args, Setting};
use crate::function::{Connection, Function, there_are};
use crate::template::{self, Template};

pub(crate) fn expand(args: &Args, mut function: Function) -> Result<TokenStream> {
    function.check()?;
    let conn = function.take_connection(args.conn.as_ref(), |conn| {
        let options = args.options.iter().map(|option| option.value.clone());
        let expressions = options.chain(args.id.as_ref().map(ToTokens::to_token_stream));
        mentions(expressions.collect(), &[conn.unraw().to_string()])
    })?;
    let id = Id::new(args.id.as_ref(), &function, &conn)?;

    let mut body = Group::new(
        function.body.delimiter(),
        statements(args, &function, &conn, &id),
    );
    // What rustc says of the whole body, it says of the user's.
    body.set_span(function.body.span());
    let Function {
        attrs, vis, sig, ..
    } = function;
    Ok(quote!(#(#attrs)* #vis #sig #body))
}

/// The call, and what it needs.
///
/// The trait is imported, and not named in the call, so that a pooled connection reaches it through
/// `DerefMut`; in a block of its own, so that it is not in the scope of the user's body, where it
/// would make an import of the user's needless, or a forgotten one work.
///
/// The closure borrows its captures unless the body moves them, as a function's body would; `move`
/// would change what the lints say of arguments.
fn statements(args: &Args, function: &Function, conn: &Connection, id: &Id) -> TokenStream {
    let site = Span::mixed_site();
    let Flavor {
        connection_trait,
        closure,
        wait,
    } = Flavor::of(function, site);

    let method = match &args.session {
        None => "advisory",
        Some(_) => "advisory_session",
    };
    // Where the argument is not a connection, this is what rustc points at.
    let method = Ident::new(method, conn.span().resolved_at(site));
    let options = args.options.iter().map(|Setting { method, value }| {
        let mut value = Group::new(proc_macro2::Delimiter::Parenthesis, value.clone());
        value.set_span(method.span());
        quote_spanned!(site=> .#method #value)
    });
    let (run, or_default) = match &args.skip {
        None => ("run", None),
        Some(skip) => {
            // Where the type has no default, this is what rustc points at.
            let unwrap = Ident::new("unwrap_or_default", skip.span().resolved_at(site));
            let or_default = quote_spanned!(site=> .map(|done| done.#unwrap()));
            ("try_run", Some(or_default))
        }
    };
    let run = Ident::new(run, site);

    let Id { before, value } = id;
    let conn_name = &conn.argument;
    let (pattern, pattern_attrs) = (&conn.pattern, &conn.attrs);
    let (inner_attrs, output, body) = (
        &function.inner_attrs,
        function.closure_output(),
        &function.body,
    );
    quote_spanned! {site=>
        #(#inner_attrs)*
        #before
        let lock = {
            use ::diesel_advisory::#connection_trait as _;
            #conn_name.#method(#value)#(#options)*
        };
        lock.#run(#closure |#(#pattern_attrs)* #pattern| #output #body)#wait #or_default
    }
}

/// The one place that tells blocking and asynchronous functions apart.
struct Flavor {
    connection_trait: Ident,
    closure: Option<Token![async]>,
    wait: Option<TokenStream>,
}

impl Flavor {
    fn of(function: &Function, site: Span) -> Self {
        match function.sig.asyncness {
            None => Self {
                connection_trait: Ident::new("AdvisoryConnection", site),
                closure: None,
                wait: None,
            },
            asyncness => Self {
                connection_trait: Ident::new("AsyncAdvisoryConnection", site),
                closure: asyncness,
                wait: Some(quote_spanned!(site=> .await)),
            },
        }
    }
}

/// The id of the lock.
///
/// Where it is made of arguments, it is made before the connection is borrowed, and keeps no borrow
/// of an argument that the body may move.
struct Id {
    before: Option<TokenStream>,
    value: TokenStream,
}

impl Id {
    fn new(id: Option<&Expr>, function: &Function, conn: &Connection) -> Result<Self> {
        let Some(id) = id else {
            return Ok(Self::inline(default(&function.sig.ident)));
        };
        if let Some(literal) = args::string(id) {
            return Self::from_literal(literal, function, conn);
        }
        let names = function.binding_names();
        if let Some(name) = bare_name(id) {
            let is_argument = names.iter().any(|argument| name.unraw() == argument);
            let is_lowercase = name.to_string().chars().all(|c| !c.is_uppercase());
            if is_lowercase && !is_argument {
                return Err(args::unknown_key(name));
            }
            return Ok(Self::inline(name));
        }
        if mentions(id.to_token_stream(), &names) {
            let site = Span::mixed_site();
            return Ok(Self::made_before(quote_spanned! {site=>
                ::diesel_advisory::LockId::from(#id).into_owned()
            }));
        }
        Ok(Self::inline(id))
    }

    fn from_literal(literal: &LitStr, function: &Function, conn: &Connection) -> Result<Self> {
        let at_literal = |mistake: String| Error::new(literal.span(), mistake);
        match template::parse(&literal.value()).map_err(at_literal)? {
            Template::Plain(name) if name.is_empty() => Err(at_literal(
                "a lock needs a name: write one, or leave it out to get the function's path"
                    .to_owned(),
            )),
            Template::Plain(name) => Ok(Self::inline(LitStr::new(&name, literal.span()))),
            Template::Format(arguments) => {
                let mut names = function.binding_names();
                names.retain(|name| conn.pattern.ident.unraw() != name);
                for argument in arguments {
                    if !names.contains(&argument) {
                        return Err(at_literal(format!(
                            "`{}` has no argument `{argument}` for the id: {}",
                            function.sig.ident,
                            there_are(&names),
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

fn bare_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Group(group) => bare_name(&group.expr),
        Expr::Path(path) => path.path.get_ident(),
        _ => None,
    }
}

/// Whether any of the names stands in the tokens, or in a string that a macro may format.
fn mentions(tokens: TokenStream, names: &[String]) -> bool {
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

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    #[track_caller]
    fn assert_expands(args: TokenStream, function: TokenStream, expected: &TokenStream) {
        let args = syn::parse2(args).unwrap();
        let function = syn::parse2(function).unwrap();
        let expanded = super::expand(&args, function).unwrap();
        assert_eq!(expanded.to_string(), expected.to_string());
    }

    #[test]
    fn the_function_calls_the_public_api() {
        assert_expands(
            quote!(),
            quote! {
                /// Closes the month.
                pub fn close_month(conn: &mut PgConnection) -> QueryResult<usize> {
                    work(conn)
                }
            },
            &quote! {
                /// Closes the month.
                pub fn close_month(conn: &mut PgConnection) -> QueryResult<usize> {
                    let lock = {
                        use ::diesel_advisory::AdvisoryConnection as _;
                        conn.advisory(::core::concat!(::core::module_path!(), "::", "close_month"))
                    };
                    lock.run(|conn| -> QueryResult<usize> { work(conn) })
                }
            },
        );
    }

    #[test]
    fn every_option_is_a_method() {
        assert_expands(
            quote!(
                "invoice:{id}",
                timeout = "2s",
                shared,
                serializable,
                skip,
                conn = db
            ),
            quote! {
                fn bill(&self, id: i32, #[allow(unused)] mut db: &mut Db) -> Result<impl Copy, E> {
                    #![allow(dead_code)]
                    work(db)
                }
            },
            &quote! {
                fn bill(&self, id: i32, db: &mut Db) -> Result<impl Copy, E> {
                    #![allow(dead_code)]
                    let id = ::std::format!("invoice:{id}");
                    let lock = {
                        use ::diesel_advisory::AdvisoryConnection as _;
                        db.advisory(id)
                            .timeout(::core::time::Duration::from_secs(2))
                            .shared()
                            .serializable()
                    };
                    lock.try_run(|#[allow(unused)] mut db| -> Result<_, E> { work(db) })
                        .map(|done| done.unwrap_or_default())
                }
            },
        );
    }

    #[test]
    fn an_async_function_awaits_an_async_closure() {
        assert_expands(
            quote!(LOCK, session, no_wait),
            quote! {
                async fn report<C: AsyncAdvisoryConnection>(conn: &mut C) -> Result<(), Error> {
                    work(conn).await
                }
            },
            &quote! {
                async fn report<C: AsyncAdvisoryConnection>(conn: &mut C) -> Result<(), Error> {
                    let lock = {
                        use ::diesel_advisory::AsyncAdvisoryConnection as _;
                        conn.advisory_session(LOCK).no_wait()
                    };
                    lock.run(async |conn| -> Result<(), Error> { work(conn).await }).await
                }
            },
        );
    }

    #[test]
    fn an_id_that_borrows_is_made_before() {
        assert_expands(
            quote!(("tenant", &self.name)),
            quote!(
                fn work(self, conn: &mut C) -> Result<()> {}
            ),
            &quote! {
                fn work(self, conn: &mut C) -> Result<()> {
                    let id = ::diesel_advisory::LockId::from(("tenant", &self.name)).into_owned();
                    let lock = {
                        use ::diesel_advisory::AdvisoryConnection as _;
                        conn.advisory(id)
                    };
                    lock.run(|conn| -> Result<()> {})
                }
            },
        );
    }
}
