//! A subscription at a broker, run like in the sidecar: a task that ends after its stop.

use std::sync::Arc;

use sidestream::broker::{Broker, BrokerError, Sink, SubscribeRequest};
use sidestream::shutdown::{Stop, Tasks};

pub(crate) struct Subscribed {
    stop: Stop,
    tasks: Tasks,
}

/// Subscribe a sink to a topic.
pub(crate) async fn subscribe(broker: &dyn Broker, topic: &str, sink: Arc<dyn Sink>) -> Subscribed {
    subscribe_with(broker, topic, &[], sink).await
}

/// Subscribe a sink to a topic, with metadata of the subscription.
pub(crate) async fn subscribe_with(
    broker: &dyn Broker,
    topic: &str,
    metadata: &[(&str, &str)],
    sink: Arc<dyn Sink>,
) -> Subscribed {
    let (stop, tasks) = (Stop::new(), Tasks::new());
    let request = request(broker, topic, metadata).unwrap();
    let life = broker.subscribe(request, sink, stop.clone()).await.unwrap();
    tasks.spawn("subscription", life);
    Subscribed { stop, tasks }
}

/// A request to subscribe, with the options as this broker reads them.
pub(crate) fn request(
    broker: &dyn Broker,
    topic: &str,
    metadata: &[(&str, &str)],
) -> Result<SubscribeRequest, BrokerError> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    SubscribeRequest::new(topic.to_owned(), &metadata.iter().map(pair).collect(), broker.options())
}

impl Subscribed {
    /// End it, and wait until the deliveries in progress are settled.
    pub(crate) async fn end(self) {
        self.stop.trigger();
        self.tasks.ended().await;
    }
}
