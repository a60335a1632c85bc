//! Bodies that no honest phone sends: each is refused as a whole, in words, and leaves nothing behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::errors::refuse;
use crate::harness::{Phone, Request, Server, Setup, on_every_engine};

/// Sends bytes as they are, and gives the one answer that comes, as text. The server must not wait for more.
pub(super) fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that has refused the request may close before it has heard the end of it.
    let sent = stream.write_all(bytes);
    let mut answer = String::new();
    let mut chunk = [0; 4096];
    while !is_complete(&answer) {
        match stream.read(&mut chunk) {
            Ok(length @ 1..) => answer += std::str::from_utf8(&chunk[..length]).unwrap(),
            end => panic!("the answer broke off ({end:?}; the request: {sent:?}): {answer}"),
        }
    }
    answer
}

/// Whether an answer has come to the end that its `Content-Length` states.
fn is_complete(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// A client of which nothing has ever been written.
#[track_caller]
pub(super) fn assert_untouched(phone: &Phone) {
    let answer = phone.pull().expect_ok();
    assert_eq!(answer["revision"], 0, "{answer}");
    for (name, list) in answer["data"].as_object().unwrap() {
        assert_eq!(*list, json!([]), "{name}");
    }
}

/// A sync with this body.
fn raw(body: impl Into<Vec<u8>>) -> Request {
    Request::sync().body(body)
}

/// The body is refused as no JSON.
#[track_caller]
fn assert_malformed(phone: &Phone, body: impl Into<Vec<u8>>) {
    refuse(phone, raw(body), 400, "malformed_json");
}

/// The batch is refused for exactly one problem, of this kind at this path.
#[track_caller]
fn assert_problem(phone: &Phone, batch: &Value, code: &str, path: &str) {
    let answer = phone.send(Request::sync().json(batch));
    assert_eq!(answer.status, 400, "{path} takes {batch}");
    let body = refuse(phone, Request::sync().json(batch), 400, "invalid_batch");
    let found: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| (&error["code"], &error["path"])).collect();
    assert_eq!(found, [(&json!(code), &json!(path))], "for {batch}");
}

/// An operation that would be fine, and where it stands in a batch.
struct Operation {
    list: &'static str,
    good: Value,
}

impl Operation {
    fn item_create() -> Self {
        Self { list: "/item/create", good: json!({"name": "Tea", "price": 1}) }
    }

    fn item_update() -> Self {
        Self { list: "/item/update", good: json!({"_id": "64b0000000000000000000ff"}) }
    }

    fn invoice_create() -> Self {
        Self {
            list: "/invoice/create",
            good: json!({"products": [{"itemName": "Tea", "costPerUnit": 1, "quantity": 1}]}),
        }
    }

    fn payment_create() -> Self {
        Self { list: "/payment/create", good: json!({"invoiceId": "64b0000000000000000000ff", "amount": 1}) }
    }

    /// A batch of this operation with a field, given as a pointer into it, set to a value.
    fn with(&self, field: &str, value: &Value) -> Value {
        let mut operation = self.good.clone();
        let (parent, name) = field.rsplit_once('/').unwrap();
        match operation.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value.clone(),
            object => object[name] = value.clone(),
        }
        batch(self.list, operation)
    }

    /// Each of these values in each of these fields is the one problem of its batch.
    #[track_caller]
    fn refuses(&self, phone: &Phone, fields: &[&str], code: &str, values: &[Value]) {
        for field in fields {
            for value in values {
                assert_problem(phone, &self.with(field, value), code, &format!("{}/0{field}", self.list));
            }
        }
        assert_untouched(phone);
    }
}

/// A batch of one operation.
fn batch(list: &str, operation: Value) -> Value {
    let (section, list) = list.trim_start_matches('/').split_once('/').unwrap();
    json!({section: {list: [operation]}})
}

/// What is no text.
fn no_texts() -> [Value; 6] {
    [json!(1), json!(1.5), json!(true), json!([]), json!(["Tea"]), json!({})]
}

/// What is no number.
fn no_numbers() -> [Value; 6] {
    [json!("1"), json!(""), json!(false), json!([]), json!([1]), json!({"$numberInt": "1"})]
}

/// What is no list.
fn no_lists() -> [Value; 6] {
    [json!("[]"), json!(""), json!(0), json!(true), json!({}), json!({"0": {}})]
}

/// What is no object.
fn no_objects() -> [Value; 6] {
    [json!("{}"), json!(""), json!(0), json!(true), json!([]), json!([["name", "Tea"]])]
}

