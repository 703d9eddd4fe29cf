//! Where the API listens: addresses of TCP, or a socket in a folder (spec http-api.md 1, grpc-sdk.md 2.1).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::config::Settings;
use crate::resources::folder;
use crate::telemetry::Telemetry;

/// How long a taken address is tried again, and the pauses between.
const LONGEST_TRY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One of the two servers of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// `--dapr-http-port`.
    Http,
    /// `--dapr-grpc-port`.
    Grpc,
}

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

/// No address could be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Of the ports none was free.
    #[error("failed to start {server}: could not listen on any endpoint")]
    NoEndpoint {
        /// Whose they were.
        server: Server,
        /// The last reason.
        #[source]
        reason: Option<io::Error>,
    },
    /// The socket could not be made.
    #[error("failed to start {server}: listen unix {}: bind: {}", path.display(), folder::reason(reason))]
    Socket {
        /// Whose it was.
        server: Server,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        reason: io::Error,
    },
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP server",
            Self::Grpc => "API gRPC server",
        })
    }
}

impl Listener {
    /// The port, unless it is a socket in a folder.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The next client.
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

/// The listeners of a server: one at least.
///
/// # Errors
/// If no address could be taken within 10 seconds, or the socket file could not be made.
pub async fn bind(
    server: Server,
    settings: &Settings,
    telemetry: &Telemetry,
) -> Result<Vec<Listener>, BindError> {
    let http = &settings.http;
    let (port, kind) = match server {
        Server::Http => (http.port, "http"),
        Server::Grpc => (settings.grpc_port, "grpc"),
    };
    if let Some(folder) = &http.socket_dir {
        let path = folder.join(format!("dapr-{}-{kind}.socket", settings.app_id));
        return bind_socket(server, &path, telemetry).map(|listener| vec![listener]);
    }
    let everywhere = [String::new()];
    let hosts = if http.listen.is_empty() {
        &everywhere[..]
    } else {
        &http.listen
    };
    let addresses = hosts.iter().map(|host| (host.as_str(), port));
    bind_ports(server, addresses, telemetry).await
}

/// The listener of the public server, if there is to be one.
///
/// # Errors
/// As [`bind`].
pub async fn bind_public(
    settings: &Settings,
    telemetry: &Telemetry,
) -> Result<Option<Listener>, BindError> {
    let Some((host, port)) = &settings.http.public else {
        return Ok(None);
    };
    let address = [(host.as_str(), *port)].into_iter();
    let listeners = bind_ports(Server::Http, address, telemetry).await?;
    Ok(listeners.into_iter().next())
}

async fn bind_ports(
    server: Server,
    addresses: impl Iterator<Item = (&str, u16)>,
    telemetry: &Telemetry,
) -> Result<Vec<Listener>, BindError> {
    let tries = addresses.map(|(host, port)| bind_port(server, host, port, telemetry));
    let mut listeners = Vec::new();
    let mut reason = None;
    for result in join_all(tries).await {
        match result {
            Ok(listener) => listeners.push(listener.into()),
            Err(error) => reason = Some(error),
        }
    }
    if listeners.is_empty() {
        Err(BindError::NoEndpoint { server, reason })
    } else {
        Ok(listeners)
    }
}

async fn bind_port(
    server: Server,
    host: &str,
    port: u16,
    telemetry: &Telemetry,
) -> io::Result<TcpListener> {
    let deadline = Instant::now() + LONGEST_TRY;
    let mut pause = FIRST_PAUSE;
    let place = format!("TCP address: {host}:{port}");
    loop {
        match bind_once(host, port).await {
            Ok(listener) => {
                listening(server, &place, telemetry);
                return Ok(listener);
            }
            Err(error) if Instant::now() + pause > deadline => {
                telemetry.api_not_listening(&place, &error);
                return Err(error);
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// No host means all interfaces: both families where there are two.
async fn bind_once(host: &str, port: u16) -> io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind(format!("{host}:{port}")).await;
    }
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    }
}

fn bind_socket(server: Server, path: &Path, telemetry: &Telemetry) -> Result<Listener, BindError> {
    match UnixListener::bind(path) {
        Ok(listener) => {
            let place = format!("Unix socket: {}", path.display());
            listening(server, &place, telemetry);
            Ok(Listener::Unix(SocketFile {
                listener,
                path: path.to_owned(),
            }))
        }
        Err(reason) => Err(BindError::Socket {
            server,
            path: path.to_owned(),
            reason,
        }),
    }
}

fn listening(server: Server, place: &str, telemetry: &Telemetry) {
    match server {
        Server::Http => telemetry.http_listening(place),
        Server::Grpc => telemetry.grpc_listening(place),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_in_daprd() {
        let socket = BindError::Socket {
            server: Server::Grpc,
            path: "/none/dapr-a-grpc.socket".into(),
            reason: io::Error::from_raw_os_error(2),
        };
        assert_eq!(
            socket.to_string(),
            "failed to start API gRPC server: listen unix /none/dapr-a-grpc.socket: bind: no such file or directory"
        );
        for (server, expected) in [
            (
                Server::Http,
                "failed to start HTTP server: could not listen on any endpoint",
            ),
            (
                Server::Grpc,
                "failed to start API gRPC server: could not listen on any endpoint",
            ),
        ] {
            let error = BindError::NoEndpoint {
                server,
                reason: None,
            };
            assert_eq!(error.to_string(), expected);
        }
    }
}
