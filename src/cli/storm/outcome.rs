//! The result of a storm: what machines read, and the lines for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::audit::{Findings, LookedAt, Loss, Problems};
use super::ledger::Fate;
use super::load::{Done, Ended};
use super::measure::{InTime, Latency, Limit, Point, QUANTILES, Quantiles, Usage};
use crate::cli::output::{counted, of_so_many};

/// Everything that is told of a storm. Its JSON is what `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether the load was not interrupted and nothing is wrong: [`Verdict::Passed`].
    pub passed: bool,
    /// Why the load ended.
    pub ended: Ended,
    /// How long syncs were begun, in seconds.
    pub seconds: f64,
    /// From the start of the load until the last phone was done, in seconds.
    pub seconds_until_all_were_done: f64,
    /// What was asked for.
    pub settings: Settings,
    /// The server that was loaded.
    pub server: ServerFacts,
    /// Logical syncs, each however often it was sent.
    pub syncs: Syncs,
    /// Requests.
    pub requests: Requests,
    /// What the generator used.
    pub generator: Usage,
    /// What the audit found.
    pub audit: Audit,
    /// The curves.
    pub series: Vec<Point>,
}

/// What a storm came to, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The load was what was asked for, and nothing is wrong.
    Passed,
    /// Something is wrong, however long the load was.
    Failed,
    /// A signal ended the load early. Nothing is wrong with what was done until then.
    Interrupted,
}

/// So many clients that lost something are told one by one to people.
pub const MOST_LOSSES: usize = 20;

/// What was asked for, as it is needed to ask for it again.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Names the run in every record that it made.
    pub run: String,
    /// When it began.
    pub began_at: String,
    /// The version of this program.
    pub version: &'static str,
    /// The server's address.
    pub url: String,
    /// How many shops.
    pub clients: u32,
    /// How many phones of each.
    pub phones_per_client: u32,
    /// Syncs each second that were due; none in a closed loop.
    pub rate: Option<f64>,
    /// How long syncs were to be begun, in seconds.
    pub duration: f64,
    /// What each batch is made of.
    pub batch: String,
    /// How many operations that is.
    pub batch_size: u32,
    /// How much of the dataset was asked for.
    pub data: String,
    /// How often each batch was sent at once.
    pub retries: u32,
    /// How many of 100 syncs lost their first answer.
    pub hangups: f64,
    /// How many of 100 of those went on in a new batch.
    pub rebatch: f64,
    /// What decided every batch.
    pub seed: u64,
}

/// What the server tells of itself.
#[derive(Debug, Clone, Default, serde::Deserialize, Serialize)]
#[serde(default)]
pub struct ServerFacts {
    /// `embedded` or `mongodb`.
    pub engine: String,
    /// Whether its store has transactions.
    pub transactional: bool,
    /// Its version.
    pub version: String,
}

/// Figures of logical syncs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Syncs {
    /// Begun.
    pub begun: u64,
    /// Known to be in the books.
    pub acknowledged: u64,
    /// Refused, though there was nothing wrong with them.
    pub refused: u64,
    /// Of which nothing was heard until the end.
    pub open: u64,
    /// Due, and not begun when the load ended, as their phones were still busy.
    pub due_and_not_begun: u64,
    /// Acknowledged, each second of the load; not what was still under way when it ended.
    pub per_second: f64,
    /// Operations of these, each second.
    pub operations_per_second: f64,
    /// From when a sync was due to its acknowledgement, in milliseconds, retries and pauses included.
    pub latency_ms: Quantiles,
    /// The same as a curve: each quantile by its name.
    pub quantiles_ms: BTreeMap<&'static str, f64>,
}

/// Figures of requests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Answered, however.
    pub answered: u64,
    /// The same, each second.
    pub per_second: f64,
    /// Answered with what an earlier request with the key was told.
    pub replayed: u64,
    /// On which phones hung up on purpose.
    pub hung_up: u64,
    /// Syncs whose operations went on in a new batch.
    pub rebatched: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors by code.
    pub codes: BTreeMap<Box<str>, u64>,
    /// Requests without an answer, by why there is none.
    pub unanswered: BTreeMap<Box<str>, u64>,
    /// From when a request was sent to the end of its answer, in milliseconds.
    pub latency_ms: Quantiles,
    /// The same as a curve.
    pub quantiles_ms: BTreeMap<&'static str, f64>,
}

