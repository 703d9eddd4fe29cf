//! The app over HTTP (tests/spec/delivery.md, "B10. HTTP request to the app", "B11. HTTP response mapping", "B17. App
//! channel"): one client with a pool of keep-alive connections for all requests. `--app-protocol` decides between HTTP/1.1 in
//! clear text, the same over TLS, and HTTP/2 in clear text.
//!
//! Redirects are not followed. A request that was lost because the app closed an idle connection is sent again on a new
//! one (D27). Nothing else is repeated here: `delivery` decides that by the verdict.

mod bulk;
mod coding;
mod connect;
mod connection_stats;
mod error_chain;
mod headers;
mod path;
mod protocol;
mod response;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::connect::Connector;
use self::connection_stats::ConnectionStats;
use self::error_chain::chain;
use self::protocol::DetectedProtocol;
use self::response::AppResponse;
use crate::app::channel::{
    Answer, BulkAnswer, BulkDelivery, Channel, Delivery, DiscoveryError, FailureReason, MAX_EXCERPT, ProbeError,
    Verdict,
};
use crate::app::{discovery, verdict};
use crate::config::{AppProtocol, AppSettings};
use crate::resources::kinds::subscription::SubscriptionSpec;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;
use crate::telemetry::events::app::{
    AnswerNotUnderstood, AppConcurrencyLimited, AppConfigurationLoaded, AppDiscovered, AppProtocolMismatch,
    AppSubscribesToNothing, BulkEntryIdUnknown, DiscoveryAnswerEmpty, MetadataLeftOut, StillWaitingForApp,
    SubscriptionWithoutRoute, WaitingForApp,
};

/// Idle connections that are kept, as in daprd.
const MAX_IDLE: usize = 64;

/// How long an idle connection is kept, as in Go's client.
const IDLE: Duration = Duration::from_secs(90);

/// While waiting for the app: time for one attempt, pause between two, attempts between two log lines (B1.3).
const PROBE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS_PER_LINE: u32 = 100;

/// Time between two log lines about an `--app-protocol` that does not fit, and between two probes for the protocol that does.
const PROTOCOL_REMINDER: Duration = Duration::from_secs(30);

/// How much longer than `--read-buffer-size` the head of an answer may be, as in daprd.
const HEAD_SLACK: usize = 4096;

/// The smallest read buffer that hyper accepts.
const LEAST_BUFFER: usize = 8192;

/// How many routes are kept as URIs, and how many names of invalid headers are remembered.
const REMEMBERED: usize = 4096;

/// How many bytes of the answer to discovery an error quotes.
const SHOWN: usize = 64;

const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");

/// A pooled HTTP client for one app.
pub struct HttpChannel {
    client: Client<Connector, Full<Bytes>>,
    /// A client without pool: each request has a connection of its own.
    unpooled: Client<Connector, Full<Bytes>>,
    connector: Connector,
    protocol: AppProtocol,
    address: String,
    port: i32,
    /// `None` if address and port do not make a URI: then every request fails.
    authority: Option<Authority>,
    app_id: String,
    token: Option<HeaderValue>,
    max_concurrency: Option<usize>,
    slots: Option<Semaphore>,
    /// The URIs of routes.
    routes: RwLock<HashMap<Arc<str>, Uri>>,
    /// Names of metadata that cannot be headers and have been logged.
    left_out: Mutex<HashSet<String>>,
    /// Routes whose success bodies could not be read: each is logged once (D26).
    unread: Mutex<HashSet<String>>,
    /// When it was last logged that the app speaks another protocol.
    protocol_warned: Mutex<Option<Instant>>,
    /// When the app was last probed for another protocol.
    protocols_probed: Mutex<Option<Instant>>,
    telemetry: Telemetry,
}

