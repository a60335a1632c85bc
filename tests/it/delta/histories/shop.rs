//! One history: a shop, its phones, and its books as they must be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::foreign::Touch;
use super::phone::{Ask, Moment, Replica, State, ask};
use super::world::World;
use crate::delta::copy::{Copy, LISTS, data_bytes, get, mode, shown};
use crate::harness::{Answer, Phone, Request, Server};
use crate::history::author::Author;
use crate::history::books::Books;
use crate::history::check::{IdsFrom, check_answer, check_dataset};
use crate::history::device::{Device, Neighbour, text};

/// A client: its phones, and all that is known of it.
pub struct Shop {
    client: String,
    neighbour: Neighbour,
    author: Author,
    phones: Vec<Replica>,
    /// Fills in what a phone knows; it sends nothing.
    scribe: Device,
    /// What must be in the store. It cannot be told any more once others write, or phones at once.
    books: Option<Books>,
    /// What was sent under a key: the key and the batch.
    sent: Vec<(String, Value)>,
    foreign: Vec<Touch>,
    revision: u64,
    steps: usize,
    /// What happened, for the message of a failure.
    pub log: Vec<String>,
}

/// A full answer of the audit.
struct Full {
    data: Value,
    bytes: Vec<u8>,
}

impl Shop {
    /// A new shop with one to three phones.
    pub fn new(seed: u64, world: &World, neighbour: &Neighbour) -> Self {
        let mut author = Author::new(seed);
        let client = Phone::new(world.server(0)).client;
        let phones = (0..author.pick(&[1, 2, 2, 3])).map(|_| Replica::new()).collect();
        let books = world.foreign.is_none().then(|| Books::new(&client));
        Self {
            scribe: Device::new(world.server(0), &client),
            neighbour: neighbour.clone(),
            sent: vec![],
            foreign: vec![],
            revision: 0,
            steps: 0,
            log: vec![],
            client,
            author,
            phones,
            books,
        }
    }

    /// So many steps, one after the other.
    pub fn live(&mut self, steps: usize, world: &World) -> Result<(), String> {
        for _ in 0..steps {
            self.steps += 1;
            self.step(world)?;
            self.audit(world)?;
        }
        Ok(())
    }

    /// The bytes of the dataset, as every server gives them.
    pub fn audit(&mut self, world: &World) -> Result<Vec<u8>, String> {
        let mut first: Option<Full> = None;
        for (number, server) in world.all().enumerate() {
            let answer = ask(server, &self.client, Request::sync)?;
            if answer.status != 200 {
                return Err(format!("a pull was answered with {}", text(&answer)));
            }
            let (bytes, body) = (data_bytes(&answer).to_vec(), answer.json());
            if body["revision"] != self.revision {
                return Err(format!("expected revision {}, server {number} says {}", self.revision, body["revision"]));
            }
            match &first {
                None => first = Some(Full { data: body["data"].clone(), bytes }),
                Some(first) if first.bytes != bytes => {
                    return Err(format!("server {number} shows {}, server 0 {}", body["data"], first.data));
                }
                Some(_) => {}
            }
        }
        let full = first.expect("a server");
        if let Some(books) = &self.books {
            check_dataset(books, &self.client, &full.data)?;
        }
        self.check_foreign(&full.data)?;
        Ok(full.bytes)
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let (phone, server) = (self.author.below(self.phones.len()), self.author.below(2));
        let ask = self.ask();
        if world.foreign.is_some() && self.author.one_in(3) {
            return self.foreign_write(world);
        }
        match self.author.below(20) {
            0..9 => {
                let batch = self.batch(phone);
                let key = (!self.author.one_in(5)).then(|| format!("key-{}", self.steps));
                self.exchange(world, server, phone, key, batch, ask)
            }
            9..13 => match self.sent.len() {
                0 => self.pull(world, server, phone, ask),
                count => {
                    let (key, batch) = self.sent[count - 1 - self.author.below(count.min(4))].clone();
                    self.exchange(world, server, phone, Some(key), batch, ask)
                }
            },
            13..15 => self.pull(world, server, phone, ask),
            15..18 => self.get(world, server, phone, ask),
            18 => {
                self.say(format!("phone {phone} comes back from a backup"));
                let number = self.author.below(8);
                self.phones[phone].go_back(number);
                self.pull(world, server, phone, Ask::Delta)
            }
            _ => {
                self.say(format!("phone {phone} makes a backup of itself"));
                self.phones[phone].back_up();
                Ok(())
            }
        }
    }

    fn ask(&mut self) -> Ask {
        match self.author.below(20) {
            0..14 => Ask::Delta,
            14..17 => Ask::Full,
            17..19 => Ask::Nothing { since: self.author.one_in(2) },
            _ => Ask::Nonsense,
        }
    }

    /// A batch as this phone writes it.
    fn batch(&mut self, phone: usize) -> Value {
        let data = self.phones[phone].state.copy.data();
        let fresh = data["items"].as_array().is_none_or(Vec::is_empty);
        let batch = self.author.batch(fresh);
        self.scribe.learn(&data);
        self.scribe.fill_in(&batch, &self.neighbour)
    }

