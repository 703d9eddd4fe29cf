//! A consumer group of a component: its client, its entries in flight, and the loops around them.
//!
//! Five loops per group, however many topics it has: [`reader`] or [`cluster_reader`] brings entries, the workers of the dispatcher hand
//! them to sinks, its acks are sent in batches, [`upkeep`] is the clock (redelivery, takeover), [`heartbeat`] shows that this instance
//! lives. All but the readers reach Redis through the shared connections.

mod client;
mod cluster_reader;
pub(super) mod fan_out;
mod heartbeat;
pub(super) mod liveness;
mod lost_replies;
mod read_barrier;
mod reader;
mod reader_context;
mod takeover;
mod topic_check;
mod unsubscribe;
mod upkeep;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use deadpool_redis::redis::RedisError;

use self::client::GroupClient;
use self::liveness::Liveness;
use self::lost_replies::LostReplies;
use self::read_barrier::ReadBarrier;
use self::reader_context::ReaderContext;
use super::conn::{Connections, Topology};
use super::settings::Settings;
use super::stream::StreamClient;
use crate::broker::ack::Ack;
use crate::broker::contract::Sink;
use crate::broker::dispatch::{Dispatcher, SubscriptionId, TaskNames, Workers, acks, redelivery};
use crate::shutdown::{Stop, Tasks};
use crate::telemetry::Telemetry;

/// The handles that the groups of a component share.
#[derive(Clone)]
pub(super) struct ComponentContext {
    /// The name of the component.
    pub(super) component: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) topology: Topology,
    /// For everything but publishing and reading.
    pub(super) connections: Arc<Connections>,
    /// The address refuses one read of several topics.
    pub(super) one_by_one: Arc<AtomicBool>,
    pub(super) tasks: Tasks,
    pub(super) telemetry: Telemetry,
}

/// One consumer of a group, with its loops.
pub(super) struct ConsumerGroup {
    workers: Arc<Workers<GroupClient>>,
    barrier: Arc<ReadBarrier>,
    lost_replies: Arc<LostReplies>,
    context: ComponentContext,
    loops: Once,
}

impl ConsumerGroup {
    /// A consumer of a group, with the name and the keys that `liveness` has for it. Nothing runs yet.
    pub(super) fn new(context: &ComponentContext, group: &str, liveness: Liveness) -> Self {
        let settings = &context.settings;
        let client = GroupClient {
            component: context.component.clone(),
            settings: settings.clone(),
            stream: StreamClient::new(context.connections.clone(), group, &liveness.consumer),
            connections: context.connections.clone(),
            liveness,
            telemetry: context.telemetry.clone(),
        };
        let dispatcher = Dispatcher::new(
            client,
            &context.component,
            settings.concurrency,
            settings.queue_depth,
            redelivery::backoff(settings.longest_wait),
            context.telemetry.clone(),
        );
        let names = TaskNames {
            delivery: "redis delivery",
            batch_delivery: "redis bulk delivery",
            hand_back: "redis hand back",
        };
        Self {
            workers: Arc::new(Workers::new(dispatcher, context.tasks.clone(), names)),
            barrier: Arc::default(),
            lost_replies: Arc::default(),
            context: context.clone(),
            loops: Once::new(),
        }
    }

    /// Create the group, if it does not exist, with everything after the entry `after`, and let the others of the group know that this
    /// consumer lives before it has entries.
    ///
    /// # Errors
    /// If Redis did not answer, or refused.
    pub(super) async fn join(&self, topic: &str, after: &str) -> Result<(), RedisError> {
        let client = self.workers.driver();
        client.stream.create_group(topic, after).await?;
        client.liveness.reads(topic);
        client.beat().await
    }

    /// Begin to read a topic; `None` if it is read already: one read of a topic serves one subscription.
    pub(super) fn subscribe(&self, topic: &Arc<str>, sink: Arc<dyn Sink>, ack: Ack) -> Option<SubscriptionId> {
        let inflight = self.workers.inflight();
        let subscription = inflight.open_only(topic, sink, ack)?;
        self.lost_replies.suspect(inflight);
        Some(subscription)
    }

    /// End a subscription. Returns when none of its entries is in flight.
    pub(super) async fn unsubscribe(&self, subscription: &SubscriptionId) {
        unsubscribe::close(&self.workers, &self.barrier, subscription).await;
        self.workers.driver().liveness.stops_reading(&subscription.topic);
    }

    /// Start the loops, unless they run. A component that only publishes needs none.
    pub(super) fn start_loops(&self, stop: &Stop) {
        self.loops.call_once(|| {
            let (tasks, workers) = (&self.context.tasks, &self.workers);
            let readers = ReaderContext {
                workers: workers.clone(),
                barrier: self.barrier.clone(),
                lost_replies: self.lost_replies.clone(),
                one_by_one: self.context.one_by_one.clone(),
                tasks: tasks.clone(),
            };
            let topology = self.context.topology.clone();
            tasks.spawn("redis reader", read(readers, topology, stop.clone()));
            tasks.spawn("redis acks", acks::run(workers.clone(), stop.clone()));
            tasks.spawn("redis upkeep", upkeep::run(workers.clone(), self.lost_replies.clone(), stop.clone()));
            tasks.spawn("redis signs", heartbeat::run(workers.clone(), stop.clone()));
        });
    }

    /// Has the group been read for?
    pub(super) fn has_started(&self) -> bool {
        self.loops.is_completed()
    }

    /// Deregister this consumer: it is gone.
    pub(super) async fn leave(&self) {
        self.workers.driver().liveness.deregister(&self.context.connections).await;
    }
}

/// Read until `stop`.
async fn read(context: ReaderContext, topology: Topology, stop: Stop) {
    match topology {
        Topology::Single(connector) => {
            if !context.reads_one_by_one() {
                reader::run(&context, &connector, &stop).await;
            }
            if !stop.is_triggered() {
                cluster_reader::run_one_by_one(context, connector, stop).await;
            }
        }
        Topology::Cluster(cluster) => cluster_reader::run(context, cluster, stop).await,
    }
}
