//! `/api-docs/`: the API as OpenAPI 3.1, generated from the wire types, and Swagger UI to read and try it.
//!
//! To document a new route: a function in [`operations`] and its line in [`document`]; its body and answer as types with
//! `ToSchema` in [`schemas`]; for a new error, its line in [`errors`], without which nothing compiles. Then
//! `tests/it/openapi` holds it against real traffic.

mod errors;
mod operation;
mod operations;
mod schemas;

use std::sync::{Arc, OnceLock};

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::{Digest, Sha256};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, License, OpenApi, OpenApiBuilder, PathsBuilder, Server};
use utoipa_swagger_ui::Config;

use super::admission::HeldBody;
use super::error::ApiError;
use super::{App, Limits, get};

/// Where the document and the pages are served. They tell nothing of any client and ask for no token.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(get("/api-docs/openapi.json", "GET").route(web::get().to(json)))
        .service(get("/api-docs", "GET").route(web::get().to(to_the_pages)))
        .service(get("/api-docs/{file:.*}", "GET").route(web::get().to(page)));
}

/// The document of one server, made when it is first asked for.
#[derive(Debug)]
pub struct Docs {
    limits: Limits,
    document: OnceLock<Document>,
}

/// The document as it is sent.
#[derive(Debug)]
struct Document {
    json: Bytes,
    etag: String,
}

impl Docs {
    /// The document of a server with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, document: OnceLock::new() }
    }

    fn document(&self) -> &Document {
        self.document.get_or_init(|| {
            // What cannot be written would be a document that no test has ever seen.
            let json = document(&self.limits).to_json().expect("a document is JSON");
            Document { etag: etag(json.as_bytes()), json: json.into() }
        })
    }
}

/// The whole document.
fn document(limits: &Limits) -> OpenApi {
    let paths = PathsBuilder::new()
        .path("/api/readytosync", operations::ready(limits))
        .path("/api/sync", operations::sync(limits))
        .path("/api/sync/data", operations::data(limits))
        .path("/api/sync/validate", operations::validate(limits))
        .path("/api/sync/reconcile", operations::reconcile(limits))
        .path("/api/sync/limits", operations::limits(limits))
        .path("/api/health", operations::health(limits));
    let about = "A JSON Web Token of your login service; its claim `clientId` alone decides whose data a request touches. \
        For development, `viveka-sync token --client ID` mints one.";
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description = Some(about.to_owned());
    let components = schemas::all()
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
        .security_scheme(operation::BEARER, SecurityScheme::Http(bearer));
    let mut info = Info::new("viveka-sync", env!("CARGO_PKG_VERSION"));
    info.description = Some(include_str!("text/guide.md").to_owned());
    info.license = Some(License::builder().name("MIT").identifier(Some("MIT")).build());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some(operations::tags()))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

async fn json(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let document = app.docs.document();
    answer(request.headers(), "application/json", &document.etag, document.json.clone())
}

/// The pages name their parts relative to themselves.
async fn to_the_pages() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/api-docs/")).finish()
}

/// A file of Swagger UI, which is part of this program.
async fn page(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let served = utoipa_swagger_ui::serve(&file, Arc::new(pages()));
    let file = served.map_err(|e| ApiError::Internal(e.to_string()))?.ok_or(ApiError::NotFound)?;
    // The files are as old as this program. To hash a large one each time would be work that anybody may ask for.
    let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), file.bytes.len());
    let bytes = match file.bytes {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    };
    Ok(answer(request.headers(), &file.content_type, &etag, bytes))
}

/// Without the outside's validator: the pages speak to this server alone.
fn pages() -> Config<'static> {
    Config::new(["openapi.json"])
        .use_base_layout()
        .validator_url("none")
        .deep_linking(true)
        .persist_authorization(false)
        .display_request_duration(true)
        .default_models_expand_depth(0)
}

fn answer(headers: &HeaderMap, content_type: &str, etag: &str, body: Bytes) -> HttpResponse {
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let describe = |mut response: HttpResponseBuilder| {
        response.insert_header((header::ETAG, etag)).insert_header((header::CACHE_CONTROL, "no-cache"));
        response.insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
        response
    };
    if known {
        describe(HttpResponse::NotModified()).finish()
    } else {
        // As one piece it would be copied for each connection, and a stranger who reads nothing would hold that.
        describe(HttpResponse::Ok()).content_type(content_type).body(HeldBody::new([body], ()))
    }
}

/// Swagger UI sets styles on its elements and draws with images in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn etag(bytes: &[u8]) -> String {
    let digest: String = Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digest}\"")
}
