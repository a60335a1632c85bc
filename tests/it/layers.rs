//! The arrows of ARCHITECTURE.md, read off the source text: who may use whom, and who may name what.
//!
//! Comments, the contents of strings and `#[cfg(test)]` items do not count.

use std::fs;
use std::path::Path;

/// Which top-level modules each one may use. A row names only rows below it, so that there is no way round.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["server", "telemetry", "config", "store", "clock", "model", "phone"]),
    ("server", &["telemetry", "secret_file", "config", "http", "store", "metrics"]),
    ("telemetry", &["config", "otel"]),
    ("secret_file", &["config"]),
    // The start refuses a wrong MONGO_URL, and only the driver knows which one is wrong.
    ("config", &["store"]),
    ("http", &["store", "plan", "batch", "dataset", "clock", "metrics", "otel", "model"]),
    ("store", &["plan", "dataset", "clock", "failpoint", "metrics", "model"]),
    ("plan", &["batch", "clock", "model"]),
    ("batch", &["model"]),
    ("dataset", &["model"]),
    ("clock", &["model"]),
    ("phone", &[]),
    ("failpoint", &[]),
    ("metrics", &[]),
    ("otel", &[]),
    ("model", &[]),
];

/// Names that only some files may say, or that some files may not.
struct Reserved {
    /// What is reserved: paths, or a name's beginning where a `*` ends it.
    names: &'static [&'static str],
    /// Where it may not stand; everywhere if empty.
    banned: &'static [&'static str],
    /// Where it may stand all the same.
    allowed: &'static [&'static str],
    /// The sentence for whoever breaks it.
    rule: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        names: &["actix*"],
        banned: &[],
        allowed: &["http/", "server.rs"],
        rule: "only http/ and server.rs name actix",
    },
    Reserved {
        names: &["metrics_exporter_prometheus"],
        banned: &[],
        allowed: &["metrics/"],
        rule: "only metrics/ knows who reads the metrics",
    },
    Reserved {
        names: &["opentelemetry*", "tracing_opentelemetry"],
        banned: &[],
        allowed: &["otel.rs"],
        rule: "only otel.rs knows OpenTelemetry",
    },
    Reserved { names: &["mongodb", "redb"], banned: &[], allowed: &["store/"], rule: "only store/ names a driver" },
    Reserved {
        names: &["async", "await", "async_trait", "futures_util", "tokio*"],
        banned: &["plan/", "batch/", "model/"],
        allowed: &[],
        rule: "plan/, batch/ and model/ are not async",
    },
    Reserved {
        names: &["from_verified_claim"],
        banned: &[],
        allowed: &["http/auth/", "model/ids.rs"],
        rule: "only http/auth/ makes a ClientId",
    },
    Reserved {
        names: &["for_operator"],
        banned: &[],
        allowed: &["cli/", "store/", "model/ids.rs"],
        rule: "only the operator's commands make a ClientId that no token named",
    },
    Reserved {
        names: &["StatusCode"],
        banned: &[],
        allowed: &["http/error.rs"],
        rule: "only http/error.rs names status codes",
    },
    Reserved {
        names: &["DateTime::now", "Utc::now", "Local::now", "SystemTime::now", "ObjectId::new"],
        banned: &[],
        allowed: &["clock.rs"],
        rule: "only clock.rs asks for the time or a new id",
    },
    Reserved {
        names: &["utoipa::openapi", "utoipa_swagger_ui"],
        banned: &["plan/", "store/", "server.rs", "cli/"],
        allowed: &[],
        rule: "plan/ and store/ at most derive a schema, and build none; the pages are http/'s",
    },
    Reserved {
        names: &["failpoint::arm"],
        banned: &[],
        allowed: &[],
        rule: "nothing in the server arms a failpoint: only the fault driver does",
    },
];

#[test]
fn the_sources_keep_the_arrows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > ARROWS.len(), "the sources were not found below {}", root.display());
    let broken: Vec<String> = files.iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(broken.is_empty(), "{} broken arrows:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_arrows_never_lead_back() {
    for (place, (module, uses)) in ARROWS.iter().enumerate() {
        let below = |used: &&str| ARROWS[place + 1..].iter().any(|(module, _)| module == used);
        assert!(uses.iter().all(below), "{module} uses a module that does not stand below it");
    }
}

