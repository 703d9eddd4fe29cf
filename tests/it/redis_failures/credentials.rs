//! The password changes while the sidecar runs.

use super::{GROUP, Whole};
use crate::support::app::Answer;
use crate::support::eventually;
use crate::support::redis::RedisServer;

/// Changes the user's password and closes its connections.
async fn rotate(redis: &RedisServer, password: &str) {
    let _: () = redis.call(&["ACL", "SETUSER", "orders", "resetpass", password]).await;
    let _: i64 = redis.call(&["CLIENT", "KILL", "USER", "orders"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_told_and_a_right_one_is_enough() {
    let redis = RedisServer::start().await;
    let user = ["ACL", "SETUSER", "orders", "on", ">one", "~*", "+@all"];
    let _: () = redis.call(&user).await;
    let settings = [("redisUsername", "orders"), ("redisPassword", "one")];
    let whole = Whole::start(redis.port, &settings, |_| Answer::success()).await;
    whole.publish_all(0..10).await;
    eventually("what came before", || async { whole.app.distinct_data("/orders") == 10 }).await;
    for round in 1..=2 {
        // An ack during the change would be logged, too.
        redis.settled("orders", GROUP).await;
        rotate(&redis, ">two").await;
        // The first publish may be the one that finds its connection closed.
        whole.publish(100).await;
        for _ in 0..5 {
            let refused = whole.publish(100).await;
            assert_eq!(refused.status, 500);
            assert!(
                refused.body.contains("redis streams: error from publish: WRONGPASS invalid username-password pair or user is disabled. (redisUsername and redisPassword must be"),
                "{}",
                refused.body
            );
        }
        eventually("reading fails", || async { whole.lines("error reading") == round }).await;
        // Long enough for a second log line of each kind.
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        rotate(&redis, ">one").await;
        eventually("reading again", || async { whole.lines("reading again") == round }).await;
        let number = u32::try_from(round).unwrap() * 10;
        whole.publish_all(number..number + 10).await;
        eventually("what came after", || async { whole.app.distinct_data("/orders") >= (round + 1) * 10 }).await;
        redis.settled("orders", GROUP).await;
    }
    assert!(whole.is_healthy().await);
    assert_eq!(whole.lines("error reading"), 2, "{:#?}", whole.complaints());
    assert!(whole.lines("upkeep failed") <= 2 && whole.complaints().len() <= 5, "{:#?}", whole.complaints());
}
