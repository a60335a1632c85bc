//! Who may ask: every bad token is a 401 that comes before the body, and a body that names another client a 403.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::errors::refuse;
use super::hostile::{assert_untouched, exchange};
use crate::harness::{Phone, Request, TEST_SECRET, on_every_engine, sign};

/// Both routes that ask for a token.
const ROUTES: [&str; 2] = ["/api/sync", "/api/readytosync"];

/// A client that signs with three algorithms: `{"clientId": "64b0000000000000000000aa", "exp": 4102444800}`, as the
/// second part of a token.
const CLAIMS: &str = "eyJjbGllbnRJZCI6IjY0YjAwMDAwMDAwMDAwMDAwMDAwMDBhYSIsImV4cCI6NDEwMjQ0NDgwMH0";

/// For each algorithm the header, and the true signature over header and [`CLAIMS`] with [`TEST_SECRET`].
const SIGNED: [(&str, &str, &str); 3] = [
    ("HS256", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "7B438YrwRRsg0mAkPGUDcsGUV2In80iRBbwXOiScXFI"),
    (
        "HS384",
        "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9",
        "MydrkHPicHSPiXI7X9rm06S7Y7QdPmpS4rGC5lGp27ovc6b0-F0I2D54vYtyPAQg",
    ),
    (
        "HS512",
        "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9",
        "dEKNk47S4cBVyP0hFBQewc85eP_TvXPVy53QZT8vq3YTbOMAlJSMk55InNeTEr3BaHDz9ak7uN3FcRmBmdYlCw",
    ),
];

/// The time in seconds, so many seconds from now.
fn seconds_from_now(seconds: i64) -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed() + seconds
}

/// Good claims of this client, with some of them set to something else; `null` takes a claim out.
fn claims(client: &str, changes: Value) -> Value {
    let mut claims = json!({"clientId": client, "exp": seconds_from_now(3600)});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// A token with these claims, signed as it should be.
fn signed(claims: Value) -> String {
    sign(claims, TEST_SECRET.as_bytes(), json!({"alg": "HS256", "typ": "JWT"}))
}

/// Both routes refuse this `Authorization` header, and nothing of the batch is written.
#[track_caller]
fn assert_unauthorized(phone: &Phone, authorization: &str) {
    for route in ROUTES {
        let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}});
        let request = Request::new("POST", route).header("Authorization", authorization).json(&batch);
        refuse(phone, request, 401, "unauthorized");
    }
    assert_untouched(phone);
}

/// Both routes refuse a token that is good but for these claims.
#[track_caller]
fn assert_claims_refused(phone: &Phone, changes: Value) {
    let token = signed(claims(&phone.client, changes.clone()));
    for route in ROUTES {
        let answer = phone.send(Request::new("POST", route).header("Authorization", &format!("Bearer {token}")));
        assert_eq!(answer.status, 401, "{route} takes {changes}");
        answer.expect_error(401, "unauthorized");
    }
}

/// Both routes take a token that is good but for these claims.
#[track_caller]
fn assert_claims_taken(phone: &Phone, changes: Value) {
    let token = signed(claims(&phone.client, changes.clone()));
    for route in ROUTES {
        let answer = phone.send(Request::new("POST", route).header("Authorization", &format!("Bearer {token}")));
        assert_eq!(answer.status, 200, "{route} refuses {changes}");
    }
}

