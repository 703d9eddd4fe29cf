//! The one reader of a component: it asks for what there is room for, of all topics in one blocking command (D11). In a
//! cluster that is not possible, and [`nodes`] reads. So it does where an address refuses one command for several
//! topics, as one does behind which keys are spread over servers or slots.
//!
//! A blocked read is ended by CLIENT UNBLOCK when the topics or the room change, so that a new subscription is read at once and a stopped
//! one is not read any more (D16).

mod nodes;
mod rounds;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{RedisError, Value, cmd, pipe};

use super::board::ReadPlan;
use super::conn::{Connection, Connector, MAX_SILENCE, Topology, error};
use super::{Shared, entry, takeover, work};
use crate::backoff::Backoff;
use crate::shutdown::Stop;

/// How long a read waits for entries. Bounded, so that a server that vanished without a word is noticed.
const BLOCK: Duration = Duration::from_secs(5);
/// The same where CLIENT UNBLOCK is not permitted: changes are seen this late.
const SHORT_BLOCK: Duration = Duration::from_millis(100);
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(5));

pub(super) use self::rounds::Rounds;
use self::topics::Examined;
pub(super) use self::topics::admit_refused;

/// Read until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    match shared.topology.clone() {
        Topology::Single(connector) => {
            if !shared.reads_one_by_one() {
                run_together(&shared, &connector, &stop).await;
            }
            if !stop.is_triggered() {
                nodes::run_one_by_one(shared, connector, stop).await;
            }
        }
        Topology::Cluster(cluster) => nodes::run(shared, cluster, stop).await,
    }
}

/// Read all topics in common commands, until `stop` or until it turns out that each must be read by itself.
async fn run_together(shared: &Arc<Shared>, connector: &Arc<Connector>, stop: &Stop) {
    let rounds = shared.rounds.join();
    let mut reader = Reader {
        shared: shared.clone(),
        connector: connector.clone(),
        connection: None,
        failures: 0,
        unexplained: 0,
        strays: 0,
        told: false,
    };
    while !stop.is_triggered() {
        rounds.begun();
        let Some(plan) = shared.board.plan() else {
            rounds.ended();
            if stop.run_until_triggered(shared.board.reader.notified()).await.is_none() {
                break;
            }
            continue;
        };
        let Some(read) = stop.run_until_triggered(Box::pin(reader.read_after_strays(&plan))).await else {
            break;
        };
        let next = match read {
            Ok(answer) => {
                reader.recovered(&plan);
                work::accept(shared, entry::of_read(answer));
                Some(Next::AtOnce)
            }
            Err(error) => stop.run_until_triggered(reader.failed(&error, &plan)).await,
        };
        // Whoever waits for the end of a read that may contain its topic can go on now: its entries are on the board.
        rounds.ended();
        match next {
            Some(Next::AtOnce) => {}
            Some(Next::After(pause)) => drop(stop.sleep(pause).await),
            Some(Next::OneByOne) => return shared.look_for_strays(),
            None => break,
        }
    }
}

/// How to go on after a read.
enum Next {
    AtOnce,
    After(Duration),
    /// Switch to reading each topic by itself.
    OneByOne,
}

struct Reader {
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    connection: Option<Open>,
    failures: u32,
    /// Reads refused in a row although each of their topics can be read alone.
    unexplained: u32,
    /// How often strays had been wanted when they were last looked for.
    strays: u64,
    /// It was told that reading fails.
    told: bool,
}

struct Open {
    connection: Connection,
    /// See [`Connector::failovers`].
    masters: u64,
    client_id: i64,
    block: Duration,
}

impl Reader {
    /// Entries that are ours and never arrived are looked for between two reads: during one, its entries would look like that too.
    async fn read_after_strays(&mut self, plan: &ReadPlan) -> Result<Value, RedisError> {
        let wanted = self.shared.strays();
        if wanted != self.strays {
            takeover::strays(&self.shared, &self.shared.board.topics()).await?;
            self.strays = wanted;
        }
        self.read(plan).await
    }

