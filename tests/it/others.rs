//! Other programs write to the database of servers that keep datasets in memory: what they write is seen at once.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, Timestamp, doc};
use mongodb::{ClientSession, Collection, Database};
use serde_json::{Value, json};

use crate::harness::{
    Answer, Engine, Mongod, OtherProgram, Phone, Setup, block_on, database_at, eventually, random_hex, unique_name,
};
use crate::metrics::Watched;

/// A server that keeps datasets and one that keeps none, on one database, and two shops.
struct Stage {
    setup: Setup,
    keeps: Watched,
    forgets: Watched,
    shops: [Shop; 2],
}

struct Shop {
    phone: Phone,
    /// The same shop's at the server that keeps nothing.
    witness: Phone,
    items: [ObjectId; 2],
    customer: ObjectId,
}

impl Stage {
    fn open(setup: Setup) -> Self {
        let keeps = Watched::start(&setup);
        let forgets = Watched::start(&setup.clone().env("DATASET_CACHE_BYTES", "0"));
        let shops = [(); 2].map(|()| Shop::open(&setup, &keeps, &forgets));
        Self { setup, keeps, forgets, shops }
    }

    /// Has the server keep both datasets, and sees that they are shown from memory.
    fn warm_up(&self) {
        self.check("before");
        let before = self.found("miss");
        self.check("again");
        assert_eq!(self.found("miss"), before, "nobody else wrote, so nothing is read again");
    }

    /// Pulls and sells at both shops, and compares what is shown with what a server shows that keeps nothing.
    fn check(&self, what: &str) {
        for shop in &self.shops {
            assert_eq!(shown(&shop.phone.pull()), shown(&shop.witness.pull()), "a pull: {what}");
            let day = shop.day();
            assert_eq!(shown(&shop.phone.sync(&day)), shown(&shop.witness.pull()), "a batch: {what}");
        }
    }

    fn found(&self, result: &str) -> f64 {
        found(&self.keeps, result)
    }
}

impl Shop {
    fn open(setup: &Setup, keeps: &Watched, forgets: &Watched) -> Self {
        let phone = Phone::new(&keeps.server);
        let witness = Phone::of(&forgets.server, &phone.client);
        let client = ObjectId::parse_str(&phone.client).unwrap();
        let customer = ObjectId::new();
        block_on(async {
            let customers = database_at(setup).await.collection("clientcustomers");
            customers.insert_one(doc! {"_id": customer, "clientId": client, "name": "Asha"}).await.unwrap();
        });
        let stock =
            json!({"item": {"create": [{"name": "Tea", "price": 1, "stock": 9}, {"name": "Rusk", "price": 2}]}});
        let made = phone.sync(&stock).expect_ok()["synced"]["itemsCreated"].clone();
        let item = |number: usize| ObjectId::parse_str(made[number].as_str().unwrap()).unwrap();
        Self { phone, witness, items: [item(0), item(1)], customer }
    }

    /// Something new, and a new price for everything that is the shop's and nobody else's.
    fn day(&self) -> Value {
        let data = shown(&self.witness.pull());
        let items = data["items"].as_array().unwrap().iter();
        let own = items.filter(|item| item["clientId"] == self.phone.client.as_str() && item["isActive"] == true);
        let ids = own.map(|item| &item["_id"]).filter(|id| ObjectId::parse_str(id.as_str().unwrap()).is_ok());
        let updates: Vec<_> = ids.map(|id| json!({"_id": id, "price": 7})).collect();
        json!({"item": {"create": [{"name": "Bun", "price": 2}], "update": updates}})
    }

    fn id(&self) -> ObjectId {
        ObjectId::parse_str(&self.phone.client).unwrap()
    }
}

/// How often a server looked for a dataset in memory, with this result.
fn found(server: &Watched, result: &str) -> f64 {
    server.scrape().value("viveka_cache_lookups_total", &[("cache", "dataset"), ("result", result)])
}

/// The dataset of an answer. What belongs to several shops may come at any place of its list.
fn shown(answer: &Answer) -> Value {
    let mut data = answer.expect_ok()["data"].take();
    for list in data.as_object_mut().unwrap().values_mut() {
        list.as_array_mut().unwrap().sort_by_key(|record| record["_id"].to_string());
    }
    data
}

/// Another program that knows the shops.
struct Other<'a> {
    program: OtherProgram,
    shops: [&'a Shop; 2],
}

