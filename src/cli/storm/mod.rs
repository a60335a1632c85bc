//! `viveka-sync storm`: a load of many phones with retry storms, and an audit of what is in the books afterwards.
//!
//! - `script`: what phones send; a pure function, so that the audit can write every batch again.
//! - `load`: sends it. `measure`: counts and measures. `ledger`: what each phone knows of its syncs.
//! - `audit`: whether the books are what the phones were told; a pure function but for the pull.
//! - `outcome`, `report`: the result for machines and people; `live`: what is shown meanwhile.

mod arguments;
mod audit;
mod ledger;
mod live;
mod load;
mod measure;
mod outcome;
mod report;
mod script;

use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::interruption::Interruption;
use super::place::{Place, PlaceError};
use super::target::TargetError;
use super::{CliError, Exit};
use crate::clock;
use crate::phone::Phone;
use audit::{Findings, Subject};
use ledger::Ledger;
use live::Live;
use load::{Load, Shop, Terms};
use outcome::{Outcome, ServerFacts, Settings, Verdict};
use script::{Run, Script};

pub(super) use arguments::Arguments;

/// Why there was no storm, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StormError {
    /// The server is not on this machine.
    #[error("--url is not this machine: a storm takes all that a server has. Add --i-own-this-server if it is yours")]
    NotOurs,
    /// One token cannot speak for several clients.
    #[error("--clients must be 1 with --token (or TOKEN) or --client: for more, the local secret makes the tokens")]
    OneClient,
    /// Nothing would be rebatched.
    #[error("--rebatch does nothing without --hangups: only a sync that lost its answer is put into a new batch")]
    NothingToRebatch,
    /// The server would refuse every batch.
    #[error(
        "--batch: {size} operations are more than the {most} that the server takes (GET /api/sync/limits): \
         give a smaller --batch, as --batch {most}"
    )]
    BatchTooLarge {
        /// How many operations a batch has.
        size: usize,
        /// How many it may have.
        most: usize,
    },
    /// The server does not answer.
    #[error("--url {url}: {why}")]
    Away {
        /// The server's address.
        url: String,
        /// What happened.
        why: String,
    },
    /// A shop could not be opened.
    #[error("shop {number} cannot be opened: {why}")]
    Opening {
        /// Its number, from 0.
        number: u32,
        /// What happened.
        why: String,
    },
    /// A signal came before anything was sent that could be audited.
    #[error("interrupted before the load began")]
    NotBegun,
    /// A second signal came.
    #[error("interrupted again before the audit was done: what is in the books is not known")]
    NotAudited,
    /// The system does not tell of signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
    /// The report cannot be written.
    #[error("--report: {0}")]
    Report(#[from] PlaceError),
}

/// How many shops are opened or audited at once.
const SHOPS_AT_ONCE: usize = 8;
/// How often books of a store without transactions are pulled again until they are right: others may see the middle of
/// a batch there, and of those that phones hung up on some may still be under way.
const SECOND_LOOKS: u32 = 5;

/// Storms, audits, and tells.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    if !arguments.target.address().is_loopback() && !arguments.i_own_this_server {
        return Err(StormError::NotOurs.into());
    }
    if arguments.rebatch > 0.0 && arguments.hangups == 0.0 {
        return Err(StormError::NothingToRebatch.into());
    }
    let interruption = Interruption::listen().map_err(StormError::from)?;
    // Better now than when all is done.
    let place = arguments.report.as_deref().map(Place::open).transpose().map_err(StormError::from)?;
    let outcome = storm(arguments, &interruption).await?;
    if let Some(place) = place {
        place.put(&report::page(&outcome)).map_err(StormError::from)?;
    }
    #[expect(clippy::print_stdout, reason = "the result of this command")]
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
    } else {
        print!("{outcome}");
    }
    Ok(match outcome.verdict() {
        Verdict::Passed => Exit::Good,
        Verdict::Failed => Exit::NotGood,
        Verdict::Interrupted => Exit::NotDone,
    })
}

