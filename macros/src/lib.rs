//! The attribute of [`diesel-advisory`](https://docs.rs/diesel-advisory). Use it from there: this crate is
//! an implementation detail.

mod args;
mod duration;
mod expand;
mod function;
mod template;

use proc_macro::TokenStream;

/// Docs follow.
#[proc_macro_attribute]
pub fn advisory(args: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse(args)
        .and_then(|args| Ok((args, syn::parse(item.clone())?)))
        .and_then(|(args, function)| expand::expand(&args, function));
    match expanded {
        Ok(tokens) => tokens.into(),
        // With the function still there, nothing else complains of its absence.
        Err(mistake) => [item, mistake.into_compile_error().into()]
            .into_iter()
            .collect(),
    }
}
