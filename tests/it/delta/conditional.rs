//! `GET /api/sync/data`: the pull that says when nothing is new.

use std::io::Read;

use serde_json::{Value, json};

use super::copy::{DATA_PATH, cursor_of, get, mode_of, pull_since, shown};
use crate::harness::{Answer, Phone, Request, Server, on_every_engine};

fn items(count: usize) -> Value {
    let items: Vec<_> =
        (0..count).map(|number| json!({"name": format!("Tea no. {number}"), "price": number})).collect();
    json!({"item": {"create": items}})
}

/// A phone of a shop with some items, and the cursor of that state.
fn shop(server: &Server, count: usize) -> (Phone, String) {
    let phone = Phone::new(server);
    let cursor = cursor_of(&phone.sync(&items(count)).expect_ok());
    (phone, cursor)
}

#[track_caller]
fn etag(answer: &Answer) -> String {
    let tag = answer.header("ETag").expect("an ETag");
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).expect("a strong ETag in quotes");
    assert!(!inner.is_empty() && !inner.contains('"') && inner.bytes().all(|byte| byte.is_ascii_graphic()), "{tag}");
    tag
}

#[track_caller]
fn assert_unchanged(answer: &Answer, tag: &str) {
    assert_eq!((answer.status, answer.bytes.len()), (304, 0), "{}", String::from_utf8_lossy(&answer.bytes));
    assert_eq!(answer.header("ETag").as_deref(), Some(tag));
}

fn tokens(header: Option<String>) -> Vec<String> {
    let header = header.unwrap_or_default().to_ascii_lowercase();
    let mut tokens: Vec<_> = header.split(',').map(|token| token.trim().to_owned()).collect();
    tokens.sort();
    tokens
}

