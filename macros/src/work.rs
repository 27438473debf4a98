//! The part of a function that runs under the lock.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::{Block, Error, Expr, ExprAsync, Result, Stmt, Token, Type};

use crate::function::Function;
use crate::returns::Returns;

/// The whole body or, in a function that returns a future, the `async` block that the body ends in.
pub(crate) struct Work {
    /// The type of its result.
    pub(crate) output: Type,
    pub(crate) asyncness: Option<Token![async]>,
    pub(crate) body: Group,
    /// The function's body, where the `async` block is empty.
    around: Option<Vec<Stmt>>,
}

impl Work {
    /// Looks at as little as possible of the body, so that mistakes in it are reported by rustc.
    pub(crate) fn of(function: &Function) -> Result<Self> {
        let output = match Returns::of(&function.sig)? {
            Returns::InFuture(output) => output,
            Returns::Directly(output) => {
                return Ok(Self {
                    output,
                    asyncness: function.sig.asyncness,
                    body: function.body.clone(),
                    around: None,
                });
            }
        };
        let mut around = Block::parse_within.parse2(function.body.stream())?;
        let Some(block) = last_async_block(&mut around) else {
            return Err(Error::new_spanned(
                around.last().map_or_else(
                    || function.sig.output.to_token_stream(),
                    ToTokens::to_token_stream,
                ),
                "a function that returns a future must end in the `async` block that runs under \
                 the lock, as in `Box::pin(async move { … })` or `async move { … }`: write one, or \
                 make the function an `async fn`",
            ));
        };
        let statements = std::mem::take(&mut block.block.stmts);
        let mut body = Group::new(Delimiter::Brace, quote!(#(#statements)*));
        body.set_span(block.block.brace_token.span.join());
        Ok(Self {
            output,
            asyncness: Some(block.async_token),
            body,
            around: Some(around),
        })
    }

    /// What runs without the lock.
    pub(crate) fn around(&self) -> TokenStream {
        let around = self.around.iter().flatten();
        quote!(#(#around)*)
    }

    /// The function's body, with this in place of the work.
    pub(crate) fn replaced_by(self, statements: TokenStream) -> TokenStream {
        let Some(mut around) = self.around else {
            return statements;
        };
        if let Some(block) = last_async_block(&mut around) {
            block.block.stmts = vec![Stmt::Expr(Expr::Verbatim(statements), None)];
        }
        quote!(#(#around)*)
    }
}

fn last_async_block(statements: &mut [Stmt]) -> Option<&mut ExprAsync> {
    match statements.last_mut()? {
        Stmt::Expr(expr, None) => async_block(expr),
        _ => None,
    }
}

/// The block in `async { … }`, `Box::pin(async { … })`, `async { … }.boxed()` and the like.
fn async_block(expr: &mut Expr) -> Option<&mut ExprAsync> {
    match expr {
        Expr::Async(block) => Some(block),
        Expr::Call(call) if call.args.len() == 1 => async_block(&mut call.args[0]),
        Expr::MethodCall(call) => async_block(&mut call.receiver),
        Expr::Cast(cast) => async_block(&mut cast.expr),
        Expr::Group(group) => async_block(&mut group.expr),
        Expr::Paren(paren) => async_block(&mut paren.expr),
        _ => None,
    }
}
