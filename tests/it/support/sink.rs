//! A sink that records its messages and settles them as the test says.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sidestream::broker::Sink;
use sidestream::message::{Incoming, Settlement};
use tokio::sync::Semaphore;

type Answer = dyn Fn(Incoming) -> BoxFuture<'static, Settlement> + Send + Sync;

pub(crate) struct Recorder {
    seen: Mutex<Vec<Incoming>>,
    answer: Box<Answer>,
    places: Option<usize>,
}

impl Recorder {
    /// A sink that settles every message by `answer`.
    pub(crate) fn answering(answer: impl Fn(&Incoming) -> Settlement + Send + Sync + 'static) -> Arc<Self> {
        Self::waiting(move |message| {
            let settlement = answer(&message);
            Box::pin(async move { settlement })
        })
    }

    /// As [`RecordingSink::answering`], with an asynchronous answer.
    pub(crate) fn waiting(
        answer: impl Fn(Incoming) -> BoxFuture<'static, Settlement> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), answer: Box::new(answer), places: None })
    }

    /// A sink that takes this many messages at a time, and acknowledges them when it has them all.
    pub(crate) fn gathering(places: usize) -> Arc<Self> {
        let full = Arc::new(tokio::sync::Barrier::new(places));
        let answer = move |_| -> BoxFuture<'static, Settlement> {
            let full = full.clone();
            Box::pin(async move {
                full.wait().await;
                Settlement::Ack
            })
        };
        Arc::new(Self { seen: Mutex::default(), answer: Box::new(answer), places: Some(places) })
    }

    /// A sink that settles every message by `answer`, once the gate has a permit for it.
    pub(crate) fn behind(
        gate: &Arc<Semaphore>,
        answer: impl Fn(&Incoming) -> Settlement + Send + Sync + 'static,
    ) -> Arc<Self> {
        let gate = gate.clone();
        Self::waiting(move |message| {
            let (gate, settlement) = (gate.clone(), answer(&message));
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                settlement
            })
        })
    }

    pub(crate) fn acking() -> Arc<Self> {
        Self::answering(|_| Settlement::Ack)
    }

    pub(crate) fn seen(&self) -> Vec<Incoming> {
        self.seen.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }

    /// The payloads as text, in their order of arrival.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.seen().iter().map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
    }
}

#[async_trait]
impl Sink for Recorder {
    async fn accept(&self, message: Incoming) -> Settlement {
        self.seen.lock().push(message.clone());
        (self.answer)(message).await
    }

    fn max_in_flight(&self) -> Option<usize> {
        self.places
    }
}
