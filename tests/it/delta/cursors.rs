//! Cursors that a store cannot honour, those that it must, and that the batch is applied with any of them.

use std::path::Path;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::copy::{Copy, cursor_of, mode_of, pull_since, shown, since};
use crate::harness::{Engine, Mongod, Phone, Server, Setup, Topology, block_on, database, on_every_engine};

fn item(name: &str) -> Value {
    json!({"item": {"create": [{"name": name, "price": 1}]}})
}

/// All that a store holds, as a backup keeps it.
enum Backup {
    Files(TempDir),
    Documents(Vec<(String, Vec<Document>)>),
}

impl Backup {
    /// Keeps what a store holds. The embedded one must not be in use.
    fn take(setup: &Setup, topology: Option<Topology>) -> Self {
        let Some(topology) = topology else {
            let kept = TempDir::with_prefix_in("backup-", setup.directory().parent().unwrap()).unwrap();
            copy_files(setup.directory(), kept.path());
            return Self::Files(kept);
        };
        Self::Documents(block_on(async {
            let db = database(Mongod::shared(topology), setup.database_name()).await;
            let mut kept = vec![];
            for name in db.list_collection_names().await.unwrap() {
                let documents = db.collection(&name).find(doc! {}).await.unwrap().try_collect().await.unwrap();
                kept.push((name, documents));
            }
            kept
        }))
    }