/// What names no record.
fn no_references() -> [Value; 5] {
    [json!(1.5), json!(1e300), json!(true), json!([1]), json!({"$oid": "64b0000000000000000000ff"})]
}

/// What is no id of an existing record.
fn no_ids() -> [Value; 9] {
    let hex = "64b0000000000000000000ff";
    [
        json!(1),
        json!(true),
        json!([hex]),
        json!({"$oid": hex}),
        json!(""),
        json!("1"),
        json!(hex[1..]),
        json!(format!("{hex}0")),
        json!(format!("{}g", &hex[1..])),
    ]
}

/// Numbers that are not below 10^11 in size.
fn large_numbers() -> [Value; 8] {
    [
        json!(100_000_000_000_i64),
        json!(1e11),
        json!(99_999_999_999.999_95),
        json!(-1e11),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(-1.797e308),
    ]
}

/// The body in this coding.
fn encoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap();
        }
        "br" => brotli::CompressorWriter::new(&mut out, 4096, 1, 22).write_all(body).unwrap(),
        "zstd" => zstd::stream::copy_encode(body, &mut out, 3).unwrap(),
        other => panic!("no coder for {other}"),
    }
    out
}

/// A sync whose body is said to have this coding.
fn coded(coding: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::sync().header("Content-Encoding", coding).body(body)
}

