//! Redis Streams: the same commands, entries and groups as daprd, so that both can share a stream (spec redis.md), without its weaknesses.
//!
//! Publishing appends on a shared connection. What is subscribed is on the [`board::Board`]; around it run four loops per component,
//! however many topics there are: [`read`] brings entries, [`work`] gives them to sinks, [`settle`] acknowledges, [`keep`] is the clock
//! (redelivery, signs of life, take-over).

mod board;
mod claim;
mod connect;
mod entry;
mod instance;
mod keep;
mod read;
mod release;
mod settings;
mod settle;
mod takeover;
mod work;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{RedisError, Value, pipe};
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, watch};

use self::board::Board;
use self::connect::{Connector, Lane};
use self::instance::Instance;
pub use self::settings::{Settings, SettingsError, Tls, Trim};
use crate::backoff::Backoff;
use crate::broker::{AT_ONCE, Broker, BrokerError, BrokerErrorKind, Sink, SubscribeRequest};
use crate::message::Outgoing;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

/// D1: the wait before the first redelivery.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What stands before the reason of a failed publish.
const PUBLISH_FAILED: &str = "redis streams: error from publish: ";

/// A `pubsub.redis` component.
pub struct RedisBroker {
    shared: Arc<Shared>,
    /// For publishing only, so that nobody's publish waits behind an upkeep command.
    publishing: Lane,
    loops: Once,
    closed: AtomicBool,
    stop: Stop,
}

/// What the loops of a component share.
struct Shared {
    /// The component's name, for logs.
    name: String,
    settings: Arc<Settings>,
    connector: Arc<Connector>,
    /// For everything but publishing and reading.
    lane: Lane,
    instance: Instance,
    board: Board,
    acks: settle::Acks,
    redelivery: Backoff,
    /// How many reads have ended.
    reading: watch::Sender<u64>,
    handing_back: HandingBack,
    claiming: Mutex<()>,
    gathering: Mutex<()>,
    strays: AtomicBool,
    unblock_denied: AtomicBool,
    tasks: Tasks,
    telemetry: Telemetry,
}

impl RedisBroker {
    /// A component with these settings. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the address or the certificates cannot be used.
    pub fn new(
        name: &str,
        settings: Settings,
        tasks: Tasks,
        telemetry: Telemetry,
    ) -> Result<Self, BrokerError> {
        let settings = Arc::new(settings);
        let connector = Arc::new(Connector::new(settings.clone())?);
        let shared = Shared {
            name: name.to_owned(),
            lane: Lane::new(connector.clone()),
            instance: Instance::new(&settings.group),
            board: Board::new(settings.concurrency, settings.queue_depth),
            acks: settle::Acks::new(settings.concurrency),
            redelivery: Backoff::doubling(FIRST_WAIT, settings.longest_wait),
            reading: watch::Sender::new(0),
            handing_back: HandingBack::default(),
            claiming: Mutex::default(),
            gathering: Mutex::default(),
            strays: AtomicBool::new(false),
            unblock_denied: AtomicBool::new(false),
            connector: connector.clone(),
            settings,
            tasks,
            telemetry,
        };
        Ok(Self {
            shared: Arc::new(shared),
            publishing: Lane::new(connector),
            loops: Once::new(),
            closed: AtomicBool::new(false),
            stop: Stop::new(),
        })
    }

