//! Spans for an OpenTelemetry collector, by OTLP over HTTP. Only with the cargo feature `otel`.
//!
//! A span that comes with a `traceparent` (W3C Trace Context) goes on with that trace. What else there is to set, such
//! as `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` or `OTEL_EXPORTER_OTLP_HEADERS`, the SDK
//! takes from the environment by itself.

use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The way to a collector. Spans are sent in batches, by a thread of its own.
pub struct Export(SdkTracerProvider);

/// How long an end waits for the last spans to be sent.
const LAST_SPANS: Duration = Duration::from_secs(5);

impl Export {
    /// Begins to send spans to the collector at this base URL.
    ///
    /// # Errors
    /// [`ExporterBuildError`] if it is no URL.
    pub fn begin(endpoint: &str) -> Result<Self, ExporterBuildError> {
        // For https; who has installed one already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces")).build()?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
        }
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
    }

    /// Takes in this program's spans, and no library's: the exporter's own requests would be told of for ever.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")));
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        layer.with_filter(Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing::Level::TRACE))
    }

    /// Sends what is left.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "some spans may not have reached the collector");
        }
    }
}

/// Makes a span, in which nothing has happened yet, a part of the trace that a request's headers name, if they do.
pub fn continue_trace<'a>(span: &Span, header: &'a dyn Fn(&str) -> Option<&'a str>) {
    let parent = TraceContextPropagator::new().extract(&Headers(header));
    if parent.span().span_context().is_valid() {
        // A span that is not told has no parent either.
        let _ = span.set_parent(parent);
    }
}

/// Where to look up a header.
struct Headers<'a>(&'a dyn Fn(&str) -> Option<&'a str>);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0(key)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}
