//! Bound addresses: TCP ports, and Unix sockets in a folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

/// How long a taken address is tried again, and the pauses between.
const MAX_BIND_TIME: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket in a folder, removed with the listener.
    Unix(SocketFile),
}

/// A Unix socket and its file.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
}

/// A connection of a client.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// The port, unless it is a socket in a folder.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Waits for the next client.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it small answers wait for the client's acknowledgement; it cannot fail on a live socket.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok(Stream::Unix(stream))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// Binds a port. An empty host means all interfaces: both families where there are two.
///
/// # Errors
/// If it cannot be bound now.
pub async fn bind_tcp_once(host: &str, port: u16) -> io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind(format!("{host}:{port}")).await;
    }
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)).await,
        bound => bound,
    }
}

/// Binds a port as [`bind_tcp_once`] does, and tries a port that is taken again for 10 seconds.
///
/// # Errors
/// If it could not be bound in this time, or waiting does not help because a permission is missing.
pub async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let deadline = Instant::now() + MAX_BIND_TIME;
    let mut pause = FIRST_PAUSE;
    loop {
        match bind_tcp_once(host, port).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || Instant::now() + pause > deadline => {
                return Err(error);
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 3 / 2).min(MAX_PAUSE);
    }
}

/// Makes a Unix socket.
///
/// # Errors
/// If the file cannot be made.
pub fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = UnixListener::bind(path)?;
    Ok(Listener::Unix(SocketFile { listener, path: path.to_owned() }))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed already.
        let _ = std::fs::remove_file(&self.path);
    }
}
