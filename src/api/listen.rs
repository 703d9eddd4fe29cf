//! Where the API listens: addresses of TCP, or a socket in a folder (tests/spec/http-api.md, "1. Listeners and
//! transport"; tests/spec/grpc-sdk.md, "2.1 Transport, limits, keepalive").

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::config::Settings;
use crate::resources::files::folder;
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

/// The flags that choose where something listens, without dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of the port.
    pub port: &'static str,
    /// Of the host.
    pub host: &'static str,
}

const PUBLIC: Choice = Choice { port: "dapr-public-port", host: "dapr-public-listen-address" };

impl Choice {
    /// Why the port cannot be had, and what to do about it.
    pub fn advice(self, port: u16, reason: &io::Error) -> String {
        let Self { port: flag, host } = self;
        match reason.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port {port} is taken by another program: stop that, or choose another port with --{flag}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("port {port} is not for this user: choose one above 1023 with --{flag}")
            }
            _ => format!("{}: correct --{host} or --{flag}", folder::reason(reason)),
        }
    }
}

/// No address could be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Of the ports none was free.
    #[error("failed to start {server}: could not listen on any endpoint{}", reason.as_ref().map_or_else(String::new, |reason| format!(": {}", choice.advice(*port, reason))))]
    NoEndpoint {
        /// Whose they were.
        server: Server,
        /// Of all of them.
        port: u16,
        /// What chooses it.
        choice: Choice,
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

impl Server {
    fn choice(self) -> Choice {
        let host = "dapr-listen-addresses";
        let port = match self {
            Self::Http => "dapr-http-port",
            Self::Grpc => "dapr-grpc-port",
        };
        Choice { port, host }
    }
}

/// Where the API is to listen: the hosts of each port.
struct Address<'a> {
    server: Server,
    hosts: Vec<&'a str>,
    port: u16,
    choice: Choice,
}

impl<'a> Address<'a> {
    /// `None` if the server is to listen on a socket in a folder.
    fn of(server: Server, settings: &'a Settings) -> Option<Self> {
        let http = &settings.http;
        let hosts = if http.listen.is_empty() { vec![""] } else { http.listen.iter().map(String::as_str).collect() };
        let port = match server {
            Server::Http => http.port,
            Server::Grpc => settings.grpc_port,
        };
        http.socket_dir.is_none().then(|| Self { server, hosts, port, choice: server.choice() })
    }

    /// Of the public server, if there is to be one.
    fn public(settings: &'a Settings) -> Option<Self> {
        let (host, port) = settings.http.public.as_ref()?;
        Some(Self { server: Server::Http, hosts: vec![host], port: *port, choice: PUBLIC })
    }
}

/// What can be said at once, before anything is built: the ports of the API that another program has now, each with what to do about it.
pub async fn taken(settings: &Settings) -> Vec<String> {
    let addresses =
        [Address::of(Server::Grpc, settings), Address::of(Server::Http, settings), Address::public(settings)];
    let mut taken = Vec::new();
    for address in addresses.into_iter().flatten() {
        for host in &address.hosts {
            match bind_once(host, address.port).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    taken.push(address.choice.advice(address.port, &error));
                    break;
                }
                _ => {}
            }
        }
    }
    taken
}

/// The listeners of a server: one at least.
///
/// # Errors
/// If no address could be taken within 10 seconds, or the socket file could not be made.
pub async fn bind(server: Server, settings: &Settings, telemetry: &Telemetry) -> Result<Vec<Listener>, BindError> {
    if let Some(folder) = &settings.http.socket_dir {
        let kind = match server {
            Server::Http => "http",
            Server::Grpc => "grpc",
        };
        let path = folder.join(format!("dapr-{}-{kind}.socket", settings.app_id));
        return bind_socket(server, &path, telemetry).map(|listener| vec![listener]);
    }
    match Address::of(server, settings) {
        Some(address) => bind_ports(address, telemetry).await,
        None => Ok(Vec::new()),
    }
}

/// The listener of the public server, if there is to be one.
///
/// # Errors
/// As [`bind`].
pub async fn bind_public(settings: &Settings, telemetry: &Telemetry) -> Result<Option<Listener>, BindError> {
    let Some(address) = Address::public(settings) else {
        return Ok(None);
    };
    let listeners = bind_ports(address, telemetry).await?;
    Ok(listeners.into_iter().next())
}

async fn bind_ports(address: Address<'_>, telemetry: &Telemetry) -> Result<Vec<Listener>, BindError> {
    let Address { server, hosts, port, choice } = address;
    let tries = hosts.iter().map(|host| bind_port(server, host, port, telemetry));
    let mut listeners = Vec::new();
    let mut failures = Vec::new();
    for (host, result) in hosts.iter().zip(join_all(tries).await) {
        match result {
            Ok(listener) => listeners.push(listener.into()),
            Err(error) => failures.push((host, error)),
        }
    }
    if listeners.is_empty() {
        return Err(BindError::NoEndpoint { server, port, choice, reason: failures.pop().map(|(_, error)| error) });
    }
    for (host, error) in failures {
        telemetry.api_not_listening(&place(host, port), &error);
    }
    Ok(listeners)
}

/// An address for the log.
fn place(host: &str, port: u16) -> String {
    format!("TCP address: {host}:{port}")
}

async fn bind_port(server: Server, host: &str, port: u16, telemetry: &Telemetry) -> io::Result<TcpListener> {
    let deadline = Instant::now() + LONGEST_TRY;
    let mut pause = FIRST_PAUSE;
    loop {
        match bind_once(host, port).await {
            Ok(listener) => {
                listening(server, &place(host, port), telemetry);
                return Ok(listener);
            }
            // Waiting does not help where a right is missing.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || Instant::now() + pause > deadline => {
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
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)).await,
        bound => bound,
    }
}

fn bind_socket(server: Server, path: &Path, telemetry: &Telemetry) -> Result<Listener, BindError> {
    match UnixListener::bind(path) {
        Ok(listener) => {
            let place = format!("Unix socket: {}", path.display());
            listening(server, &place, telemetry);
            Ok(Listener::Unix(SocketFile { listener, path: path.to_owned() }))
        }
        Err(reason) => Err(BindError::Socket { server, path: path.to_owned(), reason }),
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
            (Server::Http, "failed to start HTTP server: could not listen on any endpoint"),
            (Server::Grpc, "failed to start API gRPC server: could not listen on any endpoint"),
        ] {
            let error = |reason: Option<io::ErrorKind>| BindError::NoEndpoint {
                server,
                port: 3500,
                choice: server.choice(),
                reason: reason.map(Into::into),
            };
            assert_eq!(error(None).to_string(), expected);
            for (reason, advice) in [
                (
                    io::ErrorKind::AddrInUse,
                    "port 3500 is taken by another program: stop that, or choose another port with --",
                ),
                (io::ErrorKind::PermissionDenied, "port 3500 is not for this user: choose one above 1023 with --"),
                (io::ErrorKind::AddrNotAvailable, "address not available: correct --dapr-listen-addresses or --"),
            ] {
                let flag = server.choice().port;
                assert_eq!(error(Some(reason)).to_string(), format!("{expected}: {advice}{flag}"));
            }
        }
    }
}
