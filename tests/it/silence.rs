//! Of a request that is refused the log tells where and how it is wrong, and no value that the phone has sent.

use serde_json::{Value, json};

use crate::harness::{Connection, Phone, Request, Server, Setup, on_every_engine, token};

/// Stands in all that a phone can choose.
const MARK: &str = "Zqmark7";

/// The largest body and the most operations, so that one too many is soon there.
const MOST_BYTES: usize = 20_000;
const MOST_OPERATIONS: usize = 30;

on_every_engine! {
    fn no_value_of_a_refused_request_is_in_the_log(engine: Engine) {
        for format in ["json", "text"] {
            let setup = Setup::on(engine)
                .env("LOG", "trace")
                .env("LOG_FORMAT", format)
                .env("CORS_ORIGINS", "https://shop.example")
                .env("MAX_BODY_BYTES", MOST_BYTES.to_string())
                .env("MAX_OPERATIONS", MOST_OPERATIONS.to_string());
            let mut server = Server::start_ready(&setup);
            let phone = Phone::new(&server);
            phone.sync_with_key(&json!({"item": {"create": [{"name": MARK, "price": 1}]}}), "used").expect_ok();
            for (index, request) in refusals(&phone).into_iter().enumerate() {
                let answer = phone.send(request.header("X-Request-Id", &format!("{MARK} is no id")));
                assert!(answer.status >= 400, "request {index}: {}", String::from_utf8_lossy(&answer.bytes));
            }
            // What is taken with a warning, and what is no HTTP.
            phone.sync(&json!({MARK: MARK, "item": {MARK: [MARK], "create": [item(MARK, json!(MARK))]}})).expect_ok();
            phone.send(Request::new("GET", &format!("/api/sync/data?since={MARK}&{MARK}={MARK}"))).expect_ok();
            for bytes in [format!("GET /{MARK} HTTP/{MARK}\r\n\r\n"), format!("{MARK}\0{MARK}\r\n\r\n")] {
                let mut line = Connection::open(&phone);
                line.send(bytes.as_bytes());
                assert!(line.answer().0.starts_with("http/1.1 400"));
            }
            assert_eq!(server.terminate(), 0);

            let log = server.log();
            let telling: Vec<_> = log.iter().filter(|line| line.contains(MARK)).collect();
            assert!(telling.is_empty(), "{telling:#?}");
            for told in ["item.delete[0]", "invoice.create[0].products[0].quantity", "line 1 column", "wrong_type"] {
                assert!(log.iter().any(|line| line.contains("request refused") && line.contains(told)), "{told}");
            }
        }
    }
}

/// Every way to be refused.
fn refusals(phone: &Phone) -> Vec<Request> {
    let fine = || json!({"item": {"create": [{"name": MARK, "price": 1}]}});
    let bodies = bodies(&phone.client).into_iter();
    let mut all: Vec<_> = bodies.map(|body| Request::sync().json(&body)).collect();
    for path in ["/api/sync", "/api/sync/validate", "/api/sync/reconcile", "/api/readytosync"] {
        all.extend(broken_texts().map(|text| Request::new("POST", path).body(text)));
    }
    let keys = [format!("{MARK} {MARK}"), format!("\"{MARK}"), MARK.repeat(100)];
    all.extend(keys.iter().map(|key| Request::sync().header("X-Idempotency-Key", key).json(&fine())));
    all.extend([
        Request::sync().header("X-Idempotency-Key", "one").header("X-Idempotency-Key", "two").json(&fine()),
        Request::sync().header("X-Idempotency-Key", "used").json(&json!({"item": {"delete": [MARK]}})),
        Request::sync().header("Content-Encoding", MARK).json(&fine()),
        Request::sync().header("Authorization", &format!("Bearer {MARK}")).json(&fine()),
        Request::sync().header("Authorization", &format!("Bearer {}", token(MARK))).json(&fine()),
        Request::new("POST", &format!("/api/{MARK}")).json(&fine()),
        Request::new(MARK, "/api/sync").json(&fine()),
        Request::new("OPTIONS", "/api/sync").header("Origin", MARK).header("Access-Control-Request-Method", MARK),
        Request::new("POST", "/api/sync/reconcile")
            .json(&json!({"keys": [format!("{MARK} ")+MARK], "localIds": [{MARK: 1}]})),
        Request::new("POST", "/api/sync/reconcile").json(&json!({"keys": MARK, "localIds": vec![MARK; 2000]})),
    ]);
    let codings = ["gzip", "br", "zstd"];
    all.extend(codings.map(|coding| Request::sync().header("Content-Encoding", coding).body(MARK)));
    all
}

