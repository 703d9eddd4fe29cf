//! Publishing: XADD on connections of its own, sent again only when it was certainly not executed. Otherwise an event could be stored twice.

use std::sync::Arc;

use chrono::Utc;
use deadpool_redis::redis::{RedisError, Value, pipe};
use tokio::time::Instant;

use super::conn::error::io_error;
use super::conn::{Connections, SendError, Topology, Traffic};
use super::entry::EntryId;
use super::settings::Settings;
use super::stream;
use crate::backoff::Backoff;
use crate::broker::contract::AT_ONCE;
use crate::message::{Outgoing, Position};

/// Appends messages to streams.
pub(super) struct Appender {
    settings: Arc<Settings>,
    connections: Connections,
}

/// Where an entry was stored.
pub(super) type Appended = Result<Option<Position>, RedisError>;

impl Appender {
    /// Appends with these settings. Nothing is dialled yet.
    pub(super) fn new(settings: &Arc<Settings>, topology: &Topology) -> Self {
        Self { settings: settings.clone(), connections: topology.connections(settings, Traffic::Publishing) }
    }

    /// Append one message.
    ///
    /// # Errors
    /// If Redis refused it, or may not have executed it.
    pub(super) async fn append(&self, message: &Outgoing) -> Appended {
        let command = stream::add(message, self.settings.trim, Utc::now().timestamp_millis());
        let mut retries = Retries::new(&self.settings);
        loop {
            let error = match self.connections.send(&command).await {
                Ok(reply) => return Ok(position(&reply)),
                Err(SendError::NotExecuted(error)) => error,
                Err(SendError::MaybeExecuted(error)) => return Err(error),
            };
            if !retries.wait().await {
                return Err(error);
            }
        }
    }

    /// Append messages in pipelines. Returns one outcome per message.
    pub(super) async fn append_all(&self, messages: &[Outgoing]) -> Vec<Appended> {
        let mut outcomes: Vec<_> = messages.iter().map(|_| Ok(None)).collect();
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let mut retries = Retries::new(&self.settings);
        loop {
            let mut again = Vec::new();
            for part in left.chunks(AT_ONCE) {
                let mut sent = self.send(part.iter().map(|&index| &messages[index])).await.into_iter();
                for &index in part {
                    outcomes[index] = match sent.next() {
                        Some(Ok(reply)) => reply.extract_error().map(|reply| position(&reply)),
                        Some(Err(SendError::NotExecuted(error))) => {
                            again.push(index);
                            Err(error)
                        }
                        Some(Err(SendError::MaybeExecuted(error))) => Err(error),
                        // A pipeline that was answered in part.
                        None => Err(io_error(std::io::ErrorKind::UnexpectedEof)),
                    };
                }
            }
            if again.is_empty() || !retries.wait().await {
                return outcomes;
            }
            left = again;
        }
    }

    /// Send messages, to each server in one write. Returns one outcome per message.
    async fn send<'a>(&self, messages: impl Iterator<Item = &'a Outgoing>) -> Vec<Result<Value, SendError>> {
        let now = Utc::now().timestamp_millis();
        let mut commands = pipe();
        for message in messages {
            commands.add_command(stream::add(message, self.settings.trim, now));
        }
        self.connections.send_all(&commands).await
    }
}

/// The position in a reply to XADD.
fn position(reply: &Value) -> Option<Position> {
    EntryId::of_reply(reply).map(Position::from)
}

/// The retries of one publish.
struct Retries<'a> {
    settings: &'a Settings,
    count: u32,
    first_failure: Option<Instant>,
}

impl<'a> Retries<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self { settings, count: 0, first_failure: None }
    }

    /// Wait until the next retry; `false` if there is none. Where another server takes over from one that fails, retries go on until
    /// `dialTimeout` has passed, whatever their number.
    async fn wait(&mut self) -> bool {
        let settings = self.settings;
        let failed = *self.first_failure.get_or_insert_with(Instant::now);
        let may_fail_over =
            settings.has_failover() && settings.max_retries > 0 && failed.elapsed() < settings.dial_timeout;
        if self.count >= settings.max_retries && !may_fail_over {
            return false;
        }
        self.count += 1;
        let pause = Backoff::doubling(settings.retry_pause.0, settings.retry_pause.1);
        tokio::time::sleep(pause.after(self.count)).await;
        true
    }
}
