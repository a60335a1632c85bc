//! Several phones of one client at once. Nobody knows the order beforehand; the revisions tell it afterwards.
//!
//! When all is over, the batches are applied to the books in the order of their revisions, and everything that was
//! said on the way must have been true at some moment between the question and the end: each answer's dataset, each
//! pull, each refusal.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::author::Author;
use super::books::{Books, Outcome, Receipt};
use super::check::{IdsOf, NoIds, Tally, check_dataset, check_receipt, check_refusal};
use super::device::{Device, Neighbour, Sent};
use crate::harness::{Answer, Phone, Server};

/// What each phone does, all at once, after a first batch that gives them something to meet at.
#[derive(Clone, Debug)]
pub struct Storm {
    opening: Value,
    phones: Vec<Vec<Gust>>,
}

/// One batch of a phone, and what it does with it.
#[derive(Clone, Debug)]
struct Gust {
    key: String,
    batch: Value,
    /// How often it sends the batch and hangs up before it listens.
    left: usize,
    /// How often it asks again after the answer.
    again: usize,
}

impl Storm {
    /// The storm of a seed.
    pub fn new(seed: u64) -> Self {
        let mut author = Author::new(seed);
        let opening = author.opening();
        let mut phones: Vec<Vec<Gust>> =
            (0..2 + author.below(2)).map(|phone| (0..3).map(|n| Gust::new(&mut author, phone, n)).collect()).collect();
        // A batch that two phones have: the second got the queue as a copy, with the key or before there was one.
        let mut copied = phones[0][author.below(3)].clone();
        if author.one_in(2) {
            copied.key += "-copy";
        }
        let at = author.below(3);
        phones[1].insert(at, copied);
        Self { opening, phones }
    }

    /// Leaves out one batch of one phone at a time.
    pub fn shorter(&self) -> Vec<Self> {
        let mut shorter = vec![];
        for phone in 0..self.phones.len() {
            for gust in 0..self.phones[phone].len() {
                let mut storm = self.clone();
                storm.phones[phone].remove(gust);
                shorter.push(storm);
            }
        }
        shorter
    }

    /// Runs it with a client of its own.
    pub fn run<'a>(&'a self, server: &Server, neighbour: &Neighbour, tally: &Tally) -> Result<(), String> {
        let client = Phone::new(server).client;
        let opening = Sent { key: Some("opening".into()), body: self.opening.clone() };
        let first = Device::new(server, &client).send(&opening)?;
        let mut witness = Witness::new(&client);
        let opened = Event { sent: opening, known: 0, answer: first };
        let data = opened.answer.json()["data"].clone();

        let latest = AtomicU64::new(1);
        let events = std::thread::scope(|scope| {
            let start = |gusts: &'a Vec<Gust>| {
                let mut device = Device::new(server, &client);
                device.learn(&data);
                let latest = &latest;
                scope.spawn(move || blow(&device, gusts, neighbour, latest))
            };
            let running: Vec<_> = self.phones.iter().map(start).collect();
            let ended = running.into_iter().map(|phone| phone.join().expect("a phone does not panic"));
            ended.collect::<Result<Vec<_>, _>>()
        })?;
        let events: Vec<_> = std::iter::once(opened).chain(events.into_iter().flatten()).collect();
        let last = Device::new(server, &client).pull()?;
        witness.retell(&events, &last)?;
        witness.receipts.iter().for_each(|_| tally.count("committed in a storm"));
        events.iter().try_for_each(|event| witness.check(event))
    }
}

impl Gust {
    fn new(author: &mut Author, phone: usize, number: usize) -> Self {
        Self {
            key: format!("key-{phone}-{number}"),
            batch: author.batch(false),
            left: author.pick(&[0, 0, 1, 2]),
            again: author.pick(&[0, 0, 1]),
        }
    }
}

/// One phone's storm: gives what it was told.
fn blow(device: &Device, gusts: &[Gust], shop: &Neighbour, latest: &AtomicU64) -> Result<Vec<Event>, String> {
    let (mut events, mut left) = (vec![], vec![]);
    for gust in gusts {
        let sent = Sent { key: Some(gust.key.clone()), body: device.fill_in(&gust.batch, shop) };
        for _ in 0..gust.left {
            device.send_and_leave(&sent, usize::MAX)?;
        }
        for _ in 0..=gust.again {
            let known = latest.load(Ordering::SeqCst);
            let answer = device.send(&sent)?;
            if answer.status == 200 {
                latest.fetch_max(answer.json()["revision"].as_u64().unwrap_or(0), Ordering::SeqCst);
            }
            events.push(Event { sent: sent.clone(), known, answer });
        }
        left.extend((gust.left > 0).then_some(sent));
    }
    // The network may bring what was left after what was heard: who was refused may have been let in since.
    for sent in left {
        let refused = events.iter().any(|event| event.sent.key == sent.key && event.answer.status == 422);
        if refused {
            let known = latest.load(Ordering::SeqCst);
            let answer = device.send(&sent)?;
            events.push(Event { sent, known, answer });
        }
    }
    Ok(events)
}

