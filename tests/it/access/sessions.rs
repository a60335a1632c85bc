//! `SESSION_CHECK`: only a token whose session is open and whose client is active gets in, on every route and engine.

use std::process::Command;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use viveka_sync::store::embedded::EmbeddedStore;
use viveka_sync::store::{AccountCollection, DatasetMemory};

use super::issuer::show;
use crate::behaviour::errors::assert_error;
use crate::harness::{
    Answer, Connection, Engine, Mongod, Phone, Request, Server, Setup, TEST_SECRET, Topology, block_on, database_at,
    eventually, on_every_engine, random_hex, sign,
};

/// All routes that ask for a token.
const ROUTES: [(&str, &str); 5] = [
    ("POST", "/api/readytosync"),
    ("POST", "/api/sync"),
    ("GET", "/api/sync/data"),
    ("POST", "/api/sync/validate"),
    ("POST", "/api/sync/reconcile"),
];

/// How long a change may take to be seen.
const SOON: Duration = Duration::from_secs(20);

/// A client, and one of its sessions.
struct Login {
    client: ObjectId,
    session: ObjectId,
}

impl Login {
    fn new() -> Self {
        let [client, session] = [(); 2].map(|()| ObjectId::parse_str(random_hex(12)).unwrap());
        Self { client, session }
    }

    /// The client's record as the login service of existing databases writes it.
    fn account(&self) -> Document {
        doc! { "_id": self.client, "phoneNumber": "81", "ownerName": "Owner", "isActive": true, "__v": 0 }
    }

    fn device(&self) -> Document {
        doc! { "_id": self.session, "clientId": self.client, "deviceId": "dev-1", "isActive": true, "__v": 0 }
    }

    fn token(&self) -> String {
        self.token_with(json!(self.session.to_hex()))
    }

    fn token_with(&self, session: Value) -> String {
        let claims = json!({
            "clientId": self.client.to_hex(), "deviceSessionId": session, "phoneNumber": "81", "exp": 4_102_444_800_u64,
        });
        sign(claims, TEST_SECRET.as_bytes(), json!({"alg": "HS256", "typ": "JWT"}))
    }
}

fn checking(engine: Engine) -> Setup {
    Setup::on(engine).env("SESSION_CHECK", "true").env("SESSION_CACHE_SECONDS", "1")
}

/// Puts records where the servers of this setup look for them. The embedded engine's may not run meanwhile.
fn put(setup: &Setup, collection: AccountCollection, records: &[Document]) {
    if !setup.is_on_mongodb() {
        let memory = DatasetMemory { cache: 0, stream_above: 1 << 20 };
        let store = EmbeddedStore::open(setup.directory(), 400, memory).unwrap();
        return store.import_accounts(collection, records).unwrap();
    }
    block_on(async {
        let records_there = database_at(setup).await.collection::<Document>(collection.name());
        for record in records {
            let id = doc! { "_id": record.get("_id") };
            records_there.replace_one(id, record).upsert(true).await.unwrap();
        }
    });
}

fn log_in(setup: &Setup, logins: &[&Login]) {
    let [accounts, devices]: [fn(&Login) -> Document; 2] = [Login::account, Login::device];
    for (collection, record) in [(AccountCollection::Clients, accounts), (AccountCollection::DeviceSessions, devices)] {
        put(setup, collection, &logins.iter().map(|login| record(login)).collect::<Vec<_>>());
    }
}

/// Asserts what every route says to a token.
#[track_caller]
fn assert_everywhere(phone: &Phone, token: &str, expected: (u16, &str, &str)) {
    for (method, path) in ROUTES {
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {token}"));
        let answer = phone.send(request);
        let (status, code, message) = expected;
        if status == 200 {
            answer.expect_ok();
            continue;
        }
        let body = answer.expect_error(status, code);
        assert_eq!(body["message"], message, "{path}");
        assert_eq!(answer.header("WWW-Authenticate").is_some(), status == 401, "{path}");
    }
}

const GOOD: (u16, &str, &str) = (200, "", "");
const ENDED: (u16, &str, &str) = (401, "session_expired", "Session expired or logged out. Please log in again.");
const INACTIVE: (u16, &str, &str) = (403, "account_inactive", "Account is inactive");

