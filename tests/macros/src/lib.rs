//! Makes blocking tests of the asynchronous ones.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// A `#[test]` that is written as an `async fn`, without its `async` and `.await`.
///
/// In the asynchronous half of a file that is compiled twice, `#[tokio::test]` stands in its place.
#[proc_macro_attribute]
pub fn blocking_test(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    let test = Ident::new("test", Span::call_site());
    let test = Group::new(Delimiter::Bracket, TokenTree::Ident(test).into());
    let hash = Punct::new('#', Spacing::Alone);
    let mut tokens = TokenStream::from_iter([TokenTree::Punct(hash), TokenTree::Group(test)]);
    tokens.extend(without_async(function));
    tokens
}

/// The same for a function that tests call. In the asynchronous half, [`keep`] stands in its place.
#[proc_macro_attribute]
pub fn blocking(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    without_async(function)
}

/// Leaves the function as it is.
#[proc_macro_attribute]
pub fn keep(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    function
}

fn without_async(tokens: TokenStream) -> TokenStream {
    let mut kept = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "async" => {}
            TokenTree::Punct(dot) if dot.as_char() == '.' => match tokens.peek() {
                Some(TokenTree::Ident(word)) if word.to_string() == "await" => {
                    tokens.next();
                }
                _ => kept.extend([TokenTree::Punct(dot)]),
            },
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_async(group.stream()));
                inner.set_span(group.span());
                kept.extend([TokenTree::Group(inner)]);
            }
            token => kept.extend([token]),
        }
    }
    kept
}