#[test]
fn a_broken_arrow_is_told_with_file_line_and_edge() {
    let told = [
        (
            "batch/item.rs",
            "\nuse crate::plan::Plan;",
            "src/batch/item.rs:2: batch must not use plan (it may use model)",
        ),
        (
            "model/item.rs",
            "use crate::{\n    model,\n    store::Store,\n};",
            "src/model/item.rs:3: model must not use store",
        ),
        ("plan/mod.rs", "use super::store::Store;", "src/plan/mod.rs:1: plan must not use store"),
        (
            "store/mongo/mod.rs",
            "fn f() { super::super::super::http::go() }",
            "src/store/mongo/mod.rs:1: store must not use",
        ),
        ("main.rs", "use viveka_sync::http;", "src/main.rs:1: main must not use http (it may use cli)"),
        ("batch/mod.rs", "use crate::*;", "src/batch/mod.rs:1: batch must not use *"),
        ("connectors/mod.rs", "", "src/connectors/mod.rs:1: connectors has no row in ARROWS"),
        ("cli/mod.rs", "use actix_web::App;", "src/cli/mod.rs:1: actix_web: only http/ and server.rs name actix"),
        ("http/sync.rs", "fn f(d: &redb::Database) {}", "src/http/sync.rs:1: redb: only store/ names a driver"),
        (
            "plan/sync.rs",
            "/* \" */ async fn f() {}",
            "src/plan/sync.rs:1: async: plan/, batch/ and model/ are not async",
        ),
        ("store/mod.rs", "ClientId::from_verified_claim(x)", "from_verified_claim: only http/auth/ makes a ClientId"),
        ("http/ready.rs", "let s = StatusCode::OK;", "StatusCode: only http/error.rs names status codes"),
        ("plan/draft.rs", "bson :: DateTime :: now()", "DateTime::now: only clock.rs asks for the time or a new id"),
        ("model/ids.rs", "'\"'; '\\''; ObjectId::new()", "ObjectId::new: only clock.rs asks"),
        (
            "plan/receipt.rs",
            "use utoipa::openapi::Schema;",
            "utoipa::openapi: plan/ and store/ at most derive a schema",
        ),
        ("store/mod.rs", "crate::failpoint::arm(point, 1)", "failpoint::arm: nothing in the server arms a failpoint"),
    ];
    for (path, source, told) in told {
        let found = violations(path, source);
        assert!(found.len() == 1 && found[0].contains(told), "{source:?}: {found:?} is not {told:?}");
    }
}

#[test]
fn what_keeps_the_arrows_is_not_told() {
    let fine = [
        ("plan/sync.rs", "use crate::batch::Batch; use super::draft::Draft; use super::super::model::Amount;"),
        (
            "store/embedded/writer.rs",
            "use super::super::{ExecuteError, Outcome}; pub(super) fn f<'a>(x: &'a redb::Table) {}",
        ),
        ("batch/mod.rs", "/// What [`crate::plan`] checks. async\n//! mongodb\n/* /* StatusCode */ actix_web */"),
        ("batch/mod.rs", r##"const URL: &str = "https://x \" crate::http"; const RAW: &str = r#"" crate::http "#;"##),
        (
            "batch/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::plan::Plan; fn f() { {} } }\n#[cfg(test)] use crate::http;",
        ),
        ("http/idempotency.rs", "let started = Instant::now();"),
        ("clock.rs", "bson::DateTime::now(); ObjectId::new()"),
    ];
    for (path, source) in fine {
        assert_eq!(violations(path, source), Vec::<String>::new(), "{source}");
    }
}

/// All Rust files below a directory of `src/`, by their path below it.
fn collect(directory: &Path, files: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((below, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// All that one file does against the rules, one sentence each.
fn violations(path: &str, source: &str) -> Vec<String> {
    let tokens = without_tests(tokens(source));
    let mut found = forbidden_edges(path, &tokens);
    for reserved in RESERVED.iter().filter(|reserved| reserved.applies(path)) {
        for (at, name) in reserved.uses(&tokens) {
            found.push(format!("src/{path}:{}: {name}: {}", tokens[at].line, reserved.rule));
        }
    }
    found
}

fn forbidden_edges(path: &str, tokens: &[Token]) -> Vec<String> {
    let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("src/{path}:1: {module} has no row in ARROWS")];
    };
    let forbidden = |used: &&Token| used.text != module && !allowed.contains(&used.text.as_str());
    let edge = |used: &Token| {
        let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        format!("src/{path}:{}: {module} must not use {} (it may use {allowed})", used.line, used.text)
    };
    used_modules(path, tokens).into_iter().filter(forbidden).map(edge).collect()
}

/// The top-level modules that a file names: after `crate::`, and after as many `super::` as lead to the root.
fn used_modules<'a>(path: &str, tokens: &'a [Token]) -> Vec<&'a Token> {
    let mut used = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let supers = tokens[at..].chunks(2).take_while(|pair| is_path(pair, "super")).count();
        if supers > 0 {
            at += 2 * supers;
            if supers >= depth(path) {
                used.extend(first_segments(&tokens[at..]));
            }
        } else if ["crate", "viveka_sync"].iter().any(|root| is_path(&tokens[at..], root)) {
            at += 2;
            used.extend(first_segments(&tokens[at..]));
        } else {
            at += 1;
        }
    }
    used
}

