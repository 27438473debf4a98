//! The picture that the README shows.

use std::fmt::Write;

use crate::cases::{Client, Operation, Who};
use crate::results::{Id, Measured, Part, Spread, find};
use crate::workloads::Workload;

const GROUPS: [(&str, Client, Operation); 4] = [
    (
        "transaction of its own",
        Client::Blocking,
        Operation::OwnTransaction,
    ),
    (
        "transaction of its own, timeout",
        Client::Blocking,
        Operation::OwnTransactionTimed,
    ),
    (
        "session, timeout",
        Client::Blocking,
        Operation::SessionTimed,
    ),
    ("session, async", Client::Async, Operation::Session),
];

const BARS: [(Who, &str); 6] = [
    (Who::Floor, "plain SQL"),
    (Who::Advisory, "diesel-advisory"),
    (Who::SqlQuery, "Diesel by hand, sql_query"),
    (Who::Select, "Diesel by hand, select"),
    (Who::Sqlx, "sqlx"),
    (Who::Django, "django-pglock"),
];

struct Panel {
    workload: Workload,
    title: &'static str,
    unit: &'static str,
    units_per_second: f64,
    left: f64,
}

const PANELS: [Panel; 2] = [
    Panel {
        workload: Workload::Latency,
        title: "No network, µs",
        unit: "µs",
        units_per_second: 1e6,
        left: 200.0,
    },
    Panel {
        workload: Workload::Network,
        title: "Round trips of 1 ms, ms",
        unit: "ms",
        units_per_second: 1e3,
        left: 550.0,
    },
];

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 20.0;
/// Of the longest bar. Its figure stands behind it.
const BAR: f64 = 260.0;
const LINE: f64 = 18.0;

/// A background of its own, so that it can be read on every page.
const HEAD: &str = "\
<style>
  .page { fill: #ffffff; stroke: #d1d9e0 }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #59636e }
  .title { font-weight: 600; fill: #1f2328 }
  .ours { font-weight: 600; fill: #1f2328 }
  .bar { fill: #afb8c1 }
  .bar.ours { fill: #0969da }
  .cut { stroke: #ffffff; stroke-width: 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #3d444d }
    text { fill: #9198a1 }
    .title, text.ours { fill: #f0f6fc }
    .bar { fill: #656c76 }
    .bar.ours { fill: #4493f8 }
    .cut { stroke: #0d1117 }
  }
</style>
";

/// The bars of the two workloads in which a lock is free, or `None` if one of them is missing.
pub(crate) fn picture(results: &[Measured]) -> Option<String> {
    let lines = lines(results);
    let height = 2.0 * MARGIN + LINE + lines.iter().map(Line::height).sum::<f64>();
    let mut body = String::new();
    for panel in &PANELS {
        let longest = longest(results, panel)?;
        let x = panel.left;
        let y = MARGIN + 0.7 * LINE;
        let _ = writeln!(
            body,
            r#"<text class="title" x="{x}" y="{y}">{}</text>"#,
            panel.title
        );
        let mut top = MARGIN + LINE;
        for line in &lines {
            if let Line::Bar(id, who, _) = line {
                let id = Id {
                    workload: panel.workload,
                    ..id.clone()
                };
                let bar = seconds(results, &id, *who)?;
                draw_bar(&mut body, panel, top, bar, longest, *who);
            }
            top += line.height();
        }
    }
    let mut top = MARGIN + LINE;
    for line in &lines {
        let y = top + line.height() - 5.0;
        let (class, text) = match line {
            Line::Title(title) => ("title", title),
            Line::Bar(_, Who::Advisory, title) => ("ours", title),
            Line::Bar(_, _, title) => ("", title),
        };
        let _ = writeln!(
            body,
            r#"<text class="{class}" x="{MARGIN}" y="{y:.1}">{text}</text>"#
        );
        top += line.height();
    }
    let (right, bottom) = (WIDTH - 1.0, height - 1.0);
    Some(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="Time to take and end a lock that is free">
{HEAD}<rect class="page" x="0.5" y="0.5" width="{right}" height="{bottom}" rx="6"/>
{body}</svg>
"#
    ))
}

enum Line {
    Title(&'static str),
    Bar(Id, Who, &'static str),
}

impl Line {
    fn height(&self) -> f64 {
        match self {
            Self::Title(_) => 1.6 * LINE,
            Self::Bar(..) => LINE,
        }
    }
}

/// What stands below each other, the same in all panels.
fn lines(results: &[Measured]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (title, client, operation) in GROUPS {
        lines.push(Line::Title(title));
        for (who, title) in BARS {
            let id = Id {
                workload: Workload::Latency,
                part: Part::All,
                client,
                operation,
                who,
            };
            if seconds(results, &id, who).is_some() {
                lines.push(Line::Bar(id, who, title));
            }
        }
    }
    lines
}

fn seconds(results: &[Measured], id: &Id, who: Who) -> Option<f64> {
    let floor = id.floor();
    let id = if who == Who::Floor { &floor } else { id };
    let measured = find(results, id)?;
    Some(Spread::of(measured.rounds.iter().copied()).median)
}

/// What the longest bar shows. Another language has longer ones, which are cut.
fn longest(results: &[Measured], panel: &Panel) -> Option<f64> {
    let all = GROUPS.iter().flat_map(|(_, client, operation)| {
        BARS.iter().filter_map(move |(who, _)| {
            let id = Id {
                workload: panel.workload,
                part: Part::All,
                client: *client,
                operation: *operation,
                who: *who,
            };
            (*who != Who::Django).then(|| seconds(results, &id, *who))?
        })
    });
    all.reduce(f64::max)
}

fn draw_bar(body: &mut String, panel: &Panel, top: f64, bar: f64, longest: f64, who: Who) {
    let class = if who == Who::Advisory { " ours" } else { "" };
    let is_cut = bar > 1.1 * longest;
    let width = BAR * (bar / longest).min(1.1) / 1.1;
    let (x, y, height) = (panel.left, top + 3.0, LINE - 5.0);
    let _ = writeln!(
        body,
        r#"<rect class="bar{class}" x="{x}" y="{y:.1}" width="{width:.1}" height="{height}"/>"#
    );
    let end = x + width;
    if is_cut {
        let (from, to, bottom) = (end - 14.0, end - 8.0, y + height + 1.0);
        let _ = writeln!(
            body,
            r#"<path class="cut" d="M{from:.1} {bottom:.1}L{to:.1} {:.1}"/>"#,
            y - 1.0
        );
    }
    let value = bar * panel.units_per_second;
    let digits = usize::from(panel.unit == "ms");
    let (x, y) = (end + 6.0, top + LINE - 5.0);
    let _ = writeln!(
        body,
        r#"<text class="{}" x="{x:.1}" y="{y:.1}">{value:.digits$}</text>"#,
        class.trim()
    );
}
