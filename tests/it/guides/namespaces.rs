//! "Set up pub/sub namespace consumer groups": one app id and one topic name, in two namespaces, over one Redis.

use super::{Desk, prints, publish, ready, redis};
use crate::support::port::free_port;
use crate::support::redis::RedisServer;

const APP: &str = r#"
from serving import serve

def subscribe(event, headers):
    return [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]

def orders(event, headers):
    print("got", event["data"], "of", event["topic"], flush=True)
    return 200

serve({"GET /dapr/subscribe": subscribe, "POST /orders": orders})
"#;

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let component = redis("pubsub", server.port, &[("consumerID", "{namespace}")], "");
    let desk = Desk::new().file("app.py", APP).file("components/pubsub.yaml", &component);
    let mut runs = Vec::new();
    for namespace in ["team-a", "team-b"] {
        let (app, http) = (free_port(), free_port());
        let run = desk.run_with(
            &[("NAMESPACE", namespace)],
            &format!(
                "--app-id app1 --app-port {app} --dapr-http-port {http} --resources-path components -- python3 app.py"
            ),
        );
        ready(http).await;
        runs.push((namespace, run, http));
    }
    for (namespace, _, http) in &runs {
        publish(*http, "pubsub/orders", &format!("\"{namespace}\"")).await;
    }
    for (namespace, run, _) in &runs {
        let expected = format!("{namespace} of orders");
        assert_eq!(prints(run, "got ", 1).await, [expected]);
        run.says("app is subscribed to the following topics: [[orders]] through pubsub=pubsub").await;
        let stream = format!("{namespace}orders");
        server.settled(&stream, &format!("{namespace}.app1")).await;
        let length: i64 = server.call(&["XLEN", &stream]).await;
        assert_eq!(length, 1);
    }
}
