//! `viveka-sync replay`: sends queues that phones have kept, and tells what comes of each payload.
//!
//! [`queue`] reads captures, [`merge`] makes one batch of many if asked to, [`courier`] sends and sends again,
//! [`outcome`] says what came of each, [`pass`] of all, [`twice`] and [`books`] check what is in the books then, [`screen`] and [`report`]
//! tell it to people and to machines.

mod books;
mod canonical;
mod capture;
mod courier;
mod guard;
mod merge;
mod outcome;
mod pass;
mod payload;
mod queue;
mod report;
mod screen;
mod twice;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::books::{Books, ExpectError, Expected};
use self::courier::Courier;
use self::merge::MergeError;
use self::pass::Pass;
use self::payload::Payload;
use self::queue::QueueError;
use self::report::{Comparison, Report};
use self::screen::Screen;
use super::interruption::Interruption;
use super::place::{Place, PlaceError};
use super::target::Target;
use super::{CliError, Exit};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(super) struct Arguments {
    /// Captures: a JSON array, JSON lines, one object, or a folder of such files (.json, .jsonl, .ndjson; not of
    /// folders in it)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Merge all captures of a sync into one batch, under a key made of their requestIds. Aliases are renamed. Captures that
    /// would mean something else in one batch are refused, and so are those that were applied one by one before. (Not the
    /// other way round: what was sent with --batch must not be sent without it)
    #[arg(long)]
    batch: bool,
    /// Send all again afterwards, and check that nothing doubled: each is answered from its receipt, and the dataset stays
    #[arg(long)]
    twice: bool,
    /// Send nothing to be applied: ask for each capture what would come of it, as the books are now. Captures do not see
    /// each other, but with --batch
    #[arg(long, conflicts_with_all = ["twice", "expect", "save"])]
    dry_run: bool,
    /// Compare the dataset in the end with this one, ids and times of the server aside, and show the difference
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Keep the dataset in the end in this file, to --expect it later
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print one JSON document instead of lines and tables
    #[arg(long)]
    json: bool,
    /// How many times a payload is sent again, with the same key, if the server asks for that (409, 429, 5xx; after
    /// Retry-After) or does not answer
    #[arg(long, default_value_t = 5, value_name = "N")]
    retries: u32,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    #[command(flatten)]
    target: Target,
}

/// Why nothing can be sent, in one line; captures that are none have a line each if they are several.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The captures cannot be read.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The captures cannot be one batch.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// There is no dataset to compare with.
    #[error(transparent)]
    Expect(#[from] ExpectError),
    /// There is no place for the dataset.
    #[error("--save: {0}")]
    Save(#[from] PlaceError),
    /// The system does not tell of signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
}

const EXAMPLES: &str = "\
A capture is {\"endpoint\": \"/api/sync\", \"method\": \"POST\", \"body\": {..}, \"timestamp\": \"2025-01-12T09:30:00Z\",
\"requestId\": \"..\"}. The body may be a string that holds the JSON, which is then sent as it is, or null, a pull; the timestamp
may be milliseconds since 1970; the requestId may be a whole number. Captures are sent in the order of their timestamps (those of one time as they stand), each under its
requestId as the idempotency key. So a replay can be broken off and run again: what was applied is not applied again.

What comes of a payload: applied, replayed (it was in the books), pulled (it held no operation), refused. A payload that is
unsettled (no answer, or told to come again until the end) ends the run, and those behind it are unsent; so does a token that
the server does not take. Ctrl-C and SIGTERM end it after the payload in flight, and tell what came of those before; a second
one does not wait for its answer.

Exit code: 0 if all is well; 1 if anything was refused, unsettled, unsent, doubled or not as expected; 2 if nothing was sent, since
the command line or the input is wrong.

Examples:
  Replay a phone's queue against the local server, and see that a retry storm would not double anything:
    viveka-sync replay queue.json --client 64b0000000000000000000c1 --twice
  Ask what would come of a day's queue, all of it in one batch:
    viveka-sync replay day/ --client 64b0000000000000000000c1 --batch --dry-run
  Keep the dataset that a good version makes of a queue, and hold the next version against it (each on new data):
    viveka-sync replay queue.jsonl --client 64b0000000000000000000c1 --save good.json
    viveka-sync replay queue.jsonl --client 64b0000000000000000000c1 --expect good.json
  Against another server, with a token, for a script:
    TOKEN=.. viveka-sync replay queue.json --url https://sync.example.com --json | jq .ok";

/// Sends the captures and tells what came of them.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    let payloads = arguments.payloads()?;
    let expected = arguments.expect.as_deref().map(Expected::read).transpose().map_err(ReplayError::from)?;
    let courier = arguments.courier()?;
    // Better now than when all is sent.
    let place = arguments.save.as_deref().map(Place::open).transpose().map_err(ReplayError::from)?;
    let screen = Screen::new(arguments.json);

    let first = screen.show_pass(&courier, &payloads, "sending").await;
    let mut report = Report::new(arguments.target.address(), arguments.dry_run, &payloads, first);
    if arguments.twice {
        report.again = Some(twice::send_again(&courier, &payloads, &report.first, &screen).await);
    }
    if expected.is_some() || place.is_some() {
        report.comparison = Some(compare(&courier, &report.first, expected.as_ref(), place).await);
    }
    screen.show_end(&payloads, &report);
    Ok(if report.is_good() { Exit::Good } else { Exit::NotGood })
}

impl Arguments {
    fn payloads(&self) -> Result<Vec<Payload>, ReplayError> {
        let captures = queue::read(&self.paths)?;
        Ok(if self.batch { merge::merge(captures)? } else { captures.into_iter().map(Payload::from).collect() })
    }

    fn courier(&self) -> Result<Courier, CliError> {
        let phone = self.target.phone(Duration::from_secs(self.timeout))?;
        let interruption = Interruption::listen().map_err(ReplayError::from)?;
        Ok(Courier { phone, retries: self.retries, only_asks: self.dry_run, interruption })
    }
}

/// Pulls the dataset, keeps it, and holds it against what is expected, as far as asked for.
async fn compare(courier: &Courier, first: &Pass, expected: Option<&Expected>, place: Option<Place<'_>>) -> Comparison {
    let file = expected.map(|expected| expected.file().to_owned());
    // Of a part of the queue it is another one, and nobody wants it in the place of a whole one.
    let books = match first.cut {
        Some(cut) => Err(format!("the dataset is neither compared nor saved: {cut}")),
        None => Books::pull(courier).await,
    };
    let books = match books {
        Ok(books) => books,
        Err(finding) => return Comparison { expected: file, difference: None, findings: vec![finding] },
    };
    let unsaved = place.and_then(|place| books.save(place).err()).map(|error| format!("--save: {error}"));
    let difference = expected.and_then(|expected| expected.difference(&books));
    let unexpected = difference
        .is_some()
        .then_some(file.as_ref())
        .flatten()
        .map(|file| format!("the dataset is not as in {}", file.display()));
    Comparison { expected: file, difference, findings: unsaved.into_iter().chain(unexpected).collect() }
}