impl HttpChannel {
    /// A client for this app. It connects at its first request.
    pub fn new(settings: &AppSettings, app_id: &str, telemetry: Telemetry) -> Self {
        let address = bracketed(&settings.address);
        let connector = Connector::new(settings.protocol, &address);
        Self {
            client: client(settings, connector.clone(), MAX_IDLE),
            unpooled: client(settings, connector.clone(), 0),
            connector,
            protocol: settings.protocol,
            authority: format!("{address}:{}", settings.port).parse().ok(),
            address,
            port: settings.port,
            app_id: app_id.to_owned(),
            token: token(settings),
            max_concurrency: settings.max_concurrency,
            slots: settings.max_concurrency.map(|most| Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            routes: RwLock::default(),
            left_out: Mutex::default(),
            unread: Mutex::default(),
            protocol_warned: Mutex::default(),
            protocols_probed: Mutex::default(),
            telemetry,
        }
    }

    /// Send a request and reads its answer to the end. Holds one of the slots of `--app-max-concurrency` meanwhile.
    async fn call(
        &self,
        make: impl Fn() -> Result<Request<Full<Bytes>>, FailureReason> + Send,
    ) -> Result<AppResponse, FailureReason> {
        let _slot = match &self.slots {
            // The semaphore is never closed.
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        let answer = AppResponse::read(self.send(make).await?).await?;
        match protocol::of_answer(&answer) {
            None => Ok(answer),
            Some(spoken) => {
                let advice = self.warn_of_protocol(spoken);
                // A gRPC server answers 200 to requests that it does not know: that is not SUCCESS.
                if answer.is_success() { Err(FailureReason::Unanswered(advice)) } else { Ok(answer) }
            }
        }
    }

    /// Send a request. If it was lost because the app had closed the connection, `make` makes it again, and it is sent once more, on a
    /// new connection.
    async fn send(
        &self,
        make: impl Fn() -> Result<Request<Full<Bytes>>, FailureReason> + Send,
    ) -> Result<Response<Incoming>, FailureReason> {
        let mut sent = self.client.request(make()?).await;
        if let Err(error) = &sent
            && connection_stats::was_lost_with_connection(error, self.protocol == AppProtocol::H2c)
        {
            sent = self.unpooled.request(make()?).await;
        }
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(&error).await),
        };
        if let Some(stats) = answer.extensions().get::<ConnectionStats>() {
            stats.record_answer();
        }
        Ok(answer)
    }