/// What a phone was told when it asked.
struct Event {
    sent: Sent,
    /// A revision that was committed before the question.
    known: u64,
    answer: Answer,
}

/// The books at every revision.
struct Witness {
    client: String,
    states: Vec<Books>,
    receipts: BTreeMap<String, Receipt>,
}

impl Witness {
    fn new(client: &str) -> Self {
        Self { client: client.to_owned(), states: vec![Books::new(client)], receipts: BTreeMap::new() }
    }

    /// Applies what was committed in the order of the revisions, which have no gap; ends where the server is now.
    fn retell(&mut self, events: &[Event], last: &Value) -> Result<(), String> {
        let mut commits: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.answer.status == 200) {
            let foreseen = Books::new(&self.client).submit(None, &event.sent.body, &mut NoIds);
            if foreseen != Outcome::Pulled {
                let revision = event.answer.json()["revision"].as_u64().unwrap_or(0);
                commits.entry(revision).or_default().insert(event.sent.key.clone(), event);
            }
        }
        for (revision, mut events) in commits {
            while !events.is_empty() {
                let tried = events.iter().map(|(key, event)| (key.clone(), self.commit(event, revision, last)));
                let tried: Vec<_> = tried.collect();
                let problem = tried.iter().find_map(|(_, tried)| tried.as_ref().err()).cloned();
                let Some((key, (books, receipt))) = tried.into_iter().find_map(|(key, tried)| Some((key, tried.ok()?)))
                else {
                    return Err(problem.unwrap_or_default());
                };
                events.remove(&key);
                self.receipts.insert(key.unwrap_or_default(), receipt);
                // What was known altogether before has a receipt and writes nothing else.
                self.states.truncate(usize::try_from(revision).expect("a small number"));
                self.states.push(books);
            }
        }
        let end = self.states.last().expect("the first state");
        if last["revision"] != end.revision {
            return Err(format!("the last revision is {}, the books end with {}", last["revision"], end.revision));
        }
        check_dataset(end, &self.client, &last["data"])
    }

    /// The books after a batch, if it is the next one: if its answer is what must come of it now.
    fn commit(&self, event: &Event, revision: u64, last: &Value) -> Result<(Books, Receipt), String> {
        let mut books = self.states.last().expect("the first state").clone();
        let answer = event.answer.json();
        let mut ids = IdsOf::new(&answer, &last["data"], &books);
        let Event { sent, .. } = event;
        match books.submit(sent.key.as_deref(), &sent.body, &mut ids) {
            Outcome::Committed(receipt) if receipt.revision == revision => {
                check_receipt(&receipt, &self.client, &answer)
                    .map_err(|problem| format!("{problem}, answered to {sent:?} at revision {revision}"))?;
                Ok((books, receipt))
            }
            outcome => Err(format!("revision {revision} has {sent:?}, of which must come {outcome:?}")),
        }
    }

    /// What the phone was told was true at some moment from when it asked.
    fn check(&self, event: &Event) -> Result<(), String> {
        let Event { sent, answer, .. } = event;
        let key = sent.key.as_ref().expect("all have keys");
        let problem = if answer.status != 200 {
            self.first_problem(event.known, |books| match books.clone().submit(Some(key), &sent.body, &mut NoIds) {
                Outcome::Refused(refusal) => check_refusal(&refusal, answer),
                outcome => Err(format!("refused with {} where {outcome:?} must come", answer.status)),
            })
        } else {
            let body = answer.json();
            if let Some(receipt) = self.receipts.get(key) {
                check_receipt(receipt, &self.client, &body)?;
            }
            let known = body["revision"].as_u64().unwrap_or(0).max(event.known);
            self.first_problem(known, |books| check_dataset(books, &self.client, &body["data"]))
        };
        problem.map_err(|problem| format!("{problem}, answered to {sent:?}"))
    }

    /// Fine if some state from this revision on is fine.
    fn first_problem(&self, known: u64, check: impl Fn(&Books) -> Result<(), String>) -> Result<(), String> {
        let states = &self.states[usize::try_from(known).expect("a small number")..];
        let problems: Vec<_> = states.iter().map(check).collect();
        if problems.iter().any(Result::is_ok) { Ok(()) } else { problems.into_iter().next().unwrap_or(Ok(())) }
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  first: {}", self.opening)?;
        for (phone, gusts) in self.phones.iter().enumerate() {
            for Gust { key, batch, left, again } in gusts {
                writeln!(
                    f,
                    "  phone {phone}, {left} times without listening, {} times heard: {key} {batch}",
                    again + 1
                )?;
            }
        }
        Ok(())
    }
}
