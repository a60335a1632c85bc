//! Whether a client's books are what the phones were told: a pure function of the script, the ledgers and the books.
//!
//! Every batch is written again from the script, and each of its records is looked up by its mark. The rules are
//! counted after the contract (API.md), with none of the server's own code.

mod books;
mod index;
mod presence;
mod pull;
mod shelf;
mod walk;

use bson::oid::ObjectId;

use super::ledger::Ledger;
use super::script::Script;

pub use books::Books;
pub use pull::pull;

/// Whose books they are, and what its phones know.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What was sent.
    pub script: &'a Script,
    /// The number of the shop, from 0.
    pub shop: u32,
    /// The client's id.
    pub client: ObjectId,
    /// What its phones know, from phone 1 on.
    pub ledgers: &'a [Ledger],
    /// Whether nobody but this run uses the client, so that nothing else may be in the books.
    pub is_ours_alone: bool,
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Everything that is wrong.
    pub problems: Problems,
    /// What was looked at.
    pub looked_at: LookedAt,
    /// What is lost, client by client; none of those that lost nothing.
    pub losses: Vec<Loss>,
}

/// How much of what a client's phones were told is not in its books.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// The client's id.
    pub client: String,
    /// Its syncs that were acknowledged.
    pub acknowledged: u64,
    /// Those of them of which some records are missing.
    pub in_part: u64,
    /// Those of them of which all records are missing.
    pub missing: u64,
}

/// How much an audit looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookedAt {
    /// Clients.
    pub clients: u64,
    /// Syncs that were acknowledged, all of which must be in the books once: the next four together.
    pub acknowledged: u64,
    /// Those of them with all their records in the books.
    pub acknowledged_whole: u64,
    /// Those with some of their records in the books.
    pub acknowledged_in_part: u64,
    /// Those with none of their records in the books.
    pub acknowledged_missing: u64,
    /// Those that make no records to know them by. What they did to others is looked at all the same.
    pub acknowledged_untold: u64,
    /// Syncs of which nothing was heard, and which are in the books altogether.
    pub open_and_applied: u64,
    /// Syncs of which nothing was heard, and of which some records are in the books, as must not be.
    pub open_in_part: u64,
    /// Syncs of which nothing was heard, and which are not in the books.
    pub open_and_absent: u64,
    /// Syncs of which nothing was heard, and which leave nothing to know them by.
    pub open_and_untold: u64,
    /// Syncs that were refused, of which nothing may be in the books.
    pub refused: u64,
    /// Items of this run.
    pub items: u64,
    /// Invoices of this run.
    pub invoices: u64,
    /// Payments of this run.
    pub payments: u64,
    /// Purchase histories of these invoices.
    pub purchases: u64,
    /// Records of others, which were left alone.
    pub of_others: u64,
}

/// What is wrong, in one line each. It keeps the first ones and counts the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    told: Vec<String>,
    more: u64,
}

/// Whether the books are what they must be.
pub fn audit(subject: &Subject<'_>, books: &Books) -> Findings {
    let mut findings = Findings::default();
    findings.looked_at.clients = 1;
    walk::walk(subject, books, &mut findings);
    let LookedAt { acknowledged, acknowledged_in_part: in_part, acknowledged_missing: missing, .. } =
        findings.looked_at;
    if in_part + missing > 0 {
        findings.losses.push(Loss { client: subject.client.to_string(), acknowledged, in_part, missing });
    }
    findings
}

impl Findings {
    /// Takes in what the audit of another client found.
    pub fn add(&mut self, other: Self) {
        self.problems.add(other.problems);
        self.losses.extend(other.losses);
        let (all, one) = (&mut self.looked_at, other.looked_at);
        all.clients += one.clients;
        all.acknowledged += one.acknowledged;
        all.acknowledged_whole += one.acknowledged_whole;
        all.acknowledged_in_part += one.acknowledged_in_part;
        all.acknowledged_missing += one.acknowledged_missing;
        all.acknowledged_untold += one.acknowledged_untold;
        all.open_and_applied += one.open_and_applied;
        all.open_in_part += one.open_in_part;
        all.open_and_absent += one.open_and_absent;
        all.open_and_untold += one.open_and_untold;
        all.refused += one.refused;
        all.items += one.items;
        all.invoices += one.invoices;
        all.payments += one.payments;
        all.purchases += one.purchases;
        all.of_others += one.of_others;
    }
}

impl Problems {
    /// How many are told one by one.
    pub const MOST: usize = 100;

    /// Notes one.
    pub fn push(&mut self, problem: String) {
        if self.told.len() < Self::MOST {
            self.told.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Takes in others.
    pub fn add(&mut self, other: Self) {
        other.told.into_iter().for_each(|problem| self.push(problem));
        self.more += other.more;
    }

    /// Those that are told one by one.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// How many more there are.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

#[cfg(test)]
mod tests;
