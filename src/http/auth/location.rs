//! Where a key set is published, and how it is read from there: bounded in time and size.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::key_set::MOST_BYTES;

/// Where a key set is.
#[derive(Debug, Clone)]
pub enum Location {
    /// In a file.
    File(PathBuf),
    /// On a server, which is asked again after so long.
    Url(Url, Duration),
}

/// How a key set is read.
pub(super) enum Reader {
    File(PathBuf),
    Url(Client, Url),
}

/// How long reading may take.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(5);

impl Location {
    /// The setting that names it.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            Self::File(_) => "JWKS_FILE",
            Self::Url(..) => "JWKS_URL",
        }
    }

    /// How often it is read unasked. A file costs nothing.
    pub(super) fn period(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(2),
            Self::Url(_, period) => *period,
        }
    }

    /// How long nothing is read after a reading, however often unknown keys are shown.
    pub(super) fn rest(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_millis(100),
            Self::Url(_, period) => Duration::from_secs(5).min(*period),
        }
    }

    pub(super) fn reader(&self) -> Result<Reader, String> {
        match self {
            Self::File(path) => Ok(Reader::File(path.clone())),
            Self::Url(url, _) => {
                // An error says that one is installed already.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = Client::builder().timeout(LONGEST_READ).redirect(Policy::none());
                let client = match url.scheme() {
                    // Without TLS there is nothing to trust, and so the system need not have any roots. And keys of this
                    // very machine come from it alone, whatever proxy the environment names.
                    "http" => client.tls_certs_only([]).no_proxy(),
                    _ => client,
                };
                let client = client.build();
                Ok(Reader::Url(client.map_err(told)?, url.clone()))
            }
        }
    }
}

impl Reader {
    /// Reads the set as it is now.
    pub async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path).map_err(|e| e.to_string()));
                bounded(read.await.map_err(|e| e.to_string())??)
            }
            Self::Url(client, url) => fetch(client, url.clone()).await,
        }
    }
}

/// Reads one byte more than may be there, so that more can be told.
fn read_file(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn fetch(client: &Client, url: Url) -> Result<Vec<u8>, String> {
    let mut response = client.get(url).send().await.map_err(told)?;
    if response.status().as_u16() != 200 {
        return Err(format!("the answer was {}", response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        bytes.extend_from_slice(&chunk);
        bytes = bounded(bytes)?;
    }
    Ok(bytes)
}

fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.len() > MOST_BYTES { Err(format!("it is larger than {MOST_BYTES} bytes")) } else { Ok(bytes) }
}

/// What went wrong, with its causes and without the address, which the settings tell.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
