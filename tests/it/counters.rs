//! What counts a client's commits and invoices on MongoDB, when more than one server counts, or others have written it.

use std::collections::BTreeSet;
use std::thread;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

use crate::harness::{Engine, Mongod, Phone, Server, Setup, block_on, database};

/// Two servers on one database.
struct Stage {
    setup: Setup,
    engine: Engine,
    servers: [Server; 2],
}

impl Stage {
    fn open(engine: Engine) -> Self {
        let setup = Setup::on(engine);
        let servers = [(); 2].map(|()| Server::start_ready(&setup));
        Self { setup, engine, servers }
    }

    /// A phone of one shop at each server, and the id of what it sells.
    fn shop(&self) -> ([Phone; 2], Value) {
        let first = Phone::new(&self.servers[0]);
        let tea = json!({"item": {"create": [{"name": "Tea", "price": 1, "stock": 1000}]}});
        let tea = first.sync(&tea).expect_ok()["synced"]["itemsCreated"][0].clone();
        (self.servers.each_ref().map(|server| Phone::of(server, &first.client)), tea)
    }

    fn run(&self, command: Document) {
        block_on(async {
            let mongod = Mongod::shared(self.engine.topology().unwrap());
            database(mongod, self.setup.database_name()).await.run_command(command).await.unwrap();
        });
    }
}

/// A sale whose invoice is to get the next free number. Nothing is to be shown, so nothing else is read.
fn sale(item: &Value) -> Value {
    json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}, "data": "none"})
}

/// The revision of each of so many sales that a shop makes at both servers at once.
fn sell_at_once(phones: &[Phone; 2], item: &Value, sales: usize) -> BTreeSet<i64> {
    let sell = |number: usize| {
        let send = || phones[number % 2].sync_with_key(&sale(item), &format!("sale-{number}"));
        // Who meets the other server too often is told to come back.
        let answer = (0..20).map(|_| send()).find(|answer| answer.status != 503).expect("an answer");
        answer.expect_ok()["revision"].as_i64().unwrap()
    };
    thread::scope(|scope| {
        let sold: Vec<_> = (0..sales).map(|number| scope.spawn(move || sell(number))).collect();
        sold.into_iter().map(|sold| sold.join().unwrap()).collect()
    })
}

/// Each batch has a revision and a number of its own, and all of them are in the books.
#[test]
fn batches_of_one_shop_at_two_servers_are_counted_one_after_the_other() {
    const SALES: usize = 40;
    for engine in [Engine::ReplicaSet, Engine::SoleWriter] {
        let stage = Stage::open(engine);
        let (phones, item) = stage.shop();
        let revisions = sell_at_once(&phones, &item, SALES);
        assert_eq!(revisions, (2..2 + SALES as i64).collect(), "{engine:?}");
        for phone in &phones {
            let books = phone.pull().expect_ok()["data"].clone();
            let invoices = books["invoices"].as_array().unwrap();
            let numbers: BTreeSet<_> = invoices.iter().map(|invoice| invoice["invoiceNumber"].to_string()).collect();
            assert_eq!((invoices.len(), numbers.len()), (SALES, SALES), "{engine:?}");
            assert_eq!(books["items"][0]["stock"], json!(1000 - SALES), "{engine:?}");
        }
    }
}

/// A server that knows an older counter looks for free numbers where they are now.
#[test]
fn a_number_that_is_taken_is_not_given_by_a_server_that_was_away() {
    let stage = Stage::open(Engine::ReplicaSet);
    let ([here, there], item) = stage.shop();
    for phone in [&here, &there] {
        phone.sync(&sale(&item)).expect_ok();
    }
    // The third and the fourth number are given by the server, the fifth and the sixth are the shop's own.
    for number in [None, None, Some("INV-000005"), Some("INV-000006")] {
        let mut sale = sale(&item);
        if let Some(number) = number {
            sale["invoice"]["create"][0]["invoiceNumber"] = json!(number);
        }
        there.sync(&sale).expect_ok();
    }
    here.sync(&sale(&item)).expect_ok();
    let books = here.pull().expect_ok()["data"].clone();
    let mut numbers: Vec<_> =
        books["invoices"].as_array().unwrap().iter().map(|i| i["invoiceNumber"].as_str().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=7).map(|n| format!("INV-{n:06}")).collect::<Vec<_>>());
}

/// To count on from what is no number would be to give revisions and numbers out a second time.
#[test]
fn nothing_is_counted_from_what_is_no_number() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let stage = Stage::open(engine);
        let ([phone, _], item) = stage.shop();
        let set = |field: &str, value: Bson| {
            let client = ObjectId::parse_str(&phone.client).unwrap();
            let statement = doc! {"q": {"_id": client}, "u": {"$set": {field: value}}};
            stage.run(doc! {"update": "syncclients", "updates": [statement]});
        };
        set("revision", "1".into());
        phone.sync(&sale(&item)).expect_error(500, "internal_error");
        set("revision", 1_i64.into());
        set("nextInvoice", "many".into());
        phone.sync(&sale(&item)).expect_error(500, "internal_error");
        set("nextInvoice", 1_i64.into());
        assert_eq!(phone.sync(&sale(&item)).expect_ok()["revision"], json!(2), "{engine:?}");
    }
}

/// Who the store is matters for cursors. Batches go on without it.
#[test]
fn batches_go_on_when_the_store_has_lost_its_name() {
    let stage = Stage::open(Engine::ReplicaSet);
    let ([phone, _], item) = stage.shop();
    stage.run(doc! {"delete": "syncstore", "deletes": [{"q": {}, "limit": 0}]});
    let answer = phone.sync(&json!({"item": {"update": [{"_id": item, "price": 2}]}}));
    assert_eq!(answer.expect_ok()["data"], phone.pull().expect_ok()["data"]);
}
