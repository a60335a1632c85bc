//! `faults`: the fault matrix of viveka-sync.
//!
//! Each cell breaks the world in its own way under real servers on real stores while phones are at work, lets
//! every phone retry until it is answered, and audits the books. See FAULTS.md.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for a terminal; the bans are the server's"
)]

mod audit;
mod books;
mod cells;
mod crowd;
mod device;
mod front;
mod harness;
mod operation;
mod proxy;
mod queue;
mod report;
mod serve;
mod units;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::{Parser, Subcommand};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use cells::{Cell, Round};
use report::Row;

/// Breaks the world under viveka-sync on purpose, and audits the books.
#[derive(Debug, Parser)]
#[command(name = "faults", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Rounds of each cell. A round takes 1 to 15 seconds, so 1000 of all cells take most of a day
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Only this cell; may be given several times
    #[arg(long, value_name = "NAME")]
    cell: Vec<String>,
    /// Where all dice start; without it, at random
    #[arg(long)]
    seed: Option<u64>,
    /// The number of the first round, to repeat a later one alone
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    first: u32,
    /// Cells that run at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// List the cells
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the server under test
    #[command(hide = true)]
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve(serve)) => serve.run(),
        None => drive(&arguments),
    }
}

fn drive(arguments: &Arguments) -> ExitCode {
    let cells = cells::all();
    if arguments.list {
        cells.iter().for_each(|cell| println!("{}", cell.name));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.cell.iter().find(|name| cells.iter().all(|cell| cell.name != **name)) {
        eprintln!("error: no cell {unknown}; --list lists them");
        return ExitCode::from(2);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let wanted = |cell: &&Cell| arguments.cell.is_empty() || arguments.cell.contains(&cell.name);
    let rows = run_all(&cells.iter().filter(wanted).collect::<Vec<_>>(), seed, arguments);
    println!("\n{}", report::table(&rows, seed));
    if rows.iter().any(|row| !row.violations.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs cells, some at a time; the rows are in the cells' order.
fn run_all(cells: &[&Cell], seed: u64, arguments: &Arguments) -> Vec<Row> {
    let rows: Vec<OnceLock<Row>> = cells.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some((cell, row)) = cells.iter().zip(&rows).nth(next.fetch_add(1, Ordering::Relaxed)) {
                    row.get_or_init(|| run(cell, seed, arguments));
                }
            });
        }
    });
    rows.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// Runs the rounds of a cell, up to the first that finds something.
fn run(cell: &Cell, seed: u64, arguments: &Arguments) -> Row {
    let begin = Instant::now();
    let mut row = Row::new(&cell.name);
    let mut scene = None;
    for number in (arguments.first..).take(arguments.rounds as usize) {
        let mut dice = dice(seed, &cell.name, number);
        let round = survive(|| scene.get_or_insert_with(|| cell.open()).round(&mut dice));
        if !round.violations.is_empty() {
            println!("{}", report::violations(&cell.name, seed, number, &round));
        }
        let is_broken = !round.violations.is_empty();
        row.add(round);
        if is_broken {
            break;
        }
    }
    println!("{}", row.progress(begin.elapsed()));
    row
}

/// A round that cannot go on, be it that a server does not start or that nobody answers, is a violation too.
fn survive(round: impl FnOnce() -> Round) -> Round {
    catch_unwind(AssertUnwindSafe(round)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Round { violations: vec![text.unwrap_or("a panic").to_owned()], ..Round::default() }
    })
}

/// The dice of one round: the same for the same seed, cell and number.
fn dice(seed: u64, cell: &str, round: u32) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(round.to_le_bytes());
    hash.update(cell);
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// What the harness starts as the server: this program, so that one build is enough.
fn server_program() -> (PathBuf, Vec<String>) {
    let program = std::env::current_exe().expect("this program's path");
    // The program of the unit tests lies in a directory beside it.
    #[cfg(test)]
    let program = program.ancestors().nth(2).expect("a directory above deps/").join("faults");
    (program, vec!["serve".into()])
}