/// What was found wrong, by the phones and by the audit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Whether all books were looked at.
    pub complete: bool,
    /// How much was looked at.
    pub looked_at: LookedAt,
    /// Which clients lost acknowledged syncs, and how many.
    pub losses: Vec<Loss>,
    /// The first problems, in one line each.
    pub problems: Vec<String>,
    /// How many more there are.
    pub more_problems: u64,
}

impl Outcome {
    /// Puts a load and the audit of its books together.
    pub fn new(settings: Settings, server: ServerFacts, done: Done, findings: Findings) -> Self {
        let Done { tally, ledgers, not_begun, lasted, took, ended, usage } = done;
        // A load that ends by the number of its syncs is over when they are.
        let (counted, over) = match ended {
            Ended::Syncs => {
                let (syncs, answers) = (tally.syncs.count(), tally.answers());
                (InTime { syncs, operations: tally.operations, answers }, took)
            }
            Ended::Duration | Ended::Interrupted => (tally.in_time, lasted),
        };
        let seconds = over.as_secs_f64().max(0.001);
        let ledgers: Vec<_> = ledgers.iter().flatten().collect();
        let count = |fate| ledgers.iter().map(|ledger| u64::from(ledger.count(fate))).sum();
        let per_second = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
        let syncs = Syncs {
            begun: ledgers.iter().map(|ledger| u64::from(ledger.begun)).sum(),
            acknowledged: count(Fate::Acknowledged),
            refused: count(Fate::Refused),
            open: count(Fate::Open),
            due_and_not_begun: not_begun,
            per_second: per_second(counted.syncs),
            operations_per_second: per_second(counted.operations),
            latency_ms: tally.syncs.quantiles(),
            quantiles_ms: curve(&tally.syncs),
        };
        let requests = Requests {
            answered: tally.answers(),
            per_second: per_second(counted.answers),
            replayed: tally.replayed,
            hung_up: tally.hung_up,
            rebatched: tally.rebatched,
            statuses: tally.statuses,
            codes: tally.codes,
            unanswered: tally.unanswered,
            latency_ms: tally.requests.quantiles(),
            quantiles_ms: curve(&tally.requests),
        };
        let mut problems = Problems::default();
        if syncs.acknowledged == 0 && (syncs.begun > 0 || ended != Ended::Interrupted) {
            problems.push("no sync was acknowledged, so that there was nothing to audit".into());
        }
        problems.add(tally.problems);
        problems.add(findings.problems);
        let audit = Audit {
            complete: findings.looked_at.clients == u64::from(settings.clients),
            looked_at: findings.looked_at,
            losses: findings.losses,
            problems: problems.told().to_vec(),
            more_problems: problems.more(),
        };
        Self {
            passed: Verdict::of(problems.is_empty(), ended) == Verdict::Passed,
            ended,
            seconds: rounded(seconds),
            seconds_until_all_were_done: rounded(took.as_secs_f64()),
            settings,
            server,
            syncs,
            requests,
            generator: usage,
            audit,
            series: tally.series.finish(took),
        }
    }
}

impl Outcome {
    /// What it came to.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.audit.found() == 0, self.ended)
    }

    /// That the load was interrupted, in one sentence; none if it was not.
    pub fn interrupted(&self) -> Option<String> {
        let (after, of) = (self.seconds, self.settings.duration);
        (self.ended == Ended::Interrupted).then(|| format!("the load was interrupted after {after:.1} s of {of} s"))
    }

    /// That the rate was missed, in one sentence; none if it was met but for what is due at the very end.
    pub fn rate_missed(&self, count: fn(u64) -> String) -> Option<String> {
        let rate = self.settings.rate?;
        let Syncs { begun, due_and_not_begun, .. } = self.syncs;
        let due = begun + due_and_not_begun;
        let who = if self.generator.near_its_limit.is_some() { "the server, or this generator," } else { "the server" };
        let ([begun_told, due_told], syncs) = ([begun, due].map(count), of_so_many(due, "due sync"));
        // A phone may be busy when the load ends, however fast the server is.
        let is_missed = due_and_not_begun * 100 > due;
        is_missed.then(|| format!("{begun_told} of {due_told} {syncs} begun: {who} did not keep up with {rate}/s"))
    }
}

