//! Large answers are sent while they are read: of one moment, in bounded memory, as fast as each phone takes them.

mod reader;
mod shop;

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use serde_json::json;

use super::copy::{cursor_of, data_bytes, mode_of, pull_since, shown};
use crate::harness::{Engine, Mongod, Phone, Request, Server, Setup, Topology, eventually};
use reader::{End, SlowReader};
use shop::LargeShop;

#[test]
fn embedded() {
    stream(&mut Stage::new(&Setup::embedded(), true).reading_whole());
}

#[test]
fn embedded_without_a_cache() {
    stream(&mut Stage::new(&Setup::embedded().env("DATASET_CACHE_BYTES", "0"), true));
}

#[test]
fn replica_set() {
    on_a_mongod(Topology::ReplicaSet, false);
}

#[test]
fn sole_writer() {
    on_a_mongod(Topology::ReplicaSet, true);
}

#[test]
fn lone_mongod() {
    on_a_mongod(Topology::Lone, false);
}

#[test]
fn an_answer_below_the_bound_has_a_length_and_one_above_it_has_chunks() {
    for engine in [Engine::Embedded, Engine::ReplicaSet, Engine::SoleWriter] {
        let setup = Setup::on(engine).env("STREAM_ABOVE_BYTES", STREAM_ABOVE.to_string());
        let server = Server::start_ready(&setup.env("DATASET_CACHE_BYTES", "0"));
        let phone = Phone::new(&server);
        let item =
            |number: usize| json!({"name": format!("Tea no. {number}"), "price": 1, "description": "d".repeat(300)});
        let mut cursor = cursor_of(&phone.pull().expect_ok());
        for total in (50..=400).step_by(50) {
            let batch = json!({"item": {"create": (0..50).map(item).collect::<Vec<_>>()}});
            let full = phone.sync_with_key(&batch, &total.to_string());
            let chunked = full.header("Transfer-Encoding").as_deref() == Some("chunked");
            assert_eq!(chunked, full.header("Content-Length").is_none());
            let size = data_bytes(&full).len();
            assert!(chunked == (size > STREAM_ABOVE) || size.abs_diff(STREAM_ABOVE) < 10_000, "{size} bytes of data");
            assert_eq!(shown(&full.expect_ok())["items"].len(), total);
            let again = phone.sync_with_key(&batch, &total.to_string());
            assert_eq!(again.header("Idempotency-Replayed").as_deref(), Some("true"));
            assert!(data_bytes(&again) == data_bytes(&full), "{engine:?}: a replay shows something else");
            let delta = pull_since(&phone, &cursor);
            assert_eq!((mode_of(&delta).as_str(), shown(&delta)["items"].len()), ("delta", 50));
            cursor = cursor_of(&delta);
        }
    }
}

/// A server of its own, with a large shop in it.
struct Stage {
    server: Server,
    shop: LargeShop,
    /// Whether commits of a client go on while its dataset is read.
    readers_never_wait: bool,
    /// Whether the server may have the whole dataset in memory before it sends it: one that is kept there for all
    /// phones, or that of a lone mongod, which has no snapshots to read from while batches go on.
    reads_whole: bool,
}

impl Stage {
    fn new(setup: &Setup, readers_never_wait: bool) -> Self {
        let mut server = Server::start_ready(&setup.clone().env("STREAM_ABOVE_BYTES", STREAM_ABOVE.to_string()));
        let mut shop = LargeShop::open(&server);
        for _ in 0..SALES / BATCH {
            shop.sell(&server, BATCH, NOTE);
        }
        // What the making of it took of memory is none of our business.
        server.restart_ready();
        Self { server, shop, readers_never_wait, reads_whole: false }
    }

    fn reading_whole(mut self) -> Self {
        self.reads_whole = true;
        self
    }

    fn phone(&self) -> Phone {
        self.shop.phone(&self.server)
    }