impl<'a> Other<'a> {
    fn of(stage: &'a Stage) -> Self {
        Self { program: OtherProgram::at(&stage.setup), shops: [&stage.shops[0], &stage.shops[1]] }
    }

    fn does(&self, what: &str) {
        self.program.run(self.act(what));
    }

    fn db(&self) -> &Database {
        &self.program.db
    }

    fn items(&self) -> Collection<Document> {
        self.db().collection("items")
    }

    async fn transaction(&self) -> ClientSession {
        let mut session = self.db().client().start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        session
    }

    /// Has the oplog hold more than it should.
    async fn fill_the_oplog(&self) {
        let ballast = self.db().collection::<Document>("ballast");
        let large = |_| doc! {"_id": ObjectId::new(), "text": "x".repeat(1 << 20)};
        ballast.insert_many((0..16).map(large)).await.unwrap();
        for _ in 0..4 {
            let longer = vec![doc! {"$set": {"text": {"$concat": ["$text", "x"]}}}];
            ballast.update_many(doc! {}, longer).await.unwrap();
        }
    }

    /// The time of the oldest entry of the oplog.
    async fn oldest_entry(&self) -> Timestamp {
        let entries = self.db().client().database("local").collection::<Document>("oplog.rs");
        let oldest = entries.find_one(doc! {}).sort(doc! {"$natural": 1}).await.unwrap().unwrap();
        oldest.get_timestamp("ts").unwrap()
    }

    async fn rename(&self, from: &str, to: &str) {
        let name = |collection: &str| format!("{}.{collection}", self.db().name());
        let command = doc! {"renameCollection": name(from), "to": name(to)};
        self.db().client().database("admin").run_command(command).await.unwrap();
    }

