//! Archives of whole clients: `viveka-sync export` writes one, `viveka-sync import` reads it.

mod directory;
mod encoding;
pub(super) mod export;
mod extjson;
pub(super) mod import;
mod outcome;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Table;
use crate::store::archive::{Part, Sum, Sums};
use directory::Digests;

/// A bar on standard error, if that is a terminal.
fn progress(length: u64, of: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{human_pos}}/{{human_len}} {of} {{msg}}");
    // A template that cannot be read is a slip, and no reason not to work.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// What has passed of each collection.
#[derive(Default)]
struct Totals(std::collections::BTreeMap<Part, (u64, u64)>);

impl Totals {
    fn add(&mut self, sums: &Sums) {
        for (part, Sum { records, bytes, .. }) in sums {
            let (all_records, all_bytes) = self.0.entry(*part).or_default();
            (*all_records, *all_bytes) = (*all_records + records, *all_bytes + bytes);
        }
    }

    fn records(&self) -> u64 {
        self.0.values().map(|(records, _)| records).sum()
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["collection", "records", "bytes"], &[1, 2]);
        for (part, (records, bytes)) in &self.0 {
            table.row([part.to_string(), records.to_string(), bytes.to_string()]);
        }
        table.text()
    }
}

/// The sums of one client with its digests.
fn digests_table(digests: &Digests) -> String {
    let mut table = Table::new(&["collection", "records", "bytes", "sha256"], &[1, 2]);
    for (name, Sum { records, bytes, sha256 }) in digests {
        table.row([name.clone(), records.to_string(), bytes.to_string(), sha256.clone()]);
    }
    table.text()
}
