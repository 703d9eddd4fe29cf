//! A master that may change (`failover`, `sentinelMasterName`): sentinels are asked for it in turn, and the server that they name must
//! confirm that it is a master.

use std::io::ErrorKind::{NotConnected, TimedOut};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::super::address::Address;
use super::super::reply;
use super::super::settings::Settings;
use super::connection::Connection;
use super::error::{io_error, prefer_transient};
use super::server::{self, RedisServer, misconfigured};
use crate::broker::error::BrokerError;

/// The longest wait for one sentinel: there are others.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(2);

/// The sentinels of a component, and the master they last named.
pub(in crate::broker::redis) struct Sentinels {
    settings: Arc<Settings>,
    known: Mutex<Known>,
    /// How often another server has become the master.
    failovers: watch::Sender<u64>,
}

struct Known {
    /// The one that last named a master comes first.
    sentinels: Vec<Address>,
    master: Option<Arc<RedisServer>>,
    closed: bool,
}

impl Sentinels {
    /// The sentinels of these settings. None is asked yet.
    ///
    /// # Errors
    /// If the settings do not name the master.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
        if settings.sentinel_master.is_empty() {
            return Err(misconfigured(
                &"failover needs sentinelMasterName, the name that the sentinels have for the master",
            ));
        }
        Ok(Self {
            settings: settings.clone(),
            known: Mutex::new(Known { sentinels: settings.addresses.clone(), master: None, closed: false }),
            failovers: watch::Sender::new(0),
        })
    }

    /// Open a connection to the master.
    ///
    /// # Errors
    /// If no sentinel names a server that can be reached and is a master.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        let mut failed = None;
        for sentinel in self.sentinels() {
            match self.open_named_by(&sentinel).await {
                Ok(connection) => {
                    self.prefer(&sentinel);
                    return Ok(connection);
                }
                Err(error) => failed = Some(prefer_transient(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| io_error(NotConnected)))
    }

    /// Log in to the master once: see [`RedisServer::probe`].
    ///
    /// # Errors
    /// If no sentinel names a master, or it cannot be reached.
    pub(super) async fn probe(&self) -> Result<Vec<Value>, RedisError> {
        let mut failed = None;
        for sentinel in self.sentinels() {
            let probed = match self.master_named_by(&sentinel).await {
                Ok(master) => master.probe().await,
                Err(error) => Err(error),
            };
            match probed {
                Ok(replies) => return Ok(replies),
                Err(error) => failed = Some(prefer_transient(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| io_error(NotConnected)))
    }

    /// How often another server has become the master.
    pub(super) fn failovers(&self) -> u64 {
        *self.failovers.borrow()
    }

    /// Resolves once [`Sentinels::failovers`] is no longer `since`.
    pub(super) async fn failed_over(&self, since: u64) {
        // Cannot fail: the sender lives as long as `self`.
        let _ = self.failovers.subscribe().wait_for(|now| *now != since).await;
    }

    /// Refuse new connections.
    pub(super) fn close(&self) {
        let mut known = self.known();
        known.closed = true;
        if let Some(master) = known.master.take() {
            master.close();
        }
    }

    async fn open_named_by(&self, sentinel: &Address) -> Result<Connection, RedisError> {
        let master = self.master_named_by(sentinel).await?;
        let mut connection = master.open().await?;
        let mut role = pipe();
        role.cmd("ROLE");
        let replies = tokio::time::timeout(self.settings.dial_timeout, connection.pipeline(&role))
            .await
            .map_err(|_| io_error(TimedOut))??;
        match replies.into_iter().next() {
            Some(Value::Array(role)) if !is_master(&role) => Err((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "READONLY the sentinels still name a server that is a replica by now",
            )
                .into()),
            // Without permission for ROLE the sentinel is trusted.
            _ => Ok(connection),
        }
    }

    async fn master_named_by(&self, sentinel: &Address) -> Result<Arc<RedisServer>, RedisError> {
        let address = self.ask(sentinel).await?;
        let mut known = self.known();
        if known.closed {
            return Err(io_error(NotConnected));
        }
        if let Some(master) = known.master.as_ref().filter(|master| master.address == address) {
            return Ok(master.clone());
        }
        let master = RedisServer::new(&self.settings, address).map_err(|error| std::io::Error::other(error.message))?;
        let master = Arc::new(master);
        if let Some(before) = known.master.replace(master.clone()) {
            before.close();
            self.failovers.send_modify(|failovers| *failovers += 1);
        }
        Ok(master)
    }

    /// The address of the master, as this sentinel knows it.
    async fn ask(&self, sentinel: &Address) -> Result<Address, RedisError> {
        let settings = &self.settings;
        let mut commands = pipe();
        if !settings.sentinel_password.is_empty() {
            commands.cmd("AUTH").arg(server::user(&settings.sentinel_username)).arg(&settings.sentinel_password);
        }
        commands.cmd("SENTINEL").arg("get-master-addr-by-name").arg(&settings.sentinel_master);
        let limit = settings.dial_timeout.min(SENTINEL_TIMEOUT);
        let mut last = Value::Nil;
        for reply in server::query(settings, sentinel, &commands, limit).await? {
            last = reply.extract_error()?;
        }
        address_of(last).ok_or_else(|| {
            (
                ErrorKind::MasterNameNotFoundBySentinel,
                "the sentinels know no master of the name",
                settings.sentinel_master.clone(),
            )
                .into()
        })
    }

    fn sentinels(&self) -> Vec<Address> {
        self.known().sentinels.clone()
    }

    /// Ask this sentinel first from now on.
    fn prefer(&self, sentinel: &Address) {
        let mut known = self.known();
        if let Some(at) = known.sentinels.iter().position(|known| known == sentinel) {
            known.sentinels[..=at].rotate_right(1);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// Does this reply to ROLE come from a master?
fn is_master(role: &[Value]) -> bool {
    let name = role.first().cloned().and_then(reply::text);
    name.is_some_and(|name| name == "master")
}

/// The address in a reply to `SENTINEL get-master-addr-by-name`.
fn address_of(reply: Value) -> Option<Address> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let [host, port] = <[Value; 2]>::try_from(parts).ok()?;
    Some(Address::Tcp(reply::text(host)?, reply::text(port)?.parse().ok()?))
}
