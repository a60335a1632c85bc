//! Many histories at a time; what fails is told with its seed and all of its steps.

use std::sync::Mutex;

use serde_json::json;

use super::shop::Shop;
use super::world::World;
use crate::harness::{Phone, Server, random_hex};
use crate::history::device::Neighbour;

/// Runs some histories, or the one that `DELTA_SEED` names. `test` is the name of the test.
pub fn run(test: &str, world: &mut World, share: u64) {
    let (first, count) = match std::env::var("DELTA_SEED") {
        Ok(seed) => (seed.parse().expect("DELTA_SEED is a number"), 1),
        Err(_) => (u64::from_str_radix(&random_hex(5), 16).expect("hex digits"), histories() * share),
    };
    let neighbour = found_neighbour(world.server(0));
    let mut shops: Vec<_> = (first..first + count).map(|seed| (seed, Shop::new(seed, world, &neighbour))).collect();
    let before = each(test, &mut shops, |shop| {
        shop.live(STEPS, world)?;
        shop.audit(world)
    });
    world.restart();
    let after = each(test, &mut shops, |shop| {
        let fresh = shop.audit(world)?;
        shop.live(STEPS, world)?;
        Ok(fresh)
    });
    for ((seed, shop), (before, after)) in shops.iter().zip(before.iter().zip(&after)) {
        let [before, after] = [before, after].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(
            before == after,
            "{}",
            told(test, *seed, shop, &format!("before a restart {before}, after it {after}"))
        );
    }
    each(test, &mut shops, |shop| shop.storm(world));
}

/// Does something with all shops, some at a time; gives what came of each.
fn each<T: Send>(
    test: &str,
    shops: &mut [(u64, Shop)],
    work: impl Fn(&mut Shop) -> Result<T, String> + Sync,
) -> Vec<T> {
    let count = shops.len();
    let waiting = Mutex::new(shops.iter_mut().enumerate());
    let done = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                loop {
                    let Some((number, (seed, shop))) = waiting.lock().expect("nobody panics with it").next() else {
                        break;
                    };
                    let result = work(shop).map_err(|problem| told(test, *seed, shop, &problem));
                    done.lock().expect("nobody panics with it").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panics with it");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result.unwrap_or_else(|problem| panic!("{problem}"))).collect()
}

fn told(test: &str, seed: u64, shop: &Shop, problem: &str) -> String {
    format!("{problem}\n\nDELTA_SEED={seed} cargo test --test it delta::histories::{test}\n\n{}", shop.log.join("\n"))
}

/// A shop whose records the phones of the others name.
fn found_neighbour(server: &Server) -> Neighbour {
    let answer = Phone::new(server).sync(&json!({
        "item": {"create": [{"name": "Not yours", "price": 1, "stock": 1000}]},
        "invoice": {"create": [{"products": [{"itemName": "Not yours either", "costPerUnit": 1000, "quantity": 1}]}]},
    }));
    let answer = answer.expect_ok();
    let id = |list: &str| answer["synced"][list][0].as_str().expect("an id").to_owned();
    Neighbour { item: id("itemsCreated"), invoice: id("invoicesCreated") }
}

/// `DELTA_HISTORIES`, or else a few.
fn histories() -> u64 {
    std::env::var("DELTA_HISTORIES").map_or(8, |count| count.parse().expect("DELTA_HISTORIES is a number"))
}

/// The steps of a history before the restart, and after it.
const STEPS: usize = 8;

/// How many histories run at the same time.
const AT_ONCE: usize = 8;