async fn storm(arguments: &Arguments, interruption: &Interruption) -> Result<Outcome, CliError> {
    let mut live = Live::new(arguments.duration);
    let ready = tokio::select! {
        ready = prepare(arguments, &mut live) => ready?,
        () = interruption.asked() => return Err(StormError::NotBegun.into()),
    };
    tokio::select! {
        outcome = ready.run(arguments, &mut live, interruption) => Ok(outcome),
        () = interruption.insisted() => Err(StormError::NotAudited.into()),
    }
}

/// All that a load needs.
struct Ready {
    server: ServerFacts,
    script: Script,
    settings: Settings,
    shops: Vec<Shop>,
}

async fn prepare(arguments: &Arguments, live: &mut Live) -> Result<Ready, CliError> {
    let phones = callers(arguments)?;
    let server = facts(arguments).await?;
    let script = script(arguments, most_operations(arguments).await?);
    let settings = settings(arguments, &script, phones.len() as u32);
    let shops = open(&script, phones, arguments, live).await?;
    Ok(Ready { server, script, settings, shops })
}

impl Ready {
    /// Runs the load, which ends early at a signal, and audits what was done.
    async fn run(self, arguments: &Arguments, live: &mut Live, interruption: &Interruption) -> Outcome {
        let Self { server, script, settings, shops } = self;
        let load = Load {
            script: script.clone(),
            copies: arguments.retries,
            view: arguments.data,
            rate: arguments.rate,
            duration: arguments.duration,
            most_syncs: arguments.syncs,
            patience: arguments.patience,
        };
        live.begin_load();
        let done = load.run(&shops, live, interruption).await;
        live.begin("auditing shops", shops.len() as u64);
        let findings = audit_all(&script, &shops, &done.ledgers, &server, arguments, live).await;
        live.end();
        Outcome::new(settings, server, done, findings)
    }
}

/// A phone of each client, each with connections of its own.
fn callers(arguments: &Arguments) -> Result<Vec<Phone>, CliError> {
    if arguments.target.names_a_client() {
        if arguments.clients.unwrap_or(1) != 1 {
            return Err(StormError::OneClient.into());
        }
        return Ok(vec![arguments.target.phone(arguments.timeout)?]);
    }
    let tokens = arguments.target.tokens()?;
    let days = 1 + (arguments.duration.as_secs() / 86_400) as u32;
    let one = |_| {
        // Random and of this moment: no client that exists has such an id.
        let client = clock::new_id().to_string();
        let token = tokens.mint(&client, days).ok_or(TargetError::Client)?;
        arguments.target.server(arguments.timeout)?.phone(&token).map_err(TargetError::Token)
    };
    (0..arguments.clients.unwrap_or(4)).map(one).collect::<Result<_, TargetError>>().map_err(CliError::from)
}

/// What the server says of itself. One that says nothing is no server to storm.
async fn facts(arguments: &Arguments) -> Result<ServerFacts, CliError> {
    let url = arguments.target.address().to_string();
    let answer = arguments.target.server(arguments.timeout)?.health().await;
    let answer = answer.map_err(|error| StormError::Away { url: url.clone(), why: error.to_string() })?;
    if answer.status != 200 {
        let why = format!("the server is not ready: its health is answered with {}", answer.status);
        return Err(StormError::Away { url, why }.into());
    }
    let why = |error| StormError::Away { url, why: format!("this is no viveka-sync server: {error}") };
    Ok(serde_json::from_slice(&answer.body).map_err(why)?)
}