    async fn get(&self, path: &'static str) -> Result<AppResponse, FailureReason> {
        self.call(|| {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = self.uri(PathAndQuery::from_static(path))?;
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT_ENCODING, coding::GZIP);
            if let Ok(app_id) = HeaderValue::from_str(&self.app_id) {
                headers.insert(APP_ID, app_id);
            }
            if let Some(token) = &self.token {
                headers.insert(headers::TOKEN, token.clone());
            }
            Ok(request)
        })
        .await
    }

    fn request(&self, delivery: &Delivery) -> Result<Request<Full<Bytes>>, FailureReason> {
        let mut illegal = Vec::new();
        let headers = headers::of(delivery, self.token.as_ref(), |name| illegal.push(name));
        match illegal.first() {
            Some(name) if delivery.must_keep_headers => {
                return Err(FailureReason::Unanswered(format!("metadata {name:?} cannot be an HTTP header")));
            }
            _ => illegal.into_iter().for_each(|name| self.warn_of_metadata(name)),
        }
        self.post(&delivery.path, headers, delivery.body.clone())
    }

    fn bulk_request(&self, delivery: &BulkDelivery<'_>) -> Result<Request<Full<Bytes>>, FailureReason> {
        let headers = headers::of_bulk(delivery, self.token.as_ref());
        self.post(&delivery.path, headers, bulk::body(delivery))
    }

    fn post(
        &self,
        route: &Arc<str>,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, FailureReason> {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.route(route)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The URI of a route. Each is made once.
    fn route(&self, route: &Arc<str>) -> Result<Uri, FailureReason> {
        let known = self.routes.read().get(route).cloned();
        if let Some(uri) = known {
            return Ok(uri);
        }
        let uri = self.cleaned(route)?;
        let mut routes = self.routes.write();
        if routes.len() < REMEMBERED {
            routes.insert(route.clone(), uri.clone());
        }
        Ok(uri)
    }

    fn cleaned(&self, route: &str) -> Result<Uri, FailureReason> {
        let unusable = |error: &dyn Error| {
            FailureReason::Unanswered(format!(
                "the route {route:?} cannot be requested: {error}; write it as the path of a URL, with escapes as %20 for other characters"
            ))
        };
        let cleaned = path::clean(route).map_err(|error| unusable(&error))?;
        let cleaned = cleaned.parse().map_err(|error: http::uri::InvalidUri| unusable(&error))?;
        self.uri(cleaned)
    }

    fn uri(&self, path: PathAndQuery) -> Result<Uri, FailureReason> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match self.protocol {
            AppProtocol::Https => Scheme::HTTPS,
            _ => Scheme::HTTP,
        });
        parts.authority.clone_from(&self.authority);
        parts.path_and_query = Some(path);
        let uri = if self.authority.is_some() { Uri::from_parts(parts).ok() } else { None };
        uri.ok_or_else(|| FailureReason::Unreachable(format!("no app can listen on {}:{}", self.address, self.port)))
    }

    /// Log once for each name that it is not a valid header (D24).
    fn warn_of_metadata(&self, name: &str) {
        if is_news(&self.left_out, name) {
            self.telemetry.emit(MetadataLeftOut { name });
        }
    }

    /// Log once for each route that the body of a success could not be read (D26).
    fn warn_of_answer(&self, route: &str, problem: &str) {
        if is_news(&self.unread, route) {
            self.telemetry.emit(AnswerNotUnderstood { route, problem });
        }
    }

    /// Why there is no answer, with a guess at the app's protocol if it is not the expected one.
    async fn failed(&self, error: &ClientError) -> FailureReason {
        let mut text = chain(error);
        if let Some(spoken) = self.spoken(error).await {
            text = format!("{text}; {}", self.warn_of_protocol(spoken));
        }
        if error.is_connect() { FailureReason::Unreachable(text) } else { FailureReason::Unanswered(text) }
    }

    async fn spoken(&self, error: &ClientError) -> Option<DetectedProtocol> {
        if error.is_connect() {
            return protocol::of_connecting(error);
        }
        let stats = ConnectionStats::of(error)?;
        if !stats.first().is_empty() || self.protocol == AppProtocol::Https {
            return protocol::of_first_bytes(self.protocol, stats.first());
        }
        // Many requests may fail at once: only one of them probes.
        if !is_due(&self.protocols_probed) {
            return None;
        }
        let port = u16::try_from(self.port).ok()?;
        protocol::try_others(self.protocol, self.host(), port, PROBE).await
    }

    /// Log that the app speaks another protocol, at intervals as long as it does. Returns the text.
    fn warn_of_protocol(&self, spoken: DetectedProtocol) -> String {
        let advice = spoken.advice(self.protocol);
        if is_due(&self.protocol_warned) {
            self.telemetry.emit(AppProtocolMismatch { port: self.port, advice: &advice });
        }
        advice
    }

    /// Describe an answer to `GET /dapr/subscribe` that is no list of subscriptions: status, content type, first bytes.
    fn seen(&self, answer: &AppResponse) -> String {
        let content_type = match answer.content_type() {
            none if none.is_empty() => "no Content-Type".to_owned(),
            name => format!("Content-Type {name:?}"),
        };
        let shown = &answer.body[..answer.body.len().min(SHOWN)];
        let body = match String::from_utf8_lossy(shown) {
            none if none.trim().is_empty() => "an empty body".to_owned(),
            text => format!("a body that begins {text:?}"),
        };
        let is_doubtful = answer.body.trim_ascii().is_empty() || verdict::is_html(&answer.body);
        let question = if is_doubtful { format!("; is another program on port {}?", self.port) } else { String::new() };
        format!(" (GET /dapr/subscribe was answered with status {}, {content_type} and {body}{question})", answer.code)
    }

    /// The app's address without brackets.
    fn host(&self) -> &str {
        self.address.trim_start_matches('[').trim_end_matches(']')
    }

    async fn accepts_connections(&self) -> bool {
        let Ok(port) = u16::try_from(self.port) else {
            return false;
        };
        let connecting = TcpStream::connect((self.host(), port));
        let Ok(Ok(stream)) = tokio::time::timeout(PROBE, connecting).await else {
            return false;
        };
        let Some(tls) = self.connector.tls() else {
            return true;
        };
        match tls.begin_within(PROBE, stream).await {
            Ok(_) => true,
            Err(error) => {
                if let Some(spoken) = protocol::of_handshake(&error) {
                    self.warn_of_protocol(spoken);
                }
                false
            }
        }
    }
}

#[async_trait]
impl Channel for HttpChannel {
    async fn listening(&self, stop: &Stop) -> bool {
        self.telemetry.emit(WaitingForApp { protocol: self.protocol.name(), port: self.port });
        let mut attempts = 0;
        loop {
            match stop.run_until_triggered(self.accepts_connections()).await {
                None => return false,
                Some(true) => break,
                Some(false) => attempts += 1,
            }
            if attempts % ATTEMPTS_PER_LINE == 0 {
                self.telemetry.emit(StillWaitingForApp { port: self.port });
            }
            if !stop.sleep(PAUSE).await {
                return false;
            }
        }
        self.telemetry.emit(AppDiscovered { port: self.port });
        if let Some(limit) = self.max_concurrency {
            self.telemetry.emit(AppConcurrencyLimited { limit });
        }
        true
    }

    async fn load_configuration(&self) {
        if self.get("/dapr/config").await.is_ok() {
            self.telemetry.emit(AppConfigurationLoaded);
        }
    }

