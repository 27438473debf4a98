//! What the attribute expands to.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Ident, Result, Token};

use crate::args::{Args, Call};
use crate::connection::Connection;
use crate::function::Function;
use crate::id::{Id, mentions};
use crate::work::Work;

pub(crate) fn expand(args: &Args, mut function: Function) -> Result<TokenStream> {
    function.check()?;
    let work = Work::of(&function)?;
    let is_async = work.asyncness.is_some();
    let conn = args.conn.as_ref();
    let conn = Connection::take(&mut function.sig, conn, is_async, |conn| {
        let mut expressions = work.around();
        let calls = args.calls.iter().chain(&args.interval);
        expressions.extend(calls.map(|call| call.value.clone()));
        expressions.extend(args.id.as_ref().map(ToTokens::to_token_stream));
        mentions(expressions, &[conn.unraw().to_string()])
    })?;
    let id = Id::new(args.id.as_ref(), &function, &conn)?;

    let call = call(args, &work, &conn, &id);
    let statements = work.replaced_by(call);
    let Function {
        attrs,
        vis,
        sig,
        inner_attrs,
        body,
    } = function;
    let statements = quote!(#(#inner_attrs)* #statements);
    // Errors about the body as a whole point at what the user wrote.
    let body = with_span(Group::new(body.delimiter(), statements), body.span());
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
fn call(args: &Args, work: &Work, conn: &Connection, id: &Id) -> TokenStream {
    let site = Span::mixed_site();
    let Flavor {
        connection_trait,
        closure,
        wait,
    } = Flavor::of(work, site);

    let method = match &args.session {
        None => "advisory",
        Some(_) => "advisory_session",
    };
    // Where the argument is not a connection, this is what rustc points at.
    let method = Ident::new(method, conn.span.resolved_at(site));
    let calls = args.calls.iter().chain(&args.interval);
    let calls = calls.map(|Call { method, value }| {
        let value = Group::new(Delimiter::Parenthesis, value.clone());
        let value = with_span(value, method.span());
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
    let (output, body) = (&work.output, &work.body);
    quote_spanned! {site=>
        #before
        let lock = {
            use ::diesel_advisory::#connection_trait as _;
            #conn_name.#method(#value)#(#calls)*
        };
        lock.#run(#closure |#(#pattern_attrs)* #pattern| -> #output #body)#wait #or_default
    }
}

/// The one place that tells blocking and asynchronous functions apart.
struct Flavor {
    connection_trait: Ident,
    closure: Option<Token![async]>,
    wait: Option<TokenStream>,
}

impl Flavor {
    fn of(work: &Work, site: Span) -> Self {
        match work.asyncness {
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

fn with_span(mut group: Group, span: Span) -> Group {
    group.set_span(span);
    group
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
        // The spaces in `> >` only say whether it is one token or two.
        let text = |tokens: &TokenStream| tokens.to_string().replace(' ', "");
        assert_eq!(text(&expanded), text(expected));
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
    fn an_async_block_is_the_work_of_a_function_that_returns_a_future() {
        assert_expands(
            quote!(("job", &self.name), skip, no_wait),
            quote! {
                fn run(&self, conn: &mut C, n: u8) -> BoxFuture<'_, Result<Option<u8>>> {
                    let n = n + 1;
                    async move { work(self, conn, n).await }.boxed()
                }
            },
            &quote! {
                fn run(&self, conn: &mut C, n: u8) -> BoxFuture<'_, Result<Option<u8>>> {
                    let n = n + 1;
                    async move {
                        let id = ::diesel_advisory::IntoLockId::into_lock_id(("job", &self.name))
                            .into_owned();
                        let lock = {
                            use ::diesel_advisory::AsyncAdvisoryConnection as _;
                            conn.advisory(id).no_wait()
                        };
                        lock.try_run(
                            async |conn| -> <BoxFuture<'_, Result<Option<u8>>>
                                as ::core::future::Future>::Output { work(self, conn, n).await }
                        )
                        .await
                        .map(|done| done.unwrap_or_default())
                    }
                    .boxed()
                }
            },
        );
    }

    #[test]
    fn the_result_of_a_future_is_read_where_it_stands() {
        let expansion = quote! {
            {
                (async {
                    let lock = {
                        use ::diesel_advisory::AsyncAdvisoryConnection as _;
                        conn.advisory(LOCK)
                    };
                    lock.run(async |conn| -> QueryResult<_> { work(conn).await }).await
                }) as _
            }
        };
        for returns in [
            quote!(impl Future<Output = QueryResult<impl Sized>> + Send),
            quote!(Pin<Box<dyn ::core::future::Future<Output = QueryResult<impl Sized>> + 'a>>),
            quote!(
                std::pin::Pin<
                    std::boxed::Box<impl Send + Future<Output = QueryResult<impl Sized>>>,
                >
            ),
        ] {
            let head = quote!(fn work<'a>(conn: &'a mut C) -> #returns);
            assert_expands(
                quote!(LOCK),
                quote!(#head { (async { work(conn).await }) as _ }),
                &quote!(#head #expansion),
            );
        }
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
                    let id = ::diesel_advisory::IntoLockId::into_lock_id(("tenant", &self.name))
                        .into_owned();
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