on_every_engine! {
    fn only_an_open_session_of_an_active_client_gets_in(engine: Engine) {
        let setup = checking(engine);
        let [good, logged_out, inactive, both, silent, no_account, upper] = [(); 7].map(|()| Login::new());
        let stranger = Login { client: ObjectId::parse_str(random_hex(12)).unwrap(), ..Login::new() };
        log_in(&setup, &[&good, &logged_out, &inactive, &both, &silent, &upper]);
        let off = |mut record: Document| {
            record.insert("isActive", false);
            record
        };
        let odd = |mut record: Document| {
            record.insert("isActive", "true");
            record
        };
        put(&setup, AccountCollection::DeviceSessions, &[
            off(logged_out.device()), off(both.device()), odd(silent.device()), no_account.device(),
        ]);
        put(&setup, AccountCollection::Clients, &[off(inactive.account()), off(both.account())]);
        let server = Server::start_ready(&setup);
        let phone = Phone::new(&server);

        assert_everywhere(&phone, &good.token(), GOOD);
        assert_everywhere(&phone, &upper.token_with(json!(upper.session.to_hex().to_uppercase())), GOOD);
        assert_everywhere(&phone, &logged_out.token(), ENDED);
        assert_everywhere(&phone, &inactive.token(), INACTIVE);
        assert_everywhere(&phone, &both.token(), ENDED);
        assert_everywhere(&phone, &silent.token(), ENDED);
        assert_everywhere(&phone, &no_account.token(), INACTIVE);
        assert_everywhere(&phone, &stranger.token(), ENDED);
        // A session of another client, of none, and things that are no session.
        for session in [
            json!(upper.session.to_hex()), json!(random_hex(12)), json!(good.client.to_hex()), json!(null), json!(""),
            json!(7), json!(["a"]), json!({"$oid": good.session.to_hex()}), json!(true), json!("not-a-session-id-at-all"),
        ] {
            assert_everywhere(&phone, &good.token_with(session), ENDED);
        }
        let without = sign(
            json!({"clientId": good.client.to_hex(), "exp": 4_102_444_800_u64}),
            TEST_SECRET.as_bytes(),
            json!({"alg": "HS256"}),
        );
        assert_everywhere(&phone, &without, ENDED);
        phone.send(Request::new("GET", "/api/health").without_token()).expect_ok();

        // Before the body: nobody waits for it.
        let mut line = Connection::open(&phone);
        let token = logged_out.token();
        let head = format!("POST /api/sync HTTP/1.1\r\nHost: it\r\nAuthorization: Bearer {token}\r\nContent-Length: 999\r\n\r\n");
        line.send(head.as_bytes());
        assert!(line.answer().0.starts_with("http/1.1 401"));
    }

    fn sessions_are_not_looked_up_unless_asked_for(engine: Engine) {
        let server = Server::start_ready(&Setup::on(engine));
        let phone = Phone::new(&server);
        let nobody = Login::new();
        for session in [json!(nobody.session.to_hex()), json!("anything"), json!(7), json!({"a": [1]}), json!(null)] {
            assert_everywhere(&phone, &nobody.token_with(session), GOOD);
        }
    }
}

/// A session ends, an account is closed, and both come back while the server runs.
fn changes_are_seen(engine: Engine) {
    let (setup, login) = (checking(engine), Login::new());
    log_in(&setup, &[&login]);
    let server = Server::start_ready(&setup);
    let phone = Phone::new(&server);
    let becomes = |status: u16| {
        eventually("the change is seen", SOON, || (show(&phone, &login.token()).status == status).then_some(()));
    };
    becomes(200);
    for (collection, record, status) in
        [(AccountCollection::DeviceSessions, login.device(), 401), (AccountCollection::Clients, login.account(), 403)]
    {
        let mut off = record.clone();
        off.insert("isActive", false);
        put(&setup, collection, &[off]);
        becomes(status);
        put(&setup, collection, &[record]);
        becomes(200);
    }
}

#[test]
fn changes_on_a_replica_set_are_seen() {
    changes_are_seen(Engine::ReplicaSet);
}

#[test]
fn changes_on_a_lone_mongod_are_seen() {
    changes_are_seen(Engine::LoneMongod);
}

#[test]
fn what_is_known_of_a_session_is_believed_for_some_seconds() {
    let (setup, good, bad) =
        (checking(Engine::ReplicaSet).env("SESSION_CACHE_SECONDS", "600"), Login::new(), Login::new());
    log_in(&setup, &[&good]);
    let server = Server::start_ready(&setup);
    let phone = Phone::new(&server);
    let statuses = || (show(&phone, &good.token()).status, show(&phone, &bad.token()).status);
    assert_eq!(statuses(), (200, 401));
    let mut ended = good.device();
    ended.insert("isActive", false);
    put(&setup, AccountCollection::DeviceSessions, &[ended]);
    log_in(&setup, &[&bad]);
    assert_eq!(statuses(), (200, 401), "neither is asked again");
}

