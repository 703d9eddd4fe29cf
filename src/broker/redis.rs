//! Redis Streams: the same commands, entries and groups as daprd, so that both can share a stream
//! (tests/spec/redis.md), without its weaknesses.
//!
//! Publishing appends on a shared connection. What is subscribed is on the [`board::Board`]; around it run five loops per consumer group
//! (a component has one, unless its subscriptions ask for others: [`group`]), however many topics there are: [`read`] brings entries,
//! [`work`] gives them to sinks, [`settle`] acknowledges, [`keep`] is the clock (redelivery, take-over), [`signs`] show that we live.
//! All but the readers reach Redis through [`conn`], and need not know whether it is one server, a master that sentinels name, or a
//! cluster.

mod address;
mod advice;
mod board;
mod claim;
mod conn;
mod entry;
mod fan_out;
mod group;
mod instance;
mod keep;
mod options;
mod publish;
mod read;
mod release;
mod reply;
mod settings;
mod settle;
mod signs;
mod stream;
mod takeover;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::RedisError;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

pub use self::address::Address;
use self::board::Board;
use self::conn::{Connections, Topology, Traffic, error};
use self::group::Groups;
use self::instance::Instance;
pub use self::options::OPTIONS;
use self::options::{GroupNames, ReadOptions};
use self::publish::Appender;
pub use self::settings::{Settings, SettingsError, Tls, Trim, times_without_unit};
use self::stream::StreamClient;
use crate::backoff::Backoff;
use crate::broker::options::OptionNames;
use crate::broker::{Broker, BrokerError, BrokerErrorKind, Sink, SubscribeRequest};
use crate::message::{Outgoing, Position};
use crate::metadata::templates::Templates;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

/// D1: the wait before the first redelivery.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What stands before the reason of a failed publish.
const PUBLISH_FAILED: &str = "redis streams: error from publish: ";

/// A `pubsub.redis` component.
pub struct RedisBroker {
    /// The component's own group.
    shared: Arc<Shared>,
    groups: Groups,
    appender: Appender,
    names: GroupNames,
    closed: AtomicBool,
    stop: Stop,
}

/// What the loops of a component share, for one of its groups.
struct Shared {
    /// The component's name, for logs.
    name: String,
    settings: Arc<Settings>,
    topology: Topology,
    /// For everything but publishing and reading, of all groups.
    connections: Arc<Connections>,
    stream: StreamClient,
    instance: Instance,
    board: Board,
    acks: settle::Acks,
    redelivery: Backoff,
    rounds: read::Rounds,
    handing_back: HandingBack,
    claiming: Mutex<()>,
    gathering: Mutex<()>,
    /// How often somebody had a reason to look for strays.
    strays: AtomicU64,
    unblock_denied: AtomicBool,
    /// The address refuses one read of several topics; known to all groups of the component.
    one_by_one: Arc<AtomicBool>,
    loops: Once,
    tasks: Tasks,
    telemetry: Telemetry,
}

impl RedisBroker {
    /// A component with these settings. Nothing is dialled yet.
    ///
    /// # Errors
    /// If the address or the certificates cannot be used.
    pub fn new(name: &str, settings: Settings, tasks: Tasks, telemetry: Telemetry) -> Result<Self, BrokerError> {
        let settings = Arc::new(settings);
        let topology = Topology::new(&settings)?;
        let appender = Appender::new(&settings, &topology);
        let connections = Arc::new(topology.connections(&settings, Traffic::Upkeep));
        let instance = Instance::new(&settings.group);
        let shared = Arc::new(Shared::new(name, settings, instance, topology, connections, tasks, telemetry));
        Ok(Self {
            groups: Groups::new(shared.clone()),
            shared,
            appender,
            names: GroupNames::default(),
            closed: AtomicBool::new(false),
            stop: Stop::new(),
        })
    }

