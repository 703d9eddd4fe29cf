//! The one reader of a group: it asks for what there is space for, of all topics in one blocking command (D11). Clusters cannot answer such
//! a command, so there [`super::cluster_reader`] reads. It also reads where an address refuses one command for several topics, as one does
//! behind which keys are spread over servers or slots.
//!
//! A blocked read is ended by CLIENT UNBLOCK when the topics or the space change, so that a new subscription is read at once and an ended
//! one is not read any more (D16).

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value, cmd, pipe};

use super::super::conn::{Connection, Connector, MAX_SILENCE, error};
use super::super::entry;
use super::client::GroupClient;
use super::cluster_reader::MAX_TURN;
use super::reader_context::ReaderContext;
use super::topic_check::{self, Examined};
use crate::backoff::Backoff;
use crate::broker::dispatch::ReadPlan;
use crate::shutdown::Stop;
use crate::telemetry::events::broker::{ReadingFailed, ReadingResumed, ReadsOneByOne};

/// How long a read waits for entries. Bounded, so that a server that vanished without a word is noticed.
const BLOCK: Duration = Duration::from_secs(5);
/// As [`BLOCK`] where CLIENT UNBLOCK is not permitted: changes are seen this late.
const SHORT_BLOCK: Duration = Duration::from_millis(100);
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(5));

/// Read all topics in common commands, until `stop` or until it turns out that each must be read by itself.
pub(super) async fn run(context: &ReaderContext, connector: &Arc<Connector>, stop: &Stop) {
    let inflight = context.workers.inflight();
    let turn = context.barrier.join();
    let mut reader = Reader {
        context: context.clone(),
        connector: connector.clone(),
        connection: None,
        is_unblock_denied: false,
        failures: 0,
        unexplained: 0,
        searched: 0,
        is_failure_logged: false,
    };
    while !stop.is_triggered() {
        turn.enter();
        let Some(plan) = inflight.plan() else {
            turn.leave();
            if stop.run_until_triggered(inflight.reader.notified()).await.is_none() {
                break;
            }
            continue;
        };
        let Some(read) = stop.run_until_triggered(Box::pin(reader.recover_and_read(&plan))).await else {
            break;
        };
        let next = match read {
            Ok(reply) => {
                reader.recovered(&plan);
                reader.accept(&plan, reply);
                Some(AfterRead::AtOnce)
            }
            Err(error) => stop.run_until_triggered(reader.failed(&error, &plan)).await,
        };
        // The entries of this read are in flight: what waits for its end can go on.
        turn.leave();
        match next {
            Some(AfterRead::AtOnce) => {}
            Some(AfterRead::After(pause)) => drop(stop.sleep(pause).await),
            Some(AfterRead::OneByOne) => return context.suspect_lost_replies(),
            None => break,
        }
    }
}

/// How to go on after a read.
enum AfterRead {
    AtOnce,
    After(Duration),
    /// Switch to reading each topic by itself.
    OneByOne,
}

struct Reader {
    context: ReaderContext,
    connector: Arc<Connector>,
    connection: Option<BlockingConnection>,
    /// The server does not permit CLIENT UNBLOCK.
    is_unblock_denied: bool,
    failures: u32,
    /// Reads refused in a row although each of their topics can be read alone.
    unexplained: u32,
    /// The number of suspicions at the last search for lost replies.
    searched: u64,
    is_failure_logged: bool,
}

struct BlockingConnection {
    connection: Connection,
    /// See [`Connector::failovers`].
    failovers: u64,
    client_id: i64,
    block: Duration,
}

impl Reader {
    fn client(&self) -> &GroupClient {
        self.context.workers.driver()
    }

    /// Lost replies are searched for between two reads: during one, its entries would look like that, too.
    async fn recover_and_read(&mut self, plan: &ReadPlan) -> Result<Value, RedisError> {
        let suspicions = self.context.lost_replies.suspicions();
        if suspicions != self.searched {
            let workers = &self.context.workers;
            self.context.lost_replies.recover(workers, &workers.inflight().subscriptions()).await?;
            self.searched = suspicions;
        }
        self.read(plan).await
    }

    async fn read(&mut self, plan: &ReadPlan) -> Result<Value, RedisError> {
        let (workers, connector) = (self.context.workers.clone(), self.connector.clone());
        let (client, inflight) = (workers.driver(), workers.inflight());
        let mut is_unblock_denied = self.is_unblock_denied;
        let open = self.open().await?;
        let topics: Vec<&str> = plan.subscriptions.iter().map(|subscription| &*subscription.topic).collect();
        let command = client.stream.blocking_read(&topics, plan.count, open.block);
        let reply = {
            let (client_id, deadline) =
                (open.client_id, open.block + MAX_SILENCE + client.settings.read_timeout.unwrap_or(MAX_SILENCE));
            let reading = tokio::time::timeout(deadline, open.connection.send_packed_command(&command));
            tokio::pin!(reading);
            loop {
                tokio::select! {
                    biased;
                    reply = &mut reading => break Some(reply),
                    () = inflight.reader.notified() => match unblock(client, client_id, reading.as_mut()).await {
                        Unblocked::Ended(reply) => break Some(reply),
                        Unblocked::Denied => is_unblock_denied = true,
                        Unblocked::Failed => {}
                    },
                    () = connector.failed_over(open.failovers) => break None,
                }
            }
        };
        if is_unblock_denied {
            open.block = SHORT_BLOCK;
        }
        self.is_unblock_denied = is_unblock_denied;
        let Some(reply) = reply else {
            self.close();
            return Ok(Value::Nil);
        };
        let reply = match reply {
            Ok(reply) => reply.and_then(Value::extract_error),
            Err(_) => Err(error::io_error(std::io::ErrorKind::TimedOut)),
        };
        let is_lost = |error: &RedisError| error::is_broken(error) || error::is_read_only(error);
        if reply.as_ref().is_err_and(is_lost) {
            self.close();
        }
        reply
    }

