//! No access across clients, ever: what is another client's is not there.

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};

use crate::harness::{Engine, Mongod, Phone, Server, Setup, database, on_every_engine, unique_name};

/// A shop with an item and an open invoice.
fn open_shop(server: &Server) -> (Phone, String, String) {
    let phone = Phone::new(server);
    let batch = json!({
        "item": {"create": [{"_id": 1, "name": "Tea", "price": 10, "stock": 10}]},
        "invoice": {"create": [{"products": [{"productId": 1, "quantity": 1}]}]},
    });
    let answer = phone.sync(&batch).expect_ok();
    let id = |list: &str| answer["synced"][list][0].as_str().unwrap().to_owned();
    let ids = (id("itemsCreated"), id("invoicesCreated"));
    (phone, ids.0, ids.1)
}

/// Every way to name a record of another client.
fn attacks(item: &str, invoice: &str) -> [Value; 5] {
    [
        json!({"item": {"update": [{"_id": item, "price": 0}]}}),
        json!({"item": {"delete": [item]}}),
        json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}}),
        json!({"invoice": {"create": [{"products": [{"productId": item, "itemName": "x", "costPerUnit": 1, "quantity": 1}]}]}}),
        json!({"payment": {"create": [{"invoiceId": invoice, "amount": 1}]}}),
    ]
}

on_every_engine! {
    fn what_is_another_clients_is_as_if_it_were_not_there(server: &Server) {
        let (owner, item, invoice) = open_shop(server);
        let attacker = Phone::new(server);
        let before = owner.pull().expect_ok();
        let nothing = "650000000000000000000001";
        for (attack, harmless) in attacks(&item, &invoice).iter().zip(attacks(nothing, nothing)) {
            let refused = attacker.sync(attack).expect_error(422, "batch_rejected");
            let same = attacker.sync(&harmless).expect_error(422, "batch_rejected");
            let text = |body: &Value| body["errors"].to_string().replace(&item, nothing).replace(&invoice, nothing);
            assert_eq!(text(&refused), text(&same), "{attack}");
        }
        assert_eq!(owner.pull().expect_ok(), before);
        assert_eq!(attacker.pull().expect_ok()["revision"], json!(0));
    }

    fn an_echoed_client_id_in_a_record_changes_nothing(server: &Server) {
        let (owner, item, _) = open_shop(server);
        let other = Phone::new(server);
        let mine = other.sync(&json!({"item": {"create": [{"name": "Bun", "price": 1, "clientId": owner.client}]}}));
        let mine = mine.expect_ok();
        assert_eq!(mine["data"]["items"][0]["clientId"], json!(other.client));
        let moved = json!({"item": {"update": [{"_id": item, "clientId": other.client, "createdAt": "2020-01-01"}]}});
        let before = owner.pull().expect_ok()["data"]["items"][0].clone();
        let after = owner.sync(&moved).expect_ok()["data"]["items"][0].clone();
        assert_eq!((&after["clientId"], &after["createdAt"]), (&before["clientId"], &before["createdAt"]));
    }

    fn datasets_do_not_meet(server: &Server) {
        let (one, item, _) = open_shop(server);
        let (other, _, _) = open_shop(server);
        assert!(one.pull().expect_ok().to_string().contains(&item));
        assert!(!other.pull().expect_ok().to_string().contains(&item));
    }
}

/// Groups and customers are made by other services, so only MongoDB can hold them.
#[tokio::test(flavor = "multi_thread")]
async fn another_clients_groups_and_customers_are_unknown() {
    for engine in [Engine::ReplicaSet, Engine::LoneMongod] {
        let (mongod, name) = (Mongod::shared(engine.topology().unwrap()), unique_name("tenancy"));
        let db = database(mongod, &name).await;
        let server = Server::start(&Setup::at(mongod).database(name));
        let (one, other) = (Phone::new(&server), Phone::new(&server));
        let (owner, group, customer, dealer) =
            (ObjectId::parse_str(&one.client).unwrap(), ObjectId::new(), ObjectId::new(), ObjectId::new());
        for (collection, id) in [("itemgroups", group), ("clientcustomers", customer), ("dealers", dealer)] {
            db.collection(collection).insert_one(doc! {"_id": id, "clientId": owner, "name": "x"}).await.unwrap();
        }
        let batch = json!({
            "item": {"create": [{"name": "Tea", "price": 1, "groupId": group.to_hex(), "dealerIds": [dealer.to_hex()]}]},
            "invoice": {"create": [{
                "clientCustomerId": customer.to_hex(), "products": [{"itemName": "Bun", "costPerUnit": 1, "quantity": 1, "stock": 1}],
            }]},
        });
        assert_eq!(one.sync(&batch).expect_ok()["warnings"], json!([]));
        let warnings = other.sync(&batch).expect_ok()["warnings"].as_array().unwrap().len();
        assert_eq!(warnings, 3, "group, dealer and customer");
        assert_eq!(other.pull().expect_ok()["data"]["itemGroups"], json!([]));
    }
}
