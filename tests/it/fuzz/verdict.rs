//! What may be wrong with an answer, with what it leaves behind, and with the server.

use std::io::Read;

use serde_json::Value;

use super::request::Attack;
use super::wire::{Reply, exchange};
use crate::harness::{Phone, Request, Server};

/// Sends the request for this phone's client and judges all that comes of it; true if a batch was accepted.
pub fn check(server: &Server, phone: &Phone, attack: &Attack) -> Result<bool, String> {
    let bytes = with_token(&attack.bytes, &phone.token);
    let url = server.url();
    let replies = exchange(url.trim_start_matches("http://"), &bytes, attack.is_honest)?;
    for reply in &replies {
        check_reply(reply, attack.is_honest)?;
    }
    let accepted = replies.iter().any(|reply| reply.status == 200);
    if accepted {
        let pull = phone.send(Request::sync().header("X-Request-Id", "the-pull"));
        if pull.status != 200 {
            return Err(format!("after it a pull is answered with {}", String::from_utf8_lossy(&pull.bytes)));
        }
        let answer = serde_json::from_slice(&pull.bytes).map_err(|error| format!("a pull is not JSON: {error}"))?;
        check_data(&answer)?;
    }
    Ok(accepted)
}

/// The server goes on working, and has logged no panic and no error of its own.
pub fn check_server(server: &Server) -> Result<(), String> {
    let health = Phone::new(server).send(Request::new("GET", "/api/health"));
    if health.status != 200 {
        return Err(format!("the server's health is {}", health.status));
    }
    let trouble =
        |line: &&String| line.contains("panicked") || (line.contains("\"ERROR\"") && line.contains("\"viveka_sync"));
    match server.log().iter().find(trouble) {
        Some(line) => Err(format!("the server has logged {line}")),
        None => Ok(()),
    }
}

/// The most memory that the server has ever had.
pub fn peak_memory_mb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak of a process");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// No 5xx; a refusal is told as JSON; so is success.
fn check_reply(reply: &Reply, is_honest: bool) -> Result<(), String> {
    let text = || format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
    let is_overload = || json(reply).is_ok_and(|body| body["code"] == "overloaded");
    match reply.status {
        100 => Ok(()),
        200 => {
            let body = json(reply)?;
            if body["success"] != true {
                return Err(format!("success is not told: {}", text()));
            }
            if body["data"].is_object() { check_data(&body) } else { Ok(()) }
        }
        503 if is_overload() => Ok(()),
        // What is not even HTTP is refused by the HTTP library, without words.
        400..500 if !is_honest && reply.body.is_empty() => Ok(()),
        400..500 => check_envelope(&json(reply)?).map_err(|problem| format!("{problem}: {}", text())),
        _ => Err(format!("an answer that must never come: {}", text())),
    }
}

/// The body of an error.
fn check_envelope(body: &Value) -> Result<(), String> {
    let texts = ["message", "code", "requestId"];
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let errors = body["errors"].as_array().ok_or("errors is no list")?;
    let mut parts = errors.iter().flat_map(|error| [&error["code"], &error["message"]]);
    let fits = body["success"] == false && texts.iter().all(|name| is_text(&body[name])) && parts.all(is_text);
    if fits && body.as_object().is_some_and(|members| members.len() == 5) && errors.len() <= 100 {
        Ok(())
    } else {
        Err("not the body of an error".into())
    }
}

/// Every record is whole, and every amount within the bounds of the contract.
fn check_data(answer: &Value) -> Result<(), String> {
    for (name, amounts) in AMOUNTS {
        let records = answer["data"][name].as_array().ok_or_else(|| format!("no list {name} in the dataset"))?;
        for record in records {
            let lines = record["products"].as_array().into_iter().flatten();
            let of_lines = lines.flat_map(|line| [&line["costPerUnit"], &line["quantity"]]);
            let mut all = amounts.iter().map(|field| &record[field]).chain(of_lines);
            if let Some(bad) = all.find(|amount| amount.as_f64().is_none_or(|amount| amount.abs() >= 1e11)) {
                return Err(format!("{name} has the amount {bad}: {record}"));
            }
        }
    }
    Ok(())
}

/// The body as JSON, decoded.
fn json(reply: &Reply) -> Result<Value, String> {
    let mut decoded = Vec::new();
    let read = match reply.header("content-encoding") {
        Some("gzip") => flate2::read::MultiGzDecoder::new(&reply.body[..]).read_to_end(&mut decoded),
        Some("br") => brotli::Decompressor::new(&reply.body[..], 4096).read_to_end(&mut decoded),
        Some("zstd") => zstd::stream::copy_decode(&reply.body[..], &mut decoded).map(|()| 0),
        None => reply.body.as_slice().read_to_end(&mut decoded),
        Some(other) => return Err(format!("the answer is coded as {other}")),
    };
    read.map_err(|error| format!("the answer cannot be decoded: {error}"))?;
    serde_json::from_slice(&decoded)
        .map_err(|error| format!("an answer {} is not JSON ({error}): {}", reply.status, decoded.escape_ascii()))
}

/// The bytes with the token in its places.
fn with_token(bytes: &[u8], token: &str) -> Vec<u8> {
    const PLACE: &[u8] = b"$TOKEN";
    let mut filled = Vec::with_capacity(bytes.len() + token.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(PLACE.len()).position(|window| window == PLACE) {
        filled.extend(&rest[..at]);
        filled.extend(token.bytes());
        rest = &rest[at + PLACE.len()..];
    }
    filled.extend(rest);
    filled
}

/// The amounts of each list of the dataset.
const AMOUNTS: [(&str, &[&str]); 6] = [
    ("itemGroups", &[]),
    ("items", &["price", "stock", "lowStockQuantity"]),
    ("clientCustomers", &[]),
    ("invoices", &["subtotal", "totalTax", "totalDiscount", "totalAmount", "paidAmount"]),
    ("payments", &["amount"]),
    ("purchaseHistory", &["totalAmount"]),
];