/// Whether tokens begin with `name::`.
fn is_path(tokens: &[Token], name: &str) -> bool {
    matches!(tokens, [first, colons, ..] if first.text == name && colons.text == "::")
}

/// How many `super` lead from a file's module to the root.
fn depth(path: &str) -> usize {
    let below = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if ["lib", "main"].contains(&below) { 0 } else { below.split('/').count() }
}

/// The names at the beginning of a path: one, or those of a `{group}`.
fn first_segments(path: &[Token]) -> Vec<&Token> {
    if path.first().is_none_or(|token| token.text != "{") {
        return path.first().into_iter().collect();
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for pair in path.windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && ["{", ","].contains(&pair[0].text.as_str()) && pair[1].text != "}" {
            names.push(&pair[1]);
        }
    }
    names
}

impl Reserved {
    fn applies(&self, path: &str) -> bool {
        let within = |places: &[&str]| places.iter().any(|place| path == *place || path.starts_with(place));
        (self.banned.is_empty() || within(self.banned)) && !within(self.allowed)
    }

    /// Where the reserved names stand, and how they are written.
    fn uses(&self, tokens: &[Token]) -> Vec<(usize, String)> {
        let at = |at| self.names.iter().find_map(|name| written(name, &tokens[at..])).map(|written| (at, written));
        (0..tokens.len()).filter_map(at).collect()
    }
}

/// The text of a reserved name, if the tokens begin with it.
fn written(name: &str, tokens: &[Token]) -> Option<String> {
    let first = &tokens[0].text;
    match (name.strip_suffix('*'), name.split_once("::")) {
        (Some(beginning), _) => first.starts_with(beginning).then(|| first.clone()),
        (None, None) => (first == name).then(|| first.clone()),
        (None, Some((kind, function))) => {
            let is_call = is_path(tokens, kind) && tokens.get(2).is_some_and(|token| token.text == function);
            is_call.then(|| name.to_owned())
        }
    }
}

/// A word, `::`, or any other single character.
#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Cuts source text into tokens, without comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut rest = source;
    let mut line = 1;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (length, counts) = match skipped(rest) {
            0 if rest.starts_with("::") => (2, true),
            0 => (word_length(rest).max(first.len_utf8()), true),
            skipped => (skipped, false),
        };
        let (text, after) = rest.split_at(length);
        if counts {
            tokens.push(Token { line, text: text.to_owned() });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of the white space, comment or literal at the beginning; 0 if there is none.
fn skipped(text: &str) -> usize {
    let to_end_of = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with(char::is_whitespace) {
        text.len() - text.trim_start().len()
    } else if text.starts_with("//") {
        to_end_of("\n")
    } else if text.starts_with("/*") {
        block_comment(text)
    } else {
        literal(text)
    }
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

/// The length of a string or character literal at the beginning; 0 if there is none.
fn literal(text: &str) -> usize {
    let prefix = ["br", "cr", "r", "b", "c"].iter().find(|prefix| text.starts_with(**prefix)).map_or(0, |p| p.len());
    let (prefix, body) = text.split_at(prefix);
    let body_length = if prefix.ends_with('r') { raw_string(body) } else { quoted(body) };
    if body_length == 0 { 0 } else { prefix.len() + body_length }
}

fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    if !text[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 1;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// A string, or a character; a lifetime is neither.
fn quoted(text: &str) -> usize {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else { return 0 };
    let mut escaped = false;
    for (count, (at, c)) in text.char_indices().skip(1).enumerate() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ if quote == '\'' && count >= 1 && !text.starts_with("'\\") => return 0,
            _ => {}
        }
    }
    text.len()
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        kept.push(token);
        let marked = kept.len() >= MARK.len() && kept[kept.len() - MARK.len()..].iter().map(|t| &t.text).eq(MARK);
        if marked {
            kept.truncate(kept.len() - MARK.len());
            skip_item(&mut rest);
        }
    }
    kept
}

/// Skips to the end of an item: its `;`, or the brace that closes it.
fn skip_item(tokens: &mut impl Iterator<Item = Token>) {
    let mut depth = 0;
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && [";", "}"].contains(&token.text.as_str()) {
            return;
        }
    }
}
