//! Tables in Markdown, which can be read as they are.

use std::fmt::{self, Display};

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) lines: Vec<Vec<String>>,
}

impl Table {
    /// Without the columns that are empty.
    pub(crate) fn trimmed(mut self) -> Self {
        let is_used: Vec<bool> = (0..self.head.len())
            .map(|column| self.lines.iter().any(|line| !line[column].is_empty()))
            .collect();
        for line in self.lines.iter_mut().chain([&mut self.head]) {
            let mut used = is_used.iter();
            line.retain(|_| used.next().copied().unwrap_or_default());
        }
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || [&self.head].into_iter().chain(&self.lines);
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| lines().map(|line| line[column].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        for (number, line) in lines().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let line = "-".repeat(width + 1);
                    // Figures stand at the right.
                    write!(f, "|{line}{}", if column > 0 { ":" } else { "-" })?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}
