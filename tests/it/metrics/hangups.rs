//! Phones that hang up before the answer are counted, however they do it, and no others are.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{SOON, Watched};
use crate::harness::{Connection, Phone, Setup, eventually};

/// From here on a phone may have lost its patience.
const LONG: Duration = Duration::from_secs(1);

const SYNC: [(&str, &str); 1] = [("route", "/api/sync")];

fn hangups(watched: &Watched) -> f64 {
    watched.scrape().value("viveka_hangups_total", &SYNC)
}

fn answered(watched: &Watched, status: &str) -> f64 {
    watched.scrape().value("viveka_requests_total", &[SYNC[0], ("status", status)])
}

fn expect_one_hangup(watched: &Watched) {
    eventually("the phone that hung up is counted", SOON, || (hangups(watched) == 1.0).then_some(()));
}

#[test]
fn a_phone_that_is_gone_in_the_middle_of_its_body_has_hung_up() {
    let watched = Watched::start(&Setup::embedded());
    let phone = Phone::new(&watched.server);
    let mut broken = Connection::open(&phone);
    broken.begin_sync(&phone, "broken", 100);
    broken.reset();
    expect_one_hangup(&watched);
    assert_eq!(watched.scrape().value("viveka_request_duration_seconds_count", &SYNC), 0.0);

    let mut closed = Connection::open(&phone);
    closed.begin_sync(&phone, "closed", 100);
    drop(closed);
    eventually("so has the second one", SOON, || (hangups(&watched) == 2.0).then_some(()));
    assert_eq!(answered(&watched, "400"), 1.0);
}

#[test]
fn a_phone_that_has_waited_for_long_and_closed_has_hung_up() {
    let watched = Watched::start(&Setup::embedded());
    let phone = Phone::new(&watched.server);
    let batch = json!({"item": {"create": [{"name": "Tea", "price": 1}]}}).to_string();
    for (key, hangs_up) in [("patient", false), ("impatient", true)] {
        let mut line = Connection::open(&phone);
        let began = Instant::now();
        line.begin_sync(&phone, key, batch.len());
        // The server finds the body and the end of the connection together.
        watched.server.pause();
        line.send(batch.as_bytes());
        let patient = if hangs_up {
            drop(line);
            None
        } else {
            Some(line)
        };
        std::thread::sleep(LONG.saturating_sub(began.elapsed()));
        watched.server.resume();
        match patient {
            Some(mut line) => assert!(line.answer().0.starts_with("http/1.1 200")),
            None => expect_one_hangup(&watched),
        }
    }
    assert_eq!((hangups(&watched), answered(&watched, "200")), (1.0, 2.0));
    assert_eq!(phone.pull().expect_ok()["revision"], json!(2));
}