    /// Everything that a program can do to records, each with its name.
    async fn act(&self, what: &str) {
        let ([first, second], items) = (self.shops, self.items());
        let [tea, rusk] = first.items;
        let one = |id: ObjectId| doc! {"_id": id};
        let set = |text: &str| doc! {"$set": {"name": text}};
        let fresh = doc! {"clientId": first.id(), "_id": {"$nin": [tea, rusk]}};
        match what {
            "inserts" => {
                let made = doc! {"_id": ObjectId::new(), "clientId": first.id(), "name": "Made"};
                drop(items.insert_one(made).await.unwrap());
            }
            "inserts under a text" => {
                let made = doc! {"_id": random_hex(8), "clientId": first.id(), "name": "Made", "price": 1};
                drop(items.insert_one(made).await.unwrap());
            }
            "inserts many" => {
                let made = |shop: &Shop| doc! {"_id": ObjectId::new(), "clientId": shop.id(), "name": "Made"};
                drop(items.insert_many([made(first), made(second)]).await.unwrap());
            }
            "changes a field" => drop(items.update_one(one(tea), set("Chai")).await.unwrap()),
            "changes what was made under a text" => {
                let texts = doc! {"_id": {"$type": "string"}};
                assert!(items.update_many(texts, set("Text")).await.unwrap().modified_count > 0);
            }
            "changes a customer" => {
                let customers = self.db().collection::<Document>("clientcustomers");
                drop(customers.update_one(one(second.customer), set("Ravi")).await.unwrap());
            }
            "changes a customer of the first" => {
                let customers = self.db().collection::<Document>("clientcustomers");
                drop(customers.update_one(one(first.customer), set("Meera")).await.unwrap());
            }
            "changes by a pipeline" => {
                let stages = vec![doc! {"$set": {"price": {"$add": ["$price", 1]}}}];
                drop(items.update_one(one(tea), stages).await.unwrap());
            }
            "changes a name to what it never was" => {
                items.update_one(one(rusk), doc! {"$set": {"name": ObjectId::new().to_hex()}}).await.map(drop).unwrap();
            }
            "takes a field away" => drop(items.update_one(one(rusk), doc! {"$unset": {"price": 1}}).await.unwrap()),
            "changes everybody's" => drop(items.update_many(doc! {}, set("Sale")).await.unwrap()),
            "finds and changes" => drop(items.find_one_and_update(one(tea), set("Found")).await.unwrap()),
            "replaces" => {
                let whole = doc! {"clientId": first.id(), "name": "Replaced", "price": 5, "diff": {"u": 1}};
                drop(items.replace_one(one(rusk), whole).await.unwrap());
            }
            "replaces and gives away" => {
                let whole = doc! {"clientId": second.id(), "name": "Replaced", "price": 5};
                drop(items.replace_one(one(rusk), whole).await.unwrap());
            }
            "gives away" => {
                let to = doc! {"$set": {"clientId": second.id()}};
                drop(items.update_one(one(tea), to).await.unwrap());
            }
            "gives back" => {
                let to = doc! {"$set": {"clientId": first.id()}};
                drop(items.update_many(doc! {"_id": {"$in": [tea, rusk]}}, to).await.unwrap());
            }
            "gives to both" => {
                let to = doc! {"$set": {"clientId": [first.id(), second.id()]}};
                drop(items.update_one(one(rusk), to).await.unwrap());
            }
            "changes what belongs to both" => drop(items.update_one(one(rusk), set("Shared")).await.unwrap()),
            "takes from one of both" => {
                let from = doc! {"$pull": {"clientId": first.id()}};
                drop(items.update_one(one(rusk), from).await.unwrap());
            }
            "takes from all" => drop(items.update_one(one(tea), doc! {"$unset": {"clientId": 1}}).await.unwrap()),
            "deletes" => {
                assert_eq!(items.delete_one(fresh).await.unwrap().deleted_count, 1);
            }
            "deletes many" => drop(items.delete_many(fresh).await.unwrap()),
            "changes in a transaction" => {
                let mut session = self.transaction().await;
                items.update_one(one(tea), set("Together")).session(&mut session).await.unwrap();
                let other = self.db().collection::<Document>("other");
                other.insert_one(doc! {"_id": ObjectId::new()}).session(&mut session).await.unwrap();
                let payments = self.db().collection::<Document>("payments");
                let paid = doc! {"_id": ObjectId::new(), "clientId": second.id(), "amount": 1};
                payments.insert_one(paid).session(&mut session).await.unwrap();
                session.commit_transaction().await.unwrap();
            }
            "changes in a transaction of several entries" => {
                let mut session = self.transaction().await;
                items.update_one(one(tea), set("Large")).session(&mut session).await.unwrap();
                let ballast = self.db().collection::<Document>("ballast");
                let large = |_| doc! {"_id": ObjectId::new(), "text": "x".repeat(1 << 20)};
                ballast.insert_many((0..20).map(large)).session(&mut session).await.unwrap();
                session.commit_transaction().await.unwrap();
            }
            "writes by an aggregation" => {
                let made = vec![
                    doc! {"$match": {"clientId": first.id()}},
                    doc! {"$set": {"merged": true}},
                    doc! {"$merge": {"into": "items", "whenMatched": "replace"}},
                ];
                drop(items.aggregate(made).await.unwrap());
            }
            "writes a collection anew" => {
                let made = vec![doc! {"$set": {"out": true}}, doc! {"$out": "clientcustomers"}];
                drop(self.db().collection::<Document>("clientcustomers").aggregate(made).await.unwrap());
            }
            "renames a collection" => {
                self.rename("clientcustomers", "away").await;
            }
            "renames it back" => {
                self.rename("away", "clientcustomers").await;
            }
            "drops a collection" => self.db().collection::<Document>("itemgroups").drop().await.unwrap(),
            "drops everything but the clients" => {
                for collection in ["items", "payments", "clientcustomers"] {
                    self.db().collection::<Document>(collection).delete_many(doc! {}).await.unwrap();
                }
            }
            _ => panic!("{what}"),
        }
    }
}

/// In this order: some go on from what those before them did.
const DEEDS: [&str; 29] = [
    "inserts",
    "inserts under a text",
    "changes what was made under a text",
    "inserts many",
    "changes a field",
    "changes a customer",
    "changes by a pipeline",
    "takes a field away",
    "changes everybody's",
    "finds and changes",
    "replaces",
    "replaces and gives away",
    "gives away",
    "gives back",
    "gives to both",
    "changes what belongs to both",
    "takes from one of both",
    "gives back",
    "takes from all",
    "gives back",
    "deletes",
    "deletes many",
    "changes in a transaction",
    "changes in a transaction of several entries",
    "writes by an aggregation",
    "writes a collection anew",
    "renames a collection",
    "renames it back",
    "drops a collection",
];

