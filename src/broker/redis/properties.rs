//! Properties that hold for every reply of Redis and for all settings.

use deadpool_redis::redis::Value;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::entry::{claimed_entries, entries_by_topic, pending_entries};
use super::settings::Settings;
use crate::json::arbitrary::{blank, cases, in_time, object, string, text, value, wounded};
use crate::json::text_of;
use crate::metadata::ComponentMetadata;

fn bulk(bytes: impl Into<Vec<u8>>) -> Value {
    Value::BulkString(bytes.into())
}

/// Replies of all shapes.
fn answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        text().prop_map(Value::SimpleString),
        wounded("[0-9]{1,20}-[0-9]{1,20}").prop_map(Value::BulkString),
        wounded(value()).prop_map(Value::BulkString),
        select(vec!["data", "metadata", "1-1", "0-0"]).prop_map(bulk),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..5).prop_map(Value::Array),
            1 => vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_answer_of_redis_is_read(answer in answer()) {
        in_time(|| {
            let _ = (entries_by_topic(answer.clone()), claimed_entries(answer.clone()), pending_entries(answer));
        });
    }

    /// Values that are texts stay, whatever else is in the metadata (tests/spec/redis.md, "7.2 Reader").
    #[test]
    fn entries_of_others_keep_their_data_and_their_texts(
        data in vec(any::<u8>(), 0..40), said in vec((string(), value()), 0..5), blank in blank(), extra in text(),
    ) {
        let metadata = object(&said, blank);
        let fields = vec![bulk(extra), bulk("x"), bulk("data"), bulk(data.clone()), bulk("metadata"), bulk(metadata)];
        let answer = Value::Array(vec![Value::Array(vec![bulk("5-1"), Value::Array(fields)])]);
        let mut entries = in_time(|| claimed_entries(answer));
        let entry = entries.pop().unwrap();
        prop_assert_eq!(&entry.data[..], &data[..]);
        let metadata = entry.metadata.unwrap();
        for (at, (name, value)) in said.iter().enumerate() {
            let is_last = said[at + 1..].iter().all(|(other, _)| text_of(other) != text_of(name));
            if is_last {
                let expected = text_of(value).unwrap_or_default();
                prop_assert_eq!(&metadata[&*text_of(name).unwrap()], &*expected);
            }
        }
    }

    #[test]
    fn metadata_of_others_never_holds_an_entry_back(metadata in wounded(value())) {
        let fields = vec![bulk("metadata"), bulk(metadata)];
        let answer = Value::Array(vec![Value::Array(vec![bulk("5-1"), Value::Array(fields)])]);
        prop_assert_eq!(in_time(|| claimed_entries(answer)).len(), 1);
    }

    #[test]
    fn any_settings_are_read_or_refused(settings in vec((name(), text()), 0..6), host in text()) {
        let mut properties: ComponentMetadata = settings.into_iter().collect();
        properties.set("redisHost", host);
        in_time(|| {
            let _ = Settings::of(&properties, "app");
        });
    }
}

fn name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "concurrency",
        "queueDepth",
        "redeliverInterval",
        "processingTimeout",
        "maxLenApprox",
        "streamTTL",
        "redisDB",
        "redisType",
        "enableTLS",
        "clientCert",
        "clientKey",
        "poolSize",
        "dialTimeout",
        "readTimeout",
        "failover",
        "redisMaxRetries",
        "consumerID",
    ]);
    prop_oneof![5 => known.prop_map(str::to_owned), 1 => text()]
}