    /// The same where the groups of subscriptions may be named by templates.
    #[must_use]
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { names: GroupNames::new(templates), ..self }
    }

    /// The loops begin with the first subscription: who only publishes needs none.
    fn start_loops(&self, shared: &Arc<Shared>) {
        shared.loops.call_once(|| {
            let stop = &self.stop;
            shared.tasks.spawn("redis reader", read::run(shared.clone(), stop.clone()));
            shared.tasks.spawn("redis acks", settle::run(shared.clone(), stop.clone()));
            shared.tasks.spawn("redis upkeep", keep::run(shared.clone(), stop.clone()));
            shared.tasks.spawn("redis signs", signs::run(shared.clone(), stop.clone()));
        });
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) { Err(BrokerError::closed()) } else { Ok(()) }
    }

    /// The group that these options ask for.
    async fn group(&self, options: &ReadOptions, topic: &str) -> Result<Arc<Shared>, RedisError> {
        if options.fan_out {
            self.groups.alone(&options.group, topic, &self.stop).await
        } else {
            Ok(self.groups.shared(&options.group))
        }
    }

    fn error(&self, error: &RedisError, before: &str) -> BrokerError {
        let kind = if error::is_transient(error) { BrokerErrorKind::Unavailable } else { BrokerErrorKind::Rejected };
        BrokerError::new(
            kind,
            format_args!("{before}{}{}", error::error_text(error, &self.shared.settings.host), advice::on(error)),
        )
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    fn options(&self) -> &'static OptionNames {
        &OPTIONS
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        self.shared.topology.probe(&self.shared.settings).await
    }

    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError> {
        self.check_open()?;
        self.appender.append(&message).await.map_err(|error| self.error(&error, PUBLISH_FAILED))
    }

    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Option<Position>, BrokerError>> {
        if self.check_open().is_err() {
            return messages.iter().map(|_| Err(BrokerError::closed())).collect();
        }
        let outcomes = self.appender.append_all(&messages).await.into_iter();
        outcomes.map(|outcome| outcome.map_err(|error| self.error(&error, PUBLISH_FAILED))).collect()
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check_open()?;
        let topic: Arc<str> = Arc::from(request.topic);
        let options = ReadOptions::new(&request.options, &self.shared.settings, &self.names)
            .map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))?;
        let shared = self.group(&options, &topic).await.map_err(|error| self.error(&error, ""))?;
        let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        let after = options.group_start(now);
        shared.stream.create_group(&topic, &after).await.map_err(|error| self.error(&error, ""))?;
        // The others must know that this consumer lives before it has something in hand.
        shared.instance.reads(&topic);
        signs::give(&shared).await.map_err(|error| self.error(&error, ""))?;
        if shared.board.open(&topic, sink, options.ack).is_err() {
            return Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                format_args!("topic {topic} of this component is subscribed already"),
            ));
        }
        for warning in &request.options.warnings {
            shared.telemetry.subscription_odd(&topic, warning);
        }
        shared.look_for_strays();
        self.start_loops(&shared);
        Ok(Box::pin(async move {
            stop.triggered().await;
            release::close(&shared, &topic).await;
            shared.instance.stops_reading(&topic);
        }))
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        for shared in self.groups.all() {
            shared.instance.farewell(&shared.connections).await;
        }
        self.stop.trigger();
        for fan_out in self.groups.fan_outs() {
            fan_out.leave(&self.shared).await;
        }
        self.shared.topology.close();
    }
}

impl Shared {
    fn new(
        name: &str,
        settings: Arc<Settings>,
        instance: Instance,
        topology: Topology,
        connections: Arc<Connections>,
        tasks: Tasks,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            name: name.to_owned(),
            stream: StreamClient::new(connections.clone(), &settings.group, &instance.consumer),
            connections,
            instance,
            board: Board::new(settings.concurrency, settings.queue_depth),
            acks: settle::Acks::new(settings.concurrency),
            redelivery: Backoff::doubling(FIRST_WAIT, settings.longest_wait),
            rounds: read::Rounds::default(),
            handing_back: HandingBack::default(),
            claiming: Mutex::default(),
            gathering: Mutex::default(),
            strays: AtomicU64::new(0),
            unblock_denied: AtomicBool::new(false),
            one_by_one: Arc::default(),
            loops: Once::new(),
            topology,
            settings,
            tasks,
            telemetry,
        }
    }

    /// Entries may have been given to us that did not arrive: the readers look for them.
    fn look_for_strays(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
        self.board.reader.notify_one();
    }

    /// How often there was a reason to look for strays.
    fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    fn unblock_is_denied(&self) -> bool {
        self.unblock_denied.load(Ordering::Relaxed)
    }

    fn reads_one_by_one(&self) -> bool {
        self.one_by_one.load(Ordering::Relaxed)
    }

    /// From now on each topic is read by itself. Tells whether that is news.
    fn read_one_by_one(&self) -> bool {
        !self.one_by_one.swap(true, Ordering::Relaxed)
    }

    fn deny_unblock(&self) {
        self.unblock_denied.store(true, Ordering::Relaxed);
    }
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