#[test]
fn whatever_others_do_is_shown_at_once() {
    let stage = Stage::open(Setup::on(Engine::ReplicaSet));
    let other = Other::of(&stage);
    for what in DEEDS.into_iter().chain(["drops everything but the clients"]) {
        stage.warm_up();
        other.does(what);
        stage.check(what);
    }
}

#[test]
fn what_others_write_to_one_shop_is_no_reason_to_read_another() {
    let stage = Stage::open(Setup::on(Engine::ReplicaSet));
    let [first, second] = &stage.shops;
    let other = Other::of(&stage);
    for what in ["inserts", "changes a field", "takes a field away"] {
        stage.warm_up();
        other.does(what);
        let before = stage.found("miss");
        assert_eq!(shown(&second.phone.pull()), shown(&second.witness.pull()));
        assert_eq!(stage.found("miss"), before, "{what} at the first shop, and the second is read again");
        assert_eq!(shown(&first.phone.pull()), shown(&first.witness.pull()));
        assert_eq!(stage.found("miss"), before + 1.0, "{what}, and the shop is not read");
    }
}

/// Phones of one shop that all come back at once, as after an outage.
#[test]
fn a_shop_that_many_ask_for_at_once_is_read_once() {
    let mongod = Mongod::start_with_test_commands();
    for sole_writer in ["false", "true"] {
        let setup = Setup::at(&mongod).env("SOLE_WRITER", sole_writer);
        let [filled, fresh] = [(); 2].map(|()| Watched::start(&setup));
        let phone = Phone::new(&filled.server);
        let item = |number| json!({"name": format!("Item {number}"), "price": 1});
        phone.sync(&json!({"item": {"create": (0..2000).map(item).collect::<Vec<_>>()}})).expect_ok();
        let asks = Phone::of(&fresh.server, &phone.client);
        // The first one's reading, while the others come.
        mongod.admin(hold(&["find", "aggregate"], 300)).unwrap();
        let answers = thread::scope(|scope| {
            let asking = [(); 8].map(|()| scope.spawn(|| shown(&asks.pull())));
            asking.map(|asks| asks.join().unwrap())
        });
        let all = shown(&phone.pull());
        assert!(answers.iter().all(|answer| *answer == all), "SOLE_WRITER={sole_writer}");
        assert_eq!(found(&fresh, "miss"), 1.0, "SOLE_WRITER={sole_writer}");
    }
}

/// Has a mongod that takes such commands hold the next one of these for a while, in ms.
fn hold(commands: &[&str], milliseconds: i32) -> Document {
    doc! {
        "configureFailPoint": "failCommand", "mode": {"times": 1},
        "data": {"failCommands": commands, "blockConnection": true, "blockTimeMS": milliseconds},
    }
}

/// The oplog has its oldest entries taken away when it is full, and with them what they tell.
#[test]
fn what_the_oplog_does_not_tell_any_more_is_shown_too() {
    // Entries that no checkpoint has seen stay.
    let mongod = Mongod::start_with_many_checkpoints();
    let stage = Stage::open(Setup::at(&mongod));
    let other = Other::of(&stage);
    stage.warm_up();
    other.does("changes everybody's");
    let now = mongod.admin(doc! {"hello": 1}).unwrap().get_timestamp("operationTime").unwrap();
    eventually("the oldest entries go", Duration::from_secs(120), || {
        other.program.run(other.fill_the_oplog());
        (other.program.run(other.oldest_entry()) > now).then_some(())
    });
    stage.check("the oplog went round");
    stage.warm_up();
}

/// What a program has been told is written is in every answer to what is asked afterwards.
#[test]
fn answers_keep_up_with_a_program_that_writes_all_the_time() {
    let stage = Stage::open(Setup::on(Engine::ReplicaSet));
    let (written, is_over) = (AtomicI64::new(0), AtomicBool::new(false));
    let [first, second] = &stage.shops;
    thread::scope(|scope| {
        scope.spawn(|| {
            block_on(async {
                let items = database_at(&stage.setup).await.collection::<Document>("items");
                for count in 1.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let here = doc! {"_id": {"$in": [first.items[1], second.items[1]]}};
                    items.update_many(here, doc! {"$set": {"count": count}}).await.unwrap();
                    written.store(count, Ordering::SeqCst);
                }
            });
        });
        let sellers: Vec<_> = stage.shops.each_ref().map(|shop| scope.spawn(|| sell(shop, &written))).into();
        let sold: Vec<_> = sellers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        sold.into_iter().for_each(|sold| sold.unwrap());
    });
    stage.check("it has stopped");
}

