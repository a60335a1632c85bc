//! What a command says on standard output: its result, and nothing else.

use std::io::{self, Write};

use serde::Serialize;

/// Prints a text as it is. Who has closed the other end does not want it.
pub(super) fn print(text: &str) {
    let mut output = io::stdout().lock();
    // Nothing can be done about a closed standard output.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Prints a value as JSON for machines.
pub(super) fn print_json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|e| format!("\"{e}\""));
    print(&format!("{text}\n"));
}

/// `1 record`, `2 records`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", of_so_many(count, noun))
}

/// The noun as it stands behind this count, however that is written: `record`, `records`.
pub(super) fn of_so_many(count: u64, noun: &str) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

/// Lines of columns, each as wide as its widest cell. Columns of numbers stand to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
}

impl Table {
    /// A table with these headings; `right` are the columns of numbers.
    pub fn new(headings: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()], right }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text of it.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let fill = " ".repeat(widths[column] - cell.chars().count());
                if self.right.contains(&column) { format!("{fill}{cell}") } else { format!("{cell}{fill}") }
            });
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        assert_eq!((counted(1, "client"), counted(0, "client")), ("1 client".to_owned(), "0 clients".to_owned()));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "n"], &[1]);
        table.row(["é".to_owned(), "1000".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned()]);
        assert_eq!(table.text(), "name       n\né       1000\nlonger     7\n");
    }
}