    /// Phones that have read the beginning of their answers and then nothing more.
    fn stalled(&self, count: usize) -> Vec<SlowReader> {
        let stall = |_| {
            let mut reader = SlowReader::pull(&self.phone());
            reader.read_up_to(64 << 10);
            reader
        };
        (0..count).map(stall).collect()
    }

    /// Other shops' phones are served as ever.
    fn serve_others(&self) {
        let other = Phone::new(&self.server);
        for number in 0..5 {
            let asked = Instant::now();
            let answer = other.sync(&json!({"item": {"create": [{"name": "Bun", "price": number}]}})).expect_ok();
            assert_eq!(shown(&answer)["items"].len(), number + 1);
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        }
        other.send(Request::new("GET", "/api/health")).expect_ok();
    }

    /// How many MiB the server may take for all stalled phones together.
    fn most_growth(&self) -> usize {
        // Each has its own on a lone mongod: the dataset, and the JSON that is made of it.
        if self.readers_never_wait { MOST_GROWTH } else { READERS * 2 * MOST_GROWTH }
    }

    /// The memory of the server, in MiB.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") >> 10
    }
}

fn on_a_mongod(topology: Topology, sole_writer: bool) {
    let mut mongod = Mongod::start(topology);
    let setup = Setup::at(&mongod).env("SOLE_WRITER", sole_writer.to_string());
    // What is read from memory would not notice that the database is gone.
    let setup = setup.env("DATASET_CACHE_BYTES", "1000000");
    let mut stage = match topology {
        Topology::ReplicaSet => Stage::new(&setup, true),
        Topology::Lone => Stage::new(&setup, false).reading_whole(),
    };
    let before = open_cursors(&mongod);
    stream(&mut stage);
    eventually("cursors of phones that hung up are closed", Duration::from_secs(30), || {
        (open_cursors(&mongod) <= before).then_some(())
    });
    break_off(&stage, &mut mongod);
}

fn open_cursors(mongod: &Mongod) -> i64 {
    let status = mongod.admin(doc! {"serverStatus": 1}).unwrap();
    let open = status.get_document("metrics").unwrap().get_document("cursor").unwrap().get_document("open").unwrap();
    open.get_i64("total").unwrap()
}

fn stream(stage: &mut Stage) {
    all_forms_are_the_same(stage);
    let idle = stage.memory();
    slow_phones_see_one_moment(stage);
    let held = stage.memory();
    phones_that_hang_up_leave_nothing(stage);
    eprintln!("memory: {idle} MiB before the slow phones, {held} MiB after them, now {} MiB", stage.memory());
}

/// POST, GET and every coding have the same content, sent in chunks.
fn all_forms_are_the_same(stage: &Stage) {
    let plain = stage.phone().pull();
    assert_eq!(plain.status, 200);
    if !stage.reads_whole {
        assert_eq!(plain.header("Transfer-Encoding").as_deref(), Some("chunked"));
    }
    assert_eq!(stage.shop.check(&plain.bytes), stage.shop.revision());
    let got = stage.phone().send(Request::new("GET", "/api/sync/data"));
    assert!(got.bytes == plain.bytes, "GET has something else than POST");
    let tag = got.header("ETag").expect("an ETag");
    let known = Request::new("GET", "/api/sync/data").header("If-None-Match", &tag);
    assert_eq!(stage.phone().send(known).status, 304);
    for coding in ["gzip", "zstd", "br"] {
        let answer = stage.phone().send(Request::sync().header("Accept-Encoding", coding));
        assert_eq!(answer.header("Content-Encoding").as_deref(), Some(coding));
        let mut decoded = Vec::new();
        match coding {
            "gzip" => std::io::copy(&mut flate2::read::GzDecoder::new(&*answer.bytes), &mut decoded),
            "zstd" => std::io::copy(&mut zstd::Decoder::new(&*answer.bytes).unwrap(), &mut decoded),
            _ => std::io::copy(&mut brotli::Decompressor::new(&*answer.bytes, 4096), &mut decoded),
        }
        .unwrap_or_else(|error| panic!("{coding}: {error}"));
        assert!(decoded == plain.bytes, "{coding} has something else");
    }
}

