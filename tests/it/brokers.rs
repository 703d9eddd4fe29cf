//! Every broker runs the conformance suite.

use std::sync::Arc;

use sidestream::broker::memory::MemoryBroker;

use crate::support::redis::RedisServer;
use crate::support::{conformance, quiet};

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_every_broker_must_do() {
    conformance::all(Arc::new(MemoryBroker::new(quiet()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_does_what_every_broker_must_do() {
    let redis = RedisServer::start().await;
    conformance::all(redis.broker("group", &[])).await;
}