/// An item with one wrong value, or with one that is read and means nothing.
fn item(field: &str, value: Value) -> Value {
    let mut item = json!({"name": MARK, "price": 1});
    item[field] = value;
    item
}

/// JSON that is no batch, or one that cannot be applied.
fn bodies(client: &str) -> Vec<Value> {
    let create = |item: Value| json!({"item": {"create": [item]}});
    let invoice = |field: &str, value: Value| {
        let mut invoice = json!({"products": [{"itemName": MARK, "costPerUnit": 1, "quantity": 1}]});
        invoice[field] = value;
        json!({"invoice": {"create": [invoice]}})
    };
    let line = |field: &str, value: Value| {
        let mut line = json!({"itemName": MARK, "costPerUnit": 1, "quantity": 1});
        line[field] = value;
        invoice("products", json!([line]))
    };
    let pay = |invoice: &str, field: &str, value: Value| {
        let mut payment = json!({"invoiceId": invoice, "amount": 1});
        payment[field] = value;
        json!({"payment": {"create": [payment]}})
    };
    let (object, long) = (json!({MARK: MARK}), json!(MARK.repeat(500)));
    let (twins, client) = (
        json!([{"_id": MARK, "name": MARK, "price": 1}, {"_id": MARK, "name": MARK, "price": 1}]),
        client.to_owned() + MARK,
    );
    let mut all = vec![
        json!(MARK),
        json!([MARK]),
        json!({"clientId": client}),
        json!({"item": MARK, "invoice": [MARK], "payment": MARK}),
        json!({"item": {"create": MARK, "update": object, "delete": MARK}}),
        json!({"item": {"create": [MARK], "update": [MARK], "delete": [object]}}),
        json!({"item": {"create": twins, "delete": [MARK]}}),
        json!({"item": {"create": vec![json!({"name": MARK, "price": 1}); MOST_OPERATIONS + 1]}}),
        json!({"item": {"create": [{"name": MARK, "price": 1, "description": MARK.repeat(MOST_BYTES / 7)}]}}),
        json!({"item": {"update": [{"_id": MARK, "name": MARK, "price": 1}]}}),
        json!({"item": {"delete": [MARK]}}),
        json!({"data": MARK}),
        json!({"since": object}),
        line("quantity", json!(MARK)),
        line("costPerUnit", json!(MARK)),
        line("itemName", long.clone()),
        line("productId", object.clone()),
        pay(MARK, "amount", json!(MARK)),
        pay(MARK, "paidAt", json!(MARK)),
        pay(MARK, "invoiceId", json!(MARK)),
        pay("64b0000000000000000000ff", "note", json!(MARK)),
    ];
    for field in ["name", "unit", "description", "localId"] {
        all.push(create(item(field, if field == "description" { object.clone() } else { long.clone() })));
    }
    for field in ["price", "stock", "groupId", "dealerIds"] {
        all.push(create(item(field, json!(MARK))));
    }
    for field in ["clientCustomerId", "invoiceDate", "dueDate", "totalDiscount", "products", "paidAmount"] {
        all.push(invoice(field, json!(MARK)));
    }
    all
}

/// Texts that are no JSON.
fn broken_texts() -> impl Iterator<Item = String> {
    [
        format!("{{\"{MARK}\": \"{MARK}"),
        format!("{{\"{MARK}\": 1, \"{MARK}\": 2}}"),
        format!("{{\"item\": {MARK}}}"),
        MARK.to_owned(),
        format!("{{}} {MARK}"),
    ]
    .into_iter()
}
