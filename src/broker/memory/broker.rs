//! A `pubsub.in-memory` component.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::consumer::QueueConsumer;
use super::store::Store;
use crate::broker::ack::{self, Ack};
use crate::broker::contract::{Broker, Sink, SubscribeRequest};
use crate::broker::error::BrokerError;
use crate::broker::options::OptionNames;
use crate::message::{Outgoing, Position};
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;

/// The options that an in-memory component reads in the metadata of a subscription.
pub(in crate::broker) const OPTIONS: OptionNames = OptionNames { options: &[ack::ACK], settings: &[] };

/// A `pubsub.in-memory` component of one sidecar.
pub struct MemoryBroker {
    /// The name of the component.
    name: String,
    store: Arc<Store>,
    /// The group of its subscriptions: the app id where the store is shared.
    group: Arc<str>,
    closed: AtomicBool,
    /// For subscriptions that do not set it.
    ack: Ack,
    telemetry: Telemetry,
}

impl MemoryBroker {
    /// An empty broker of this sidecar alone.
    pub fn new(name: &str, telemetry: Telemetry) -> Self {
        Self::on(name, Arc::default(), "", telemetry)
    }

    pub(super) fn on(name: &str, store: Arc<Store>, group: &str, telemetry: Telemetry) -> Self {
        store.open_group(group);
        Self {
            name: name.to_owned(),
            store,
            group: Arc::from(group),
            closed: AtomicBool::new(false),
            ack: Ack::default(),
            telemetry,
        }
    }

    /// This broker, with another default for subscriptions that do not set `ack`.
    #[must_use]
    pub fn acknowledging(self, ack: Ack) -> Self {
        Self { ack, ..self }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Relaxed) { Err(BrokerError::closed()) } else { Ok(()) }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn capabilities(&self) -> &'static [&'static str] {
        &["SUBSCRIBE_WILDCARDS"]
    }

    fn options(&self) -> &'static OptionNames {
        &OPTIONS
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError> {
        self.check_open()?;
        self.store.publish(&message, &self.telemetry).await.map(Some)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequest,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        self.check_open()?;
        self.store.forget_idle(&self.telemetry);
        let topic: Arc<str> = Arc::from(request.topic);
        let queue = self.store.open_queue(&self.group, &topic);
        let ack = request.options.ack.unwrap_or(self.ack);
        let (store, telemetry) = (self.store.clone(), self.telemetry.clone());
        let mut consumer = QueueConsumer::new(&self.name, &topic, sink, ack, queue, store, telemetry);
        Ok(Box::pin(async move { consumer.run(&stop).await }))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.store.close_group(&self.group);
    }
}
