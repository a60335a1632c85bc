//! What is told of a run.

use std::fmt::Write;
use std::time::Duration;

use crate::cells::Round;

/// One row of the table: all rounds of a cell.
#[derive(Debug)]
pub struct Row {
    name: String,
    rounds: u32,
    faults: u32,
    acknowledged: usize,
    applied: usize,
    settled: usize,
    slowest: Duration,
    /// What is not as it must be.
    pub violations: Vec<String>,
}

impl Row {
    /// Of a cell that has not run yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rounds: 0,
            faults: 0,
            acknowledged: 0,
            applied: 0,
            settled: 0,
            slowest: Duration::ZERO,
            violations: Vec::new(),
        }
    }

    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.rounds += 1;
        self.faults += round.faults;
        self.acknowledged += round.acknowledged;
        self.applied += round.applied;
        self.settled += round.settled;
        self.slowest = self.slowest.max(round.slowest);
        self.violations.extend(round.violations);
    }

    /// One line on the way.
    pub fn progress(&self, took: Duration) -> String {
        format!(
            "{:<40} {:>5} rounds {:>7} faults {:>8} acknowledged {:>3} violations {:>8.1} s",
            self.name,
            self.rounds,
            self.faults,
            self.acknowledged,
            self.violations.len(),
            took.as_secs_f64()
        )
    }
}

/// The whole run as a Markdown table.
pub fn table(rows: &[Row], seed: u64) -> String {
    let mut table = format!("Seed {seed}.\n\n{HEAD}");
    for row in rows {
        let slowest = if row.slowest.is_zero() { "–".into() } else { format!("{:.1} s", row.slowest.as_secs_f64()) };
        let Row { name, rounds, faults, acknowledged, applied, settled, violations, .. } = row;
        let violations = violations.len();
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| `{name}` | {rounds} | {faults} | {acknowledged} | {applied} | {settled} | {violations} | {slowest} |"
        );
    }
    table
}

/// What a round found, and how to see it again.
pub fn violations(cell: &str, seed: u64, number: u32, round: &Round) -> String {
    let found: String = round.violations.iter().map(|violation| format!("\n  {violation}")).collect();
    format!("VIOLATION in {cell}, round {number}, seed {seed}:{found}\n  again: {}", command(cell, seed, number, 1))
}

/// The command that repeats rounds of a cell.
fn command(cell: &str, seed: u64, first: u32, rounds: u32) -> String {
    format!("cargo run --release --bin faults -- --cell {cell} --seed {seed} --first {first} --rounds {rounds}")
}

const HEAD: &str = "\
| cell | rounds | faults | acknowledged | applied | settled by a retry | violations | slowest recovery |
|---|--:|--:|--:|--:|--:|--:|--:|
";
