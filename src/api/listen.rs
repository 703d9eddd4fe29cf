//! The addresses of the API: TCP ports, or sockets in a folder (tests/spec/http-api.md, "1. Listeners and transport";
//! tests/spec/grpc-sdk.md, "2.1 Transport, limits, keepalive").

use std::fmt;
use std::io;
use std::path::PathBuf;

use futures_util::future::join_all;

use crate::config::Settings;
use crate::resources::files::folder;
use crate::server::Listener;
use crate::server::listen::{bind_tcp, bind_tcp_once, bind_unix};
use crate::telemetry::Telemetry;
use crate::telemetry::events::api::{AddressNotBound, GrpcListening, HttpListening};

/// One of the two protocols of the API, with ports of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `--dapr-http-port`.
    Http,
    /// `--dapr-grpc-port`.
    Grpc,
}

/// The flags that set an address, without dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFlags {
    /// Sets the port.
    pub port: &'static str,
    /// Sets the host.
    pub host: &'static str,
}

const PUBLIC: AddressFlags = AddressFlags { port: "dapr-public-port", host: "dapr-public-listen-address" };

impl AddressFlags {
    /// The reason why a port cannot be bound, and the remedy.
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

/// No address of a protocol could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port could not be bound on any host.
    #[error("failed to start {protocol}: could not listen on any endpoint{}", reason.as_ref().map_or_else(String::new, |reason| format!(": {}", flags.advice(*port, reason))))]
    NoEndpoint {
        /// The protocol.
        protocol: Protocol,
        /// The port.
        port: u16,
        /// The flags that set the address.
        flags: AddressFlags,
        /// The reason for the last host.
        #[source]
        reason: Option<io::Error>,
    },
    /// The socket could not be made.
    #[error("failed to start {protocol}: listen unix {}: bind: {}", path.display(), folder::reason(reason))]
    Socket {
        /// The protocol.
        protocol: Protocol,
        /// The file of the socket.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: io::Error,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP server",
            Self::Grpc => "API gRPC server",
        })
    }
}

impl Protocol {
    fn flags(self) -> AddressFlags {
        let host = "dapr-listen-addresses";
        let port = match self {
            Self::Http => "dapr-http-port",
            Self::Grpc => "dapr-grpc-port",
        };
        AddressFlags { port, host }
    }
}

/// A port on one or more hosts.
struct Address<'a> {
    protocol: Protocol,
    hosts: Vec<&'a str>,
    port: u16,
    flags: AddressFlags,
}

impl<'a> Address<'a> {
    /// The address of a protocol; `None` if it listens on a socket in a folder.
    fn of(protocol: Protocol, settings: &'a Settings) -> Option<Self> {
        let http = &settings.http;
        let hosts = if http.listen.is_empty() { vec![""] } else { http.listen.iter().map(String::as_str).collect() };
        let port = match protocol {
            Protocol::Http => http.port,
            Protocol::Grpc => settings.grpc_port,
        };
        http.socket_dir.is_none().then(|| Self { protocol, hosts, port, flags: protocol.flags() })
    }

    /// The address of the public API, if there is one.
    fn public(settings: &'a Settings) -> Option<Self> {
        let (host, port) = settings.http.public.as_ref()?;
        Some(Self { protocol: Protocol::Http, hosts: vec![host], port: *port, flags: PUBLIC })
    }
}

/// Advice for each port of the API that another program has now. It is logged before anything is built.
pub async fn taken(settings: &Settings) -> Vec<String> {
    let addresses =
        [Address::of(Protocol::Grpc, settings), Address::of(Protocol::Http, settings), Address::public(settings)];
    let mut taken = Vec::new();
    for address in addresses.into_iter().flatten() {
        for host in &address.hosts {
            match bind_tcp_once(host, address.port).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    taken.push(address.flags.advice(address.port, &error));
                    break;
                }
                _ => {}
            }
        }
    }
    taken
}

/// Binds the addresses of a protocol, one at least.
///
/// # Errors
/// If no address could be bound within 10 seconds, or the socket could not be made.
pub async fn bind(protocol: Protocol, settings: &Settings, telemetry: &Telemetry) -> Result<Vec<Listener>, BindError> {
    if let Some(folder) = &settings.http.socket_dir {
        let kind = match protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        };
        let path = folder.join(format!("dapr-{}-{kind}.socket", settings.app_id));
        return bind_socket(protocol, path, telemetry).map(|listener| vec![listener]);
    }
    match Address::of(protocol, settings) {
        Some(address) => bind_port(address, telemetry).await,
        None => Ok(Vec::new()),
    }
}

/// Binds the address of the public API, if there is one.
///
/// # Errors
/// As [`bind`].
pub async fn bind_public(settings: &Settings, telemetry: &Telemetry) -> Result<Option<Listener>, BindError> {
    let Some(address) = Address::public(settings) else {
        return Ok(None);
    };
    let listeners = bind_port(address, telemetry).await?;
    Ok(listeners.into_iter().next())
}

async fn bind_port(address: Address<'_>, telemetry: &Telemetry) -> Result<Vec<Listener>, BindError> {
    let Address { protocol, hosts, port, flags } = address;
    let attempts = hosts.iter().map(|host| async move {
        let listener = bind_tcp(host, port).await?;
        listening(protocol, &endpoint(host, port), telemetry);
        Ok(Listener::from(listener))
    });
    let mut listeners = Vec::new();
    let mut failures = Vec::new();
    for (host, result) in hosts.iter().zip(join_all(attempts).await) {
        match result {
            Ok(listener) => listeners.push(listener),
            Err(error) => failures.push((host, error)),
        }
    }
    if listeners.is_empty() {
        return Err(BindError::NoEndpoint { protocol, port, flags, reason: failures.pop().map(|(_, error)| error) });
    }
    for (host, error) in failures {
        telemetry.emit(AddressNotBound { endpoint: &endpoint(host, port), error: &error });
    }
    Ok(listeners)
}

/// An address in the log.
fn endpoint(host: &str, port: u16) -> String {
    format!("TCP address: {host}:{port}")
}

fn bind_socket(protocol: Protocol, path: PathBuf, telemetry: &Telemetry) -> Result<Listener, BindError> {
    match bind_unix(&path) {
        Ok(listener) => {
            listening(protocol, &format!("Unix socket: {}", path.display()), telemetry);
            Ok(listener)
        }
        Err(reason) => Err(BindError::Socket { protocol, path, reason }),
    }
}

fn listening(protocol: Protocol, endpoint: &str, telemetry: &Telemetry) {
    match protocol {
        Protocol::Http => telemetry.emit(HttpListening { endpoint }),
        Protocol::Grpc => telemetry.emit(GrpcListening { endpoint }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_in_daprd() {
        let socket = BindError::Socket {
            protocol: Protocol::Grpc,
            path: "/none/dapr-a-grpc.socket".into(),
            reason: io::Error::from_raw_os_error(2),
        };
        assert_eq!(
            socket.to_string(),
            "failed to start API gRPC server: listen unix /none/dapr-a-grpc.socket: bind: no such file or directory"
        );
        for (protocol, expected) in [
            (Protocol::Http, "failed to start HTTP server: could not listen on any endpoint"),
            (Protocol::Grpc, "failed to start API gRPC server: could not listen on any endpoint"),
        ] {
            let error = |reason: Option<io::ErrorKind>| BindError::NoEndpoint {
                protocol,
                port: 3500,
                flags: protocol.flags(),
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
                let flag = protocol.flags().port;
                assert_eq!(error(Some(reason)).to_string(), format!("{expected}: {advice}{flag}"));
            }
        }
    }
}
