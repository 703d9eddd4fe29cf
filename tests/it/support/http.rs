//! Calls to a sidecar, as `curl` makes them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::eventually;

/// The answer to a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One call on its own connection. `None`: there was no answer.
pub(crate) async fn call(method: &str, port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(body).unwrap()).await.ok()?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some(Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() })
}

/// Wait until the sidecar is ready.
pub(crate) async fn ready(port: u16) {
    eventually("the sidecar is ready", || async {
        call("GET", port, "/v1.0/healthz", &[], "").await.is_some_and(|answer| answer.status == 204)
    })
    .await;
}
