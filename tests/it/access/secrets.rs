//! `JWT_PREVIOUS_SECRETS`: a secret is exchanged without logging anybody out.

use serde_json::json;

use super::issuer::{key_file, show};
use crate::harness::{Phone, Server, Setup, TEST_SECRET, sign};

const OLD: &str = "the-secret-of-last-year-0123456789abcdef";
const OLDER: &str = "the-secret, of the year before 0123456789abcdef";

fn signed(secret: &str, client: &str) -> String {
    sign(json!({"clientId": client, "exp": 4_102_444_800_u64}), secret.as_bytes(), json!({"alg": "HS256"}))
}

#[test]
fn tokens_of_former_secrets_stay_good_until_they_are_taken_out() {
    let listed = json!([OLD, OLDER]).to_string();
    for (list, good) in [(OLD, vec![OLD]), (&format!(" {OLD} ,"), vec![OLD]), (&listed, vec![OLD, OLDER]), ("", vec![])]
    {
        let server = Server::start(&Setup::embedded().env("JWT_PREVIOUS_SECRETS", list));
        let phone = Phone::new(&server);
        phone.pull().expect_ok();
        for secret in [OLD, OLDER] {
            let status = if good.contains(&secret) { 200 } else { 401 };
            assert_eq!(show(&phone, &signed(secret, &phone.client)).status, status, "{secret} of {list}");
        }
        show(&phone, &signed(&format!("{OLD},"), &phone.client)).expect_error(401, "unauthorized");
    }
}

#[test]
fn former_secrets_verify_beside_a_public_key_when_nothing_is_signed_with_a_secret_any_more() {
    let path = key_file("rsa.pub.pem");
    let setup = Setup::embedded().without("JWT_SECRET").env("JWT_PUBLIC_KEY", path.to_str().unwrap());
    let server = Server::start(&setup.env("JWT_PREVIOUS_SECRETS", OLD));
    let phone = Phone::new(&server);
    show(&phone, &signed(OLD, &phone.client)).expect_ok();
    show(&phone, &signed(TEST_SECRET, &phone.client)).expect_error(401, "unauthorized");
}

#[test]
fn a_list_that_is_wrong_stops_the_start_and_is_not_shown() {
    for list in ["short-and-secret", &format!("{OLD},short-and-secret"), "[\"short-and-secret\"", "[1, 2]"] {
        let refusal = Server::refused(&Setup::embedded().env("JWT_PREVIOUS_SECRETS", list));
        assert!(refusal.contains("JWT_PREVIOUS_SECRETS") && !refusal.contains("and-secret"), "{refusal}");
    }
}
