//! The function that the attribute stands on.

use proc_macro2::{Delimiter, Group, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, FnArg, Ident, LitStr, PatIdent, Result, Signature, Token, Type, Visibility,
    braced,
};

/// Its body is kept as it is: rustc reports what is wrong in it.
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
            return Err(input.error("`#[advisory]` can only be on a function"));
        }
        let sig = input.parse::<Signature>()?;
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                "this function has no body to run under the lock: write `#[advisory]` on the \
                 functions that implement it",
            ));
        }
        let content;
        let braces = braced!(content in input);
        let inner_attrs = content.call(Attribute::parse_inner)?;
        let mut body = Group::new(Delimiter::Brace, content.parse::<TokenStream>()?);
        body.set_span(braces.span.join());
        Ok(Self {
            attrs,
            vis,
            sig,
            inner_attrs,
            body,
        })
    }
}

impl Function {
    /// Refuses functions that cannot become a closure.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(token) = &self.sig.constness {
            return Err(Error::new(
                token.span,
                "a `const fn` cannot take a lock: remove `const`",
            ));
        }
        if let Some(token) = &self.sig.unsafety {
            return Err(Error::new(
                token.span,
                "the body becomes a closure, which cannot be `unsafe`: remove `unsafe` and use \
                 `unsafe` blocks, or call `conn.advisory(…).run(…)` in the body",
            ));
        }
        Ok(())
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

/// The type without parentheses, and without the invisible group that `macro_rules!` puts around a
/// `$ty:ty`.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        ty => ty,
    }
}
