//! How a server tells what it does, beside its log: metrics, and spans for a collector.

use std::net::IpAddr;
use std::num::ParseIntError;
use std::str::FromStr;

use clap::Args;

use super::ip_address;

/// Settings for those who watch servers. By default nothing is told.
#[derive(Debug, Clone, Args)]
pub struct Observability {
    /// Port of GET /metrics, for Prometheus; 0 takes a free one. Without it there are no metrics
    #[arg(long, env = "METRICS_PORT", default_value = "", hide_default_value = true)]
    pub metrics_port: PerhapsPort,

    /// IP address on which metrics are served, or localhost. They name no client, and anybody may read them there
    #[arg(long, env = "METRICS_HOST", default_value = "127.0.0.1", value_parser = ip_address)]
    pub metrics_host: IpAddr,

    /// Base URL of an OpenTelemetry collector (OTLP over HTTP) that is sent a span of each request
    #[cfg(feature = "otel")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = collector)]
    pub otlp_endpoint: Option<String>,
}

/// A port, if one is set. A variable that is set to nothing is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerhapsPort(pub Option<u16>);

impl FromStr for PerhapsPort {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let port = Some(text.trim()).filter(|text| !text.is_empty());
        port.map(str::parse).transpose().map(Self)
    }
}

/// A base URL: the path of the signal is put behind it (OTLP specification, endpoint URLs for OTLP/HTTP).
#[cfg(feature = "otel")]
fn collector(text: &str) -> Result<String, String> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if is_url {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("must be an http:// or https:// URL".to_owned())
    }
}