    /// Makes the store hold that again, and nothing else.
    fn restore(&self, setup: &Setup, topology: Option<Topology>) {
        match self {
            Self::Files(kept) => {
                for file in std::fs::read_dir(setup.directory()).unwrap() {
                    std::fs::remove_file(file.unwrap().path()).unwrap();
                }
                copy_files(kept.path(), setup.directory());
            }
            Self::Documents(kept) => block_on(async {
                let db = database(Mongod::shared(topology.unwrap()), setup.database_name()).await;
                for name in db.list_collection_names().await.unwrap() {
                    db.collection::<Document>(&name).delete_many(doc! {}).await.unwrap();
                }
                for (name, documents) in kept.iter().filter(|(_, documents)| !documents.is_empty()) {
                    db.collection::<Document>(name).insert_many(documents).await.unwrap();
                }
            }),
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A server whose store was put back to its first revision after the second was told to a phone.
struct Restored {
    server: Server,
    client: String,
    /// What the phone holds: a state that the store has lost.
    lost: Copy,
    /// The cursor of the state that the backup is of.
    kept: String,
}

impl Restored {
    fn new(engine: Engine) -> Self {
        let setup = Setup::on(engine);
        let mut server = Server::start_ready(&setup);
        let phone = Phone::new(&server);
        let kept = cursor_of(&phone.sync(&item("Kept")).expect_ok());
        assert_eq!(server.terminate(), 0);
        let backup = Backup::take(&setup, engine.topology());
        server.restart_ready();
        let phone = Phone::of(&server, &phone.client);
        let mut lost = Copy::new();
        lost.take_in(&phone.sync_with_key(&item("Lost"), "lost").expect_ok()).unwrap();
        assert_eq!(server.terminate(), 0);
        backup.restore(&setup, engine.topology());
        server.restart_ready();
        Self { server, client: phone.client, lost, kept }
    }

    fn phone(&self) -> Phone {
        Phone::of(&self.server, &self.client)
    }

    /// The phone that has seen what is lost sends this; it must hear everything, and why.
    #[track_caller]
    fn expect_full(&self, batch: &Value, reason: &str) -> Value {
        let answer = self.phone().sync(&since(batch, self.lost.cursor.clone())).expect_ok();
        assert_eq!(mode_of(&answer), format!("full: {reason}"));
        let mut copy = self.lost.clone();
        copy.take_in(&answer).unwrap();
        assert_eq!(copy.data(), self.phone().pull().expect_ok()["data"]);
        // From here on it is a phone like any other.
        assert_eq!(mode_of(&pull_since(&self.phone(), &cursor_of(&answer))), "delta");
        answer
    }
}

on_every_engine! {
    fn a_cursor_of_another_store_brings_everything(engine: Engine) {
        let servers = [(); 2].map(|()| Server::start_ready(&Setup::on(engine)));
        let client = Phone::new(&servers[0]).client;
        let [here, there] = [0, 1].map(|number| Phone::of(&servers[number], &client));
        for (revision, store) in [(1, "both"), (2, "both")] {
            let elsewhere = cursor_of(&there.sync(&item(store)).expect_ok());
            let answer = here.sync(&since(&item(store), elsewhere.clone())).expect_ok();
            assert_eq!(mode_of(&answer), "full: cursor_from_another_store");
            assert_eq!((&answer["revision"], shown(&answer)["items"].len()), (&json!(revision), revision));
            assert_eq!(mode_of(&pull_since(&here, &elsewhere)), "full: cursor_from_another_store");
            assert_eq!(mode_of(&pull_since(&here, &cursor_of(&answer))), "delta");
        }
    }

    fn a_cursor_outlives_restarts_and_kills(engine: Engine) {
        let mut server = Server::start_ready(&Setup::on(engine));
        let client = Phone::new(&server).client;
        let mut cursors = vec![cursor_of(&Phone::of(&server, &client).pull().expect_ok())];
        for round in 0..4 {
            let phone = Phone::of(&server, &client);
            cursors.push(cursor_of(&phone.sync(&item("Tea")).expect_ok()));
            if round % 2 == 0 { server.kill() } else { assert_eq!(server.terminate(), 0) }
            server.restart_ready();
            let phone = Phone::of(&server, &client);
            for (known, cursor) in cursors.iter().enumerate() {
                let answer = pull_since(&phone, cursor);
                let items = shown(&answer).remove("items").unwrap_or_default().len();
                assert_eq!((mode_of(&answer).as_str(), items), ("delta", round + 1 - known));
            }
        }
    }

    fn a_cursor_that_is_ahead_of_a_restored_backup_brings_everything(engine: Engine) {
        let restored = Restored::new(engine);
        let answer = restored.expect_full(&json!({}), "cursor_ahead");
        assert_eq!((&answer["revision"], shown(&answer)["items"].len()), (&json!(1), 1));
        let kept = pull_since(&restored.phone(), &restored.kept);
        assert_eq!((mode_of(&kept).as_str(), shown(&kept).len()), ("delta", 0), "what the backup has still holds");
    }

    fn work_goes_on_with_a_cursor_that_is_ahead(engine: Engine) {
        let restored = Restored::new(engine);
        // The batch makes the very revision that the cursor names: a state that is not the one that the phone saw.
        let body = since(&item("Unsynced"), restored.lost.cursor.clone());
        let answer = restored.phone().sync_with_key(&body, "unsynced").expect_ok();
        let mode = mode_of(&answer);
        assert!(["full: cursor_ahead", "full: cursor_expired"].contains(&mode.as_str()), "{mode}");
        assert_eq!((&answer["revision"], shown(&answer)["items"].len()), (&json!(2), 2));
        let known = pull_since(&restored.phone(), &restored.kept);
        assert_eq!((mode_of(&known).as_str(), shown(&known)["items"].len()), ("delta", 1));
        // What the backup lost comes again under its old key.
        let lost = restored.phone().sync_with_key(&item("Lost"), "lost");
        assert_eq!((lost.header("Idempotency-Replayed"), &lost.expect_ok()["revision"]), (None, &json!(3)));
    }

    fn a_cursor_of_a_history_that_is_gone_has_expired(engine: Engine) {
        let restored = Restored::new(engine);
        let other = restored.phone();
        for revision in 2..=4 {
            let answer = other.sync(&item("Another history")).expect_ok();
            assert_eq!(answer["revision"], json!(revision));
            let answer = restored.expect_full(&json!({}), "cursor_expired");
            assert_eq!((&answer["revision"], shown(&answer)["items"].len()), (&json!(revision), revision));
            let kept = pull_since(&other, &restored.kept);
            assert_eq!((mode_of(&kept).as_str(), shown(&kept)["items"].len()), ("delta", revision - 1));
        }
        let answer = restored.expect_full(&item("Unsynced"), "cursor_expired");
        assert_eq!(answer["revision"], json!(5));
    }

    fn the_same_backup_may_be_restored_again_and_again(engine: Engine) {
        let setup = Setup::on(engine);
        let mut server = Server::start_ready(&setup);
        let client = Phone::new(&server).client;
        Phone::of(&server, &client).sync(&item("Kept")).expect_ok();
        assert_eq!(server.terminate(), 0);
        let backup = Backup::take(&setup, engine.topology());
        let mut gone: Vec<String> = vec![];
        for round in 0..3 {
            server.restart_ready();
            let phone = Phone::of(&server, &client);
            let told = cursor_of(&phone.sync(&item("Lost")).expect_ok());
            for cursor in &gone {
                assert_eq!(mode_of(&pull_since(&phone, cursor)), "full: cursor_expired", "in round {round}");
            }
            assert_eq!(mode_of(&pull_since(&phone, &told)), "delta");
            gone.push(told);
            assert_eq!(server.terminate(), 0);
            backup.restore(&setup, engine.topology());
        }
    }
}

#[test]
fn a_data_directory_that_was_moved_is_the_same_store() {
    let setup = Setup::embedded();
    let mut server = Server::start_ready(&setup);
    let phone = Phone::new(&server);
    let cursor = cursor_of(&phone.sync(&item("Tea")).expect_ok());
    assert_eq!(server.terminate(), 0);
    let elsewhere = Setup::embedded();
    copy_files(setup.directory(), elsewhere.directory());
    let server = Server::start_ready(&elsewhere);
    let answer = Phone::of(&server, &phone.client).sync(&since(&item("Bun"), cursor)).expect_ok();
    assert_eq!((mode_of(&answer).as_str(), shown(&answer)["items"].len()), ("delta", 1));
}

#[test]
fn servers_on_one_database_take_each_others_cursors() {
    for engine in [Engine::ReplicaSet, Engine::SoleWriter] {
        let setup = Setup::on(engine);
        let servers = [(); 2].map(|()| Server::start_ready(&setup));
        let client = Phone::new(&servers[0]).client;
        let mut copy = Copy::new();
        copy.take_in(&Phone::of(&servers[0], &client).pull().expect_ok()).unwrap();
        for number in 0..6 {
            // Where it is sent, and where it is asked for.
            let [writes, reads] = [number % 2, number / 2 % 2].map(|at| Phone::of(&servers[at], &client));
            let cursor = cursor_of(&writes.sync(&item("Tea")).expect_ok());
            let answer = pull_since(&reads, copy.cursor.as_ref().unwrap());
            assert_eq!((mode_of(&answer).as_str(), shown(&answer)["items"].len()), ("delta", 1));
            assert_eq!(cursor_of(&answer), cursor);
            copy.take_in(&answer).unwrap();
            for phone in [&writes, &reads] {
                assert_eq!(copy.data(), phone.pull().expect_ok()["data"]);
            }
        }
    }
}
