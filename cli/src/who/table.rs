//! The table for people.

use std::io::IsTerminal as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::entry::{Entry, Who};
use crate::text::age;

/// How the table is to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Columns of the terminal; without one, lines are as long as they are.
    pub(crate) width: Option<usize>,
    pub(crate) colours: bool,
    pub(crate) query: bool,
}

impl Style {
    /// For standard output as it is now.
    pub(crate) fn of_stdout(query: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let size = terminal_size::terminal_size_of(std::io::stdout());
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: size
                .filter(|_| is_terminal)
                .map(|(width, _)| usize::from(width.0)),
            colours: is_terminal && !no_color,
            query,
        }
    }
}

const HEADER: [&str; 10] = [
    "LOCK",
    "MODE",
    "STATUS",
    "SINCE",
    "APPLICATION",
    "USER",
    "CLIENT",
    "PID",
    "WAITS FOR",
    "QUERY",
];

/// Columns that may be cut, and not the others: half of a number is a wrong one.
const CUT: [usize; 6] = [0, 4, 5, 6, 8, 9];

/// What is left of a column at least.
const LEAST: usize = 8;

const GAP: &str = "  ";

/// The lines of the table.
pub(crate) fn lines(entries: &[Entry], style: Style) -> Vec<String> {
    if entries.is_empty() {
        return vec![String::from("No advisory lock is held.")];
    }
    let columns = if style.query {
        HEADER.len()
    } else {
        HEADER.len() - 1
    };
    let rows: Vec<_> = entries.iter().map(cells).collect();
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].width());
            cells.max().unwrap_or(0).max(HEADER[column].width())
        })
        .collect();
    if let Some(width) = style.width {
        fit(&mut widths, width);
    }
    let mut lines = vec![paint(
        line(&HEADER.map(String::from), &widths, style),
        "1",
        style,
    )];
    for (entry, row) in entries.iter().zip(&rows) {
        let line = line(row, &widths, style);
        lines.push(if entry.granted {
            line
        } else {
            paint(line, "33", style)
        });
    }
    lines
}

/// Takes from the widest column that may be cut, until the line fits.
fn fit(widths: &mut [usize], width: usize) {
    loop {
        let total: usize = widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1);
        let columns = CUT.iter().copied().filter(|column| *column < widths.len());
        let widest = columns.max_by_key(|column| widths[*column]);
        match widest {
            Some(column) if total > width && widths[column] > LEAST => {
                widths[column] -= 1;
            }
            _ => return,
        }
    }
}

fn line(row: &[String; 10], widths: &[usize], style: Style) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        if index > 0 {
            line.push_str(GAP);
        }
        let cell = cut(cell, *width);
        let pad = width.saturating_sub(cell.width());
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', pad));
    }
    let line = line.trim_end();
    // A terminal that is too narrow for all of it would break the line.
    style
        .width
        .map_or_else(|| line.to_owned(), |width| cut(line, width))
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used > width {
            break;
        }
        cut.push(char);
    }
    cut.push('…');
    cut
}

fn paint(line: String, colour: &str, style: Style) -> String {
    if style.colours {
        format!("\x1b[{colour}m{line}\x1b[0m")
    } else {
        line
    }
}

fn cells(entry: &Entry) -> [String; 10] {
    let session = entry.session();
    let text = |text: Option<&str>| plain(text.unwrap_or_default());
    let hidden = session.is_some_and(|session| session.hidden);
    let name = plain(&entry.title());
    [
        if entry.granted {
            name
        } else {
            format!("  {name}")
        },
        String::from(if entry.shared { "shared" } else { "exclusive" }),
        String::from(if entry.granted { "held" } else { "waiting" }),
        entry.since.map(age).unwrap_or_default(),
        match &entry.who {
            Who::Session(session) => text(session.application.as_deref()),
            Who::Prepared(Some(gid)) => format!("prepared transaction {}", plain(gid)),
            Who::Prepared(None) => String::from("a prepared transaction"),
        },
        text(entry.user.as_deref()),
        match session.and_then(|session| session.client.as_deref()) {
            Some(client) => plain(client),
            None if session.is_some() && !hidden => String::from("local"),
            None => String::new(),
        },
        entry.pid().map(|pid| pid.to_string()).unwrap_or_default(),
        session
            .map(|session| waits_for(&session.waits_for))
            .unwrap_or_default(),
        if hidden {
            String::from("(hidden: needs pg_read_all_stats)")
        } else {
            text(session.and_then(|session| session.query.as_deref()))
        },
    ]
}

fn waits_for(pids: &[i32]) -> String {
    let names = pids.iter().map(|pid| match pid {
        0 => String::from("prepared"),
        pid => pid.to_string(),
    });
    names.collect::<Vec<_>>().join(",")
}

/// Without what a terminal would obey: anybody can call his session or his lock as he likes.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::super::entry::{Entry, Session, Who};
    use super::{Style, lines};

    fn entries() -> Vec<Entry> {
        let session = Session {
            pid: 4711,
            application: Some(String::from("web-3 with a name that is rather long")),
            query: Some(String::from("SELECT\n  1 -- \x1b[31mred")),
            ..Session::default()
        };
        let held = Entry {
            parts: (0, 7, 1),
            name: Some(String::from("billing.close_month")),
            shared: false,
            granted: true,
            who: Who::Session(session.clone()),
            user: Some(String::from("app")),
            since: None,
        };
        let waiting = Entry {
            granted: false,
            who: Who::Session(Session {
                pid: 4712,
                waits_for: vec![4711, 0],
                ..session
            }),
            ..held.clone()
        };
        let prepared = Entry {
            parts: (1, 2, 2),
            name: None,
            who: Who::Prepared(Some(String::from("gid 7"))),
            ..held.clone()
        };
        vec![held, waiting, prepared]
    }

    #[test]
    fn who_waits_stands_under_what_it_waits_for() {
        let style = Style {
            width: None,
            colours: false,
            query: true,
        };
        let lines = lines(&entries(), style);
        assert!(
            lines[1].starts_with("billing.close_month    exclusive  held"),
            "{}",
            lines[1]
        );
        assert!(
            lines[2].starts_with("  billing.close_month  exclusive  waiting"),
            "{}",
            lines[2]
        );
        assert!(lines[2].contains("4711,prepared"));
        assert!(lines[1].ends_with("SELECT 1 -- ?[31mred"), "{}", lines[1]);
        assert!(lines[3].contains("(1, 2)") && lines[3].contains("prepared transaction gid 7"));
    }

    #[test]
    fn the_table_fits_its_terminal() {
        for width in [20, 60, 80, 100] {
            for line in lines(
                &entries(),
                Style {
                    width: Some(width),
                    colours: false,
                    query: true,
                },
            ) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        let text = |colours| {
            lines(
                &entries(),
                Style {
                    width: None,
                    colours,
                    query: false,
                },
            )
            .concat()
        };
        assert!(text(true).contains("\x1b[33m"));
        assert!(!text(false).contains('\x1b'));
    }
}
