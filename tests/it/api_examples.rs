//! Runs the examples of API.md in their order, as a new client of a live server.
//!
//! An example is a fenced block `http`, which is the request, and right after it a fenced block
//! `json response STATUS`, which is the answer as [`Matcher`] understands it. A header that the answer must carry may
//! follow the status: `json response 200 Idempotency-Replayed: true`. The examples tell one story, so that a request
//! may name ids that earlier answers brought: `"$new:NAME"`.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Engine, Matcher, Phone, Request};
use crate::openapi::hold;

#[test]
fn the_examples_of_api_md_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    let examples = examples(&page);
    assert!(examples.len() >= FEWEST_EXAMPLES, "only {} examples in {PAGE}", examples.len());

    let phone = Phone::new(Engine::Embedded.server());
    let mut matcher = Matcher::new(&phone.client);
    for example in examples {
        // The later examples build on the earlier ones, so the first that fails is the one to look at.
        example.run(&phone, &mut matcher).unwrap_or_else(|why| panic!("{PAGE}:{}: {why}", example.request.line));
    }
}

/// A request and its answer.
struct Example<'a> {
    request: Block<'a>,
    response: Block<'a>,
}

impl Example<'_> {
    /// Sends the request and compares the answer.
    fn run(&self, phone: &Phone, matcher: &mut Matcher) -> Result<(), String> {
        let request = self.request(matcher)?;
        let (method, path) = request.target();
        let answer = phone.send(request);
        hold(&method, &path, &answer, true);
        let got = String::from_utf8_lossy(&answer.bytes).into_owned();
        let (status, header) = self.head();
        if answer.status.to_string() != status {
            return Err(format!("expected status {status}, got {} {got}", answer.status));
        }
        if let Some((name, value)) = header.split_once(": ")
            && answer.header(name).as_deref() != Some(value)
        {
            return Err(format!("expected {name}: {value}, got {:?}", answer.header(name)));
        }
        let expected: Value = serde_json::from_str(&self.response.text)
            .map_err(|error| format!("the response in line {} is not JSON: {error}", self.response.line))?;
        matcher.check(&expected, &answer.json()).map_err(|mismatch| format!("{mismatch}\n{got}"))
    }

    /// The request line, headers up to an empty line, and the body if there is one.
    fn request(&self, matcher: &Matcher) -> Result<Request, String> {
        let text = matcher.fill_in(&self.request.text);
        if let Some((_, unknown)) = text.split_once("\"$") {
            return Err(format!("no earlier answer has brought ${}", unknown.lines().next().unwrap_or_default()));
        }
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let mut head = head.lines();
        let line = head.next().and_then(|line| line.split_once(' '));
        let (method, path) = line.ok_or("the first line must be METHOD PATH")?;
        let mut request = Request::new(method, path);
        for header in head {
            let (name, value) = header.split_once(": ").ok_or(format!("no header: {header}"))?;
            request = request.header(name, value);
        }
        Ok(request.body(body.trim()))
    }

    /// The status; and the header, empty if there is none.
    fn head(&self) -> (&str, &str) {
        let head = self.response.info.strip_prefix(RESPONSE).unwrap_or_default();
        head.split_once(' ').unwrap_or((head, ""))
    }
}

/// All examples of a page.
fn examples(page: &str) -> Vec<Example<'_>> {
    let mut examples = Vec::new();
    let mut blocks = blocks(page).into_iter();
    while let Some(block) = blocks.next() {
        let line = block.line;
        assert!(!block.info.starts_with(RESPONSE), "{PAGE}:{line}: a response without a request");
        if block.info == REQUEST {
            let response = blocks.next().filter(|block| block.info.starts_with(RESPONSE));
            let response = response.unwrap_or_else(|| panic!("{PAGE}:{line}: a request without a response"));
            examples.push(Example { request: block, response });
        }
    }
    examples
}

/// A fenced block.
struct Block<'a> {
    /// The line of its opening fence, from 1.
    line: usize,
    /// What follows the opening fence.
    info: &'a str,
    text: String,
}

/// All fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix(FENCE) else { continue };
        let text: Vec<_> = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != FENCE).collect();
        blocks.push(Block { line: number, info, text: text.join("\n") });
    }
    blocks
}

/// The page.
const PAGE: &str = "API.md";

/// With fewer, the page is not the one that we mean, or we do not read it right.
const FEWEST_EXAMPLES: usize = 12;

const FENCE: &str = "```";
const REQUEST: &str = "http";
const RESPONSE: &str = "json response ";
