//! `viveka-sync check` is silent on what this program wrote, and finds each fault that was planted.

mod books;
mod counters;
mod embedded;
mod local_ids;
mod planting;
mod receipts;
mod report;
mod scenarios;
mod shape;
mod undecodable;

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use viveka_sync::model::Collection;

use super::{command, seeds};
use crate::harness::{Engine, Phone, Server, Setup, random_hex};
use command::{Ran, on, run};
use planting::{Fault, Held};
use seeds::seed;

#[test]
fn each_fault_is_found_in_the_embedded_engine() {
    let (setup, client) = shop(Engine::Embedded);
    find_all(Engine::Embedded, &setup, &client);
}

#[test]
fn each_fault_is_found_on_a_replica_set() {
    let (setup, client) = shop(Engine::ReplicaSet);
    find_all(Engine::ReplicaSet, &setup, &client);
}

#[test]
fn each_fault_is_found_on_a_lone_mongod() {
    let (setup, client) = shop(Engine::LoneMongod);
    find_all(Engine::LoneMongod, &setup, &client);
}

/// One thing each that is done to a shop's records, and what is said of it.
fn faults() -> impl Iterator<Item = &'static Fault> {
    [books::FAULTS, shape::FAULTS, receipts::FAULTS, local_ids::FAULTS, counters::FAULTS].into_iter().flatten()
}

fn find_all(engine: Engine, setup: &Setup, client: &str) {
    let healthy = check(engine, setup);
    assert_eq!(healthy.code, 0, "{}", healthy.output);
    let silent = |finding: &Value| finding["severity"] == "note" && finding["client"].is_null();
    assert!(findings(&healthy).iter().all(silent), "{}", healthy.output);
    for fault in faults() {
        let before = Held::take(engine, setup, fault.place);
        let after = before.edited(fault, client);
        after.put(engine, setup, fault.place);
        let ran = check(engine, setup);
        before.put(engine, setup, fault.place);
        let found = findings(&ran);
        let meant = |finding: &&Value| finding["why"].as_str().is_some_and(|why| why.contains(fault.said));
        let Some(finding) = found.iter().find(meant) else { panic!("{}: {}", fault.what, ran.output) };
        assert_eq!(finding["severity"], fault.severity, "{}: {finding}", fault.what);
        assert_eq!(finding["client"], client, "{}: {finding}", fault.what);
        let problems = found.iter().any(|finding| finding["severity"] == "problem");
        assert_eq!(ran.code, i32::from(problems), "{}", fault.what);
        assert!(problems || fault.severity == "note", "{}", fault.what);
    }
    assert_eq!(check(engine, setup).code, 0, "all is as it was");
}

/// A store with a shop whose books are in order.
fn shop(engine: Engine) -> (Setup, String) {
    let (setup, client) = (Setup::on(engine), random_hex(12));
    let customer = ObjectId::new();
    seed(engine, &setup, &client, &[(Collection::ClientCustomers, vec![doc! { "_id": customer, "name": "Asha" }])]);
    let mut server = Server::start_ready(&setup);
    let phone = Phone::of(&server, &client);
    let customer = customer.to_hex();
    let first = json!({
        "item": {"create": [{"_id": 1, "localId": "tea", "name": "Tea", "price": 12.5, "stock": 100}]},
        "invoice": {"create": [
            {"_id": 1, "localId": "paid", "products": [{"productId": 1, "quantity": 2}], "clientCustomerId": customer},
            {"_id": 2, "localId": "open", "totalAmount": 20, "paidAmount": 1, "clientCustomerId": customer,
             "products": [{"productId": 1, "quantity": 1}]},
            {"_id": 3, "products": [{"productId": 1, "quantity": 1}]}]},
        "payment": {"create": [{"invoiceId": 1, "amount": 25, "localId": "all"}, {"invoiceId": 2, "amount": 0.5}]}
    });
    phone.sync_with_key(&first, "first").expect_ok();
    let second = json!({"payment": {"create": [{"invoiceId": "open", "amount": 1.5}]}});
    phone.sync_with_key(&second, "second").expect_ok();
    assert_eq!(server.terminate(), 0);
    (setup, client)
}

fn check(engine: Engine, setup: &Setup) -> Ran {
    run(on(engine, setup, &["check", "--json"]))
}

fn findings(ran: &Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{}", ran.error));
    report["findings"].as_array().unwrap().clone()
}
