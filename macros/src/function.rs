//! The function that the attribute stands on.

use proc_macro2::{Group, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, FnArg, Ident, LitStr, Pat, PatIdent, Result, ReturnType, Signature, Token,
    Type, Visibility,
};

/// Its body is kept as it is: nothing in it needs to be understood.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// Those inside the braces, such as `#![allow(…)]`.
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !is_function(&input.fork()) {
            return Err(input.error(
                "`#[advisory]` runs a function under a lock, and this is none: write it on a `fn`",
            ));
        }
        let sig = input.parse::<Signature>()?;
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                "there is no body to run under the lock: write `#[advisory]` on the function in \
                 each `impl`",
            ));
        }
        let mut body = input.parse::<Group>()?;

        let split = |input: ParseStream<'_>| {
            Ok((
                input.call(Attribute::parse_inner)?,
                input.parse::<TokenStream>()?,
            ))
        };
        let (inner_attrs, statements) = split.parse2(body.stream())?;
        if !inner_attrs.is_empty() {
            let span = body.span();
            body = Group::new(body.delimiter(), statements);
            body.set_span(span);
        }
        Ok(Self {
            attrs,
            vis,
            sig,
            inner_attrs,
            body,
        })
    }
}

/// The connection among the arguments.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its name among the function's arguments.
    pub(crate) argument: Ident,
    /// What the user wrote, for the body.
    pub(crate) pattern: PatIdent,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) ty: Type,
}

impl Connection {
    /// Where its type stands.
    pub(crate) fn span(&self) -> Span {
        self.ty.span()
    }
}