    async fn read(&mut self, plan: &ReadPlan) -> Result<Value, RedisError> {
        let (shared, connector) = (self.shared.clone(), self.connector.clone());
        let open = self.open().await?;
        let command = shared.stream.blocking_read(&plan.topics, plan.count, open.block);
        let answer = {
            let (client_id, deadline) =
                (open.client_id, open.block + MAX_SILENCE + shared.settings.read_timeout.unwrap_or(MAX_SILENCE));
            let reading = tokio::time::timeout(deadline, open.connection.send_packed_command(&command));
            tokio::pin!(reading);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut reading => break Some(answer),
                    () = shared.board.reader.notified() => {
                        if let Some(answer) = unblock(&shared, client_id, reading.as_mut()).await {
                            break Some(answer);
                        }
                    }
                    () = connector.failed_over(open.masters) => break None,
                }
            }
        };
        let Some(answer) = answer else {
            self.close();
            return Ok(Value::Nil);
        };
        let answer = match answer {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        };
        if shared.unblock_is_denied() {
            open.block = SHORT_BLOCK;
        }
        let is_lost = |error: &RedisError| error::is_broken(error) || error::is_read_only(error);
        if answer.as_ref().is_err_and(is_lost) {
            self.close();
        }
        answer
    }

    async fn open(&mut self) -> Result<&mut Open, RedisError> {
        if self.connection.is_none() {
            let masters = self.connector.failovers();
            let mut connection = self.connector.open().await?;
            let mut question = pipe();
            question.cmd("CLIENT").arg("ID");
            let answers = connection.pipeline(&question).await?;
            let client_id = if let Some(Value::Int(id)) = answers.first() { Some(*id) } else { None };
            let block = if client_id.is_some() && !self.shared.unblock_is_denied() { BLOCK } else { SHORT_BLOCK };
            self.connection = Some(Open { connection, masters, client_id: client_id.unwrap_or(0), block });
        }
        self.connection.as_mut().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    /// The connection is gone, and with it perhaps an answer: entries that are ours and that we have never seen.
    fn close(&mut self) {
        self.connection = None;
        self.shared.look_for_strays();
    }

    fn recovered(&mut self, plan: &ReadPlan) {
        self.unexplained = 0;
        if std::mem::take(&mut self.failures) > 0 {
            self.shared.board.tell_readers(&plan.topics, Ok(()));
        }
        if std::mem::take(&mut self.told) {
            self.shared.telemetry.redis_reading_again(&self.shared.name);
        }
    }

    async fn failed(&mut self, error: &RedisError, plan: &ReadPlan) -> Next {
        self.failures += 1;
        if topics::may_concern_one(error) {
            match topics::examine(&self.shared, &plan.topics).await {
                Examined::Changed => return Next::AtOnce,
                Examined::AllFine if self.is_about_their_number(error) => {
                    self.one_by_one(error);
                    return Next::OneByOne;
                }
                Examined::AllFine | Examined::Unknown => {}
            }
        }
        let text = topics::reason(&self.shared, error);
        if !error::is_transient(error) {
            self.shared.board.tell_readers(&plan.topics, Err(&text));
        }
        // An error about groups may be over at once, because another instance has created them.
        let may_pass = matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) && self.failures < 5;
        if !may_pass && !std::mem::replace(&mut self.told, true) {
            self.shared.telemetry.redis_reading_failed(&self.shared.name, &text);
        }
        Next::After(PAUSE.after(self.failures))
    }

    /// Is one read of several topics refused, when each of them could be read by itself? Other refusals than CROSSSLOT may have passed
    /// between the read and the look at its topics: they must come again.
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

    fn one_by_one(&mut self, error: &RedisError) {
        let shared = &self.shared;
        if shared.read_one_by_one() {
            let text = error::error_text(error, &shared.settings.host);
            shared.telemetry.redis_reads_one_by_one(&shared.name, &text, nodes::LONGEST_TURN);
        }
        if self.told {
            shared.telemetry.redis_reading_again(&shared.name);
        }
        shared.board.tell_readers(&shared.board.topics(), Ok(()));
        self.connection = None;
    }
}

/// End a blocked read. Asked again until the read has ended: the first time may come before Redis has begun it.
async fn unblock<F, T>(shared: &Shared, client_id: i64, mut reading: std::pin::Pin<&mut F>) -> Option<T>
where
    F: Future<Output = T>,
{
    let mut command = cmd("CLIENT");
    command.arg("UNBLOCK").arg(client_id);
    loop {
        tokio::select! {
            biased;
            answer = &mut reading => return Some(answer),
            sent = shared.connections.command(&command) => match sent {
                Ok(_) => {}
                Err(error) if error.code() == Some("NOPERM") => {
                    shared.deny_unblock();
                    return None;
                }
                Err(_) => return None,
            },
        }
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(2), &mut reading).await {
            return Some(answer);
        }
    }
}

/// Where a group begins again that was lost: nothing of the stream is left out (D17).
pub(super) const LOST: &str = "0";