/// Eight phones stall in the middle while sales go on; each gets the state of one moment in the end.
fn slow_phones_see_one_moment(stage: &mut Stage) {
    let (before, revision) = (stage.memory(), stage.shop.revision());
    let mut readers = stage.stalled(READERS);
    if stage.readers_never_wait {
        for _ in 0..3 {
            stage.shop.sell(&stage.server, 1, 10);
        }
    }
    stage.serve_others();
    for half in 1..=2 {
        readers.iter_mut().for_each(|reader| reader.read_up_to(half << 20));
        if stage.readers_never_wait {
            stage.shop.sell(&stage.server, 1, 10);
        }
        let grown = stage.memory().saturating_sub(before);
        assert!(grown < stage.most_growth(), "{READERS} stalled phones hold {grown} MiB");
    }
    // All at once: whoever takes nothing for half a minute is cut off.
    let ends: Vec<_> = std::thread::scope(|scope| {
        let finishing: Vec<_> = readers.into_iter().map(|reader| scope.spawn(|| reader.finish())).collect();
        finishing.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let bodies: Vec<_> = ends.into_iter().filter_map(End::whole).collect();
    assert_eq!(bodies.len(), READERS, "an answer breaks off");
    assert_eq!(stage.shop.check(&bodies[0]), revision, "the moment is that of the beginning");
    assert!(bodies.iter().all(|body| *body == bodies[0]), "phones that began together see different things");
    if !stage.readers_never_wait {
        stage.shop.sell(&stage.server, 1, 10);
    }
    let now = stage.phone().pull();
    assert_eq!(stage.shop.check(&now.bytes), stage.shop.revision());
}

/// Phones that hang up in the middle, again and again, leave nothing behind.
fn phones_that_hang_up_leave_nothing(stage: &mut Stage) {
    let before = stage.memory();
    for _ in 0..3 {
        drop(stage.stalled(READERS));
    }
    stage.serve_others();
    stage.shop.sell(&stage.server, 1, 10);
    let mut reader = stage.stalled(1).remove(0);
    reader.read_up_to(1 << 20);
    let body = reader.finish().whole().expect("an answer after hang-ups");
    assert_eq!(stage.shop.check(&body), stage.shop.revision());
    eventually("the memory of phones that hung up is free", Duration::from_secs(20), || {
        // A thread gives back what it freed when it has something to do again.
        stage.serve_others();
        eprintln!("{} MiB, {before} MiB before {} phones hung up", stage.memory(), 3 * READERS);
        (stage.memory() < before + MOST_GROWTH).then_some(())
    });
}

/// The database dies in the middle of an answer, which must not look like a whole one.
fn break_off(stage: &Stage, mongod: &mut Mongod) {
    let mut readers = stage.stalled(2);
    mongod.kill();
    readers[0].read_up_to(1 << 20);
    for reader in readers {
        match reader.finish() {
            End::Whole(body) if stage.reads_whole => drop(stage.shop.check(&body)),
            End::Whole(body) => panic!("a whole answer of {} bytes from a dead database", body.len()),
            End::BrokenOff(body) => {
                assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err(), "what came is no answer");
            }
        }
    }
    mongod.restart();
    eventually("the server is back", Duration::from_secs(30), || {
        let pull = stage.phone().pull();
        (pull.status == 200).then(|| assert_eq!(stage.shop.check(&pull.bytes), stage.shop.revision()))
    });
}

/// Above so many bytes the servers stream.
const STREAM_ABOVE: usize = 64 << 10;

/// Sales of the large shop, each of which makes three records.
const SALES: usize = 10_000;

/// Sales of one batch.
const BATCH: usize = 1_000;

/// Bytes of an invoice's note, which make a dataset of about 20 MB.
const NOTE: usize = 900;

/// How many phones stall at once. Their answers together are 160 MB.
const READERS: usize = 8;

/// How many MiB the server may take for them.
const MOST_GROWTH: usize = 64;
