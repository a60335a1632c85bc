//! The dataset after a batch is what a pull shows, whatever is in it and however much: a store may have read it on the
//! way to the commit, with those of other shops.

use std::thread;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

use crate::harness::{Engine, Mongod, Phone, Server, Setup, block_on, database};

const ENGINES: [Engine; 3] = [Engine::ReplicaSet, Engine::SoleWriter, Engine::LoneMongod];

/// A database that other programs have filled, and a server that has seen nothing of it.
struct Stage {
    setup: Setup,
    engine: Engine,
    server: Server,
}

impl Stage {
    fn open(engine: Engine) -> Self {
        let setup = Setup::on(engine);
        let server = Server::start_ready(&setup);
        Self { setup, engine, server }
    }

    /// Gives a shop records that another program has made.
    fn fill(&self, phone: &Phone, collection: &str, records: impl IntoIterator<Item = Document>) {
        let client = ObjectId::parse_str(&phone.client).unwrap();
        let owned = |mut record: Document| {
            record.insert("clientId", client);
            record
        };
        self.insert(collection, records.into_iter().map(owned));
    }

    /// Has another program make records.
    fn insert(&self, collection: &str, records: impl IntoIterator<Item = Document>) {
        let records: Vec<_> = records.into_iter().collect();
        block_on(async {
            let mongod = Mongod::shared(self.engine.topology().unwrap());
            let db = database(mongod, self.setup.database_name()).await;
            db.collection::<Document>(collection).insert_many(records).await.unwrap();
        });
    }

    /// Items with ids of these kinds.
    fn items(&self, phone: &Phone, ids: impl IntoIterator<Item = Bson>) {
        self.fill(phone, "items", ids.into_iter().map(|id| doc! {"_id": id, "name": "Foreign", "price": 2.0}));
    }
}

/// A sale of something new, whose invoice is to get the next free number.
fn sale(name: &str) -> Value {
    json!({
        "item": {"create": [{"_id": "here", "name": name, "price": 3, "stock": 9}]},
        "invoice": {"create": [{"products": [{"productId": "here", "quantity": 1}]}]},
    })
}

/// Has a phone sell, and compares what it is shown with what there is. Gives how many items that are, and the number of
/// the invoice.
fn sell(phone: &Phone, name: &str, what: &str) -> (usize, Value) {
    let answer = phone.sync(&sale(name)).expect_ok();
    let shown = &answer["data"];
    assert!(*shown == phone.pull().expect_ok()["data"], "{what}: {shown}");
    let [items, invoices] = ["items", "invoices"].map(|list| shown[list].as_array().unwrap());
    assert!(items.iter().any(|item| item["name"] == name), "{what}");
    let made = &answer["synced"]["invoicesCreated"][0];
    let invoice = invoices.iter().find(|invoice| invoice["_id"] == *made).unwrap();
    (items.len(), invoice["invoiceNumber"].clone())
}

#[test]
fn records_of_other_programs_are_shown_in_their_places() {
    for engine in ENGINES {
        let stage = Stage::open(engine);
        // Those of a kind on one side of ours, and on both.
        let kinds: [&[Bson]; 4] = [
            &[Bson::Int32(5)],
            &[Bson::String("made elsewhere".to_owned()), Bson::Int64(7)],
            &[Bson::Boolean(true)],
            &[Bson::Int32(-1), Bson::ObjectId(ObjectId::from_bytes([0xff; 12])), Bson::Boolean(false)],
        ];
        for ids in kinds {
            let phone = Phone::new(&stage.server);
            // Another shop's record may have the same id in a collection that two share; it cannot here.
            stage.items(&phone, [Bson::ObjectId(ObjectId::new())]);
            stage.items(&phone, ids.iter().cloned());
            for round in 0..3 {
                let (items, _) = sell(&phone, &format!("Tea {round}"), &format!("{engine:?} {ids:?}"));
                assert_eq!(items, 2 + ids.len() + round);
            }
        }
    }
}

#[test]
fn a_record_that_other_programs_gave_to_several_shops_is_shown_as_in_a_pull() {
    for engine in ENGINES {
        let stage = Stage::open(engine);
        let phones = [Phone::new(&stage.server), Phone::new(&stage.server)];
        let clients: Vec<_> = phones.iter().map(|phone| ObjectId::parse_str(&phone.client).unwrap()).collect();
        stage.insert("items", [doc! {"_id": ObjectId::new(), "clientId": clients, "name": "Shared", "price": 2.0}]);
        for round in 0..2 {
            for phone in &phones {
                sell(phone, &format!("Tea {round}"), &format!("{engine:?}"));
            }
        }
    }
}

#[test]
fn numbers_that_other_programs_gave_are_not_given_again() {
    for engine in ENGINES {
        let stage = Stage::open(engine);
        let phone = Phone::new(&stage.server);
        let taken = (1..=40).chain([42]).map(|number| doc! {"invoiceNumber": format!("INV-{number:06}")});
        stage.fill(&phone, "invoices", taken.chain([doc! {"invoiceNumber": 43}]));
        let number = |round| sell(&phone, &format!("Tea {round}"), &format!("{engine:?}")).1;
        let numbers: Vec<_> = (0..3).map(number).collect();
        assert_eq!(numbers, ["INV-000041", "INV-000043", "INV-000044"], "{engine:?}");
    }
}