    fn say(&mut self, what: String) {
        self.log.push(format!("{}. {what}", self.steps));
    }

    fn now(&self) -> Moment {
        Moment { revision: self.revision, foreign: self.foreign.len() }
    }

    fn exchange(
        &mut self,
        world: &World,
        server: usize,
        phone: usize,
        key: Option<String>,
        batch: Value,
        ask_for: Ask,
    ) -> Result<(), String> {
        let body = self.phones[phone].body(&batch, ask_for);
        self.say(format!("phone {phone} sends to server {server} under {key:?}, asks for {ask_for:?}: {body}"));
        let answer = ask(world.server(server), &self.client, || {
            let request = Request::sync().json(&body);
            match &key {
                Some(key) => request.header("X-Idempotency-Key", key),
                None => request,
            }
        })?;
        let full = self.full(world)?;
        if let Some(books) = &mut self.books {
            let mut ids = IdsFrom::new(&full.data, books);
            let outcome = books.submit(key.as_deref(), &batch, &mut ids);
            check_answer(&outcome, books, &self.client, &answer)?;
        }
        if ![200, 400, 422].contains(&answer.status) {
            return Err(format!("answered with {}", text(&answer)));
        }
        if let Some(key) = key {
            self.sent.push((key, batch));
        }
        self.hear(phone, &answer, ask_for, &full)
    }

    fn pull(&mut self, world: &World, server: usize, phone: usize, ask_for: Ask) -> Result<(), String> {
        let body = self.phones[phone].body(&json!({}), ask_for);
        self.say(format!("phone {phone} pulls from server {server}, asks for {ask_for:?}: {body}"));
        let answer = ask(world.server(server), &self.client, || Request::sync().json(&body))?;
        let full = self.full(world)?;
        self.hear(phone, &answer, ask_for, &full)
    }

    fn get(&mut self, world: &World, server: usize, phone: usize, ask_for: Ask) -> Result<(), String> {
        let ask_for = if let Ask::Nothing { .. } = ask_for { Ask::Delta } else { ask_for };
        let mut cursor = self.phones[phone].cursor(ask_for);
        let known = self.phones[phone].tag.clone().filter(|_| self.author.one_in(2));
        if let Some((asked, _, _)) = &known {
            cursor.clone_from(asked);
        }
        self.say(format!("phone {phone} gets from server {server}, since {cursor:?}, knowing {known:?}"));
        let answer = ask(world.server(server), &self.client, || match &known {
            Some((_, tag, _)) => get(cursor.as_deref()).header("If-None-Match", tag),
            None => get(cursor.as_deref()),
        })?;
        let tag = answer.header("ETag").ok_or("no ETag")?;
        if let Some((asked, known, then)) = known {
            // Of a delta nobody has promised whether a foreign write shows in its tag.
            let unchanged = then == self.now();
            let surely_changed = then.revision != self.revision || (asked.is_none() && !unchanged);
            return match answer.status {
                304 if surely_changed => Err("304, but the dataset has changed".into()),
                200 if unchanged => Err(format!("200, but nothing has changed since {known}; now {tag}")),
                200 if surely_changed && tag == known => Err(format!("another dataset has the same ETag {tag}")),
                200 | 304 => Ok(()),
                _ => Err(format!("answered with {}", text(&answer))),
            };
        }
        self.phones[phone].tag = Some((cursor, tag, self.now()));
        let full = self.full(world)?;
        self.hear(phone, &answer, ask_for, &full)
    }

    /// Checks an answer, which the phone takes in, if it lives to hear it.
    fn hear(&mut self, phone: usize, answer: &Answer, ask_for: Ask, full: &Full) -> Result<(), String> {
        if answer.status != 200 {
            return Ok(());
        }
        let (body, now) = (answer.json(), self.now());
        let (mode, expected) = (mode(&body)?, self.phones[phone].expected_mode(ask_for));
        if mode != expected {
            return Err(format!("expected {expected}, got {mode}"));
        }
        // A retry may get the first answer again, which shows no foreign write that came after it.
        let remembered = !self.foreign.is_empty() && answer.header("Idempotency-Replayed").is_some();
        let now = if remembered { Moment { foreign: 0, ..now } } else { now };
        if mode.starts_with("full") && !remembered && data_bytes(answer) != full.bytes {
            return Err(format!("a full answer shows {}, the next one {}", body["data"], full.data));
        }
        if mode == "delta" {
            self.check_delta(&self.phones[phone].state, &body)?;
        }
        let heard = self.phones[phone].state.after(&body, now)?;
        if mode != "none" {
            self.check_copy(&heard, &full.data)?;
        }
        if self.author.one_in(6) {
            self.say(format!("phone {phone} does not live to hear it"));
        } else {
            self.phones[phone].state = heard;
        }
        Ok(())
    }

