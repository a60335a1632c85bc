//! Plays every file of `fixtures/scenarios` on every engine.
//!
//! A scenario is what a client has before, one request, the answer, and what the client has after: see [`Scenario`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde::Deserialize;
use serde_json::Value;
use viveka_sync::model::{ClientId, Collection, Revision};
use viveka_sync::store::DatasetMemory;
use viveka_sync::store::embedded::EmbeddedStore;

use super::client::{Answer, Phone, Request};
use super::engine::Engine;
use super::matcher::{Matcher, Mismatch, with_client};
use super::mongod::{Mongod, Topology, database};
use super::server::{Server, Setup};
use super::token::random_hex;
use super::{scratch, wait};

#[test]
fn scenarios_on_the_embedded_engine() {
    play_all(Engine::Embedded);
}

#[test]
fn scenarios_on_a_replica_set() {
    play_all(Engine::ReplicaSet);
}

#[test]
fn scenarios_on_a_replica_set_of_ours_alone() {
    play_all(Engine::SoleWriter);
}

#[test]
fn scenarios_on_a_lone_mongod() {
    play_all(Engine::LoneMongod);
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What it shows, in a sentence.
    about: String,
    /// What is in the store, by MongoDB collection, without the client's id.
    before: Records,
    /// What the phone sends.
    request: Sent,
    /// What the server answers.
    response: Expected,
    /// The client's dataset from then on.
    after: Value,
}

/// Documents by MongoDB collection.
type Records = BTreeMap<String, Vec<Document>>;

/// The request of a scenario.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
}

/// The answer of a scenario, without the dataset.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    body: Value,
}

/// A scenario, and the client that plays it on one engine.
struct Play {
    file: String,
    client: String,
    scenario: Scenario,
}

/// Plays all scenarios on one server, each as a client of its own, and fails with all differences.
fn play_all(engine: Engine) {
    let plays = load();
    let problems: Vec<String> = match engine.topology() {
        None => play_embedded(&plays),
        Some(topology) => play_mongo(topology, &Setup::on(engine), &plays),
    };
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
    assert!(plays.len() >= FEWEST_FILES, "only {} files in {FOLDER}", plays.len());
}

/// The embedded store belongs to one process, so all records are put there before the server starts.
fn play_embedded(plays: &[Play]) -> Vec<String> {
    let dir = scratch::fresh_dir("scenarios-");
    let seeds: Vec<_> = plays.iter().map(Play::seed).collect();
    seed_embedded(dir.path(), &seeds);
    let server = Server::start(&Setup::embedded().data_dir(dir.path()));
    plays.iter().filter_map(|play| play.problem(&server)).collect()
}

/// In MongoDB ids are unique over all clients, and scenarios like the same ones: each begins with empty collections.
fn play_mongo(topology: Topology, setup: &Setup, plays: &[Play]) -> Vec<String> {
    let mongod = Mongod::shared(topology);
    let name = setup.database_name();
    let server = Server::start(setup);
    let play_one = |play: &Play| {
        let (_, records) = play.seed();
        wait::block_on(seed_mongo(mongod, name, &records)).expect("MongoDB takes the records");
        play.problem(&server)
    };
    plays.iter().filter_map(play_one).collect()
}

/// Makes these records the only ones in their database.
async fn seed_mongo(mongod: &Mongod, name: &str, records: &Records) -> mongodb::error::Result<()> {
    let database = database(mongod, name).await;
    for collection in COLLECTIONS {
        database.collection::<Document>(collection).delete_many(doc! {}).await?;
    }
    for (collection, documents) in records {
        if !documents.is_empty() {
            let collection = database.collection::<Document>(collection);
            collection.insert_many(documents).await?;
        }
    }
    Ok(())
}

/// Puts each client's records into a new embedded store, through the library.
fn seed_embedded(data_dir: &Path, seeds: &[(String, Records)]) {
    let store =
        EmbeddedStore::open(data_dir, 0, DatasetMemory { cache: 0, stream_above: usize::MAX }).expect("a new store");
    for (client, records) in seeds {
        let client = ClientId::from_verified_claim(client).expect("24 hex digits");
        for (name, documents) in records {
            match Collection::ALL.into_iter().find(|collection| collection.name() == name) {
                Some(collection) => store.import(&client, collection, documents.clone()).expect("room for records"),
                None => import_counters(&store, &client, documents),
            }
        }
    }
}

