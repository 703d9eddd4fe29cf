//! The metrics port: every request is answered with the page.

use std::convert::Infallible;
use std::future::ready;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;

use crate::api::listen::AddressFlags;
use crate::config::Settings;
use crate::server::{Body, Limit, Limits, Request, Response, Service};
use crate::telemetry::Telemetry;
use crate::telemetry::events::lifecycle::MetricsListening;

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {}", FLAGS.advice(*port, reason))]
pub(super) struct MetricsError {
    address: String,
    port: u16,
    reason: std::io::Error,
}

const FLAGS: AddressFlags = AddressFlags { port: "metrics-port", host: "metrics-listen-address" };

/// Binds the address, if metrics are served.
pub(super) async fn bind(settings: &Settings, telemetry: &Telemetry) -> Result<Option<TcpListener>, MetricsError> {
    let Some(metrics) = &settings.metrics else {
        return Ok(None);
    };
    let address = format!("{}:{}", metrics.address, metrics.port);
    match TcpListener::bind(&address).await {
        Ok(listener) => {
            telemetry.emit(MetricsListening { address: &address });
            Ok(Some(listener))
        }
        Err(reason) => Err(MetricsError { address, port: metrics.port, reason }),
    }
}

/// The largest head of a scrape, in bytes.
pub(super) const READ_BUFFER: usize = 64 << 10;

/// Scrapers are few; a flood of them is not to cost the API its memory.
pub(super) const LIMITS: Limits = Limits { connections: 32, requests: 8 };

/// The answer beyond the limits.
pub(super) fn overloaded(_: Limit) -> Response {
    let mut response = Response::new(Body::from("too many scrapes at a time\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The page of a sidecar whose Configuration disables metrics.
const DISABLED: &str = "# Metrics are disabled by the Configuration.\n";

/// The service of the port. Without telemetry the page has no series.
pub(super) fn page(telemetry: Option<Telemetry>) -> impl Service {
    tower::service_fn(move |_: Request| {
        let page = telemetry.as_ref().map_or_else(|| DISABLED.to_owned(), Telemetry::render_metrics);
        let mut response = Response::new(Body::from(page));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        ready(Ok::<_, Infallible>(response))
    })
}
