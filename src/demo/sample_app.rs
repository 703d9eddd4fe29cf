//! The app of the demo: an HTTP server on a free port that subscribes to three topics and answers by the content of the
//! event.
//!
//! It knows the sidecar only as an app does: it answers the question for its subscriptions, and receives CloudEvents as
//! POST requests.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::book::Book;
use super::event::{Answer, Event};
use crate::shutdown::{Stop, Tasks};

/// The answer to `GET /dapr/subscribe`. `orders` has no dead-letter topic, so that a failure is delivered again instead
/// of moving there at once (D25).
const SUBSCRIPTIONS: &str = r#"[
 {"pubsubname":"pubsub","topic":"orders","route":"/orders"},
 {"pubsubname":"pubsub","topic":"payments","route":"/payments","deadLetterTopic":"payments-dead"},
 {"pubsubname":"pubsub","topic":"payments-dead","route":"/payments-dead"}
]"#;

/// The header with the reason of a dead letter (D5).
const REASON: &str = "deadletterreason";

/// Start the app. Returns its port. It ends with `stop`.
///
/// # Errors
/// If no port is free.
pub(super) async fn start(book: Arc<Book>, stop: &Stop, tasks: &Tasks) -> std::io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let (stop, connections) = (stop.clone(), tasks.clone());
    tasks.spawn("sample app", async move {
        while let Some(accepted) = stop.run_until_triggered(listener.accept()).await {
            if let Ok((stream, _)) = accepted {
                let connection = serve(stream, book.clone());
                let stop = stop.clone();
                connections.spawn("sample app connection", async move {
                    stop.run_until_triggered(connection).await;
                });
            }
        }
    });
    Ok(port)
}

async fn serve(stream: TcpStream, book: Arc<Book>) {
    let service = service_fn(move |request| {
        let book = book.clone();
        async move { Ok::<_, Infallible>(answer(request, &book).await) }
    });
    // The sidecar handles broken connections.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, book: &Book) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    match (&head.method, path.as_str()) {
        (&Method::GET, "/dapr/subscribe") => json(SUBSCRIPTIONS),
        (&Method::POST, "/orders" | "/payments") => match body.collect().await {
            Ok(body) => {
                let event = Event::read(&body.to_bytes());
                json(book.delivered(&path, &event, |attempt| event.answer(attempt)).body())
            }
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        (&Method::POST, "/payments-dead") => match body.collect().await {
            Ok(body) => {
                let reason = head.headers.get(REASON).and_then(|value| value.to_str().ok());
                book.dead_lettered(&path, &Event::read(&body.to_bytes()), reason);
                json(Answer::Success.body())
            }
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn json(body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use cloudevents::{EventBuilder, EventBuilderV10};
    use serde_json::Value;

    use super::super::narrator::{Narrator, tests::Paper};
    use super::super::script::Order;
    use super::*;

    fn event(id: &str, data: &str) -> Event {
        let event = EventBuilderV10::new()
            .id(id)
            .source("demo")
            .ty("com.dapr.event.sent")
            .data("application/json", serde_json::from_str::<Value>(data).unwrap());
        Event::read(&serde_json::to_vec(&event.build().unwrap()).unwrap())
    }

    #[test]
    fn the_answer_follows_from_the_data_and_the_attempt() {
        let check = |data, attempt, expected| {
            assert_eq!(event("a", data).answer(attempt), expected, "{data}");
        };
        check(r#"{"orderId":1,"item":"tea"}"#, 1, Answer::Success);
        check(r#"{"warehouse":"busy"}"#, 1, Answer::Retry);
        check(r#"{"warehouse":"busy"}"#, 2, Answer::Success);
        check(r#"{"card":"expired"}"#, 1, Answer::Drop);
        check(r#""text""#, 1, Answer::Success);
        assert_eq!(Event::read(b"not JSON"), Event::default());
    }

    #[test]
    fn subscriptions_are_json() {
        let list: Vec<Value> = serde_json::from_str(SUBSCRIPTIONS).unwrap();
        assert_eq!(list.len(), 3);
    }

    /// The complete course of four orders, with direct calls of the app: the printed steps, and the counts.
    #[test]
    fn the_book_tells_every_step_and_accounts_for_every_order() {
        let paper = Paper::default();
        let book = Book::new(Narrator::new(Box::new(paper.clone()), false, Stop::new()));
        for number in 1..=4 {
            let order = Order::nth(number);
            let event = event(&format!("id-{number}"), &order.body());
            let path = format!("/{}", order.topic());
            book.sending(&order);
            let mut answer = book.delivered(&path, &event, |attempt| event.answer(attempt));
            book.accepted(&order);
            if answer == Answer::Retry {
                answer = book.delivered(&path, &event, |attempt| event.answer(attempt));
            }
            if answer == Answer::Drop {
                book.dead_lettered("/payments-dead", &event, Some("dropped"));
            }
        }
        assert_eq!(book.close(Some(4)), 0);
        let told = paper.text();
        let steps: Vec<&str> = told.lines().filter_map(|line| line.get(20..33).map(str::trim)).take(16).collect();
        let fine = ["published", "wrapped", "delivered", "SUCCESS"];
        let busy = ["published", "wrapped", "delivered", "RETRY", "redelivered", "SUCCESS"];
        let dropped = ["published", "wrapped", "delivered", "DROP", "dead-lettered"];
        let all: Vec<&str> = [&fine[..], &busy, &fine, &dropped].concat();
        assert_eq!(steps, all[..16], "{told}");
        assert!(told.contains("came out of its dead-letter topic at POST /payments-dead, because: dropped"));
        assert!(told.ends_with("4 orders: 2 succeeded at once, 1 after redelivery, 1 came out of the dead-letter topic. Every order is accounted for.\n"));
    }
}
