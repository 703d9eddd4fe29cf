//! The metrics listener: any GET is answered with the page.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::api::listen::Choice;
use crate::config::Settings;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

/// The address is taken.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {}", CHOICE.advice(*port, reason))]
pub(super) struct MetricsError {
    address: String,
    port: u16,
    reason: std::io::Error,
}

/// What chooses the address.
const CHOICE: Choice = Choice { port: "metrics-port", host: "metrics-listen-address" };

/// Take the address, if there is to be a listener.
pub(super) async fn bind(settings: &Settings, telemetry: &Telemetry) -> Result<Option<TcpListener>, MetricsError> {
    let Some(metrics) = &settings.metrics else {
        return Ok(None);
    };
    let address = format!("{}:{}", metrics.address, metrics.port);
    match TcpListener::bind(&address).await {
        Ok(listener) => {
            telemetry.metrics_listening(&address);
            Ok(Some(listener))
        }
        Err(reason) => Err(MetricsError { address, port: metrics.port, reason }),
    }
}

/// The page of a sidecar that does not show its metrics.
const DISABLED: &str = "# Metrics are disabled by the Configuration.\n";

/// Answer scrapes until `stop`. Without telemetry the page has no series: that is what a Configuration that disables metrics asks for.
pub(super) async fn serve(listener: TcpListener, telemetry: Option<Telemetry>, stop: Stop, tasks: Tasks) {
    while let Some(accepted) = stop.run_until_triggered(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let (telemetry, stop) = (telemetry.clone(), stop.clone());
        tasks.spawn("metrics connection", async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let page = telemetry.as_ref().map_or_else(|| DISABLED.to_owned(), Telemetry::render_metrics);
                async move { Ok::<_, Infallible>(page_of(page)) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A scraper that goes away in the middle has nobody to tell.
            let _ = stop.run_until_triggered(connection).await;
        });
    }
}

fn page_of(page: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