    /// Take in what a read brought.
    fn accept(&self, plan: &ReadPlan, reply: Value) {
        let workers = &self.context.workers;
        for (topic, entries) in entry::entries_by_topic(reply) {
            if let Some(subscription) = plan.to(&topic) {
                workers.accept_read(subscription, entries);
            }
        }
        workers.start();
    }

    async fn open(&mut self) -> Result<&mut BlockingConnection, RedisError> {
        if self.connection.is_none() {
            let failovers = self.connector.failovers();
            let mut connection = self.connector.open().await?;
            let mut question = pipe();
            question.cmd("CLIENT").arg("ID");
            let replies = connection.pipeline(&question).await?;
            let client_id = if let Some(Value::Int(id)) = replies.first() { Some(*id) } else { None };
            let block = if client_id.is_some() && !self.is_unblock_denied { BLOCK } else { SHORT_BLOCK };
            self.connection =
                Some(BlockingConnection { connection, failovers, client_id: client_id.unwrap_or(0), block });
        }
        self.connection.as_mut().ok_or_else(|| error::io_error(std::io::ErrorKind::NotConnected))
    }

    /// Drop the connection. A reply may be lost with it.
    fn close(&mut self) {
        self.connection = None;
        self.context.suspect_lost_replies();
    }

    fn recovered(&mut self, plan: &ReadPlan) {
        self.unexplained = 0;
        if std::mem::take(&mut self.failures) > 0 {
            self.context.workers.inflight().report_reading(&plan.subscriptions, Ok(()));
        }
        if std::mem::take(&mut self.is_failure_logged) {
            self.log_resumed();
        }
    }

    async fn failed(&mut self, error: &RedisError, plan: &ReadPlan) -> AfterRead {
        self.failures += 1;
        if topic_check::may_concern_one(error) {
            match topic_check::examine(&self.context.workers, &plan.subscriptions).await {
                Examined::Changed => return AfterRead::AtOnce,
                Examined::AllFine if self.is_about_their_number(error) => {
                    self.switch_to_one_by_one(error);
                    return AfterRead::OneByOne;
                }
                Examined::AllFine | Examined::Unknown => {}
            }
        }
        let text = self.client().advised_text(error);
        if !error::is_transient(error) {
            self.context.workers.inflight().report_reading(&plan.subscriptions, Err(&text));
        }
        // An error about groups may be over at once, because another instance has created them.
        let may_pass = matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) && self.failures < 5;
        if !may_pass && !std::mem::replace(&mut self.is_failure_logged, true) {
            let client = self.client();
            client.telemetry.emit(ReadingFailed { component: &client.component, error: &text });
        }
        AfterRead::After(PAUSE.after(self.failures))
    }

    /// Is one read of several topics refused, when each of them could be read by itself? Refusals other than CROSSSLOT may have passed
    /// between the read and the examination of its topics: they must come again.
    fn is_about_their_number(&mut self, error: &RedisError) -> bool {
        match error.code() {
            Some("CROSSSLOT") => true,
            Some("NOGROUP" | "UNBLOCKED") => false,
            _ => {
                self.unexplained += 1;
                self.unexplained > 2
            }
        }
    }

    fn switch_to_one_by_one(&mut self, error: &RedisError) {
        let client = self.client();
        if self.context.read_one_by_one() {
            let error = client.error_text(error);
            let (component, pause) = (&client.component, MAX_TURN);
            client.telemetry.emit(ReadsOneByOne { component, error: &error, pause });
        }
        if self.is_failure_logged {
            self.log_resumed();
        }
        let inflight = self.context.workers.inflight();
        inflight.report_reading(&inflight.subscriptions(), Ok(()));
        self.connection = None;
    }

    fn log_resumed(&self) {
        let client = self.client();
        client.telemetry.emit(ReadingResumed { component: &client.component });
    }
}

/// The outcome of ending a blocked read.
enum Unblocked<T> {
    /// The read has ended with this.
    Ended(T),
    /// The server does not permit it.
    Denied,
    Failed,
}

/// End a blocked read. Repeated until the read has ended: the first time may come before Redis has begun it.
async fn unblock<F, T>(client: &GroupClient, client_id: i64, mut reading: std::pin::Pin<&mut F>) -> Unblocked<T>
where
    F: Future<Output = T>,
{
    let mut command = cmd("CLIENT");
    command.arg("UNBLOCK").arg(client_id);
    loop {
        tokio::select! {
            biased;
            reply = &mut reading => return Unblocked::Ended(reply),
            sent = client.connections.command(&command) => match sent {
                Ok(_) => {}
                Err(error) if error.code() == Some("NOPERM") => return Unblocked::Denied,
                Err(_) => return Unblocked::Failed,
            },
        }
        if let Ok(reply) = tokio::time::timeout(Duration::from_millis(2), &mut reading).await {
            return Unblocked::Ended(reply);
        }
    }
}