on_every_engine! {
    fn broken_json_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for body in [
            " ", "\0", "{", "}", "[", "{]", "nul", "TRUE", "'a'", "{a:1}", "{'a':1}", "{\"a\"}", "{\"a\":}",
            "{\"a\":1,}", "[1,]", "[1 2]", "{}{}", "{} x", "{}\0", "{\"a\":\"tab\there\"}", "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}", "{\"item\":{\"create\":[{\"name\":\"Tea\",\"price\":1}]}", "{/*no*/}",
            "item=1&price=2", "<batch/>",
        ] {
            assert_malformed(&phone, body);
        }
        assert_untouched(&phone);
    }

    fn a_byte_order_mark_and_other_encodings_are_refused(server: &Server) {
        let phone = Phone::new(server);
        assert_malformed(&phone, "\u{feff}{}");
        for swap in [false, true] {
            let two_bytes = |unit: u16| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() };
            assert_malformed(&phone, "{\"item\":null}".encode_utf16().flat_map(two_bytes).collect::<Vec<u8>>());
        }
        assert_untouched(&phone);
    }

    fn text_that_is_not_utf8_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for bytes in [&b"\xff"[..], b"\xc3", b"\xc3(", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"caf\xe9"] {
            let body = [b"{\"item\":{\"create\":[{\"name\":\"", bytes, b"\",\"price\":1}]}}"].concat();
            assert_malformed(&phone, body);
            assert_malformed(&phone, [b"{\"", bytes, b"\":1}"].concat());
        }
        assert_untouched(&phone);
    }

    fn lone_surrogates_are_refused(server: &Server) {
        let phone = Phone::new(server);
        for text in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\udc00\ud800", r"\ud83dx", r"\ud83d\n"] {
            assert_malformed(&phone, format!(r#"{{"item":{{"create":[{{"name":"{text}","price":1}}]}}}}"#));
        }
        assert_untouched(&phone);
    }

    fn bottomless_json_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":[", "]}]")] {
            for depth in [200, 100_000] {
                let deep = format!("{}null{}", open.repeat(depth), close.repeat(depth));
                assert_malformed(&phone, deep.clone());
                let item = format!(r#"{{"name":"Tea","price":1,"more":{deep}}}"#);
                assert_malformed(&phone, format!(r#"{{"item":{{"create":[{item}]}}}}"#));
                assert_malformed(&phone, open.repeat(depth));
            }
        }
        assert_untouched(&phone);
    }

    fn a_member_may_not_stand_twice(server: &Server) {
        let phone = Phone::new(server);
        for body in [
            r#"{"item":null,"item":{"create":[{"name":"Tea","price":1}]}}"#,
            r#"{"item":{"create":[],"create":[{"name":"Tea","price":1}]}}"#,
            r#"{"item":{"create":[{"name":"Tea","price":1,"price":2}]}}"#,
            r#"{"item":{"create":[{"name":"Tea","price":1,"pric\u0065":1}]}}"#,
            r#"{"item":{"create":[{"name":"Tea","price":1,"unknown":{"a":1,"a":1}}]}}"#,
            r#"{"clientId":null,"clientId":"64b000000000000000000001"}"#,
        ] {
            assert_malformed(&phone, body);
        }
        let long = "long name ".repeat(100_000);
        assert_malformed(&phone, format!("{{\"{long}\":1,\"{long}\":1}}"));
        assert_untouched(&phone);
    }

    fn literals_that_json_does_not_have_are_refused(server: &Server) {
        let phone = Phone::new(server);
        for number in [
            "NaN", "Infinity", "-Infinity", "inf", "undefined", "1e400", "-1e400", "+1", "01", ".5", "1.", "1e",
            "0x10", "1_000", "1,5", "--1", "- 1", "1n", "1e309", "\u{664}",
        ] {
            assert_malformed(&phone, format!(r#"{{"item":{{"create":[{{"name":"Tea","price":{number}}}]}}}}"#));
        }
        let digits = "9".repeat(400);
        assert_malformed(&phone, format!(r#"{{"item":{{"create":[{{"name":"Tea","price":{digits}}}]}}}}"#));
        assert_untouched(&phone);
    }

    fn a_batch_is_an_object(server: &Server) {
        let phone = Phone::new(server);
        for body in no_objects().iter().chain([&Value::Null]) {
            assert_problem(&phone, body, "wrong_type", "");
        }
        assert_untouched(&phone);
    }

    fn a_section_is_an_object(server: &Server) {
        let phone = Phone::new(server);
        for section in ["item", "invoice", "payment"] {
            for value in no_objects() {
                assert_problem(&phone, &json!({section: value}), "wrong_type", &format!("/{section}"));
            }
        }
        assert_untouched(&phone);
    }

    fn a_section_holds_lists(server: &Server) {
        let phone = Phone::new(server);
        for (section, list) in
            [("item", "create"), ("item", "update"), ("item", "delete"), ("invoice", "create"), ("payment", "create")]
        {
            for value in no_lists() {
                assert_problem(&phone, &json!({section: {list: value}}), "wrong_type", &format!("/{section}/{list}"));
            }
        }
        assert_untouched(&phone);
    }

    fn an_operation_is_an_object(server: &Server) {
        let phone = Phone::new(server);
        for list in ["/item/create", "/item/update", "/invoice/create", "/payment/create"] {
            for value in no_objects().into_iter().chain([Value::Null]) {
                assert_problem(&phone, &batch(list, value), "wrong_type", &format!("{list}/0"));
            }
        }
        assert_untouched(&phone);
    }

    fn a_line_is_an_object(server: &Server) {
        let phone = Phone::new(server);
        Operation::invoice_create().refuses(&phone, &["/products/0"], "wrong_type", &no_objects());
        Operation::invoice_create().refuses(&phone, &["/products/0"], "wrong_type", &[Value::Null]);
    }

    fn a_deleted_item_is_a_reference(server: &Server) {
        let phone = Phone::new(server);
        for value in no_references().into_iter().chain([Value::Null]) {
            assert_problem(&phone, &json!({"item": {"delete": [value]}}), "wrong_type", "/item/delete/0");
        }
        for value in ["", " \t\r\n"] {
            assert_problem(&phone, &json!({"item": {"delete": [value]}}), "missing", "/item/delete/0");
        }
        assert_untouched(&phone);
    }

    fn the_fields_of_a_new_item_have_types(server: &Server) {
        let (phone, item) = (Phone::new(server), Operation::item_create());
        item.refuses(&phone, &["/name", "/unit", "/description"], "wrong_type", &no_texts());
        item.refuses(&phone, &["/price", "/stock", "/lowStockQuantity"], "wrong_type", &no_numbers());
        item.refuses(&phone, &["/groupId"], "invalid_id", &no_ids());
        item.refuses(&phone, &["/dealerIds"], "wrong_type", &no_lists());
        let item = Operation { good: json!({"name": "Tea", "price": 1, "dealerIds": [null]}), ..item };
        item.refuses(&phone, &["/dealerIds/0"], "invalid_id", &no_ids());
        item.refuses(&phone, &["/dealerIds/0"], "invalid_id", &[Value::Null]);
    }

    fn the_fields_of_an_updated_item_have_types(server: &Server) {
        let (phone, item) = (Phone::new(server), Operation::item_update());
        item.refuses(&phone, &["/name", "/unit", "/description"], "wrong_type", &no_texts());
        item.refuses(&phone, &["/price", "/stock", "/lowStockQuantity"], "wrong_type", &no_numbers());
        item.refuses(&phone, &["/groupId"], "invalid_id", &no_ids());
        item.refuses(&phone, &["/dealerIds"], "wrong_type", &no_lists());
        item.refuses(&phone, &["/_id"], "wrong_type", &no_references());
        item.refuses(&phone, &["/_id"], "missing", &[json!(null), json!(""), json!("  ")]);
        let no_flags = [json!(0), json!(1), json!("true"), json!(""), json!([]), json!({})];
        item.refuses(&phone, &["/isActive"], "wrong_type", &no_flags);
    }

    fn the_fields_of_a_new_invoice_have_types(server: &Server) {
        let (phone, invoice) = (Phone::new(server), Operation::invoice_create());
        let texts = ["/clientCustomerName", "/clientCustomerPhone", "/invoiceNumber", "/notes"];
        invoice.refuses(&phone, &texts, "wrong_type", &no_texts());
        let amounts = ["/subtotal", "/totalTax", "/totalDiscount", "/totalAmount", "/paidAmount"];
        invoice.refuses(&phone, &amounts, "wrong_type", &no_numbers());
        invoice.refuses(&phone, &["/invoiceDate", "/dueDate"], "wrong_type", &no_texts());
        invoice.refuses(&phone, &["/clientCustomerId"], "invalid_id", &no_ids());
        invoice.refuses(&phone, &["/products"], "wrong_type", &no_lists());
        invoice.refuses(&phone, &["/products"], "missing", &[json!(null), json!([])]);
    }

    fn the_fields_of_a_line_have_types(server: &Server) {
        let (phone, invoice) = (Phone::new(server), Operation::invoice_create());
        let texts = ["/products/0/itemName", "/products/0/itemGroup", "/products/0/unit", "/products/0/description"];
        invoice.refuses(&phone, &texts, "wrong_type", &no_texts());
        let amounts = ["/products/0/quantity", "/products/0/costPerUnit", "/products/0/stock"];
        invoice.refuses(&phone, &amounts, "wrong_type", &no_numbers());
        invoice.refuses(&phone, &["/products/0/productId"], "wrong_type", &no_references());
    }

    fn the_fields_of_a_new_payment_have_types(server: &Server) {
        let (phone, payment) = (Phone::new(server), Operation::payment_create());
        payment.refuses(&phone, &["/method", "/note", "/paidAt"], "wrong_type", &no_texts());
        payment.refuses(&phone, &["/amount"], "wrong_type", &no_numbers());
        payment.refuses(&phone, &["/invoiceId"], "wrong_type", &no_references());
        payment.refuses(&phone, &["/invoiceId"], "missing", &[json!(null), json!(""), json!("  ")]);
    }

    fn dates_are_dates(server: &Server) {
        let phone = Phone::new(server);
        let no_dates = [
            "", "now", "2025", "2025-13-01", "2025-02-29", "12-01-2025", "2025-1-2", "2025-01-12T00:00:00",
            "2025-01-12T25:00:00Z", "1736640000000", "10000-01-01", "0000-12-31", "-2025-01-01", "Sun, 12 Jan 2025",
        ]
        .map(Value::from);
        Operation::invoice_create().refuses(&phone, &["/invoiceDate", "/dueDate"], "invalid_date", &no_dates);
        Operation::payment_create().refuses(&phone, &["/paidAt"], "invalid_date", &no_dates);
    }

    fn numbers_are_below_ten_to_the_eleven(server: &Server) {
        let phone = Phone::new(server);
        let large = large_numbers();
        let prices = ["/price", "/stock", "/lowStockQuantity"];
        Operation::item_create().refuses(&phone, &prices, "out_of_range", &large);
        Operation::item_update().refuses(&phone, &prices, "out_of_range", &large);
        Operation::payment_create().refuses(&phone, &["/amount"], "out_of_range", &large);
        let sums = ["/subtotal", "/totalTax", "/totalDiscount", "/totalAmount", "/paidAmount"];
        Operation::invoice_create().refuses(&phone, &sums, "out_of_range", &large);
        let line = ["/products/0/quantity", "/products/0/costPerUnit", "/products/0/stock"];
        Operation::invoice_create().refuses(&phone, &line, "out_of_range", &large);
    }

    fn sums_are_below_ten_to_the_eleven(server: &Server) {
        let phone = Phone::new(server);
        let most = 99_999_999_999_i64;
        for invoice in [
            json!({"products": [{"itemName": "Tea", "costPerUnit": most, "quantity": most}]}),
            json!({"products": vec![json!({"itemName": "Tea", "costPerUnit": most, "quantity": 1}); 2]}),
            json!({"products": [{"itemName": "Tea", "costPerUnit": most, "quantity": 1}], "totalTax": 1}),
        ] {
            let batch = batch("/invoice/create", invoice);
            assert_problem(&phone, &batch, "out_of_range", "/invoice/create/0/totalAmount");
        }
        assert_untouched(&phone);
    }

    fn the_largest_number_is_kept_to_the_last_digit(server: &Server) {
        let phone = Phone::new(server);
        let body = r#"{"item":{"create":[{"name":"Tea","price":99999999999.9999,"stock":99999999999.99994}]}}"#;
        let answer = phone.send(raw(body));
        assert_eq!(answer.expect_ok()["data"]["items"][0]["price"].to_string(), "99999999999.9999");
        assert_eq!(answer.json()["data"]["items"][0]["stock"].to_string(), "99999999999.9999");
    }

    fn what_rounds_to_nothing_is_nothing(server: &Server) {
        let phone = Phone::new(server);
        let nothings = [json!(0), json!(-0.0), json!(0.000_049), json!(1e-300), json!(-1), json!(-1e-300)];
        Operation::payment_create().refuses(&phone, &["/amount"], "out_of_range", &nothings);
        Operation::invoice_create().refuses(&phone, &["/products/0/quantity"], "out_of_range", &nothings);
    }

    fn what_may_not_be_negative_is_not(server: &Server) {
        let phone = Phone::new(server);
        let negative = [json!(-1), json!(-0.0001), json!(-99_999_999_999_i64)];
        let prices = ["/price", "/stock", "/lowStockQuantity"];
        Operation::item_create().refuses(&phone, &prices, "out_of_range", &negative);
        Operation::item_update().refuses(&phone, &prices, "out_of_range", &negative);
        Operation::invoice_create().refuses(&phone, &["/paidAmount", "/products/0/stock"], "out_of_range", &negative);
    }

    fn a_batch_has_ten_thousand_operations_at_most(server: &Server) {
        let phone = Phone::new(server);
        let create = vec![json!({}); 5000];
        let operations = |count: usize| json!({"item": {"create": create, "delete": vec![1; count - 5000]}});
        refuse(&phone, Request::sync().json(&operations(10_001)), 413, "too_many_operations");
        refuse(&phone, Request::sync().json(&operations(10_000)), 400, "invalid_batch");
        assert_untouched(&phone);
    }

    fn a_batch_has_a_hundred_thousand_lines_at_most(server: &Server) {
        let phone = Phone::new(server);
        let lines = |count: usize| {
            let mut invoices = vec![json!({"products": vec![json!({}); 1000]}); count / 1000];
            invoices.push(json!({"products": vec![json!({}); count % 1000]}));
            json!({"invoice": {"create": invoices}})
        };
        refuse(&phone, Request::sync().json(&lines(100_001)), 413, "too_many_operations");
        refuse(&phone, Request::sync().json(&lines(100_000)), 400, "invalid_batch");
        assert_untouched(&phone);
    }

    fn an_invoice_has_a_thousand_lines_at_most(server: &Server) {
        let phone = Phone::new(server);
        let invoice = json!({"products": vec![json!({"itemName": "Tea", "costPerUnit": 1, "quantity": 1}); 1001]});
        assert_problem(&phone, &batch("/invoice/create", invoice), "invalid_length", "/invoice/create/0/products");
        assert_untouched(&phone);
    }

    fn millions_of_values_are_refused(server: &Server) {
        let phone = Phone::new(server);
        for value in ["[]", "0", "{}", "\"\"", "{\"\":0}"] {
            let many = vec![value; 2_100_000].join(",");
            refuse(&phone, raw(format!("[{many}]")), 413, "too_many_operations");
        }
        assert_untouched(&phone);
    }

    fn a_body_of_more_than_sixteen_mebibytes_is_refused(server: &Server) {
        let phone = Phone::new(server);
        refuse(&phone, raw(" ".repeat((16 << 20) + 1)), 413, "payload_too_large");
        assert_untouched(&phone);
    }

    fn bodies_come_in_three_codings(server: &Server) {
        let phone = Phone::new(server);
        let body = br#"{"item":{"create":[{"name":"Tea","price":1}]}}"#;
        for coding in ["gzip", "br", "zstd"] {
            phone.send(coded(coding, encoded(coding, body))).expect_ok();
        }
        phone.send(coded("GZIP", encoded("gzip", body))).expect_ok();
        phone.send(coded("x-gzip", encoded("gzip", body))).expect_ok();
        phone.send(coded("identity", body)).expect_ok();
        let two_members = [encoded("gzip", &body[..20]), encoded("gzip", &body[20..])].concat();
        phone.send(coded("gzip", two_members)).expect_ok();
        assert_eq!(phone.pull().expect_ok()["data"]["items"].as_array().unwrap().len(), 7);
    }

    fn a_coding_on_no_body_is_a_pull(server: &Server) {
        let phone = Phone::new(server);
        for coding in ["gzip", "br", "zstd", "identity"] {
            assert_eq!(phone.send(coded(coding, "")).expect_ok()["revision"], 0, "{coding}");
        }
    }

    fn a_body_that_is_not_of_its_coding_is_refused(server: &Server) {
        let phone = Phone::new(server);
        let body = format!(r#"{{"item":{{"create":[{{"name":"{}","price":1}}]}}}}"#, "Tea ".repeat(40));
        for coding in ["gzip", "br", "zstd"] {
            let whole = encoded(coding, body.as_bytes());
            refuse(&phone, coded(coding, body.clone()), 400, "malformed_json");
            refuse(&phone, coded(coding, &whole[..whole.len() - 1]), 400, "malformed_json");
            refuse(&phone, coded(coding, &whole[..whole.len() / 2]), 400, "malformed_json");
            refuse(&phone, coded("identity", whole), 400, "malformed_json");
        }
        let mut damaged = encoded("gzip", body.as_bytes());
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        refuse(&phone, coded("gzip", damaged), 400, "malformed_json");
        assert_untouched(&phone);
    }

    fn an_unknown_coding_and_several_are_refused(server: &Server) {
        let phone = Phone::new(server);
        let twice = encoded("gzip", &encoded("gzip", b"{}"));
        for coding in ["deflate", "compress", "lzma", "utf-8", "*", "gzip, gzip", "gzip,br", "gzip;q=1"] {
            refuse(&phone, coded(coding, twice.clone()), 415, "unsupported_encoding");
        }
        refuse(&phone, coded("gzip", twice).header("Content-Encoding", "gzip"), 415, "unsupported_encoding");
        assert_untouched(&phone);
    }

    fn an_alias_has_two_hundred_characters_at_most(server: &Server) {
        let phone = Phone::new(server);
        for (operation, kind) in [
            (Operation::item_create(), "items"),
            (Operation::invoice_create(), "invoices"),
            (Operation::payment_create(), "payments"),
        ] {
            for length in [201, 100_000] {
                let batch = operation.with("/_id", &json!("😀".repeat(length)));
                assert_problem(&phone, &batch, "invalid_length", &format!("{}/0/_id", operation.list));
            }
            if kind != "payments" {
                let alias = "😀".repeat(200);
                let other = Phone::new(server);
                let answer = other.sync(&operation.with("/_id", &json!(alias))).expect_ok();
                assert!(answer["idMap"][kind][&alias].is_string(), "{kind}");
            }
        }
        assert_untouched(&phone);
    }

    fn strange_references_name_nothing(server: &Server) {
        let phone = Phone::new(server);
        let huge = "😀".repeat(100_000);
        for reference in [
            "\0", "a\0b", "\"", "'", "' OR 1=1 --", "{\"$ne\":null}", "$where", "a.b", "../../etc/passwd", "%s%n",
            "\u{202e}", "\u{feff}", "naïve", "日本語", "😀", "64b0000000000000000000fg", "６４b0000000000000000000ff",
            "twelve bytes", "-1", "1e3", "null", "undefined", "\u{7f}\u{1b}[31m", "<script>", &huge,
        ] {
            for batch in [
                json!({"item": {"update": [{"_id": reference, "price": 1}]}}),
                json!({"item": {"delete": [reference]}}),
                json!({"invoice": {"create": [{"products": [{"productId": reference, "quantity": 1}]}]}}),
                json!({"payment": {"create": [{"invoiceId": reference, "amount": 1}]}}),
            ] {
                let body = refuse(&phone, Request::sync().json(&batch), 422, "batch_rejected");
                assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{body}");
                assert_eq!(body["errors"][0]["code"], "not_found", "{body}");
            }
        }
        assert_untouched(&phone);
    }

    fn a_huge_alias_of_two_items_is_refused_in_few_words(server: &Server) {
        let phone = Phone::new(server);
        let alias = "x".repeat(100_000);
        let create = json!({"_id": alias, "name": "Tea", "price": 1});
        let batch = json!({"item": {"create": [create, create], "delete": [alias]}});
        let body = refuse(&phone, Request::sync().json(&batch), 400, "invalid_batch");
        assert_eq!(body["errors"].as_array().unwrap().last().unwrap()["code"], "ambiguous_reference");
        assert_untouched(&phone);
    }

    fn huge_field_names_are_warned_of_in_few_words(server: &Server) {
        let phone = Phone::new(server);
        let name = "~/\0\"😀".repeat(20_000);
        let answer = phone.sync(&Operation::item_create().with(&format!("/{}", "x".repeat(100_000)), &json!(1)));
        assert!(answer.bytes.len() < 3000, "{} bytes", answer.bytes.len());
        assert_eq!(answer.expect_ok()["warnings"][0]["code"], "unknown_field");
        let answer = phone.sync(&json!({name: 1}));
        assert!(answer.bytes.len() < 5000, "{} bytes", answer.bytes.len());
        assert_eq!(answer.expect_ok()["warnings"][0]["code"], "unknown_field");
    }

    fn texts_are_measured_in_characters(server: &Server) {
        let phone = Phone::new(server);
        let (item, line) = (Operation::item_create(), Operation::invoice_create());
        let payment = Operation::payment_create();
        for (operation, field, most) in [
            (&item, "/name", 200),
            (&item, "/unit", 20),
            (&item, "/description", 2000),
            (&line, "/products/0/itemName", 200),
            (&line, "/products/0/itemGroup", 200),
            (&line, "/products/0/unit", 20),
            (&line, "/products/0/description", 2000),
            (&line, "/clientCustomerName", 200),
            (&line, "/clientCustomerPhone", 200),
            (&line, "/invoiceNumber", 200),
            (&line, "/notes", 2000),
            (&payment, "/method", 200),
            (&payment, "/note", 2000),
        ] {
            let too_long = [json!("😀".repeat(most + 1)), json!("x".repeat(50_000))];
            operation.refuses(&phone, &[field], "invalid_length", &too_long);
            // A payment is on an invoice that nobody has: well-formed all the same.
            let longest = Phone::new(server).sync(&operation.with(field, &json!("😀".repeat(most))));
            assert_eq!(longest.status, if operation.list == payment.list { 422 } else { 200 }, "{field}");
        }
    }

    fn texts_are_trimmed_before_they_are_measured(server: &Server) {
        let phone = Phone::new(server);
        let space = " \t\r\n\u{a0}\u{3000}".repeat(100);
        let padded = |text: &str| json!(format!("{space}{text}{space}"));
        let (name, unit) = (padded("Tea"), padded("kg"));
        let item = json!({"_id": padded("a"), "name": name, "price": 1, "unit": unit, "description": space});
        let invoice = json!({
            "invoiceDate": padded("2025-01-12"),
            "notes": padded("two words"),
            "products": [{"productId": padded("a"), "itemName": padded("Green tea"), "quantity": 1}],
        });
        let answer = phone.sync(&json!({"item": {"create": [item]}, "invoice": {"create": [invoice]}})).expect_ok();
        let (item, invoice) = (&answer["data"]["items"][0], &answer["data"]["invoices"][0]);
        assert_eq!((&item["name"], &item["unit"], &item["description"]), (&json!("Tea"), &json!("kg"), &json!("")));
        assert_eq!(answer["idMap"]["items"]["a"], item["_id"]);
        assert_eq!(invoice["notes"], "two words");
        assert_eq!(invoice["invoiceDate"], "2025-01-12T00:00:00.000Z");
        assert_eq!(invoice["products"][0]["itemName"], "Green tea");
    }

    fn blank_text_is_none_where_some_is_required(server: &Server) {
        let phone = Phone::new(server);
        let blanks = [json!(""), json!("   "), json!("\u{a0}\n")];
        Operation::item_create().refuses(&phone, &["/name"], "missing", &blanks);
        Operation::invoice_create().refuses(&phone, &["/products/0/itemName"], "missing", &blanks);
        Operation::item_create().refuses(&phone, &["/unit"], "invalid_length", &blanks);
        Operation::item_update().refuses(&phone, &["/name", "/unit"], "invalid_length", &blanks);
    }
}

#[test]
fn a_body_over_the_limit_gets_an_answer_that_can_be_read() {
    let server = Server::start(&Setup::embedded().env("MAX_BODY_BYTES", "2048"));
    let phone = Phone::new(&server);
    for length in [2049, 100_000, 20_000_000] {
        refuse(&phone, raw(" ".repeat(length)), 413, "payload_too_large");
    }
    assert_untouched(&phone);
}

#[test]
fn a_phone_that_sends_all_of_a_large_body_before_it_listens_can_read_the_413() {
    let server = Server::start(&Setup::embedded().env("MAX_BODY_BYTES", "2048"));
    let phone = Phone::new(&server);
    let head = format!("POST /api/sync HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {}\r\n", phone.token);
    for length in [2049, 100_000, 20_000_000] {
        let request = format!("{head}Content-Length: {length}\r\n\r\n{}", " ".repeat(length));
        let answer = exchange(&server, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"code\":\"payload_too_large\""), "{answer}");
    }
    assert_untouched(&phone);
}

#[test]
fn a_chunked_body_over_the_limit_gets_an_answer_before_its_end() {
    let server = Server::start(&Setup::embedded().env("MAX_BODY_BYTES", "2048"));
    let phone = Phone::new(&server);
    let head = format!("POST /api/sync HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {}\r\n", phone.token);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    for chunks in [3, 50, 20_000] {
        let request = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(chunks));
        let answer = exchange(&server, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"code\":\"payload_too_large\""), "{answer}");
    }
    let small = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n");
    assert!(exchange(&server, small.as_bytes()).starts_with("HTTP/1.1 200 "));
    assert_untouched(&phone);
}

/// What one hostile request may make of a server, in MB.
const MOST_MEMORY: u64 = 300;

/// The most memory that a server has ever had, in MB.
fn peak_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn compression_bombs_are_refused_within_bounded_memory() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    for filling in [b' ', 0] {
        let part = vec![filling; 17_000_000];
        for coding in ["gzip", "br", "zstd"] {
            // The first part alone is too much; three of them are 50 MB and quicker to make than one of 50 MB.
            let bomb = encoded(coding, &part).repeat(3);
            refuse(&phone, coded(coding, bomb), 413, "payload_too_large");
        }
    }
    assert_untouched(&phone);
    assert!(peak_memory(&server) < MOST_MEMORY, "{} MB", peak_memory(&server));
}

#[test]
fn bodies_that_unfold_in_memory_are_refused_or_read_within_bounded_memory() {
    let many = |value: &str, count: usize| vec![value; count].join(",");
    let unknown = |value: &str, count: usize| format!("{{\"x\":[{}]}}", many(value, count));
    let dealers =
        |count| format!(r#"{{"item":{{"create":[{{"name":"Tea","price":1,"dealerIds":[{}]}}]}}}}"#, many("0", count));
    let line = r#"{"quantity":"","stock":"","unit":0,"description":0}"#;
    let invoices = many(&format!("{{\"products\":[{}]}}", many(line, 1000)), 100);
    let mut failures = Vec::new();
    for (name, body) in [
        ("few lists", unknown("[]", 900_000)),
        ("many lists", unknown("[]", 1_500_000)),
        ("few texts", unknown("\"\"", 900_000)),
        ("few objects", unknown("{\"\":0}", 490_000)),
        ("many objects", unknown("{\"\":0}", 1_500_000)),
        ("many operations", format!("{{\"item\":{{\"create\":[{}]}}}}", many("0", 1_900_000))),
        ("few nests", unknown("[[[[0]]]]", 190_000)),
        ("many nests", unknown("[[[[0]]]]", 1_500_000)),
        ("many problems of one item", dealers(900_000)),
        ("many problems of many lines", format!(r#"{{"invoice":{{"create":[{invoices}]}}}}"#)),
    ] {
        let server = Server::start(&Setup::embedded());
        let phone = Phone::new(&server);
        let answer = phone.send(raw(body));
        assert!([200, 400, 413].contains(&answer.status), "{name}: {}", answer.status);
        assert!(answer.bytes.len() < 50_000, "{name}: {} bytes", answer.bytes.len());
        assert_untouched(&phone);
        if peak_memory(&server) >= MOST_MEMORY {
            failures.push(format!("{name}: {} MB", peak_memory(&server)));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_brotli_body_may_not_ask_for_a_large_window() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    // `{` and `}`, each in a block of its own, and the end; by the first two bytes in a window of 2^30 bytes.
    let body = [0x11, 0x1e, 0x00, 0x00, 0x02, 0x7b, 0x00, 0x00, 0x08, 0x7d, 0x03];
    for _ in 0..8 {
        refuse(&phone, coded("br", body.to_vec()), 400, "malformed_json");
    }
    let peak = peak_memory(&server);
    assert!(peak < MOST_MEMORY, "{peak} MB");
}

#[test]
fn a_zstd_body_may_not_ask_for_a_large_window() {
    let server = Server::start(&Setup::embedded());
    let phone = Phone::new(&server);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"{}").unwrap();
    refuse(&phone, coded("zstd", encoder.finish().unwrap()), 400, "malformed_json");
    assert!(peak_memory(&server) < MOST_MEMORY, "{} MB", peak_memory(&server));
}
