//! The client of the demo: publishes through the sidecar's HTTP port, as any app would.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::script::Order;

/// Pause between two checks whether the sidecar is ready.
const POLL: Duration = Duration::from_millis(20);

/// A client of one sidecar.
pub(super) struct Publisher {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Publisher {
    /// A client of the sidecar on this port. It connects on first use.
    pub(super) fn new(port: u16) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url: format!("http://127.0.0.1:{port}") }
    }

    /// The URL of the sidecar.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Wait until the sidecar is ready. `false`: not within `patience`.
    pub(super) async fn ready_within(&self, patience: Duration) -> bool {
        let ready = async {
            while !matches!(
                self.call(Method::GET, "/v1.0/healthz", String::new()).await,
                Ok((StatusCode::NO_CONTENT, _))
            ) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(patience, ready).await.is_ok()
    }

    /// Publish one order.
    ///
    /// # Errors
    /// The sidecar's answer, or the reason why there is none.
    pub(super) async fn publish(&self, order: &Order) -> Result<(), String> {
        let path = format!("/v1.0/publish/pubsub/{}", order.topic());
        let (status, text) = self.call(Method::POST, &path, order.body()).await?;
        if status.is_success() { Ok(()) } else { Err(format!("{status}: {text}")) }
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, String), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }
}

/// A command that publishes an order of the user's own.
pub(super) fn curl(url: &str) -> String {
    format!(
        "curl -i -H 'Content-Type: application/json' -d '{{\"orderId\":\"mine\",\"item\":\"tea\"}}' {url}/v1.0/publish/pubsub/orders"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::book::Book;
    use super::super::narrator::{Narrator, tests::Paper};
    use super::super::sample_app;
    use super::*;
    use crate::shutdown::{Stop, Tasks};

    /// The sample app in the place of the sidecar: every call goes over a real connection.
    #[tokio::test]
    async fn the_sample_app_answers_over_http_and_ends_with_its_stop() {
        let (stop, tasks, paper) = (Stop::new(), Tasks::new(), Paper::default());
        let narrator = Narrator::new(Box::new(paper.clone()), false, Stop::new());
        let port = sample_app::start(Arc::new(Book::new(narrator)), &stop, &tasks).await.unwrap();
        let client = Publisher::new(port);
        let post = async |path: &str, body: &str| {
            let (status, text) = client.call(Method::POST, path, body.to_owned()).await.unwrap();
            (status.as_u16(), text)
        };

        let event =
            r#"{"specversion":"1.0","id":"a","source":"s","type":"t","data":{"orderId":"mine","warehouse":"busy"}}"#;
        let retry = (200, r#"{"status":"RETRY"}"#.to_owned());
        let success = (200, r#"{"status":"SUCCESS"}"#.to_owned());
        assert_eq!(post("/orders", event).await, retry);
        assert_eq!(post("/orders", event).await, success);
        assert_eq!(post("/payments-dead", event).await, success);
        assert_eq!(post("/elsewhere", event).await.0, 404);
        assert!(paper.text().contains("attempt 2"), "{}", paper.text());

        let refused = client.publish(&Order::nth(1)).await.unwrap_err();
        assert!(refused.starts_with("404 "), "{refused}");
        assert!(!client.ready_within(Duration::from_millis(50)).await);
        stop.trigger();
        tasks.ended().await;
        assert!(client.publish(&Order::nth(1)).await.is_err());
    }

    #[test]
    fn the_curl_line_names_the_port_of_the_sidecar() {
        assert_eq!(
            curl("http://127.0.0.1:3500"),
            r#"curl -i -H 'Content-Type: application/json' -d '{"orderId":"mine","item":"tea"}' http://127.0.0.1:3500/v1.0/publish/pubsub/orders"#
        );
    }
}
