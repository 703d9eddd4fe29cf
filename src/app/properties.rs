//! What holds for everything that an app may answer.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::json::arbitrary::{blank, cases, in_time, object, string, value, wounded};
use crate::json::text_of;

/// Members of an object that mean nothing to any reader here, though their values may be anything.
fn noise() -> impl Strategy<Value = Vec<(String, String)>> + Clone {
    vec((string().prop_map(|name| format!("\"x{}", &name[1..])), value()), 0..3)
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn status() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["SUCCESS", "DROP", "RETRY", "", "other"])
}

/// Like an entry of `/dapr/subscribe`: keys that mean something, values that may not fit.
fn entry() -> impl Strategy<Value = String> + Clone {
    let name = select(vec![
        "pubsubname",
        "topic",
        "route",
        "Route",
        "routes",
        "deadLetterTopic",
        "metadata",
        "bulkSubscribe",
        "match",
        "rules",
    ]);
    let fits = select(vec![
        r#""/x""#,
        r#"{"default":"/d","rules":[{"match":"true","path":"/m"}]}"#,
        r#"{"rawPayload":"true","a":null}"#,
        r#"{"enabled":true,"maxMessagesCount":2147483647,"maxAwaitDurationMs":-1}"#,
        "null",
    ]);
    let value = prop_oneof![4 => fits.prop_map(str::to_owned), 1 => value()];
    (vec((name.prop_map(quoted), value), 0..5), noise(), blank())
        .prop_map(|(said, noise, blank)| object(&[noise, said].concat(), blank))
}

fn list() -> impl Strategy<Value = String> {
    vec(entry(), 0..4).prop_map(|entries| format!("[{}]", entries.join(", ")))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_answer_to_the_question_for_subscriptions_is_read_or_refused(body in wounded(list())) {
        if let Ok(answer) = in_time(|| discovery::read(&body)) {
            prop_assert!(answer.subscriptions.iter().all(|entry| !entry.rules.is_empty()));
        }
    }

    #[test]
    fn every_subscription_counts_beside_whatever_else_is_said(
        topics in vec(string(), 0..5), noise in noise(), blank in blank(), rest in "[ -~]{0,9}",
    ) {
        let entries: Vec<_> = topics.iter().enumerate().map(|(n, topic)| {
            let mut said = noise.clone();
            said.insert(said.len() / 2, (quoted("topic"), topic.clone()));
            if n % 2 == 0 {
                said.insert(0, (quoted("route"), quoted("/x")));
            }
            object(&said, blank)
        }).collect();
        let answer = in_time(|| discovery::read(format!("[{}] {rest}", entries.join(",")).as_bytes())).unwrap();
        let text = |topic: &String| text_of(topic).unwrap().into_owned();
        let routed: Vec<_> = topics.iter().step_by(2).map(text).collect();
        let found: Vec<_> = answer.subscriptions.into_iter().map(|found| found.topic).collect();
        prop_assert_eq!(found, routed);
        prop_assert_eq!(answer.routeless, topics.iter().skip(1).step_by(2).map(text).collect::<Vec<_>>());
    }

    #[test]
    fn a_status_counts_beside_whatever_else_is_said(
        status in status(), before in noise(), behind in noise(), blank in blank(), rest in "[ -~]{0,9}",
    ) {
        let alone = verdict::of_answer(200, format!(r#"{{"status":"{status}"}}"#).as_bytes(), |_| ());
        let said = [before, vec![(quoted("Status"), quoted(status))], behind].concat();
        let among = format!("{blank}{}{rest}", object(&said, blank));
        prop_assert_eq!(in_time(|| verdict::of_answer(200, among.as_bytes(), |_| ())), alone);
    }

    #[test]
    fn any_answer_to_a_delivery_has_a_meaning(code in 0_u16..1000, body in wounded(value())) {
        in_time(|| verdict::of_answer(code, &body, |_| ()));
    }

    #[test]
    fn any_answer_to_a_batch_has_a_verdict_for_each_entry(
        code in prop_oneof![Just(200_u16), any::<u16>()], ids in vec(string(), 0..6),
        body in wounded(vec((string(), status()), 0..6).prop_map(|said| statuses(&said, &[], ""))),
    ) {
        let ids: Vec<_> = ids.iter().map(|id| text_of(id).unwrap()).collect();
        let verdicts = in_time(|| verdict::bulk::of_answer(code, &body, ids.iter().map(|id| &**id)));
        prop_assert_eq!(verdicts.of_entries.len(), ids.len());
    }

    #[test]
    fn statuses_count_beside_whatever_else_is_said(
        said in vec(status(), 0..6), noise in noise(), blank in blank(),
    ) {
        let ids: Vec<_> = (0..said.len()).map(|n| n.to_string()).collect();
        let entries: Vec<_> = ids.iter().map(|id| quoted(id)).zip(said).collect();
        let verdicts = |noise: &[(String, String)], blank: &str| {
            let body = statuses(&entries, noise, blank);
            in_time(|| verdict::bulk::of_answer(200, body.as_bytes(), ids.iter().map(|id| &**id)))
        };
        prop_assert_eq!(verdicts(&noise, blank), verdicts(&[], ""));
    }
}

/// An answer to a batch.
fn statuses(said: &[(String, &str)], noise: &[(String, String)], blank: &str) -> String {
    let item = |(id, status): &(String, &str)| {
        let own = [(quoted("entryId"), id.clone()), (quoted("status"), quoted(status))];
        object(&[noise, &own].concat(), blank)
    };
    let items: Vec<_> = said.iter().map(item).collect();
    let list = (quoted("statuses"), format!("[{}]", items.join(",")));
    object(&[noise, &[list]].concat(), blank)
}