    async fn subscriptions(&self) -> Result<Vec<SubscriptionSpec>, DiscoveryError> {
        let answer =
            self.get("/dapr/subscribe").await.map_err(|reason| DiscoveryError::Unreachable(reason.to_string()))?;
        match answer.code {
            200 if answer.is_cut => Err(DiscoveryError::Malformed(response::too_long())),
            200 => {
                let found = discovery::read(&answer.body).map_err(|error| match error {
                    DiscoveryError::Malformed(text) => DiscoveryError::Malformed(text + &self.seen(&answer)),
                    other => other,
                })?;
                for topic in &found.routeless {
                    self.telemetry.emit(SubscriptionWithoutRoute { topic });
                }
                if answer.body.trim_ascii().is_empty() {
                    self.telemetry.emit(DiscoveryAnswerEmpty { answer: &self.seen(&answer) });
                }
                if found.subscriptions.is_empty() {
                    self.telemetry.emit(AppSubscribesToNothing);
                }
                Ok(found.subscriptions)
            }
            404 => {
                self.telemetry.emit(AppSubscribesToNothing);
                Ok(Vec::new())
            }
            code => Err(DiscoveryError::Status(code, self.seen(&answer))),
        }
    }

    /// A plain request, without token. It takes none of the slots of `--app-max-concurrency`: a busy app is not a sick one.
    async fn probe(&self, path: &str) -> Result<(), ProbeError> {
        let make = || {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = self.cleaned(path)?;
            let headers = request.headers_mut();
            headers.insert(ACCEPT_ENCODING, coding::GZIP);
            Ok(request)
        };
        // Only the status counts.
        let status = self.send(make).await.map_err(unprobed)?.status();
        if status.is_success() { Ok(()) } else { Err(ProbeError::Status(status.as_u16())) }
    }

    async fn deliver(&self, delivery: &Delivery) -> Answer {
        let response = match self.call(|| self.request(delivery)).await {
            Ok(response) => response,
            Err(reason) => return Answer::missing(reason),
        };
        let verdict = if response.might_say_more() {
            Verdict::Retry(too_long())
        } else {
            verdict::of_answer(response.code, &response.body, |problem| self.warn_of_answer(&delivery.path, problem))
        };
        let mut excerpt = response.body;
        excerpt.truncate(MAX_EXCERPT);
        Answer { verdict, status: Some(response.code), excerpt }
    }

    async fn deliver_bulk(&self, delivery: &BulkDelivery<'_>) -> BulkAnswer {
        let entries = delivery.entries.len();
        let response = match self.call(|| self.bulk_request(delivery)).await {
            Ok(response) => response,
            Err(reason) => return BulkAnswer::missing(reason, entries),
        };
        let status = Some(response.code);
        if response.might_say_more() {
            return BulkAnswer { status, ..BulkAnswer::missing(too_long(), entries) };
        }
        let ids = delivery.entries.iter().map(|entry| entry.id.as_str());
        let verdicts = verdict::bulk::of_answer(response.code, &response.body, ids);
        for id in &verdicts.unknown_ids {
            self.telemetry.emit(BulkEntryIdUnknown { id });
        }
        BulkAnswer { verdicts: verdicts.of_entries, status }
    }
}

/// Add a name to those that have been logged. Returns whether it is new; beyond [`REMEMBERED`] names nothing is.
fn is_news(told: &Mutex<HashSet<String>>, name: &str) -> bool {
    let mut told = told.lock();
    told.len() < REMEMBERED && !told.contains(name) && told.insert(name.to_owned())
}

/// Has [`PROTOCOL_REMINDER`] passed since `last`? If so, `last` becomes now.
fn is_due(last: &Mutex<Option<Instant>>) -> bool {
    let mut last = last.lock();
    let is_due = last.is_none_or(|last| last.elapsed() >= PROTOCOL_REMINDER);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

fn too_long() -> FailureReason {
    FailureReason::Unanswered(response::too_long())
}

fn client(settings: &AppSettings, connector: Connector, max_idle: usize) -> Client<Connector, Full<Bytes>> {
    let longest_head = settings.max_header.saturating_add(HEAD_SLACK);
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(max_idle)
        .http1_max_buf_size(longest_head.max(LEAST_BUFFER));
    if settings.protocol == AppProtocol::H2c {
        builder.http2_only(true).http2_max_header_list_size(u32::try_from(longest_head).unwrap_or(u32::MAX));
    }
    builder.build(connector)
}

fn token(settings: &AppSettings) -> Option<HeaderValue> {
    let token = settings.token.as_deref().filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::from_str(token).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An address as it stands in a URI: with colons in it, it needs brackets.
fn bracketed(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') { format!("[{address}]") } else { address.to_owned() }
}

fn unprobed(reason: FailureReason) -> ProbeError {
    match reason {
        FailureReason::Unreachable(error) => ProbeError::Unreachable(error),
        other => ProbeError::Unanswered(other.to_string()),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
