//! A handler that panics: its call is answered, everything else goes on.

use futures_util::future::BoxFuture;

use super::*;
use crate::broker::BrokerError;
use crate::broker::options::OptionNames;
use crate::message::{Outgoing, Position};

/// A broker with a mistake in it, as one of ours might have.
struct Broken;

#[async_trait]
impl Broker for Broken {
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    fn options(&self) -> &'static OptionNames {
        const { &OptionNames { options: &[], settings: &[] } }
    }

    async fn connect(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, message: Outgoing) -> Result<Option<Position>, BrokerError> {
        panic!("cannot publish to {}", message.topic)
    }

    async fn subscribe(
        &self,
        _: SubscribeRequest,
        _: Arc<dyn Sink>,
        _: Stop,
    ) -> Result<BoxFuture<'static, ()>, BrokerError> {
        Ok(Box::pin(async {}))
    }

    async fn close(&self) {}
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let api = start(|_| {}, service::api).await;
    let identity = Identity { name: "broken".to_owned(), kind: "pubsub.broken".to_owned(), version: String::new() };
    let properties = ComponentMetadata::default();
    let broken = Pubsub::new(identity, Arc::new(Broken), &properties, "app1", "");
    api.catalog.insert(Arc::new(broken));
    let answer = api
        .send(
            b"POST /v1.0/publish/broken/t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}\
              POST /v1.0/publish/ps/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        )
        .await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("traceparent").is_some());
    let (body, second) = answer.body.split_once("HTTP/1.1 ").unwrap();
    assert_eq!(body, r#"{"errorCode":"ERR_INTERNAL","message":"the sidecar failed to answer: see its log"}"#);
    assert!(second.starts_with("204 "), "{second}");
    assert_eq!(api.event().await["topic"], "t");
}
