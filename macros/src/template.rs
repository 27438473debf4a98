//! An id with arguments in it, as in `format!`.

/// What a string literal means as an id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// The name itself, with `{{` and `}}` resolved.
    Plain(String),
    /// To be formatted with these arguments.
    Format(Vec<String>),
}

/// Reads it as `format!` does, where arguments have names. Mistakes are reported here, because
/// `format!` would speak of arguments that an attribute cannot have.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    let mut plain = String::new();
    let mut arguments = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        plain.push_str(&rest[..brace]);
        rest = &rest[brace..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            plain.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let Some(end) = rest.find('}').filter(|_| rest.starts_with('{')) else {
            let brace = &rest[..1];
            return Err(format!(
                "unmatched `{brace}`: write `{brace}{brace}` for a brace in the name"
            ));
        };
        placeholder(&rest[1..end], &mut arguments)?;
        rest = &rest[end + 1..];
    }
    if arguments.is_empty() {
        plain.push_str(rest);
        Ok(Template::Plain(plain))
    } else {
        Ok(Template::Format(arguments))
    }
}

/// Collects the names between two braces: the argument, and what `$` marks in the format after it.
fn placeholder(inside: &str, arguments: &mut Vec<String>) -> Result<(), String> {
    let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
    let name = name.trim_end();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(by_name(inside));
    }
    if !is_name(name) {
        return Err(format!(
            "only the name of an argument can be in braces, not `{name}`: write the id as an \
             expression, such as `(\"invoice\", self.id)` or `format!(\"{{}}\", self.id)`"
        ));
    }
    arguments.push(name.to_owned());

    let mut format = format;
    let mut start = format.chars();
    if start.next().is_some() && start.next().is_some_and(|align| "<^>".contains(align)) {
        // What fills up can be any character, so also `$`.
        format = start.as_str();
    }
    if format.contains(".*") {
        return Err(by_name(inside));
    }
    let mut counts = format.split('$').collect::<Vec<_>>();
    counts.pop();
    for count in counts {
        let others = count.trim_end_matches(|c: char| c == '_' || c.is_alphanumeric());
        let count = &count[others.len()..];
        // `08width$` fills up with zeros to `width`: the zero is a flag.
        let count = count.strip_prefix('0').unwrap_or(count);
        if !is_name(count) {
            return Err(by_name(inside));
        }
        arguments.push(count.to_owned());
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c == '_' || c.is_alphanumeric())
}

fn by_name(inside: &str) -> String {
    format!("`{{{inside}}}` must name an argument, as in `{{invoice_id}}`")
}

#[cfg(test)]
mod tests {
    use super::{Template, parse};

    fn formats(names: &[&str]) -> Template {
        Template::Format(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_name_without_arguments_is_itself() {
        for (text, name) in [
            ("", ""),
            ("billing.close_month", "billing.close_month"),
            ("a{{b}}c", "a{b}c"),
            ("{{{{", "{{"),
            ("größe", "größe"),
        ] {
            assert_eq!(parse(text), Ok(Template::Plain(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn arguments_are_those_of_format() {
        let (id, width, prec) = (7, 5, 2);
        let x = 1.5;
        assert_eq!(format!("{id}"), "7");
        assert_eq!(parse("{id}"), Ok(formats(&["id"])));
        assert_eq!(format!("a{{{id}}}"), "a{7}");
        assert_eq!(parse("a{{{id}}}"), Ok(formats(&["id"])));
        assert_eq!(format!("{id }:{x:? }"), "7:1.5");
        assert_eq!(parse("{id }:{x:? }"), Ok(formats(&["id", "x"])));
        assert_eq!(format!("{id:#06x}"), "0x0007");
        assert_eq!(parse("{id:#06x}"), Ok(formats(&["id"])));
        assert_eq!(format!("{x:>width$.prec$}"), " 1.50");
        assert_eq!(
            parse("{x:>width$.prec$}"),
            Ok(formats(&["x", "width", "prec"]))
        );
        assert_eq!(format!("{id:$<width$}"), "7$$$$");
        assert_eq!(parse("{id:$<width$}"), Ok(formats(&["id", "width"])));
        assert_eq!(format!("{id:0width$}"), "00007");
        assert_eq!(parse("{id:0width$}"), Ok(formats(&["id", "width"])));
        assert_eq!(parse("{self}"), Ok(formats(&["self"])));
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, what) in [
            ("a{", "`{{`"),
            ("a}", "`}}`"),
            ("{id", "`{{`"),
            ("{{}", "`}}`"),
            ("{}", "`{}`"),
            ("{0}", "`{0}`"),
            ("{:>5}", "`{:>5}`"),
            ("{id:.*}", "`{id:.*}`"),
            ("{id:1$}", "`{id:1$}`"),
            ("{self.id}", "`self.id`"),
            ("{a b}", "`a b`"),
            ("{ id}", "` id`"),
            ("{f(x)}", "`f(x)`"),
        ] {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.contains(what), "{text}: {mistake}");
        }
    }
}
