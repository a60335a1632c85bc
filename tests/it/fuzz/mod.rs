//! Anything at all on the request path: bodies, headers and bytes that no phone would send.
//!
//! Requests are made from the corpus (`fixtures/fuzz` and the requests of `fixtures/scenarios`) by damaging it, and
//! go to a real server over a real socket. Whatever comes, the server must not panic, must not answer with 5xx, must
//! answer in time, within bounded memory and, if it refuses, with the JSON body of its errors; what it accepts must
//! leave a dataset that can be pulled.
//!
//! - `corpus`: what damage starts from.
//! - `damage`: what is done to bytes and to JSON.
//! - `request`: routes, headers and bodies put together, honest or not.
//! - `wire`: sends bytes, reads answers.
//! - `verdict`: what is wrong with an answer, a dataset, a server.
//!
//! `FUZZ_CASES=1000000 cargo test --test it fuzz` is the long run. A failure shows the smallest request that still
//! fails; put it into `fixtures/fuzz`, where every engine meets it in each test run.

mod corpus;
mod damage;
mod request;
mod verdict;
mod wire;

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::harness::{Phone, Server, Setup, on_every_engine};

#[test]
fn no_request_harms_the_server() {
    let server = Server::start(&Setup::embedded());
    let cases = match std::env::var("FUZZ_CASES") {
        Ok(cases) => cases.parse().expect("FUZZ_CASES is a number"),
        Err(_) => DEFAULT_CASES,
    };
    let accepted = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let fuzz = |_| scope.spawn(|| fuzz(&server, cases / THREADS, &accepted));
        let running: Vec<_> = (0..THREADS).map(fuzz).collect();
        let failures: Vec<_> =
            running.into_iter().filter_map(|thread| thread.join().expect("no panic").err()).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    });
    verdict::check_server(&server).unwrap();
    let memory = verdict::peak_memory_mb(&server);
    let accepted = accepted.into_inner();
    eprintln!("{cases} requests, {accepted} of them accepted; the server's memory was at most {memory} MB");
    assert!(memory < MOST_MEMORY_MB, "the server took {memory} MB");
    assert!(accepted > cases / 50, "hardly anything was accepted: the rules were not reached");
}

on_every_engine! {
    fn the_corpus_does_no_harm(server: &Server) {
        let phone = Phone::new(server);
        for (name, request) in corpus::requests() {
            let request = request::Attack::raw(request);
            verdict::check(server, &phone, &request).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
        for (name, body) in corpus::bodies() {
            for route in request::ROUTES {
                let request = request::Attack::plain(route, body.clone());
                verdict::check(server, &phone, &request).unwrap_or_else(|problem| panic!("{name} to {route}: {problem}"));
            }
        }
        verdict::check_server(server).unwrap();
    }
}

/// So many random requests, one after the other; the error shows the smallest that fails.
fn fuzz(server: &Server, cases: u32, accepted: &AtomicU32) -> Result<(), String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        max_shrink_time: SHRINK_MS,
        ..Config::default()
    };
    let mut sent = 0;
    let mut phone = Phone::new(server);
    let phones = std::cell::RefCell::new((&mut phone, &mut sent));
    let run = |attack: request::Attack| {
        let (phone, sent) = &mut *phones.borrow_mut();
        **sent += 1;
        if **sent % CASES_PER_CLIENT == 0 {
            **phone = Phone::new(server); // so that pulls stay small
            verdict::check_server(server).map_err(TestCaseError::fail)?;
        }
        let applied = verdict::check(server, phone, &attack).map_err(TestCaseError::fail)?;
        accepted.fetch_add(applied.into(), Ordering::Relaxed);
        Ok(())
    };
    match TestRunner::new(config).run(&request::attacks(), run) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, attack)) => Err(format!("{reason}\nof the request\n{attack}")),
        Err(TestError::Abort(reason)) => Err(format!("the fuzzing broke off: {reason}")),
    }
}

/// How many requests are made by default; they take about ten seconds.
const DEFAULT_CASES: u32 = 4_000;

/// How many are in flight at once.
const THREADS: u32 = 4;

/// How long a request that fails is made smaller, in milliseconds.
const SHRINK_MS: u32 = 30_000;

/// After so many cases a client is left with what it has.
const CASES_PER_CLIENT: u32 = 100;

/// What four connections may make of a server at worst: each has a body of a few MB, before and after decompression, as
/// JSON values and as the answer.
const MOST_MEMORY_MB: u64 = 300;
