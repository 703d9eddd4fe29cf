//! The API surface: what the HTTP server and the gRPC server share.

mod context;
pub mod error;
pub mod grpc;
pub mod http;
pub mod listen;

pub use self::context::{API_VERSION, Context, Extended, LoadedComponent, ShutdownRequest, Snapshot};
