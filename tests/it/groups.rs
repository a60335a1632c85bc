//! Batches of many clients at once, which share transactions of a replica set.

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use serde_json::{Value, json};

use crate::harness::{Answer, Mongod, Phone, Server, Setup, Topology, database, unique_name};

/// How many rounds may be needed until batches have met in a transaction.
const MOST_ROUNDS: usize = 30;

/// What one shop of a round does.
struct Job<'a> {
    phone: &'a Phone,
    key: String,
    batch: Value,
}

fn all_at_once(jobs: &[Job<'_>]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let send = |job: &Job<'_>| job.phone.sync_with_key(&job.batch, &job.key);
        let sent: Vec<_> = jobs.iter().map(|job| scope.spawn(move || send(job))).collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    })
}

/// A tea and an invoice numbered `number` for it, with the next free number for a second one.
fn sales(item: &Value, number: &str) -> Value {
    let products = json!([{"productId": item, "quantity": 1}]);
    json!({
        "item": {"update": [{"_id": item, "price": 11}]},
        "invoice": {"create": [{"invoiceNumber": number, "products": products}, {"products": products}]},
    })
}

/// What a shop has sold before: one has numbered its invoices itself, one is further on than the others.
fn sold_before(shop: usize, item: &Value) -> Option<Value> {
    let products = json!([{"productId": item, "quantity": 1}]);
    let invoices: Vec<_> = match shop {
        2 => (1..=12).map(|n| json!({"invoiceNumber": format!("INV-{n:06}"), "products": products})).collect(),
        3 => (1..=5).map(|_| json!({"products": products})).collect(),
        _ => return None,
    };
    Some(json!({"invoice": {"create": invoices}}))
}

/// Whether a transaction of several batches was given up because of one of them.
fn was_taken_apart(server: &Server) -> bool {
    server.log().iter().any(|line| line.contains("a group is taken apart") && line.contains("culprit"))
}

/// One shop names another one's records, one breaks a rule of the database's owner, the others sell. Whoever shares
/// a transaction with whom, each gets what it would get alone.
#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_transaction_does_not_notice() {
    let (mongod, name) = (Mongod::shared(Topology::ReplicaSet), unique_name("groups"));
    let unique = IndexModel::builder()
        .keys(doc! {"clientId": 1, "invoiceNumber": 1})
        .options(IndexOptions::builder().unique(true).build())
        .build();
    database(mongod, &name).await.collection::<Document>("invoices").create_index(unique).await.unwrap();
    let setup = Setup::at(mongod).database(name).env("LOG", "viveka_sync=debug");
    let (server, other) = (Server::start(&setup), Server::start(&setup));
    let phones: Vec<_> = (0..12).map(|_| Phone::new(&server)).collect();
    let tea = json!({"item": {"create": [{"name": "Tea", "price": 10, "stock": 1000}]}});
    let made: Vec<_> =
        phones.iter().map(|phone| phone.sync(&tea).expect_ok()["synced"]["itemsCreated"][0].clone()).collect();

    let before: Vec<_> = phones
        .iter()
        .zip(&made)
        .enumerate()
        .map(|(shop, (phone, item))| {
            let sold = sold_before(shop, item).map_or(0, |batch| {
                phone.sync(&batch).expect_ok()["synced"]["invoicesCreated"].as_array().unwrap().len()
            });
            (1 + usize::from(sold > 0), sold)
        })
        .collect();

    let mut rounds = 0;
    while rounds == 0 || !was_taken_apart(&server) {
        assert!(rounds < MOST_ROUNDS, "no two batches have met");
        rounds += 1;
        let number = |shop: usize| if shop == 1 { "A-1".to_owned() } else { format!("A-{rounds}") };
        // The first one sells what is the last one's.
        let item = |shop: usize| if shop == 0 { &made[phones.len() - 1] } else { &made[shop] };
        let jobs: Vec<_> = phones
            .iter()
            .enumerate()
            .map(|(shop, phone)| Job { phone, key: format!("round-{rounds}"), batch: sales(item(shop), &number(shop)) })
            .collect();
        for (shop, answer) in all_at_once(&jobs).iter().enumerate() {
            match shop {
                0 => {
                    let refused = answer.expect_error(422, "batch_rejected");
                    assert_eq!(
                        refused["errors"][0]["message"],
                        json!(format!("Item not found for update: {}", made[11].as_str().unwrap()))
                    );
                }
                1 if rounds > 1 => {
                    assert_eq!(
                        answer.expect_error(422, "batch_rejected")["errors"][0]["code"],
                        json!("refused_by_database")
                    );
                }
                _ => assert_eq!(answer.expect_ok()["revision"], json!(before[shop].0 + rounds)),
            }
        }
        // A server that remembers nothing of it finds all receipts, also those of a shared transaction.
        let elsewhere: Vec<_> = phones.iter().map(|phone| Phone::of(&other, &phone.client)).collect();
        let again: Vec<_> = jobs
            .iter()
            .zip(&elsewhere)
            .skip(2)
            .map(|(job, phone)| Job { phone, key: job.key.clone(), batch: job.batch.clone() })
            .collect();
        for (answer, (revision, _)) in all_at_once(&again).iter().zip(&before[2..]) {
            assert_eq!(answer.header("Idempotency-Replayed"), Some("true".to_owned()));
            assert_eq!(answer.expect_ok()["revision"], json!(revision + rounds));
        }
    }

    for (shop, phone) in phones.iter().enumerate() {
        let done = match shop {
            0 => 0,
            1 => 1,
            _ => rounds,
        };
        let answer = phone.pull().expect_ok();
        let (data, client) = (&answer["data"], json!(phone.client));
        let (revision, sold) = before[shop];
        assert_eq!(answer["revision"], json!(revision + done));
        assert_eq!(data["items"].as_array().unwrap().len(), 1);
        assert_eq!(data["items"][0]["stock"], json!(1000 - sold - 2 * done), "shop {shop}");
        let mut numbers: Vec<_> =
            data["invoices"].as_array().unwrap().iter().map(|i| i["invoiceNumber"].clone()).collect();
        numbers.sort_by_key(Value::to_string);
        let own = (1..=done).map(|n| json!(format!("A-{n}")));
        let mut expected: Vec<_> = own.chain((1..=sold + done).map(|n| json!(format!("INV-{n:06}")))).collect();
        expected.sort_by_key(Value::to_string);
        assert_eq!(numbers, expected, "shop {shop}");
        let records = ["items", "invoices"].into_iter().flat_map(|list| data[list].as_array().unwrap());
        assert!(records.into_iter().all(|record| record["clientId"] == client));
    }
}
