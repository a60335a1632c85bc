//! Opens the shops: makes sure that nobody else uses them, and puts into each what its phones sell and pay on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use serde::Deserialize;
use tokio::time::sleep;

use crate::cli::storm::script::{Place, Script, ShopIds};
use crate::phone::{Answer, Phone, Route};

/// A shop of the load, ready for its phones.
#[derive(Debug)]
pub struct Shop {
    /// Its client.
    pub client: ObjectId,
    /// Its token and connections.
    pub phone: Phone,
    /// What its phones share.
    pub shared: Arc<ShopIds>,
    /// What each phone has for itself, from phone 1 on.
    pub shelves: Vec<ShopIds>,
}

/// How a shop is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How many phones it has.
    pub phones: u32,
    /// Whether the client was made for this run, so that it must be new to the server.
    pub must_be_new: bool,
    /// How long to go on if the server is away or overloaded.
    pub patience: Duration,
}

impl Shop {
    /// Opens a shop. The message says why it cannot be.
    ///
    /// # Errors
    /// One line.
    pub async fn open(script: &Script, number: u32, phone: Phone, terms: Terms) -> Result<Self, String> {
        let Ready { client_id: client } = read(&ask(&phone, Route::Ready, "", None, terms.patience).await?)?;
        if terms.must_be_new {
            let Pulled { revision } =
                read(&ask(&phone, Route::Sync, r#"{"data":"none"}"#, None, terms.patience).await?)?;
            if revision != 0 {
                return Err(format!("the random client {client} is in use already: nothing was done to it; try again"));
            }
        }
        let place = |phone| Place { shop: number, phone, sync: 0 };
        let mut opened = Vec::new();
        for number in 0..=terms.phones {
            let mut answers = Vec::new();
            for part in script.opening_parts(number) {
                let key = script.opening_key(place(number), &part);
                let body = script.opening_body(place(number), part);
                answers.push(ask(&phone, Route::Sync, &body, Some(&key), terms.patience).await?.body);
            }
            opened.push(script.opened(place(number), &answers)?);
        }
        let shared = Arc::new(opened.remove(0));
        Ok(Self { client, phone, shared, shelves: opened })
    }
}

/// Asks until there is a good answer.
async fn ask(phone: &Phone, route: Route, body: &str, key: Option<&str>, patience: Duration) -> Result<Answer, String> {
    let deadline = Instant::now() + patience;
    loop {
        let (wait, why) = match phone.send(route, body.to_owned(), key).await {
            Ok(answer) if answer.is_ok() => return Ok(answer),
            Ok(answer) => {
                let why = refusal(&answer);
                if !answer.asks_to_come_again() {
                    return Err(why);
                }
                (answer.retry_after, why)
            }
            Err(error) => (None, error.to_string()),
        };
        let wait = wait.unwrap_or(Duration::from_millis(200));
        if Instant::now() + wait > deadline {
            return Err(why);
        }
        sleep(wait).await;
    }
}

fn refusal(answer: &Answer) -> String {
    let Told { message, code } = serde_json::from_slice(&answer.body).unwrap_or_default();
    let hint = match answer.status {
        401 => ": is the secret (JWT_SECRET or DATA_DIR) or the token this server's?",
        413 => ": the server's limits (GET /api/sync/limits) are too small for what opens a shop",
        _ => "",
    };
    format!("the server refuses with {} {code} ({message}){hint}", answer.status)
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, String> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("this is no viveka-sync server: {error}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    client_id: ObjectId,
}

#[derive(Deserialize)]
struct Pulled {
    revision: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    message: String,
    code: String,
}
