//! Where the API listens: addresses of TCP, or a socket in a folder (spec http-api.md 1).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use crate::config::Settings;
use crate::telemetry::Telemetry;

/// How long a taken address is tried again, and the pauses between.
const LONGEST_TRY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

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
    pub(super) listener: UnixListener,
    path: PathBuf,
}

/// No address could be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Of the ports none was free.
    #[error("failed to start HTTP server: could not listen on any endpoint")]
    NoEndpoint {
        /// The last reason.
        #[source]
        reason: Option<io::Error>,
    },
    /// The socket could not be made.
    #[error("failed to start HTTP server: listen unix {}: bind: {reason}", path.display())]
    Socket {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        reason: io::Error,
    },
}

impl Listener {
    /// The port, unless it is a socket in a folder.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// The listeners of the API server: one at least.
///
/// # Errors
/// If no address could be taken within 10 seconds, or the socket file could not be made.
pub async fn bind(settings: &Settings, telemetry: &Telemetry) -> Result<Vec<Listener>, BindError> {
    let http = &settings.http;
    if let Some(folder) = &http.socket_dir {
        let path = folder.join(format!("dapr-{}-http.socket", settings.app_id));
        return bind_socket(&path, telemetry).map(|listener| vec![listener]);
    }
    let everywhere = [String::new()];
    let hosts = if http.listen.is_empty() {
        &everywhere[..]
    } else {
        &http.listen
    };
    bind_ports(
        hosts.iter().map(|host| (host.as_str(), http.port)),
        telemetry,
    )
    .await
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
    let listeners = bind_ports([(host.as_str(), *port)].into_iter(), telemetry).await?;
    Ok(listeners.into_iter().next())
}

async fn bind_ports(
    addresses: impl Iterator<Item = (&str, u16)>,
    telemetry: &Telemetry,
) -> Result<Vec<Listener>, BindError> {
    let tries = addresses.map(|(host, port)| bind_port(host, port, telemetry));
    let mut listeners = Vec::new();
    let mut reason = None;
    for result in join_all(tries).await {
        match result {
            Ok(listener) => listeners.push(listener.into()),
            Err(error) => reason = Some(error),
        }
    }
    if listeners.is_empty() {
        Err(BindError::NoEndpoint { reason })
    } else {
        Ok(listeners)
    }
}

async fn bind_port(host: &str, port: u16, telemetry: &Telemetry) -> io::Result<TcpListener> {
    let deadline = Instant::now() + LONGEST_TRY;
    let mut pause = FIRST_PAUSE;
    let place = format!("TCP address: {host}:{port}");
    loop {
        match bind_once(host, port).await {
            Ok(listener) => {
                telemetry.http_listening(&place);
                return Ok(listener);
            }
            Err(error) if Instant::now() + pause > deadline => {
                telemetry.http_not_listening(&place, &error);
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

fn bind_socket(path: &Path, telemetry: &Telemetry) -> Result<Listener, BindError> {
    match UnixListener::bind(path) {
        Ok(listener) => {
            telemetry.http_listening(&format!("Unix socket: {}", path.display()));
            Ok(Listener::Unix(SocketFile {
                listener,
                path: path.to_owned(),
            }))
        }
        Err(reason) => Err(BindError::Socket {
            path: path.to_owned(),
            reason,
        }),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}
