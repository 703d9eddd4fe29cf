//! Requests on connections that the app closes (D27).

use tokio::net::TcpStream;

use super::*;

/// What an app does with one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// Answers, and leaves the connection open.
    AppResponse,
    /// Reads the request, and closes the connection without an answer.
    Close,
    /// The same, and the connection is reset.
    Reset,
    /// Begins an answer, and closes.
    Begin,
}

/// An app that does `acts` with the requests of each connection, and closes it after the last. It counts connections and requests.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

async fn acting(acts: &'static [Act]) -> (HttpChannel, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts = Arc::new(Counts::default());
    let seen = counts.clone();
    Tasks::new().spawn("app", async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            seen.connections.fetch_add(1, Ordering::SeqCst);
            act(connection, acts, &seen).await;
        }
    });
    (channel(&settings(port)), counts)
}

/// Requests are small enough to come in one piece.
async fn act(mut connection: TcpStream, acts: &[Act], counts: &Counts) {
    let mut request = [0; 2048];
    for act in acts {
        if !matches!(connection.read(&mut request).await, Ok(1..)) {
            return;
        }
        // An app that does not answer is tried with TLS, too, which is no request.
        if request.starts_with(b"POST") || request.starts_with(b"GET") {
            counts.requests.fetch_add(1, Ordering::SeqCst);
        }
        let answer: &[u8] = match act {
            Act::AppResponse => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            Act::Begin => b"HTTP/1.1 2",
            Act::Close => return,
            Act::Reset => return connection.set_zero_linger().unwrap(),
        };
        connection.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_on_a_connection_that_the_app_closes_is_sent_again_on_a_new_one() {
    for acts in [&[Act::AppResponse, Act::Close][..], &[Act::AppResponse, Act::Reset]] {
        let (channel, counts) = acting(acts).await;
        for _ in 0..10 {
            assert_eq!(channel.deliver(&delivery("/x")).await.verdict, Verdict::Success);
            assert_eq!(channel.probe("/healthz").await, Ok(()));
            channel.get("/dapr/config").await.map(drop).unwrap();
        }
        let requests = counts.requests.load(Ordering::SeqCst);
        assert!(requests > 30, "no connection was used twice: {requests}");
    }
}

#[tokio::test]
async fn a_new_connection_without_answer_decides() {
    for (acts, requests) in
        [(&[Act::Close][..], 1), (&[Act::Reset], 1), (&[Act::Begin], 1), (&[Act::AppResponse, Act::Begin], 2)]
    {
        let (channel, counts) = acting(acts).await;
        if acts[0] == Act::AppResponse {
            assert_eq!(channel.deliver(&delivery("/x")).await.verdict, Verdict::Success);
        }
        let verdict = channel.deliver(&delivery("/x")).await.verdict;
        assert!(matches!(verdict, Verdict::Retry(FailureReason::Unanswered(_))), "{acts:?}: {verdict:?}");
        assert_eq!(counts.requests.load(Ordering::SeqCst), requests, "{acts:?}");
    }
}

/// The connection is closed right after an answer that does not say so: the next request may be on its way.
#[tokio::test]
async fn an_app_that_closes_after_each_answer_gets_every_event_once() {
    let (channel, counts) = acting(&[Act::AppResponse]).await;
    for _ in 0..200 {
        assert_eq!(channel.deliver(&delivery("/x")).await.verdict, Verdict::Success);
    }
    assert_eq!(counts.requests.load(Ordering::SeqCst), 200);
}

/// What an app that speaks HTTP/2 does with every second request of a connection.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Stream,
    GoAway,
    Hangup,
}

async fn refusing(refusal: Refusal) -> HttpChannel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = Tasks::new();
    Tasks::new().spawn("app", async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            // Each is served beside the next, as a client has several.
            tasks.spawn("connection", refuse(connection, refusal));
        }
    });
    channel(&AppSettings { protocol: AppProtocol::H2c, ..settings(port) })
}

async fn refuse(connection: TcpStream, refusal: Refusal) {
    let mut connection = h2::server::handshake(connection).await.unwrap();
    let mut is_refused = false;
    while let Some(Ok((_, mut responder))) = connection.accept().await {
        match refusal {
            _ if !is_refused => drop(responder.send_response(Response::new(()), true).unwrap()),
            Refusal::Hangup => return,
            Refusal::Stream => responder.send_reset(h2::Reason::REFUSED_STREAM),
            Refusal::GoAway => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
        }
        is_refused = !is_refused;
    }
}

#[tokio::test]
async fn a_request_that_http2_refuses_is_sent_again() {
    for refusal in [Refusal::Stream, Refusal::GoAway, Refusal::Hangup] {
        let channel = refusing(refusal).await;
        for n in 0..6 {
            let verdict = channel.deliver(&delivery("/x")).await.verdict;
            assert_eq!(verdict, Verdict::Success, "{refusal:?} {n}");
        }
    }
}