    /// The loops begin with the first subscription: who only publishes needs none.
    fn start_loops(&self) {
        self.loops.call_once(|| {
            let (shared, stop) = (&self.shared, &self.stop);
            shared
                .tasks
                .spawn("redis reader", read::run(shared.clone(), stop.clone()));
            shared
                .tasks
                .spawn("redis acks", settle::run(shared.clone(), stop.clone()));
            shared
                .tasks
                .spawn("redis upkeep", keep::run(shared.clone(), stop.clone()));
        });
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) {
            Err(BrokerError::new(
                BrokerErrorKind::Closed,
                "component is closed",
            ))
        } else {
            Ok(())
        }
    }

    async fn append(&self, message: &Outgoing) -> Result<(), RedisError> {
        let settings = &self.shared.settings;
        let command = entry::append(
            message,
            settings.trim,
            chrono::Utc::now().timestamp_millis(),
        );
        let pause = Backoff::doubling(settings.retry_pause.0, settings.retry_pause.1);
        let mut retries = 0;
        loop {
            // Only what certainly was not executed is sent again: otherwise the entry might stand twice in the stream.
            let error = match self.publishing.reach().await {
                Err(error) => error,
                Ok(()) => match self.publishing.command(&command).await {
                    Ok(_) => return Ok(()),
                    Err(error) if connect::is_refused_for_now(&error) => error,
                    Err(error) => return Err(error),
                },
            };
            if retries >= settings.max_retries
                || !(connect::is_broken(&error) || connect::is_refused_for_now(&error))
            {
                return Err(error);
            }
            retries += 1;
            tokio::time::sleep(pause.after(retries)).await;
        }
    }

    /// Append messages in pipelines; what the server refuses for the moment is sent again, and nothing else.
    async fn append_all(&self, messages: &[Outgoing]) -> Vec<Result<(), RedisError>> {
        let mut outcomes: Vec<_> = messages.iter().map(|_| Ok(())).collect();
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let settings = &self.shared.settings;
        let pause = Backoff::doubling(settings.retry_pause.0, settings.retry_pause.1);
        let mut retries = 0;
        loop {
            let mut again = Vec::new();
            for part in left.chunks(AT_ONCE) {
                let sent = match self.publishing.reach().await {
                    // Nothing was sent: this can be tried again, too.
                    Err(error) if connect::is_broken(&error) => {
                        again.extend_from_slice(part);
                        Err(error)
                    }
                    Err(error) => Err(error),
                    Ok(()) => self.append_part(part.iter().map(|&at| &messages[at])).await,
                };
                for (nth, &at) in part.iter().enumerate() {
                    let outcome = match &sent {
                        Ok(answers) => answers.get(nth).map_or_else(unanswered, Clone::clone),
                        Err(error) => Err(error.clone()),
                    };
                    if outcome.as_ref().is_err_and(connect::is_refused_for_now) {
                        again.push(at);
                    }
                    outcomes[at] = outcome;
                }
            }
            if again.is_empty() || retries >= settings.max_retries {
                return outcomes;
            }
            left = again;
            retries += 1;
            tokio::time::sleep(pause.after(retries)).await;
        }
    }

    /// Append these in one write; an answer for each.
    async fn append_part<'a>(
        &self,
        messages: impl Iterator<Item = &'a Outgoing>,
    ) -> Result<Vec<Result<(), RedisError>>, RedisError> {
        let (trim, now) = (
            self.shared.settings.trim,
            chrono::Utc::now().timestamp_millis(),
        );
        let mut commands = pipe();
        for message in messages {
            commands.add_command(entry::append(message, trim, now));
        }
        let answers = self.publishing.pipeline(&commands).await?;
        let outcome = |answer: Value| answer.extract_error().map(drop);
        Ok(answers.into_iter().map(outcome).collect())
    }

    fn error(&self, error: &RedisError, before: &str) -> BrokerError {
        let kind = if connect::is_broken(error) || connect::is_refused_for_now(error) {
            BrokerErrorKind::Unavailable
        } else {
            BrokerErrorKind::Rejected
        };
        BrokerError::new(
            kind,
            format_args!(
                "{before}{}",
                connect::error_text(error, &self.shared.settings.host)
            ),
        )
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.shared.connector.probe().await
    }

    async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        self.check_open()?;
        self.append(&message)
            .await
            .map_err(|error| self.error(&error, PUBLISH_FAILED))
    }

    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        if let Err(closed) = self.check_open() {
            let error = || BrokerError::new(closed.kind, &closed.message);
            return messages.iter().map(|_| Err(error())).collect();
        }
        let outcomes = self.append_all(&messages).await.into_iter();
        outcomes
            .map(|outcome| outcome.map_err(|error| self.error(&error, PUBLISH_FAILED)))
            .collect()
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check_open()?;
        let shared = self.shared.clone();
        let topic: Arc<str> = Arc::from(request.topic);
        match shared
            .lane
            .command(&read::create_group(&topic, &shared.settings.group))
            .await
        {
            Ok(_) => {}
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(self.error(&error, "")),
        }
        // The others must know that this consumer lives before it has something in hand.
        shared.instance.reads(&topic);
        shared
            .instance
            .sign(&shared.lane)
            .await
            .map_err(|error| self.error(&error, ""))?;
        if shared.board.open(&topic, sink).is_err() {
            return Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                format_args!("topic {topic} of this component is subscribed already"),
            ));
        }
        shared.look_for_strays();
        self.start_loops();
        Ok(Box::pin(async move {
            stop.ordered().await;
            release::close(&shared, &topic).await;
            shared.instance.stops_reading(&topic);
        }))
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.loops.is_completed() {
            self.shared.instance.farewell(&self.shared.lane).await;
        }
        self.stop.order();
        self.shared.connector.close();
    }
}

impl Shared {
    /// Entries may have been given to us that did not arrive: the reader looks for them.
    fn look_for_strays(&self) {
        self.strays.store(true, Ordering::Relaxed);
        self.board.reader.notify_one();
    }

    fn take_strays(&self) -> bool {
        self.strays.swap(false, Ordering::Relaxed)
    }

    fn unblock_is_denied(&self) -> bool {
        self.unblock_denied.load(Ordering::Relaxed)
    }

    fn deny_unblock(&self) {
        self.unblock_denied.store(true, Ordering::Relaxed);
    }
}

/// For a command that a pipeline's reply has no answer for: it may have been executed.
fn unanswered() -> Result<(), RedisError> {
    Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
}

/// How many tasks hand entries back.
#[derive(Default)]
struct HandingBack(AtomicUsize);

impl HandingBack {
    fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod properties;
