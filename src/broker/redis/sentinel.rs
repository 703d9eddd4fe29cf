//! A master that may change: sentinels are asked for it in turn, and what they name must say of itself that it is one (`failover`,
//! `sentinelMasterName`).

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind, Value, pipe};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::address::Address;
use super::connect;
use super::entry;
use super::server::{self, Server, misconfigured};
use super::settings::Settings;
use super::wire::Wire;
use crate::broker::BrokerError;

/// The longest wait for one sentinel: there are others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sentinels of a component, and the master they last named.
pub(super) struct Sentinels {
    settings: Arc<Settings>,
    state: Mutex<State>,
    /// How often the master was another one than before.
    masters: watch::Sender<u64>,
}

struct State {
    /// Who has last named a master comes first.
    sentinels: Vec<Address>,
    master: Option<Arc<Server>>,
    closed: bool,
}

impl Sentinels {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// If no master is named, or an address cannot be used.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, BrokerError> {
        if settings.sentinel_master.is_empty() {
            return Err(misconfigured(
                &"failover needs sentinelMasterName, the name that the sentinels have for the master",
            ));
        }
        Ok(Self {
            settings: settings.clone(),
            state: Mutex::new(State { sentinels: settings.addresses.clone(), master: None, closed: false }),
            masters: watch::Sender::new(0),
        })
    }

    /// A connection to the master.
    ///
    /// # Errors
    /// If no sentinel names one that can be reached and says that it is one.
    pub(super) async fn open(&self) -> Result<Wire, RedisError> {
        let mut failed = None;
        for sentinel in self.sentinels() {
            match self.open_by(&sentinel).await {
                Ok(connection) => {
                    self.prefer(&sentinel);
                    return Ok(connection);
                }
                Err(error) => failed = Some(the_worse(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into()))
    }

    /// The first contact: see [`Server::greet`].
    ///
    /// # Errors
    /// If no sentinel names a master, or it cannot be reached.
    pub(super) async fn greet(&self) -> Result<Vec<Value>, RedisError> {
        let mut failed = None;
        for sentinel in self.sentinels() {
            let greeted = match self.master_by(&sentinel).await {
                Ok(master) => master.greet().await,
                Err(error) => Err(error),
            };
            match greeted {
                Ok(answers) => return Ok(answers),
                Err(error) => failed = Some(the_worse(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into()))
    }

    /// How often the master was another one than before.
    pub(super) fn masters(&self) -> u64 {
        *self.masters.borrow()
    }

    /// Resolves when the master is another one than when [`Sentinels::masters`] was `since`.
    pub(super) async fn moved(&self, since: u64) {
        // The sender lives as long as self: there is always an answer.
        let _ = self.masters.subscribe().wait_for(|now| *now != since).await;
    }

    /// No more connections.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(master) = state.master.take() {
            master.close();
        }
    }

    async fn open_by(&self, sentinel: &Address) -> Result<Wire, RedisError> {
        let master = self.master_by(sentinel).await?;
        let mut connection = master.open().await?;
        let mut question = pipe();
        question.cmd("ROLE");
        let asked = connect::answers(&mut connection, &question);
        let answers = tokio::time::timeout(self.settings.dial_timeout, asked)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        match answers.into_iter().next() {
            Some(Value::Array(role)) if !is_master(&role) => {
                drop(connection);
                Err((
                    ErrorKind::Server(ServerErrorKind::ReadOnly),
                    "READONLY the sentinels still name a server that is a replica by now",
                )
                    .into())
            }
            // Who may not ask for the role has to believe the sentinel.
            _ => Ok(connection),
        }
    }

    async fn master_by(&self, sentinel: &Address) -> Result<Arc<Server>, RedisError> {
        let address = self.ask(sentinel).await?;
        let mut state = self.state();
        if state.closed {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        if let Some(known) = state.master.as_ref().filter(|known| known.address == address) {
            return Ok(known.clone());
        }
        let master = Server::new(&self.settings, address).map_err(|error| std::io::Error::other(error.message))?;
        let master = Arc::new(master);
        if let Some(before) = state.master.replace(master.clone()) {
            before.close();
            self.masters.send_modify(|masters| *masters += 1);
        }
        Ok(master)
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, RedisError> {
        let settings = &self.settings;
        let mut questions = pipe();
        if !settings.sentinel_password.is_empty() {
            questions.cmd("AUTH").arg(server::user(&settings.sentinel_username)).arg(&settings.sentinel_password);
        }
        questions.cmd("SENTINEL").arg("get-master-addr-by-name").arg(&settings.sentinel_master);
        let limit = settings.dial_timeout.min(PATIENCE);
        let mut named = Value::Nil;
        for answer in server::ask(settings, sentinel, &questions, limit).await? {
            named = answer.extract_error()?;
        }
        address_of(named).ok_or_else(|| {
            (
                ErrorKind::MasterNameNotFoundBySentinel,
                "the sentinels know no master of the name",
                settings.sentinel_master.clone(),
            )
                .into()
        })
    }

    fn sentinels(&self) -> Vec<Address> {
        self.state().sentinels.clone()
    }

    fn prefer(&self, sentinel: &Address) {
        let mut state = self.state();
        if let Some(at) = state.sentinels.iter().position(|known| known == sentinel) {
            state.sentinels[..=at].rotate_right(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Of two failures the one that time may heal is told: only if all sentinels say that the settings are wrong, they are.
fn the_worse(before: Option<RedisError>, now: RedisError) -> RedisError {
    match before {
        Some(before) if connect::may_heal(&before) => before,
        _ => now,
    }
}

fn is_master(role: &[Value]) -> bool {
    let name = role.first().cloned().and_then(entry::text);
    name.is_some_and(|name| name == "master")
}

fn address_of(named: Value) -> Option<Address> {
    let Value::Array(parts) = named else {
        return None;
    };
    let [host, port] = <[Value; 2]>::try_from(parts).ok()?;
    Some(Address::Tcp(entry::text(host)?, entry::text(port)?.parse().ok()?))
}
