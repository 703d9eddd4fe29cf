//! What brokers notice.

use std::fmt::Display;
use std::time::Duration;

use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;

const SCOPE: &str = "dapr.contrib";

impl Telemetry {
    /// A message was not acknowledged and comes again (D1, D2).
    pub fn redelivery_planned(&self, topic: &str, attempt: u32, pause: Duration) {
        self.0.log.write(
            Level::Debug,
            SCOPE,
            format_args!("delivery not acknowledged, again in {pause:.1?}"),
            &[("topic", &topic), ("attempt", &attempt)],
        );
    }

    /// The queue of a subscription in memory that has ended is full, and what is published from now on is not kept for it. Said once.
    pub fn idle_queue_full(&self, topic: &str, most: usize) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("{most} events wait in memory for a subscription that has ended: further ones are not kept for it until it begins again"),
            &[("topic", &topic)],
        );
    }

    /// Nobody has come back for the queue of a subscription in memory, and it held something.
    pub fn idle_queue_dropped(&self, topic: &str, held: usize, kept: Duration) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("{held} events in memory are dropped: their subscription ended more than {kept:?} ago and has not begun again"),
            &[("topic", &topic)],
        );
    }

    /// A message was not acknowledged, and does not come again either (`ack: none`).
    pub fn not_delivered_again(&self, topic: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("delivery failed, and is not tried again: ack is none"),
            &[("topic", &topic)],
        );
    }

    /// Something in the metadata of a subscription was most likely meant to have an effect.
    pub fn subscription_odd(&self, topic: &str, oddity: &str) {
        self.0.log.write(Level::Warn, SCOPE, format_args!("subscription to {topic}: {oddity}"), &[("topic", &topic)]);
    }

    /// Reading from Redis fails from now on.
    pub fn redis_reading_failed(&self, component: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SCOPE,
            format_args!("redis streams: error reading, trying again until it works: {error}"),
            &[("component", &component)],
        );
    }

    /// This Redis refuses one read of several topics: each is read by itself from now on.
    pub fn redis_reads_one_by_one(&self, component: &str, error: &dyn Display, pause: Duration) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: this Redis refuses one read of several topics ({error}), so each topic is read by itself from now on: after a pause an event comes up to {pause:?} later, and every topic is asked for entries at least as often as that. If it is a Redis Cluster, set redisType to cluster in the component: the servers then tell which topics have entries"),
            &[("component", &component)],
        );
    }

    /// Reading from Redis works again.
    pub fn redis_reading_again(&self, component: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: reading again"),
            &[("component", &component)],
        );
    }

    /// Redelivery and signs of life fail from now on.
    pub fn redis_upkeep_failed(&self, component: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: upkeep failed, trying again until it works: {error}"),
            &[("component", &component)],
        );
    }

    /// Acks cannot be sent for the moment.
    pub fn redis_acks_delayed(&self, component: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("Error acknowledging Redis messages, trying again until it works: {error}"),
            &[("component", &component)],
        );
    }

    /// Redis refuses acks, for the first of these topics from now on. What they are of is kept, and not delivered again by us.
    pub fn redis_acks_refused(&self, component: &str, topic: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SCOPE,
            format_args!("Error acknowledging Redis messages of {topic}, keeping the acks and trying again until they are accepted: {error}"),
            &[("component", &component), ("topic", &topic)],
        );
    }

    /// All acks that Redis had refused are accepted.
    pub fn redis_acks_accepted(&self, component: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: all acks are accepted again"),
            &[("component", &component)],
        );
    }

    /// A group was gone, and everything still in the stream will be delivered (D17).
    pub fn redis_group_recreated(&self, topic: &str, group: &str) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: consumer group {group} does not exist for stream {topic}. This could mean the server experienced data loss, or the group/stream was deleted."),
            &[("topic", &topic)],
        );
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: recreating group {group} for stream {topic}"),
            &[("topic", &topic)],
        );
    }

    /// A topic cannot be read while the others go on.
    pub fn redis_topic_refused(&self, topic: &str, error: &dyn Display) {
        self.0.log.write(
            Level::Error,
            SCOPE,
            format_args!("redis streams: error reading from stream {topic}: {error}"),
            &[("topic", &topic)],
        );
    }

    /// That topic can be read again.
    pub fn redis_topic_admitted(&self, topic: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: reading again from stream {topic}"),
            &[("topic", &topic)],
        );
    }

    /// The `metadata` field of an entry is odd; the entry is delivered all the same.
    pub fn redis_odd_metadata(&self, id: impl Display, oddity: &str) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("Redis PubSub: Could not extract metadata for Redis message {id}: {oddity}"),
            &[],
        );
    }

    /// Entries that others will not finish are being taken over, and there are many.
    pub fn redis_taking_over(&self, component: &str, from: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: taking over the entries of {from}"),
            &[("component", &component)],
        );
    }

    /// Entries that others will not finish are ours now: so many, of so many topics.
    pub fn redis_taken_over(&self, component: &str, from: &str, entries: usize, topics: usize) {
        let s = if topics == 1 { "" } else { "s" };
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: took over {entries} entries in {topics} topic{s} of {from}"),
            &[("component", &component)],
        );
    }

    /// Entries were trimmed or deleted before they could be delivered.
    pub fn redis_entries_gone(&self, topic: &str, count: usize) {
        self.0.log.write(Level::Warn, SCOPE, format_args!("redis streams: {count} entries are no longer in stream {topic} and cannot be delivered again; was it trimmed?"), &[("topic", &topic)]);
    }

    /// Entries could not be handed back at the end of a subscription.
    pub fn redis_hand_back_failed(&self, topic: &str, count: usize, error: &dyn Display) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!(
                "redis streams: {count} entries could not be handed back, others will take them over: {error}"
            ),
            &[("topic", &topic)],
        );
    }

    /// The group of an instance that died was removed.
    pub fn redis_fan_out_swept(&self, component: &str, group: &str) {
        self.0.log.write(
            Level::Info,
            SCOPE,
            format_args!(
                "redis streams: removed group {group}, whose instance has been gone for longer than fanOutExpiry"
            ),
            &[("component", &component)],
        );
    }

    /// The server does not permit the keys by which groups of dead instances are found.
    pub fn redis_fan_out_denied(&self, component: &str) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: not permitted to write sidestream:* keys; fanOut groups of dead instances are not removed"),
            &[("component", &component)],
        );
    }

    /// The server does not permit the keys by which replicas see that this one lives.
    pub fn redis_liveness_denied(&self, component: &str) {
        self.0.log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: not permitted to write sidestream:* keys; entries of a dead replica are taken over only after processingTimeout"),
            &[("component", &component)],
        );
    }
}
