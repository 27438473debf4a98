//! Makes blocking tests of the asynchronous ones.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// A `#[test]` that is written as an `async fn`, without its `async` and `.await`, and with `FnOnce`
/// for `AsyncFnOnce`.
///
/// In the asynchronous half of a file that is compiled twice, `#[tokio::test]` stands in its place.
#[proc_macro_attribute]
pub fn blocking_test(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    let mut tokens = attribute("test");
    tokens.extend(without_async(function));
    tokens
}

/// The same for a function that tests call, and which fails where it is called. In the asynchronous
/// half, [`keep`] stands in its place.
#[proc_macro_attribute]
pub fn blocking(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    let mut tokens = attribute("track_caller");
    tokens.extend(without_async(function));
    tokens
}

/// Leaves the function as it is.
#[proc_macro_attribute]
pub fn keep(_arguments: TokenStream, function: TokenStream) -> TokenStream {
    function
}

/// An attribute that is a word.
fn attribute(word: &str) -> TokenStream {
    let word = TokenTree::Ident(Ident::new(word, Span::call_site()));
    let word = Group::new(Delimiter::Bracket, word.into());
    let hash = Punct::new('#', Spacing::Alone);
    TokenStream::from_iter([TokenTree::Punct(hash), TokenTree::Group(word)])
}

fn without_async(tokens: TokenStream) -> TokenStream {
    let mut kept = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "async" => {}
            TokenTree::Ident(word) if word.to_string().starts_with("AsyncFn") => {
                let blocking = &word.to_string()["Async".len()..];
                kept.extend([TokenTree::Ident(Ident::new(blocking, word.span()))]);
            }
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