impl Verdict {
    fn of(nothing_is_wrong: bool, ended: Ended) -> Self {
        match (nothing_is_wrong, ended) {
            (false, _) => Self::Failed,
            (true, Ended::Interrupted) => Self::Interrupted,
            (true, Ended::Duration | Ended::Syncs) => Self::Passed,
        }
    }
}

impl Audit {
    /// How many problems there are.
    pub fn found(&self) -> u64 {
        self.problems.len() as u64 + self.more_problems
    }

    /// What the audit came to, in one sentence.
    pub fn verdict(&self, count: fn(u64) -> String) -> String {
        let counted = |number, noun| format!("{} {}", count(number), of_so_many(number, noun));
        let LookedAt { clients, acknowledged, invoices, payments, items, .. } = self.looked_at;
        let (found, of_clients) = (counted(self.found(), "problem"), counted(clients, "client"));
        let of_syncs = self.of_syncs(count);
        match (self.found(), self.complete) {
            (0, true) => format!(
                "each of {} of {of_clients} is in the books once, with {}, {} and {}, and the books balance",
                counted(acknowledged, "acknowledged sync"),
                counted(items, "item"),
                counted(invoices, "invoice"),
                counted(payments, "payment"),
            ),
            (_, true) => format!("{found} in the books of {of_clients}; {of_syncs}"),
            (_, false) if clients == 0 => format!("{found}, and no books could be looked at"),
            (_, false) => format!("{found}, and not all books could be looked at; in those of {of_clients} {of_syncs}"),
        }
    }

    /// What became of the acknowledged syncs that were looked for.
    fn of_syncs(&self, count: fn(u64) -> String) -> String {
        let LookedAt { acknowledged: all, acknowledged_in_part: in_part, acknowledged_missing: missing, .. } =
            self.looked_at;
        match in_part + missing {
            0 => format!("none of {} {} lost a record", count(all), of_so_many(all, "acknowledged sync")),
            _ => lost(count, all, in_part, missing),
        }
    }
}

impl Loss {
    /// In one line.
    fn told(&self) -> String {
        let Self { client, acknowledged, in_part, missing } = self;
        format!("client {client}: {}", lost(|count| count.to_string(), *acknowledged, *in_part, *missing))
    }
}

/// How many of all acknowledged syncs are not in the books as they must be.
fn lost(count: fn(u64) -> String, all: u64, in_part: u64, missing: u64) -> String {
    let syncs = of_so_many(all, "acknowledged sync");
    format!("of {} {syncs} {} missing altogether, {} in part", count(all), count(missing), count(in_part))
}

impl Usage {
    /// What the generator used, in one sentence.
    pub fn told(&self) -> String {
        let Self { cpu_seconds, cores, cpu_share, lag_p99_ms, near_its_limit } = self;
        let cores = counted(*cores as u64, "core");
        let cpu = match (cpu_seconds, cpu_share) {
            (Some(seconds), Some(share)) => {
                format!("{seconds:.1} s of processor time, {:.0} % of {cores}", share * 100.0)
            }
            _ => format!("an unknown share of {cores}"),
        };
        let limit = match near_its_limit {
            Some(Limit::Busy) => "NEAR ITS LIMIT: the figures show the generator as much as the server",
            Some(Limit::Starved) => "STARVED: other programs take the processors, and latencies include that delay",
            None => "not at its limit",
        };
        format!("{cpu}; its own timers rang {lag_p99_ms:.1} ms late at p99; {limit}")
    }
}

