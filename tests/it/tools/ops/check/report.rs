//! How much is told, and of whom.

use mongodb::bson::{doc, oid::ObjectId};
use viveka_sync::model::Collection;

use super::command::{on, run};
use super::planting::{Held, Place};
use super::seeds::seed;
use super::{check, findings, shop};
use crate::harness::{Engine, random_hex};

#[test]
fn of_many_that_are_alike_some_are_told() {
    let (setup, _) = shop(Engine::Embedded);
    let place = Place::Data(Collection::Items);
    let mut items = Held::take(Engine::Embedded, &setup, place);
    let (key, item) = items.0.iter().next().map(|(key, item)| (key.clone(), item.clone())).unwrap();
    for number in 0..25_u8 {
        let (mut key, mut item) = (key.clone(), item.clone());
        let id = ObjectId::from_bytes([number; 12]);
        key[13..].copy_from_slice(&id.bytes());
        item.extend(doc! {"_id": id, "stock": -1.0 - f64::from(number)});
        items.0.insert(key, item);
    }
    items.put(Engine::Embedded, &setup, place);
    let told = run(on(Engine::Embedded, &setup, &["check"])).expect_findings();
    assert_eq!(told.matches("its stock is -").count(), 20, "{told}");
    assert!(told.contains(" items: and 5 more of this kind\n"), "{told}");
    let all = findings(&check(Engine::Embedded, &setup));
    let stocks = all.iter().filter(|finding| finding["why"].as_str().unwrap().starts_with("its stock is -"));
    assert_eq!(stocks.count(), 25);
}

#[test]
fn only_the_client_that_is_asked_for_is_checked() {
    let (setup, client) = shop(Engine::Embedded);
    let other = random_hex(12);
    seed(
        Engine::Embedded,
        &setup,
        &other,
        &[(Collection::Items, vec![doc! { "_id": ObjectId::new(), "revision": 9_i64 }])],
    );
    let of = |client: &str| run(on(Engine::Embedded, &setup, &["check", "--client", client]));
    of(&client).expect_ok();
    assert!(of(&other).expect_findings().contains(&format!("PROBLEM  client {other} items")));
}
