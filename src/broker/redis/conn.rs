//! Connections to the servers of a component: which servers there are, what is dialled, and the connections that many tasks share.
//!
//! Everything but reading goes through [`Connections`], which looks the same for one server, for a master named by sentinels, and for a
//! cluster. Readers block, so each opens a connection of its own through a [`Connector`].

mod cluster;
mod connection;
mod connector;
pub(super) mod error;
mod sentinel;
mod server;
mod shared;
mod slots;
mod tls;
mod topology;

pub(super) use self::cluster::{Cluster, Node};
pub(super) use self::connection::Connection;
pub(super) use self::connector::Connector;
pub(super) use self::error::SendError;
pub(super) use self::shared::{MAX_SILENCE, Traffic};
pub(super) use self::topology::{Connections, Topology};