/// Sells and pulls, and looks whether what had been written is shown.
fn sell(shop: &Shop, written: &AtomicI64) {
    let tea = json!({"item": {"update": [{"_id": shop.items[0].to_hex(), "price": 3}]}});
    for round in 0..150 {
        let known = written.load(Ordering::SeqCst);
        let answer = if round % 3 == 0 { shop.phone.pull() } else { shop.phone.sync(&tea) };
        let data = answer.expect_ok()["data"].clone();
        let is_rusk = |item: &&Value| item["_id"] == json!(shop.items[1].to_hex());
        let rusk = data["items"].as_array().unwrap().iter().find(is_rusk).unwrap().clone();
        let shown = rusk["count"].as_i64().unwrap_or_default();
        assert!(shown >= known, "round {round}: {known} was written, and {shown} is shown");
    }
}

/// What is written after a batch has read its shop, and before it is committed, is not in its answer; but in what comes then.
#[test]
fn what_is_written_while_a_batch_is_committed_is_shown_afterwards() {
    let stage = Stage::open(Setup::on(Engine::ReplicaSet));
    let [first, second] = &stage.shops;
    let other = Other::of(&stage);
    for round in 0..100 {
        // So that the shop is to be read anew, as the other one's pull finds out.
        other.does("changes a field");
        second.phone.pull().expect_ok();
        thread::scope(|scope| {
            scope.spawn(|| other.does("changes a name to what it never was"));
            first.phone.sync(&json!({"item": {"create": [{"name": "Bun", "price": 2}]}})).expect_ok();
        });
        assert_eq!(shown(&first.phone.pull()), shown(&first.witness.pull()), "round {round}");
    }
}

/// Also if the oplog was looked at for another shop in between, so that it is not looked at again for this one.
#[test]
fn what_was_seen_before_a_commit_is_not_in_what_the_batch_had_read() {
    let mongod = Mongod::start_with_test_commands();
    let stage = Stage::open(Setup::at(&mongod));
    let [first, second] = &stage.shops;
    let other = Other::of(&stage);
    stage.warm_up();
    other.does("changes a field");
    second.phone.pull().expect_ok();
    let held_before = mongod.admin(hold(&["commitTransaction"], 5000)).unwrap().get_i32("count").unwrap();
    thread::scope(|scope| {
        let day = json!({"item": {"create": [{"name": "Bun", "price": 2}]}});
        let sold = scope.spawn(move || first.phone.sync(&day));
        let held = doc! {"waitForFailPoint": "failCommand", "timesEntered": held_before + 1, "maxTimeMS": 20_000};
        mongod.admin(held).unwrap();
        other.does("changes a customer of the first");
        second.phone.pull().expect_ok();
        assert!(!sold.is_finished(), "it is committed only now");
        let told = sold.join().unwrap().expect_ok();
        assert_eq!(told["data"]["clientCustomers"][0]["name"], "Asha", "it was read on the way to the commit");
    });
    assert_eq!(shown(&first.phone.pull()), shown(&first.witness.pull()));
}

/// Who may not read the oplog is served all the same, from the database.
#[test]
fn without_the_right_to_read_the_oplog_nothing_is_kept() {
    let mongod = Mongod::start_with_users();
    let name = unique_name("it");
    let roles = [doc! {"role": "readWrite", "db": &name}, doc! {"role": "read", "db": "local"}];
    for (user, roles) in [("may-not", &roles[..1]), ("may", &roles[..])] {
        mongod.create_user(user, roles);
        let setup = Setup::at(&mongod).env("MONGO_URL", mongod.url_of(user)).database(&name);
        let stage = Stage::open(setup);
        stage.check("first");
        stage.check("second");
        let is_used = stage.found("hit") > 0.0;
        assert_eq!(is_used, user == "may", "{user}");
        assert_eq!(stage.found("miss") > 0.0, user == "may", "{user}");
        assert_eq!(stage.forgets.scrape().value("viveka_cache_bytes", &[("cache", "dataset")]), 0.0);
        let told = stage.keeps.server.log().iter().filter(|line| line.contains("the oplog cannot be read")).count();
        assert_eq!(told, usize::from(user == "may-not"), "{user}");
    }
}
