//! The connection among the arguments.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Ident, Pat, PatIdent, PatType, Result, Signature, Type};

use crate::function::ungrouped;

pub(crate) struct Connection {
    /// Its name among the function's arguments.
    pub(crate) argument: Ident,
    /// What the user wrote, for the body.
    pub(crate) pattern: PatIdent,
    pub(crate) attrs: Vec<Attribute>,
    /// Where its type stands.
    pub(crate) span: Span,
}

impl Connection {
    /// Finds the connection: the argument of this name, or the first one.
    ///
    /// In the body it gets a second binding, which is the user's. What is left in the function's
    /// own arguments is made so that no lint takes it for one of the user's too: a `mut` could be
    /// needless there, an `#[expect]` unfulfilled, and a `_conn` is used. Only if the user's
    /// expressions use the connection do they have to see it.
    pub(crate) fn take(
        sig: &mut Signature,
        name: Option<&Ident>,
        is_async: bool,
        is_used: impl FnOnce(&Ident) -> bool,
    ) -> Result<Self> {
        let argument = match name {
            Some(name) => named(sig, name)?,
            None => first(sig, is_async)?,
        };
        match &mut *argument.pat {
            Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                let user_pattern = pattern.clone();
                pattern.mutability = None;
                if !is_used(&pattern.ident) {
                    let span = pattern.ident.span().resolved_at(Span::mixed_site());
                    pattern.ident.set_span(span);
                }
                Ok(Self {
                    attrs: std::mem::take(&mut argument.attrs),
                    argument: pattern.ident.clone(),
                    pattern: user_pattern,
                    span: argument.ty.span(),
                })
            }
            other => Err(Error::new_spanned(
                other,
                "the lock is taken on this argument, so it needs a name: write `conn` or `_conn`",
            )),
        }
    }
}

fn named<'sig>(sig: &'sig mut Signature, name: &Ident) -> Result<&'sig mut PatType> {
    let message = match candidates(sig) {
        Some(candidates) => format!("no argument has the name `{name}`: write {candidates}"),
        None => format!("no argument has the name `{name}`"),
    };
    let argument = arguments(sig)
        .find(|argument| matches!(&*argument.pat, Pat::Ident(pat) if pat.ident == *name))
        .ok_or_else(|| Error::new(name.span(), message))?;
    if is_mut_reference(&argument.ty) {
        return Ok(argument);
    }
    Err(Error::new_spanned(
        &argument.ty,
        format!("the connection must be a `&mut` reference, as in `{name}: &mut PgConnection`"),
    ))
}

fn first(sig: &mut Signature, is_async: bool) -> Result<&mut PatType> {
    let mistake = not_first(sig, is_async);
    let function = sig.ident.span();
    match arguments(sig).next() {
        Some(argument) if is_mut_reference(&argument.ty) => Ok(argument),
        Some(argument) => Err(Error::new_spanned(&argument.ty, mistake)),
        None => Err(Error::new(function, mistake)),
    }
}

fn not_first(sig: &Signature, is_async: bool) -> String {
    if let Some(candidates) = candidates(sig) {
        return format!(
            "the first argument is not the connection: name the one that is, {candidates}"
        );
    }
    let ty = if is_async {
        "AsyncPgConnection"
    } else {
        "PgConnection"
    };
    let field = match sig.receiver() {
        None => "",
        Some(_) => {
            "; if the connection is a field, call `self.conn.advisory(…).run(…)` in the body instead"
        }
    };
    format!(
        "the lock is taken on a connection, and no argument is a `&mut` reference to one: write \
         `conn: &mut {ty}`, as the first argument or named by `conn = …`{field}"
    )
}

fn arguments(sig: &mut Signature) -> impl Iterator<Item = &mut PatType> {
    sig.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Receiver(_) => None,
        FnArg::Typed(argument) => Some(argument),
    })
}

/// What could be written to name one of the arguments that can be the connection.
fn candidates(sig: &Signature) -> Option<String> {
    let names = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) if is_mut_reference(&argument.ty) => match &*argument.pat {
            Pat::Ident(pat) => Some(format!("`conn = {}`", pat.ident)),
            _ => None,
        },
        _ => None,
    });
    let names = names.collect::<Vec<_>>();
    (!names.is_empty()).then(|| names.join(" or "))
}

fn is_mut_reference(ty: &Type) -> bool {
    matches!(ungrouped(ty), Type::Reference(reference) if reference.mutability.is_some())
}