/// The records of `syncclients`, of which a client has one.
fn import_counters(store: &EmbeddedStore, client: &ClientId, documents: &[Document]) {
    for document in documents {
        let counter =
            |name, default| document.get(name).map_or(default, |value| value.as_i32().expect("a number").into());
        let revision = Revision(counter("revision", 0));
        store.import_counters(client, revision, counter("nextInvoice", 1)).expect("room for counters");
    }
}

impl Play {
    /// The client, and the records of `before` as they lie in the store.
    fn seed(&self) -> (String, Records) {
        let client = ObjectId::parse_str(&self.client).expect("24 hex digits");
        let mut records = self.scenario.before.clone();
        for (collection, documents) in &mut records {
            let client_field = if collection == "syncclients" { "_id" } else { "clientId" };
            for document in documents {
                document.insert(client_field, client);
            }
        }
        (self.client.clone(), records)
    }

    /// The first difference, with the file that it is in.
    fn problem(&self, server: &Server) -> Option<String> {
        let mismatch = self.play(server).err()?;
        Some(format!("{FOLDER}/{} ({}) {mismatch}", self.file, self.scenario.about))
    }

    /// Sends the request, then pulls.
    fn play(&self, server: &Server) -> Result<(), Mismatch> {
        let phone = Phone::of(server, &self.client);
        let mut matcher = Matcher::new(&self.client);

        let answer = phone.send(self.request());
        crate::openapi::hold("POST", "/api/sync", &answer, self.scenario.before.is_empty());
        self.check_answer(&answer, &mut matcher).map_err(|mismatch| mismatch.below("response"))?;

        let pull = phone.pull();
        crate::openapi::hold("POST", "/api/sync", &pull, self.scenario.before.is_empty());
        check_status(200, &pull)
            .and_then(|()| matcher.check(&self.scenario.after, &pull.json()["data"]))
            .map_err(|mismatch| mismatch.below("after"))
    }

    /// The request with the client's id filled in.
    fn request(&self) -> Request {
        let Sent { headers, body } = &self.scenario.request;
        let request = headers.iter().fold(Request::sync(), |request, (name, value)| request.header(name, value));
        match body {
            Some(body) => request.json(&with_client(body, &self.client)),
            None => request,
        }
    }

    /// Status, then the body without the dataset, then the dataset.
    fn check_answer(&self, answer: &Answer, matcher: &mut Matcher) -> Result<(), Mismatch> {
        let Scenario { response, after, .. } = &self.scenario;
        check_status(response.status, answer)?;
        let mut body = answer.json();
        let data = match body.as_object_mut() {
            Some(fields) if response.status == 200 => fields.remove("data"),
            _ => None,
        };
        matcher.check(&response.body, &body).map_err(|mismatch| mismatch.below("body"))?;
        match data {
            Some(data) => matcher.check(after, &data).map_err(|mismatch| mismatch.below("data").below("body")),
            None if response.status == 200 => Err(Mismatch::new("a dataset", "nothing").below("data").below("body")),
            None => Ok(()),
        }
    }
}

/// A wrong status says little without the body that came with it.
fn check_status(expected: u16, answer: &Answer) -> Result<(), Mismatch> {
    if answer.status == expected {
        return Ok(());
    }
    let got = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
    Err(Mismatch::new(expected, got).below("status"))
}

/// Every scenario, in the order of the file names, each with a fresh client.
fn load() -> Vec<Play> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{FOLDER}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| load_one(path)).collect()
}

/// One scenario.
fn load_one(path: &Path) -> Play {
    let file = path.file_name().expect("a file").to_string_lossy().into_owned();
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let scenario: Scenario = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    for collection in scenario.before.keys() {
        assert!(COLLECTIONS.contains(&collection.as_str()), "{file}: no collection {collection}");
    }
    Play { file, client: random_hex(12), scenario }
}

/// Where the scenarios are.
const FOLDER: &str = "fixtures/scenarios";

/// With fewer, the folder is not the one that we mean.
const FEWEST_FILES: usize = 20;

/// What a scenario may put into the store.
const COLLECTIONS: [&str; 7] =
    ["itemgroups", "items", "clientcustomers", "invoices", "payments", "purchasehistories", "syncclients"];
