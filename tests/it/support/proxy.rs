//! A proxy that can misbehave: slow, silent, refusing, or cut in the middle of a reply.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Listens on 127.0.0.1 and forwards bytes, according to its [`Way`].
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

/// The behaviour of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Forwards at once.
    Open,
    /// Delays every reply by this much. Replies do not wait for each other.
    Slow(Duration),
    /// Reads and drops everything, in both directions. A connection that has lost bytes stays silent for ever.
    Silent,
    /// Closes every connection.
    Refusing,
}

struct Shared {
    server: u16,
    way: Mutex<Way>,
    /// Cut the reply to the next request that contains this word.
    cut: Mutex<Option<&'static str>>,
    cuts: AtomicUsize,
    /// Changes to end all connections.
    end: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy for the server on this port.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server,
            way: Mutex::new(Way::Open),
            cut: Mutex::default(),
            cuts: AtomicUsize::new(0),
            end: watch::Sender::new(0),
        });
        let task = tokio::spawn(listen(listener, shared.clone()));
        Self { port, shared, task }
    }

    /// Change the mode, for existing connections, too.
    pub(crate) fn set(&self, way: Way) {
        *self.shared.way.lock() = way;
        if way == Way::Refusing {
            self.shared.end.send_modify(|number| *number += 1);
        }
    }

    /// Forward half of the next reply to a request that contains this word, and close that connection.
    pub(crate) fn cut_reply_to(&self, word: &'static str) {
        *self.shared.cut.lock() = Some(word);
    }

    /// The number of replies that were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.lock()
    }

    /// Whether to cut this reply to these requests, once. A blocking read without a result is no reply.
    fn cuts_now(&self, requests: &[u8], reply: &[u8]) -> bool {
        let mut cut = self.cut.lock();
        let is_asked = cut.is_some_and(|word| requests.windows(word.len()).any(|part| part == word.as_bytes()));
        let now = is_asked && !reply.starts_with(b"*-1");
        if now {
            *cut = None;
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
        now
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if shared.way() != Way::Refusing {
            connections.spawn(pass(client, shared.clone()));
        }
    }
}

async fn pass(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut end = shared.end.subscribe();
    let server = TcpStream::connect(("127.0.0.1", shared.server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let line = Line { shared: &shared, unanswered: Mutex::default(), has_lost: AtomicBool::new(false) };
    tokio::select! {
        ended = line.requests(from_client, to_server) => ended,
        ended = line.replies(from_server, to_client) => ended,
        _ = end.changed() => Ok(()),
    }
}

/// One connection.
struct Line<'a> {
    shared: &'a Shared,
    /// The requests since the last reply.
    unanswered: Mutex<Vec<u8>>,
    has_lost: AtomicBool,
}

impl Line<'_> {
    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            if !self.swallows() {
                let asked = &bytes[..count];
                self.unanswered.lock().extend_from_slice(asked);
                to.write_all(asked).await?;
            }
        }
    }

    async fn replies(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let (later, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let reading = async move {
            let mut bytes = vec![0; 64 << 10];
            loop {
                let count = from.read(&mut bytes).await?;
                if count == 0 {
                    return io::Result::Ok(());
                }
                if self.swallows() {
                    continue;
                }
                let requests = std::mem::take(&mut *self.unanswered.lock());
                let is_cut = self.shared.cuts_now(&requests, &bytes[..count]);
                let passed = if is_cut { count / 2 } else { count };
                let pause = match self.shared.way() {
                    Way::Slow(pause) => pause,
                    _ => Duration::ZERO,
                };
                let _ = later.send((Instant::now() + pause, bytes[..passed].to_vec()));
                if is_cut {
                    return Ok(());
                }
            }
        };
        let writing = async {
            while let Some((at, bytes)) = due.recv().await {
                tokio::time::sleep_until(at).await;
                to.write_all(&bytes).await?;
            }
            io::Result::Ok(())
        };
        // Bytes that were read before the end are still forwarded.
        tokio::try_join!(reading, writing).map(drop)
    }

    fn swallows(&self) -> bool {
        if self.shared.way() == Way::Silent {
            self.has_lost.store(true, Ordering::Relaxed);
        }
        self.has_lost.load(Ordering::Relaxed)
    }
}
