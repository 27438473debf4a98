//! What the function returns.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Error, GenericArgument, Path, PathArguments, Result, ReturnType, Signature, Token, Type,
    TypeParamBound, parse_quote_spanned,
};

use crate::function::ungrouped;

/// The type of the result that the body has, as a closure can have it: without `impl Trait`.
pub(crate) enum Returns {
    /// The function returns it, or is an `async fn`.
    Directly(Type),
    /// The function returns a future of it.
    InFuture(Type),
}

impl Returns {
    /// Reads the types by their names, which is all that a macro knows of them.
    pub(crate) fn of(sig: &Signature) -> Result<Self> {
        let ReturnType::Type(_, ty) = &sig.output else {
            return Err(Error::new_spanned(
                &sig.ident,
                "the function must return a `Result`, because taking the lock can fail: write \
                 `-> Result<(), diesel_advisory::Error>`, or use another error type that \
                 implements `From<diesel_advisory::Error>`",
            ));
        };
        let of_future = match sig.asyncness {
            None => output_of_future(ty),
            Some(_) => None,
        };
        let output = of_future.as_ref().unwrap_or(ty);
        // An alias such as `BoxFuture` can hide the name of its output.
        let is_hidden = of_future.is_some() && is_projection(output);
        if !is_hidden && !ends_in(output, |name| name.contains("Result")) {
            return Err(Error::new_spanned(
                output,
                "the return type's name must contain `Result`, as in \
                 `Result<(), diesel_advisory::Error>` or `QueryResult<()>`",
            ));
        }
        Ok(match of_future {
            None => Self::Directly(without_impl_trait((**ty).clone())),
            Some(output) => Self::InFuture(without_impl_trait(output)),
        })
    }
}

/// The output of `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>`, `BoxFuture<…>` and
/// the like.
fn output_of_future(ty: &Type) -> Option<Type> {
    match ungrouped(ty) {
        Type::ImplTrait(ty) => output_in_bounds(&ty.bounds),
        Type::TraitObject(ty) => output_in_bounds(&ty.bounds),
        Type::Path(_) if ends_in(ty, |name| name.ends_with("Future")) => {
            let span = ty.span();
            Some(parse_quote_spanned!(span=> <#ty as ::core::future::Future>::Output))
        }
        Type::Path(_) if ends_in(ty, |name| name.contains("Result")) => None,
        Type::Path(ty) => arguments(&ty.path).find_map(|argument| match argument {
            GenericArgument::Type(ty) => output_of_future(ty),
            _ => None,
        }),
        _ => None,
    }
}

fn output_in_bounds(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<Type> {
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            arguments(&bound.path).find_map(|argument| match argument {
                GenericArgument::AssocType(output) if output.ident == "Output" => {
                    Some(output.ty.clone())
                }
                _ => None,
            })
        }
        _ => None,
    })
}

fn arguments(path: &Path) -> impl Iterator<Item = &GenericArgument> {
    let last = path.segments.last().map(|last| &last.arguments);
    let arguments = match last {
        Some(PathArguments::AngleBracketed(arguments)) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten()
}

fn is_projection(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.qself.is_some())
}

fn ends_in(ty: &Type, is: impl FnOnce(&str) -> bool) -> bool {
    match ungrouped(ty) {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| is(&last.ident.to_string()))
        }
        _ => false,
    }
}

fn without_impl_trait(mut ty: Type) -> Type {
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

    InferImplTrait.visit_type_mut(&mut ty);
    ty
}