on_every_engine! {
    fn a_request_without_a_token_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for route in ROUTES {
            let answer = phone.send(Request::new("POST", route).without_token());
            answer.expect_error(401, "unauthorized");
            assert_eq!(answer.header("WWW-Authenticate").as_deref(), Some("Bearer"));
        }
    }

    fn a_token_under_another_scheme_or_none_is_refused(server: &Server) {
        let phone = Phone::new(server);
        let token = phone.token.clone();
        for header in [
            token.clone(),
            format!("Basic {token}"),
            format!("Token {token}"),
            format!("JWT {token}"),
            format!("Bearer{token}"),
            format!("Bearer: {token}"),
            format!("Bearer Bearer {token}"),
            format!("Bearer \"{token}\""),
            format!("Bearer {token}, Bearer {token}"),
            "Bearer".to_owned(),
        ] {
            assert_unauthorized(&phone, &header);
        }
    }

    fn the_name_of_the_scheme_has_no_case(server: &Server) {
        let phone = Phone::new(server);
        for scheme in ["bearer", "BEARER", "bEaReR"] {
            let header = format!("{scheme} {}", phone.token);
            phone.send(Request::sync().header("Authorization", &header)).expect_ok();
        }
    }

    fn garbage_is_no_token(server: &Server) {
        let phone = Phone::new(server);
        for garbage in ["garbage", ".", "..", "...", "a.b.c", "e30.e30.e30", "null", "%00", "{}", CLAIMS] {
            assert_unauthorized(&phone, &format!("Bearer {garbage}"));
        }
        assert_unauthorized(&phone, &format!("Bearer {}", "A".repeat(6000)));
    }

    fn a_token_that_was_tampered_with_is_refused(server: &Server) {
        let phone = Phone::new(server);
        let own: Vec<&str> = phone.token.split('.').collect();
        let foreign = Phone::new(server).token;
        let foreign: Vec<&str> = foreign.split('.').collect();
        for token in [
            format!("{}.{}.{}", own[0], foreign[1], own[2]),
            format!("{}.{}.{}", own[0], own[1], foreign[2]),
            format!("{}.{}.", own[0], own[1]),
            format!("{}.{}", own[0], own[1]),
            format!("{}A", phone.token),
            format!("{}.{}", phone.token, own[2]),
        ] {
            assert_unauthorized(&phone, &format!("Bearer {token}"));
        }
    }

    fn a_token_without_an_algorithm_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for header in [json!({"alg": "none"}), json!({"alg": "None", "typ": "JWT"}), json!({"alg": ""}), json!({})] {
            let token = sign(claims(&phone.client, json!({})), TEST_SECRET.as_bytes(), header);
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            assert_unauthorized(&phone, &format!("Bearer {token}"));
            assert_unauthorized(&phone, &format!("Bearer {unsigned}."));
        }
    }

    fn a_token_that_claims_another_algorithm_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for algorithm in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
            let header = json!({"alg": algorithm, "typ": "JWT"});
            let token = sign(claims(&phone.client, json!({})), TEST_SECRET.as_bytes(), header);
            assert_unauthorized(&phone, &format!("Bearer {token}"));
        }
    }

    fn a_true_signature_of_another_algorithm_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for (algorithm, header, signature) in SIGNED {
            let bearer = format!("Bearer {header}.{CLAIMS}.{signature}");
            let answer = phone.send(Request::sync().header("Authorization", &bearer));
            assert_eq!(answer.status, if algorithm == "HS256" { 200 } else { 401 }, "{algorithm}");
        }
    }

    fn a_token_of_another_secret_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for secret in ["", "a-secret-for-tests-only-0123456789abcdeg", "A-SECRET-FOR-TESTS-ONLY-0123456789ABCDEF"] {
            let token = sign(claims(&phone.client, json!({})), secret.as_bytes(), json!({"alg": "HS256"}));
            assert_unauthorized(&phone, &format!("Bearer {token}"));
        }
    }

    fn a_token_is_good_for_a_minute_after_it_expired(server: &Server) {
        assert_claims_taken(&Phone::new(server), json!({"exp": seconds_from_now(-30)}));
    }

    fn a_token_that_expired_more_than_a_minute_ago_is_refused(server: &Server) {
        let phone = Phone::new(server);
        for exp in [seconds_from_now(-62), seconds_from_now(-86_400), 0, -1] {
            assert_claims_refused(&phone, json!({"exp": exp}));
        }
    }

    fn a_token_must_expire(server: &Server) {
        assert_claims_refused(&Phone::new(server), json!({"exp": null}));
    }

    fn the_expiry_is_a_number(server: &Server) {
        let phone = Phone::new(server);
        let later = seconds_from_now(3600);
        for exp in [json!(later.to_string()), json!("2099-01-01T00:00:00Z"), json!(true), json!([later]), json!({})] {
            assert_claims_refused(&phone, json!({"exp": exp}));
        }
    }

    fn a_token_is_not_good_before_its_time(server: &Server) {
        let phone = Phone::new(server);
        assert_claims_refused(&phone, json!({"nbf": seconds_from_now(3000)}));
        assert_claims_taken(&phone, json!({"nbf": seconds_from_now(30)}));
        assert_claims_taken(&phone, json!({"nbf": seconds_from_now(-30)}));
    }

    fn the_client_of_a_token_is_24_hex_digits(server: &Server) {
        let phone = Phone::new(server);
        let hex = &phone.client;
        for client in [
            json!(null),
            json!(""),
            json!(1),
            json!(123_456_789_012_345_678_u64),
            json!(true),
            json!([hex]),
            json!({"$oid": hex}),
            json!(hex[1..]),
            json!(format!("{hex}0")),
            json!(format!(" {hex}")),
            json!(format!("{}g", &hex[1..])),
            json!(format!("0x{}", &hex[2..])),
            json!("twelve bytes"),
        ] {
            assert_claims_refused(&phone, json!({"clientId": client}));
        }
    }

    fn the_client_of_a_token_has_no_case(server: &Server) {
        let lower = Phone::new(server);
        lower.sync(&json!({"item": {"create": [{"name": "Tea", "price": 1}]}})).expect_ok();
        let upper = Phone::of(server, &lower.client.to_uppercase()).pull().expect_ok();
        assert_eq!(upper["data"]["items"][0]["name"], "Tea");
        assert_eq!(upper["data"]["items"][0]["clientId"], lower.client);
    }

    fn other_claims_do_not_matter(server: &Server) {
        let phone = Phone::new(server);
        for claims in [
            json!({"aud": "viveka-app"}),
            json!({"aud": ["one", "two"]}),
            json!({"iss": "viveka", "sub": "64b000000000000000000001", "jti": "1", "role": "owner"}),
            json!({"iat": seconds_from_now(-10)}),
        ] {
            assert_claims_taken(&phone, claims);
        }
    }

    fn a_401_does_not_wait_for_the_body(server: &Server) {
        for route in ROUTES {
            for length in ["Content-Length: 9999999999", "Transfer-Encoding: chunked"] {
                let head = format!("POST {route} HTTP/1.1\r\nHost: it\r\n{length}\r\n\r\n");
                let answer = exchange(server, head.as_bytes());
                assert!(answer.starts_with("HTTP/1.1 401 "), "{route}, {length}: {answer}");
                assert!(answer.contains("\"code\":\"unauthorized\""), "{route}, {length}: {answer}");
            }
        }
    }

    fn a_body_may_name_the_client_of_the_token(server: &Server) {
        let phone = Phone::new(server);
        let (hex, upper) = (json!(phone.client), json!(phone.client.to_uppercase()));
        for client in [hex, upper, json!(format!(" {} ", phone.client)), json!(null)] {
            for route in ROUTES {
                let answer = phone.send(Request::new("POST", route).json(&json!({"clientId": client})));
                assert_eq!(answer.status, 200, "{route} refuses {client}");
                assert!(answer.json().get("warnings").is_none_or(|warnings| *warnings == json!([])), "{client}");
            }
        }
    }

    fn a_body_that_names_another_client_is_refused(server: &Server) {
        let (phone, other) = (Phone::new(server), Phone::new(server));
        for client in [
            json!(other.client),
            json!(phone.client[1..]),
            json!(""),
            json!("me"),
            json!(1),
            json!(false),
            json!([phone.client]),
            json!({"$oid": phone.client}),
        ] {
            for route in ROUTES {
                let batch = json!({"clientId": client, "item": {"create": [{"name": "Tea", "price": 1}]}});
                refuse(&phone, Request::new("POST", route).json(&batch), 403, "client_mismatch");
            }
        }
        assert_untouched(&phone);
        assert_untouched(&other);
    }

    fn a_foreign_batch_is_not_even_looked_at(server: &Server) {
        let (phone, other) = (Phone::new(server), Phone::new(server));
        let batch = json!({"clientId": other.client, "item": {"create": [{}]}});
        refuse(&phone, Request::sync().json(&batch), 403, "client_mismatch");
    }
}