fn if_none_match(request: Request, tag: &str) -> Request {
    request.header("If-None-Match", tag)
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn decode(answer: &Answer) -> Vec<u8> {
    let mut decoded = Vec::new();
    match answer.header("Content-Encoding").as_deref() {
        None => decoded.extend_from_slice(&answer.bytes),
        Some("gzip") => drop(flate2::read::GzDecoder::new(&*answer.bytes).read_to_end(&mut decoded).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(&*answer.bytes, 4096).read_to_end(&mut decoded).unwrap()),
        Some("zstd") => drop(zstd::Decoder::new(&*answer.bytes).unwrap().read_to_end(&mut decoded).unwrap()),
        Some(other) => panic!("nobody asked for {other}"),
    }
    decoded
}

on_every_engine! {
    fn it_answers_as_a_pull_does(server: &Server) {
        let (phone, cursor) = shop(server, 3);
        for _ in 0..2 {
            let answer = phone.send(get(None));
            assert_eq!(answer.status, 200);
            assert_eq!(answer.bytes, phone.pull().bytes);
            let delta = phone.send(get(Some(&cursor))).expect_ok();
            assert_eq!(delta, pull_since(&phone, &cursor));
            assert_eq!(mode_of(&delta), "delta");
            phone.sync(&items(1)).expect_ok();
        }
        let empty = Phone::new(server);
        assert_eq!(empty.send(get(None)).bytes, empty.pull().bytes);
    }

    fn its_headers_are_for_caches(server: &Server) {
        let (phone, cursor) = shop(server, 3);
        for request in [get(None), get(Some(&cursor)), get(Some("nonsense"))] {
            let answer = phone.send(request);
            assert_eq!(answer.status, 200);
            etag(&answer);
            assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
            assert_eq!(tokens(answer.header("Cache-Control")), ["no-cache", "private"]);
            assert_eq!(tokens(answer.header("Vary")), ["accept-encoding", "authorization"]);
            assert_eq!(answer.header("Idempotency-Replayed"), None);
        }
        for post in [phone.pull(), phone.sync(&items(1)), phone.sync_with_key(&items(1), "k")] {
            assert_eq!(post.header("ETag"), None);
        }
    }

    fn an_unchanged_dataset_is_not_sent_again(server: &Server) {
        let (phone, cursor) = shop(server, 3);
        for url in [None, Some(cursor.as_str()), Some("nonsense")] {
            let tag = etag(&phone.send(get(url)));
            for matching in [
                tag.clone(),
                format!("W/{tag}"),
                "*".to_owned(),
                format!("\"x\", {tag}"),
                format!("{tag},\"x\""),
                format!("\"a,b\" , W/{tag} , \"y\""),
                format!("  {tag}  "),
            ] {
                assert_unchanged(&phone.send(if_none_match(get(url), &matching)), &tag);
            }
            let twice = if_none_match(if_none_match(get(url), "\"x\""), &tag);
            assert_unchanged(&phone.send(twice), &tag);
            let bare = &tag[1..tag.len() - 1];
            for other in ["\"x\"", "W/\"x\"", "\"\"", "x", bare, "", ",,", &format!("\"{bare}"), &format!("\"x{bare}\"")] {
                let answer = phone.send(if_none_match(get(url), other));
                assert_eq!((answer.status, etag(&answer)), (200, tag.clone()), "{other}");
            }
        }
    }

    fn a_304_says_what_its_200_would_to_caches(server: &Server) {
        let (phone, _) = shop(server, 3);
        let answer = phone.send(get(None));
        let unchanged = phone.send(if_none_match(get(None), &etag(&answer)));
        assert_unchanged(&unchanged, &etag(&answer));
        for header in ["Cache-Control", "Vary"] {
            assert_eq!(tokens(unchanged.header(header)), tokens(answer.header(header)), "{header}");
        }
        assert_eq!(unchanged.header("Content-Encoding"), None);
        assert!(unchanged.header("X-Request-Id").is_some());
    }

    fn every_commit_changes_the_etag(server: &Server) {
        let (phone, cursor) = shop(server, 1);
        let item = phone.pull().expect_ok()["data"]["items"][0]["_id"].clone();
        for url in [None, Some(cursor.as_str())] {
            let mut seen = vec![etag(&phone.send(get(url)))];
            for batch in [
                items(1),
                json!({"item": {"update": [{"_id": item, "price": 2}]}}),
                json!({"item": {"update": [{"_id": item, "price": 2}]}}),
                json!({"item": {"delete": [item]}}),
                json!({"invoice": {"create": [{"products": [{"productId": item, "quantity": 1}]}]}}),
            ] {
                let last = seen.last().unwrap().clone();
                phone.sync(&json!({"item": {"delete": ["nothing"]}})).expect_error(422, "batch_rejected");
                assert_unchanged(&phone.send(if_none_match(get(url), &last)), &last);
                phone.sync(&batch).expect_ok();
                let answer = phone.send(if_none_match(get(url), &last));
                assert_eq!(answer.status, 200, "{batch}");
                assert!(!seen.contains(&etag(&answer)), "{batch}");
                seen.push(etag(&answer));
            }
        }
    }

    fn what_changed_since_a_cursor_comes_by_its_query(server: &Server) {
        let (phone, cursor) = shop(server, 1);
        let new = phone.sync(&items(1)).expect_ok()["synced"]["itemsCreated"][0].as_str().unwrap().to_owned();
        let expected = pull_since(&phone, &cursor);
        assert_eq!(shown(&expected)["items"], [new]);
        let escaped = escaped(&cursor);
        for query in [
            format!("since={cursor}"),
            format!("since={escaped}"),
            format!("since={}", escaped.to_uppercase()),
            format!("%73ince={cursor}"),
            format!("a=b&since={cursor}&data=none&since2=x"),
            format!("since={cursor}&"),
            format!("&&since={cursor}"),
            format!("data&since={cursor}"),
        ] {
            let answer = phone.send(Request::new("GET", &format!("{DATA_PATH}?{query}"))).expect_ok();
            assert_eq!(answer, expected, "{query}");
        }
        for query in ["", "data=none", "a", "Since=x", "since2=x", "%zz", "a=%", "%ff=%fe"] {
            let answer = phone.send(Request::new("GET", &format!("{DATA_PATH}?{query}"))).expect_ok();
            assert_eq!(mode_of(&answer), "full: no_cursor", "{query}");
        }
        for query in ["since=x", "since=%25", "since=%zz", "since=%", "since=%ff", "since=%00"] {
            let answer = phone.send(Request::new("GET", &format!("{DATA_PATH}?{query}"))).expect_ok();
            assert_eq!(mode_of(&answer), "full: cursor_unknown", "{query}");
        }
    }

    fn another_clients_etag_matches_nothing(server: &Server) {
        let ((one, _), (other, _)) = (shop(server, 2), shop(server, 2));
        let tag = etag(&one.send(get(None)));
        assert_eq!(other.send(if_none_match(get(None), &tag)).status, 200);
        let empty = [Phone::new(server), Phone::new(server)];
        let tag = etag(&empty[0].send(get(None)));
        assert_eq!(empty[1].send(if_none_match(get(None), &tag)).status, 200);
    }

    fn it_needs_a_token_whatever_else_is_sent(server: &Server) {
        let (phone, _) = shop(server, 1);
        let tag = etag(&phone.send(get(None)));
        for tag in [tag.as_str(), "*"] {
            let request = if_none_match(get(None), tag);
            let refused = phone.send(request.without_token());
            refused.expect_error(401, "unauthorized");
            assert_eq!((refused.header("ETag"), refused.header("WWW-Authenticate").as_deref()), (None, Some("Bearer")));
            let request = if_none_match(get(None), tag).header("Authorization", "Bearer not.a.token");
            phone.send(request).expect_error(401, "unauthorized");
        }
    }

    fn other_methods_are_not_allowed(server: &Server) {
        let (phone, _) = shop(server, 1);
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = phone.send(Request::new(method, DATA_PATH));
            answer.expect_error(405, "method_not_allowed");
            assert_eq!(answer.header("Allow").as_deref(), Some("GET"), "{method}");
        }
        assert_eq!(phone.send(Request::new("HEAD", DATA_PATH)).status, 405);
        for path in ["/api/sync/data/", "/api/sync/data/x", "/api/data"] {
            phone.send(Request::new("GET", path)).expect_error(404, "not_found");
        }
        assert_eq!(phone.send(Request::new("GET", "/api/sync")).header("Allow").as_deref(), Some("POST"));
    }

    fn compressed_it_has_the_same_content(server: &Server) {
        let (phone, cursor) = shop(server, 200);
        phone.sync(&items(200)).expect_ok();
        for url in [None, Some(cursor.as_str())] {
            let plain = phone.send(get(url));
            assert_eq!(plain.header("Content-Encoding"), None);
            for coding in ["gzip", "zstd", "br"] {
                let ask = || get(url).header("Accept-Encoding", coding);
                let answer = phone.send(ask());
                assert_eq!(answer.header("Content-Encoding").as_deref(), Some(coding));
                assert!(decode(&answer) == plain.bytes, "{coding}");
                assert!(answer.bytes.len() < plain.bytes.len() / 2, "{coding}");
                assert_eq!(tokens(answer.header("Vary")), ["accept-encoding", "authorization"]);
                assert_unchanged(&phone.send(if_none_match(ask(), &etag(&answer))), &etag(&answer));
            }
        }
    }
}