impl Function {
    /// Refuses functions that cannot become a closure, or have no way to report an error.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(token) = &self.sig.constness {
            return Err(Error::new(
                token.span,
                "a lock is taken by talking to a database, which a `const fn` cannot: leave out \
                 `const`",
            ));
        }
        if let Some(token) = &self.sig.unsafety {
            return Err(Error::new(
                token.span,
                "the body runs as a closure, which is safe to call, so that an `unsafe fn` would \
                 lose its meaning: leave out `unsafe` and use `unsafe` blocks, or call \
                 `conn.advisory(…).run(…)` in the body",
            ));
        }
        let returns = match &self.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        };
        if returns.is_some_and(|ty| is_result(ty)) {
            return Ok(());
        }
        let place = returns.map_or_else(
            || self.sig.ident.to_token_stream(),
            ToTokens::to_token_stream,
        );
        Err(Error::new_spanned(
            place,
            "the lock can be unavailable, so the function has to return a `Result`: write \
             `-> Result<…, diesel_advisory::Error>`, or with any error type that is \
             `From<diesel_advisory::Error>`",
        ))
    }

    /// Finds the connection: the argument of this name, or the first one.
    ///
    /// In the body it gets a second binding, which is the user's. What is left in the function's
    /// own arguments is made so that no lint takes it for one of the user's too: a `mut` could be
    /// needless there, an `#[expect]` unfulfilled, and a `_conn` is used. Only if the user's
    /// expressions use the connection do they have to see it.
    pub(crate) fn take_connection(
        &mut self,
        name: Option<&Ident>,
        is_used: impl FnOnce(&Ident) -> bool,
    ) -> Result<Connection> {
        let fn_name = &self.sig.ident;
        let connections = self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) if is_mut_reference(&argument.ty) => match &*argument.pat {
                Pat::Ident(pat) => Some(pat.ident.unraw().to_string()),
                _ => None,
            },
            _ => None,
        });
        let connections = connections.collect::<Vec<_>>();
        let mut arguments = self.sig.inputs.iter_mut().filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(argument) => Some(argument),
        });
        let argument = match name {
            None => arguments.next().ok_or_else(|| {
                Error::new(
                    fn_name.span(),
                    "there is no connection to take the lock on: write \
                     `conn: &mut PgConnection` as the first argument",
                )
            })?,
            Some(name) => arguments
                .find(|argument| matches!(&*argument.pat, Pat::Ident(pat) if pat.ident == *name))
                .ok_or_else(|| {
                    Error::new(
                        name.span(),
                        format!(
                            "`{fn_name}` has no argument `{name}` that could be the connection: {}",
                            there_are(&connections),
                        ),
                    )
                })?,
        };
        if !is_mut_reference(&argument.ty) {
            return Err(Error::new_spanned(
                &argument.ty,
                "the connection is the first argument unless `conn = …` names another one, and has \
                 to be a `&mut`: write `conn: &mut PgConnection`",
            ));
        }
        match &mut *argument.pat {
            Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                let user_pattern = pattern.clone();
                pattern.mutability = None;
                if !is_used(&pattern.ident) {
                    let span = pattern.ident.span().resolved_at(Span::mixed_site());
                    pattern.ident.set_span(span);
                }
                Ok(Connection {
                    attrs: std::mem::take(&mut argument.attrs),
                    argument: pattern.ident.clone(),
                    pattern: user_pattern,
                    ty: (*argument.ty).clone(),
                })
            }
            other => Err(Error::new_spanned(
                other,
                "the lock is taken on this argument, so it needs a name: write `conn`, or `_conn`",
            )),
        }
    }

    /// The names that the id can use as `format!` does: arguments, also those in patterns, `self`,
    /// and constants among the generics.
    pub(crate) fn binding_names(&self) -> Vec<String> {
        struct Bindings(Vec<String>);

        impl VisitMut for Bindings {
            fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
                self.0.push(pat.ident.unraw().to_string());
                visit_mut::visit_pat_ident_mut(self, pat);
            }
        }

        let mut names = Bindings(Vec::new());
        for input in &self.sig.inputs {
            match input {
                FnArg::Receiver(_) => names.0.push("self".to_owned()),
                FnArg::Typed(argument) => names.visit_pat_mut(&mut argument.pat.clone()),
            }
        }
        let constants = self.sig.generics.const_params();
        names
            .0
            .extend(constants.map(|constant| constant.ident.unraw().to_string()));
        names.0
    }

    /// The return type as a closure can have it, which is without `impl Trait`.
    pub(crate) fn closure_output(&self) -> ReturnType {
        struct InferImplTrait;

        impl VisitMut for InferImplTrait {
            fn visit_type_mut(&mut self, ty: &mut Type) {
                if let Type::ImplTrait(_) = ty {
                    *ty = Type::Infer(syn::TypeInfer {
                        underscore_token: <Token![_]>::default(),
                    });
                } else {
                    visit_mut::visit_type_mut(self, ty);
                }
            }
        }

        let mut output = self.sig.output.clone();
        InferImplTrait.visit_return_type_mut(&mut output);
        output
    }
}

/// The names in a sentence that says what could be written instead.
pub(crate) fn there_are(names: &[String]) -> String {
    match names {
        [] => "there is none".to_owned(),
        [name] => format!("there is `{name}`"),
        [names @ .., last] => format!("there are `{}` and `{last}`", names.join("`, `")),
    }
}

fn is_function(input: ParseStream<'_>) -> bool {
    while !input.peek(Token![fn]) {
        let skipped = if input.peek(Token![extern]) {
            input.parse::<Token![extern]>().map(drop).and_then(|()| {
                let abi = input.parse::<Option<LitStr>>();
                abi.map(drop)
            })
        } else if input.peek(Token![const])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
        {
            input.call(Ident::parse_any).map(drop)
        } else {
            return false;
        };
        if skipped.is_err() {
            return false;
        }
    }
    true
}

/// Whether it is a `Result` as far as its name tells: `QueryResult<T>` is one, too.
fn is_result(ty: &Type) -> bool {
    match ungrouped(ty) {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident.to_string().contains("Result"))
        }
        _ => false,
    }
}

fn is_mut_reference(ty: &Type) -> bool {
    matches!(ungrouped(ty), Type::Reference(reference) if reference.mutability.is_some())
}

/// The type without parentheses, and without the invisible group of a `$ty:ty`.
fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        ty => ty,
    }
}