/// A shop with more records than one command reads, one with more bytes, and small ones, all at once on a server that
/// knows none of them.
#[test]
fn small_shops_and_large_ones_are_shown_together() {
    for engine in ENGINES {
        let stage = Stage::open(engine);
        let shops: Vec<_> = (0..8).map(|_| Phone::new(&stage.server)).collect();
        let id = || Bson::ObjectId(ObjectId::new());
        for (number, phone) in shops.iter().enumerate() {
            match number {
                0 => stage.items(phone, (0..4_500).map(|_| id())),
                1 => {
                    let text = "x".repeat(40_000);
                    let long = (0..30).map(|_| doc! {"_id": id(), "name": "Foreign", "description": &text});
                    stage.fill(phone, "items", long);
                }
                _ => stage.items(phone, (0..number).map(|_| id())),
            }
        }
        for round in 0..3 {
            thread::scope(|scope| {
                for (number, phone) in shops.iter().enumerate() {
                    let what = format!("{engine:?}, shop {number}, round {round}");
                    scope.spawn(move || {
                        let (items, _) = sell(phone, &format!("Tea {round}"), &what);
                        let before = [4_500, 30].get(number).copied().unwrap_or(number);
                        assert_eq!(items, before + 1 + round, "{what}");
                    });
                }
            });
        }
    }
}

/// Shops that name their records alike, and phones that want to be shown different things, all at once.
#[test]
fn shops_that_use_the_same_local_ids_are_read_together_and_kept_apart() {
    const ROUNDS: i64 = 4;
    for engine in ENGINES {
        let stage = Stage::open(engine);
        let phones: Vec<_> = (1..=9).map(|price| (price, Phone::new(&stage.server))).collect();
        thread::scope(|scope| {
            phones.iter().for_each(|(price, phone)| drop(scope.spawn(|| live(*price, phone, ROUNDS))))
        });
        for (price, phone) in &phones {
            let data = &phone.pull().expect_ok()["data"];
            let [tea, bill] = [&data["items"][0], &data["invoices"][0]];
            assert_eq!((&tea["price"], &tea["stock"]), (&json!(price), &json!(96 - ROUNDS)), "{engine:?}: {data}");
            assert_eq!((&bill["totalAmount"], &bill["paidAmount"]), (&json!(4 * price), &json!(ROUNDS)), "{engine:?}");
            let purchases = data["purchaseHistory"].as_array().unwrap().len();
            assert_eq!(purchases, usize::from(4 * price == ROUNDS), "{engine:?}: {data}");
        }
    }
}

/// Opens a bill of four teas, and pays 1 on it in each round.
fn live(price: i64, phone: &Phone, rounds: i64) {
    let customer = "64b000000000000000000009";
    let mut last = phone.sync(&json!({
        "item": {"create": [{"localId": "tea", "name": "Tea", "price": price, "stock": 100}]},
        "invoice": {"create": [
            {"localId": "bill", "clientCustomerId": customer, "products": [{"productId": "tea", "quantity": 4}]},
        ]},
    }));
    for round in 0..rounds {
        let mut batch = json!({
            "item": {"update": [{"_id": "tea", "description": format!("round {round}")}]},
            "invoice": {"create": [{"products": [{"productId": "tea", "quantity": 1}]}]},
            "payment": {"create": [{"invoiceId": "bill", "amount": 1}]},
        });
        match price % 3 {
            0 => {}
            1 => batch["since"] = last.expect_ok()["cursor"].clone(),
            _ => batch["data"] = json!("none"),
        }
        last = phone.sync(&batch);
        let (shown, mode) = (last.expect_ok(), ["full", "delta", "none"][(price % 3) as usize]);
        assert_eq!(shown["dataMode"], mode);
        if mode == "full" {
            assert_eq!(shown["data"], phone.pull().expect_ok()["data"]);
        }
    }
}

/// By the database's own profile: a batch and its answer take one command that reads, of a shop that the server knows as
/// of one that it does not.
#[test]
fn nothing_is_read_after_the_commit_of_a_small_shop() {
    let stage = Stage::open(Engine::ReplicaSet);
    let phone = Phone::new(&stage.server);
    for round in 0..2 {
        stage.profile(2);
        phone.sync(&sale(&format!("Tea {round}"))).expect_ok();
        stage.profile(0);
        assert_eq!(stage.reads(), ["aggregate syncstore"], "round {round}");
    }
}

impl Stage {
    fn run(&self, command: Document) -> Document {
        block_on(async {
            let mongod = Mongod::shared(self.engine.topology().unwrap());
            let db = database(mongod, self.setup.database_name()).await;
            db.run_command(command).await.unwrap()
        })
    }

    /// How much of what is done in the database is written down there.
    fn profile(&self, level: i32) {
        self.run(doc! {"profile": level});
    }

    /// The reading commands that were written down, which are then forgotten.
    fn reads(&self) -> Vec<String> {
        let found = self.run(doc! {"find": "system.profile", "sort": {"ts": 1}, "batchSize": 1000});
        self.run(doc! {"drop": "system.profile"});
        let entries = found.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        let reads = entries.iter().filter_map(|entry| {
            let command = entry.as_document()?.get_document("command").ok()?;
            let (name, collection) = command.iter().next()?;
            let reads = ["find", "aggregate", "getMore"].contains(&name.as_str());
            reads.then(|| format!("{name} {}", collection.as_str().unwrap_or_default()))
        });
        reads.collect()
    }
}
