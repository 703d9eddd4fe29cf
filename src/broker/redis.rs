//! Redis Streams: the same commands, entries and groups as daprd, so that both can share a stream
//! (tests/spec/redis.md), without its weaknesses.
//!
//! Publishing appends on connections of its own ([`publish`]). A subscription belongs to a consumer [`group`]; a component has one, unless
//! its subscriptions ask for others ([`groups`]). All but the readers reach Redis through [`conn`], and need not know whether it is one
//! server, a master that sentinels name, or a cluster.

mod address;
mod advice;
mod conn;
mod entry;
mod group;
mod groups;
mod options;
mod publish;
mod reply;
mod settings;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use deadpool_redis::redis::RedisError;
use futures_util::future::BoxFuture;

pub use self::address::Address;
use self::conn::{Topology, Traffic, error};
use self::group::{ComponentContext, ConsumerGroup};
use self::groups::Groups;
pub use self::options::OPTIONS;
use self::options::{GroupNames, ReadOptions};
use self::publish::Appender;
pub use self::settings::{Settings, SettingsError, Tls, Trim, times_without_unit};
use crate::broker::contract::{Broker, Sink, SubscribeRequest};
use crate::broker::error::{BrokerError, BrokerErrorKind};
use crate::broker::options::OptionNames;
use crate::message::{Outgoing, Position};
use crate::metadata::templates::Templates;
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;
use crate::telemetry::events::broker::OptionIgnored;

/// The text before the reason of a failed publish.
const PUBLISH_FAILED: &str = "redis streams: error from publish: ";

/// A `pubsub.redis` component.
pub struct RedisBroker {
    settings: Arc<Settings>,
    topology: Topology,
    groups: Groups,
    appender: Appender,
    names: GroupNames,
    closed: AtomicBool,
    /// For the loops of all groups.
    stop: Stop,
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
        let groups = Groups::new(ComponentContext {
            component: Arc::from(name),
            settings: settings.clone(),
            connections: Arc::new(topology.connections(&settings, Traffic::Upkeep)),
            topology: topology.clone(),
            one_by_one: Arc::default(),
            tasks,
            telemetry: telemetry.clone(),
        });
        Ok(Self {
            settings,
            topology,
            groups,
            appender,
            names: GroupNames::default(),
            closed: AtomicBool::new(false),
            stop: Stop::new(),
            telemetry,
        })
    }

    /// This component, with values for templates in the names of groups of subscriptions.
    #[must_use]
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { names: GroupNames::new(templates), ..self }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) { Err(BrokerError::closed()) } else { Ok(()) }
    }

    /// The group that these options ask for.
    async fn group(&self, options: &ReadOptions, topic: &str) -> Result<Arc<ConsumerGroup>, RedisError> {
        if options.fan_out {
            self.groups.private(&options.group, topic, &self.stop).await
        } else {
            Ok(self.groups.shared(&options.group))
        }
    }

    fn error(&self, error: &RedisError, before: &str) -> BrokerError {
        let kind = if error::is_transient(error) { BrokerErrorKind::Unavailable } else { BrokerErrorKind::Rejected };
        BrokerError::new(
            kind,
            format_args!("{before}{}{}", error::error_text(error, &self.settings.host), advice::on(error)),
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
        self.topology.probe(&self.settings).await
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
        let options = ReadOptions::new(&request.options, &self.settings, &self.names)
            .map_err(|error| BrokerError::new(BrokerErrorKind::Misconfigured, error))?;
        let group = self.group(&options, &topic).await.map_err(|error| self.error(&error, ""))?;
        let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        let after = options.group_start(now);
        group.join(&topic, &after).await.map_err(|error| self.error(&error, ""))?;
        let Some(subscription) = group.subscribe(&topic, sink, options.ack) else {
            return Err(BrokerError::new(
                BrokerErrorKind::Unavailable,
                format_args!("topic {topic} of this component is subscribed already"),
            ));
        };
        for warning in &request.options.warnings {
            self.telemetry.emit(OptionIgnored { topic: &topic, warning });
        }
        group.start_loops(&self.stop);
        Ok(Box::pin(async move {
            stop.triggered().await;
            group.unsubscribe(&subscription).await;
        }))
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        for group in self.groups.started() {
            group.leave().await;
        }
        self.stop.trigger();
        for fan_out in self.groups.fan_outs() {
            fan_out.remove().await;
        }
        self.topology.close();
    }
}

#[cfg(test)]
mod properties;
