//! Stories: a book to begin with, the queues that phones send one after another, and what came of each.

use std::fmt;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult};
use serde_json::Value;
use viveka_sync::batch::{Batch, Invalid};
use viveka_sync::clock::Stamp;
use viveka_sync::model::ClientId;
use viveka_sync::plan::{Decision, Plan, Planner, Reject, SyncPlanner};

use super::book::Book;
use super::queue::{Queue, queues};
use super::render::render;
use super::shop::books;

/// A book and the queues that are sent to it.
#[derive(Clone)]
pub struct Story {
    book: Book,
    queues: Vec<Queue>,
}

/// One queue of a story, and what came of it.
pub struct Step {
    pub body: Value,
    pub batch: Option<Arc<Batch>>,
    pub stamp: Stamp,
    pub outcome: Outcome,
    pub before: Book,
    pub after: Book,
}

/// What came of a queue.
#[derive(Debug)]
pub enum Outcome {
    Invalid(Invalid),
    Rejected(Reject),
    Committed(Box<Plan>),
}

/// How the properties run: nothing is written into the source tree, and every run looks at other cases.
pub fn config() -> Config {
    let config = Config::default();
    Config { cases: config.cases.max(256), max_shrink_iters: 4000, failure_persistence: None, ..config }
}

pub fn stories() -> impl Strategy<Value = Story> {
    (books(), vec(queues(), 1..4)).prop_map(|(book, queues)| Story { book, queues })
}

/// The client of all stories.
pub fn client() -> ClientId {
    ClientId::from_verified_claim("c0c0c0c0c0c0c0c0c0c0c0c0").unwrap()
}

/// Prints what it takes to understand a failure, a record or queue on each line.
impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the next invoice is {}", self.book.next_invoice)?;
        for item in self.book.items.values() {
            let readable = !self.book.unreadable_items.contains(&item.id);
            writeln!(f, "item {} of price {}, stock {}, readable: {readable}", item.id, item.price, item.stock)?;
        }
        for invoice in self.book.invoices.values() {
            let readable = !self.book.unreadable_invoices.contains(&invoice.id);
            let (id, number, total) = (invoice.id, &invoice.invoice_number, invoice.totals.total_amount);
            let (paid, customer) = (invoice.paid_amount, invoice.client_customer_id);
            writeln!(f, "invoice {id} {number} of {total}, paid {paid}, customer {customer:?}, readable: {readable}")?;
        }
        self.queues.iter().try_for_each(|queue| writeln!(f, "queue {}, damage {:?}", queue.body, queue.damage))
    }
}

impl Story {
    /// Sends one queue after the other.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for queue in &self.queues {
            let before = steps.last().map_or(&self.book, |step| &step.after);
            steps.push(Step::take(render(queue, before), before.clone()));
        }
        steps
    }

    /// Checks every step, and shows the bodies up to the one that fails.
    pub fn check(&self, property: impl Fn(&Step) -> TestCaseResult) -> TestCaseResult {
        let mut sent = String::new();
        for step in self.steps() {
            sent += &format!("\n{}", step.body);
            property(&step).map_err(|error| TestCaseError::fail(format!("{error}\nafter these bodies:{sent}")))?;
        }
        Ok(())
    }

    /// Checks every step that was committed.
    pub fn check_commits(&self, property: impl Fn(&Step, &Plan) -> TestCaseResult) -> TestCaseResult {
        self.check(|step| match &step.outcome {
            Outcome::Committed(plan) => property(step, plan),
            _ => Ok(()),
        })
    }
}

impl Step {
    fn take(body: Value, before: Book) -> Self {
        let parsed = Batch::parse(body.to_string().as_bytes(), &client(), 10_000);
        let stamp = Stamp::take(parsed.as_ref().map_or(0, Batch::ids));
        let (batch, outcome) = match parsed {
            Err(invalid) => (None, Outcome::Invalid(invalid)),
            Ok(batch) => {
                let batch = Arc::new(batch);
                let outcome = plan(&SyncPlanner::new(batch.clone(), stamp.clone()), &before);
                (Some(batch), outcome)
            }
        };
        let mut after = before.clone();
        if let Outcome::Committed(plan) = &outcome {
            after.commit(plan);
        }
        Self { body, batch, stamp, outcome, before, after }
    }

    /// The step's planner once more; `None` if the body was no batch.
    pub fn planner(&self) -> Option<SyncPlanner> {
        self.batch.clone().map(|batch| SyncPlanner::new(batch, self.stamp.clone()))
    }
}

/// Plans as a store does, on what was asked for alone.
fn plan(planner: &SyncPlanner, book: &Book) -> Outcome {
    match planner.plan(&book.answer(&planner.reads())) {
        Ok(Decision::Commit(plan)) => Outcome::Committed(plan),
        Ok(Decision::Replay(_)) => unreachable!("a batch without a key is no replay"),
        Err(reject) => Outcome::Rejected(reject),
    }
}