/// For people, on a terminal.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { run, url, clients, phones_per_client, batch, data, seed, .. } = &self.settings;
        let ServerFacts { engine, version, .. } = &self.server;
        writeln!(f, "Storm {run} on {url} ({engine} {version})")?;
        let (clients, phones) = (counted((*clients).into(), "client"), counted((*phones_per_client).into(), "phone"));
        writeln!(f, "  {clients} with {phones} each, {batch}, data {data}, seed {seed}")?;
        writeln!(f)?;
        let Syncs { begun, acknowledged, refused, open, .. } = &self.syncs;
        writeln!(
            f,
            "Syncs      {acknowledged} of {begun} acknowledged, {refused} refused, {open} open, in {:.1} s",
            self.seconds
        )?;
        for doubt in self.interrupted().into_iter().chain(self.rate_missed(|count| count.to_string())) {
            writeln!(f, "           {doubt}")?;
        }
        let Syncs { per_second, operations_per_second, latency_ms, .. } = &self.syncs;
        writeln!(f, "           {per_second:.1} syncs/s, {operations_per_second:.1} operations/s")?;
        writeln!(f, "           {latency_ms}")?;
        let Requests { answered, replayed, hung_up, rebatched, latency_ms, .. } = &self.requests;
        let rebatched = counted(*rebatched, "sync");
        writeln!(
            f,
            "Requests   {answered} answered, {replayed} of them replayed; {hung_up} hung up on, {rebatched} rebatched"
        )?;
        writeln!(f, "           {latency_ms}")?;
        writeln!(f, "           {}", self.requests.answers())?;
        writeln!(f, "Generator  {}", self.generator.told())?;
        let word = match self.verdict() {
            Verdict::Passed => "passed: ",
            Verdict::Failed => "",
            Verdict::Interrupted => "interrupted: ",
        };
        writeln!(f, "Audit      {word}{}", self.audit.verdict(|count| count.to_string()))?;
        for loss in self.audit.losses.iter().take(MOST_LOSSES) {
            writeln!(f, "           {}", loss.told())?;
        }
        if self.audit.losses.len() > MOST_LOSSES {
            let more = self.audit.losses.len() - MOST_LOSSES;
            writeln!(f, "           and {} more", counted(more as u64, "client"))?;
        }
        for problem in &self.audit.problems {
            writeln!(f, "  - {problem}")?;
        }
        match self.audit.more_problems {
            0 => Ok(()),
            more => writeln!(f, "  - and {more} more"),
        }
    }
}

impl Settings {
    /// What to type to get the same load again, of another run.
    pub fn command(&self) -> String {
        let Self { url, clients, phones_per_client, duration, batch, data, retries, hangups, rebatch, seed, .. } = self;
        let rate = self.rate.map_or(String::new(), |rate| format!(" --rate {rate}"));
        format!(
            "viveka-sync storm --url {url} --clients {clients} --phones-per-client {phones_per_client}{rate} \
             --duration {duration}s --batch {batch} --data {data} --retries {retries} --hangups {hangups} \
             --rebatch {rebatch} --seed {seed}"
        )
    }
}

impl Requests {
    /// Requests that were answered with anything but 200, or not at all.
    pub fn failures(&self) -> u64 {
        let bad = self.statuses.iter().filter(|(status, _)| **status != 200).map(|(_, count)| count);
        bad.chain(self.unanswered.values()).sum()
    }

    /// Statuses, codes and failures, with their counts.
    fn answers(&self) -> String {
        let statuses = self.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
        let codes = self.codes.iter().map(|(code, count)| format!("{code}: {count}"));
        let unanswered = self.unanswered.iter().map(|(why, count)| format!("no answer, {why}: {count}"));
        statuses.chain(codes).chain(unanswered).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = self;
        write!(f, "p50 {p50:.1} ms, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}")
    }
}

/// The names are in the order of the quantiles.
fn curve(latency: &Latency) -> BTreeMap<&'static str, f64> {
    QUANTILES.iter().map(|(name, share)| (*name, latency.at(*share))).collect()
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