/// The most operations that the server takes in a batch: any number, if it does not say.
async fn most_operations(arguments: &Arguments) -> Result<usize, CliError> {
    let answer = arguments.target.server(arguments.timeout)?.limits().await;
    let limits = answer.ok().filter(|answer| answer.status == 200);
    let limits: Option<Limits> = limits.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let most = limits.map_or(usize::MAX, |limits| limits.batch.operations);
    let size = arguments.batch.size() as usize;
    if size > most { Err(StormError::BatchTooLarge { size, most }.into()) } else { Ok(most) }
}

/// What is read of the server's limits.
#[derive(serde::Deserialize)]
struct Limits {
    batch: BatchLimits,
}

#[derive(serde::Deserialize)]
struct BatchLimits {
    operations: usize,
}

fn script(arguments: &Arguments, most_operations: usize) -> Script {
    Script {
        run: Run(clock::new_tag().0 as u32),
        // JSON numbers hold 53 bits in most hands.
        seed: arguments.seed.unwrap_or_else(|| clock::new_tag().0 as u64 >> 11),
        recipe: arguments.batch,
        hangups: arguments.hangups,
        rebatch: arguments.rebatch,
        most_operations,
    }
}

fn settings(arguments: &Arguments, script: &Script, clients: u32) -> Settings {
    Settings {
        run: script.run.to_string(),
        began_at: clock::now().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        url: arguments.target.address().to_string(),
        clients,
        phones_per_client: arguments.phones_per_client,
        rate: arguments.rate,
        duration: arguments.duration.as_secs_f64(),
        batch: script.recipe.to_string(),
        batch_size: script.recipe.size(),
        data: format!("{:?}", arguments.data).to_lowercase(),
        retries: arguments.retries,
        hangups: arguments.hangups,
        rebatch: arguments.rebatch,
        seed: script.seed,
    }
}

async fn open(
    script: &Script,
    phones: Vec<Phone>,
    arguments: &Arguments,
    live: &mut Live,
) -> Result<Vec<Shop>, CliError> {
    live.begin("opening shops", phones.len() as u64);
    let live = &*live;
    let terms = Terms {
        phones: arguments.phones_per_client,
        must_be_new: !arguments.target.names_a_client(),
        patience: arguments.patience,
    };
    let opening = (0..).zip(phones).map(|(number, phone)| async move {
        let opened = Shop::open(script, number, phone, terms).await;
        live.step();
        opened.map_err(|why| StormError::Opening { number, why })
    });
    let mut opening = stream::iter(opening).buffered(SHOPS_AT_ONCE);
    let mut shops = Vec::new();
    while let Some(shop) = opening.next().await {
        shops.push(shop?);
    }
    Ok(shops)
}

async fn audit_all(
    script: &Script,
    shops: &[Shop],
    ledgers: &[Vec<Ledger>],
    server: &ServerFacts,
    arguments: &Arguments,
    live: &Live,
) -> Findings {
    let audits = (0..).zip(shops).zip(ledgers).map(|((number, shop), ledgers)| async move {
        let is_ours_alone = !arguments.target.names_a_client();
        let subject = Subject { script, shop: number, client: shop.client, ledgers, is_ours_alone };
        let looks = if server.transactional { 0 } else { SECOND_LOOKS };
        let findings = audit_one(&subject, &shop.phone, arguments.patience, looks).await;
        live.step();
        findings
    });
    let audits = stream::iter(audits).buffered(SHOPS_AT_ONCE);
    audits
        .fold(Findings::default(), |mut all, one| async move {
            all.add(one);
            all
        })
        .await
}

async fn audit_one(subject: &Subject<'_>, phone: &Phone, patience: Duration, mut looks: u32) -> Findings {
    loop {
        let findings = match audit::pull(phone, patience).await {
            Ok(books) => tokio::task::block_in_place(|| audit::audit(subject, &books)),
            Err(why) => {
                let mut findings = Findings::default();
                findings.problems.push(format!("client {}: its books cannot be had: {why}", subject.client));
                return findings;
            }
        };
        if looks == 0 || findings.problems.is_empty() {
            return findings;
        }
        looks -= 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