#[test]
fn many_requests_of_one_session_ask_the_database_once() {
    let (setup, login) = (checking(Engine::ReplicaSet).env("SESSION_CACHE_SECONDS", "600"), Login::new());
    log_in(&setup, &[&login]);
    let server = Server::start_ready(&setup);
    let phone = Phone::new(&server);
    block_on(async { database_at(&setup).await.run_command(doc! { "profile": 2 }).await.unwrap() });
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| show(&phone, &login.token()).expect_ok());
        }
    });
    let asked = block_on(async {
        let database = database_at(&setup).await;
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        let of_sessions = doc! { "op": "query", "ns": format!("{}.devicesessions", setup.database_name()) };
        database.collection::<Document>("system.profile").count_documents(of_sessions).await.unwrap()
    });
    assert_eq!(asked, 1);
}

#[test]
fn a_session_that_has_ended_spends_nothing_of_its_shop() {
    let setup = checking(Engine::Embedded).env("SESSION_CACHE_SECONDS", "600").env("RATE_LIMIT_PER_MINUTE", "4");
    let good = Login::new();
    let ended = Login { client: good.client, ..Login::new() };
    log_in(&setup, &[&good]);
    let mut device = ended.device();
    device.insert("isActive", false);
    put(&setup, AccountCollection::DeviceSessions, &[device]);
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    for _ in 0..5 {
        show(&phone, &ended.token()).expect_error(401, "session_expired");
        show(&phone, &good.token_with(json!("none"))).expect_error(401, "session_expired");
    }
    let answer = show(&phone, &good.token());
    answer.expect_ok();
    // The first one had to be looked up.
    assert!(answer.header("RateLimit").unwrap().starts_with("\"client\";r=2;"));
}

#[test]
fn the_errors_of_sessions() {
    let (setup, login, ended) = (checking(Engine::Embedded), Login::new(), Login::new());
    log_in(&setup, &[&login]);
    put(&setup, AccountCollection::DeviceSessions, &[ended.device()]);
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    let with = |login: &Login| Request::sync().header("Authorization", &format!("Bearer {}", login.token()));
    assert_error(&phone, with(&Login::new()), "session_expired");
    assert_error(&phone, with(&ended), "account_inactive");
}

#[test]
fn nobody_is_let_in_while_the_database_cannot_say() {
    let mut mongod = Mongod::start(Topology::ReplicaSet);
    let setup = Setup::at(&mongod).env("SESSION_CHECK", "true").env("SESSION_CACHE_SECONDS", "1");
    let login = Login::new();
    log_in(&setup, &[&login]);
    let server = Server::start_ready(&setup);
    let phone = Phone::new(&server);
    let ready = || -> Answer {
        let request = Request::new("POST", "/api/readytosync");
        phone.send(request.header("Authorization", &format!("Bearer {}", login.token())))
    };
    ready().expect_ok();
    mongod.kill();
    eventually("what was known is forgotten", SOON, || (ready().status != 200).then_some(()));
    ready().expect_error(503, "store_unavailable");
    mongod.restart();
    eventually("the database is back", SOON, || (ready().status == 200).then_some(()));
}

#[test]
fn a_developer_can_try_it_without_a_login_service() {
    let setup = Setup::embedded().env("SESSION_CHECK", "true");
    let client = random_hex(12);
    let mint = |arguments: &[&str]| {
        let program = Command::new(env!("CARGO_BIN_EXE_viveka-sync"))
            .args(["token", "--client", &client])
            .args(arguments)
            .env_clear()
            .env("JWT_SECRET", TEST_SECRET)
            .env("DATA_DIR", setup.directory())
            .output()
            .unwrap();
        (program.status.success(), String::from_utf8([program.stdout, program.stderr].concat()).unwrap())
    };
    let minted = [mint(&["--session"]), mint(&["--session"])];
    let server = Server::start(&setup);
    let phone = Phone::new(&server);
    for (_, token) in &minted {
        assert_everywhere(&phone, token.trim(), GOOD);
    }
    assert_everywhere(&phone, mint(&[]).1.trim(), ENDED);
    assert_everywhere(&phone, mint(&["--session=64b0000000000000000000ff"]).1.trim(), ENDED);
    assert!(matches!(mint(&["--session=me"]), (false, error) if error.contains("24 hex digits")));
    assert!(matches!(mint(&["--session"]), (false, error) if error.contains("in use by another process")));
}