    /// A delta has exactly what was touched since the phone's cursor.
    fn check_delta(&self, before: &State, answer: &Value) -> Result<(), String> {
        let Some(books) = &self.books else { return Ok(()) };
        let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((list, id), touched) in books.touched() {
            if touched > before.seen.revision {
                expected.entry(list).or_default().push(id.to_owned());
            }
        }
        expected.values_mut().for_each(|ids| ids.sort());
        let shown = shown(answer);
        if shown == expected { Ok(()) } else { Err(format!("the delta must have {expected:?}, it has {shown:?}")) }
    }

    /// What a phone holds is what a full answer holds, but for what others touched since it took everything in.
    fn check_copy(&self, state: &State, full: &Value) -> Result<(), String> {
        let data = state.copy.data();
        if state.foreign == self.foreign.len() {
            return if data == *full { Ok(()) } else { Err(format!("the phone holds {data}, it must be {full}")) };
        }
        let mut everything = Copy::new();
        everything.take_in(&json!({"dataMode": "full", "fullSyncReason": "no_cursor", "cursor": "x", "data": full}))?;
        let foreign: BTreeSet<_> = self.foreign[state.foreign..].iter().map(|touch| touch.id.as_str()).collect();
        for list in LISTS {
            let records = data[list].as_array().into_iter().chain(full[list].as_array()).flatten();
            for id in records.filter_map(|record| record["_id"].as_str()).filter(|id| !foreign.contains(id)) {
                let (held, real) = (state.copy.record(list, id), everything.record(list, id));
                if held != real {
                    return Err(format!("the phone holds {held:?} in {list}, it must be {real:?}"));
                }
            }
        }
        Ok(())
    }

    /// A full answer shows what others did last to a record.
    fn check_foreign(&self, full: &Value) -> Result<(), String> {
        let last: BTreeMap<_, _> = self.foreign.iter().map(|touch| (&touch.id, touch)).collect();
        for Touch { id, list, shows } in last.into_values() {
            let record = full[list].as_array().into_iter().flatten().find(|record| record["_id"] == id.as_str());
            let fits = match (record, shows) {
                (Some(record), Some((field, value))) => record[*field] == value.as_str(),
                (None, None) => true,
                _ => false,
            };
            if !fits {
                return Err(format!("{id} in {list} must show {shows:?}, it is {record:?}"));
            }
        }
        Ok(())
    }

    fn foreign_write(&mut self, world: &World) -> Result<(), String> {
        let full = self.full(world)?;
        let writer = world.foreign.as_ref().expect("there is one");
        let touch = writer.write(&mut self.author, &self.client, &full.data, self.steps);
        self.say(format!("another program writes {touch:?}"));
        self.foreign.push(touch);
        Ok(())
    }

    /// Everything, by the next server in turn; the revision is that of now.
    fn full(&mut self, world: &World) -> Result<Full, String> {
        let answer = ask(world.server(self.steps), &self.client, Request::sync)?;
        let body = answer.json();
        self.revision = body["revision"].as_u64().ok_or_else(|| text(&answer))?;
        Ok(Full { data: body["data"].clone(), bytes: data_bytes(&answer).to_vec() })
    }

    /// All phones at once, each with batches of its own; afterwards a delta must make each copy complete.
    pub fn storm(&mut self, world: &World) -> Result<(), String> {
        self.books = None;
        self.say("all phones at once".to_owned());
        let batches: Vec<Vec<_>> =
            (0..self.phones.len()).map(|phone| (0..3).map(|_| self.batch(phone)).collect()).collect();
        let (client, now) = (self.client.clone(), self.now());
        std::thread::scope(|scope| {
            let phones = self.phones.iter_mut().zip(batches).enumerate();
            let running: Vec<_> = phones
                .map(|(number, (phone, batches))| {
                    let client = &client;
                    scope.spawn(move || blow(phone, &batches, |at| world.server(number + at), client, now))
                })
                .collect();
            running.into_iter().try_for_each(|phone| phone.join().expect("a phone does not panic"))
        })
        .map_err(|problem: String| format!("at once: {problem}"))?;
        let full = self.full(world)?;
        for phone in 0..self.phones.len() {
            self.pull(world, phone, phone, Ask::Delta)?;
            self.check_copy(&self.phones[phone].state, &full.data).or_else(|problem| {
                // It may just not have lived to hear the last answer.
                self.phones[phone].state.seen.ne(&self.now()).then_some(()).ok_or(problem)
            })?;
        }
        self.audit(world).map(drop)
    }
}

/// A phone that sends its batches while others do, and takes in what it hears.
fn blow<'a>(
    phone: &mut Replica,
    batches: &[Value],
    server: impl Fn(usize) -> &'a Server,
    client: &str,
    now: Moment,
) -> Result<(), String> {
    for (number, batch) in batches.iter().enumerate() {
        let body = phone.body(batch, Ask::Delta);
        let answer = ask(server(number), client, || Request::sync().json(&body))?;
        if answer.status == 200 {
            phone.take_in(&answer.json(), now)?;
        }
    }
    Ok(())
}
