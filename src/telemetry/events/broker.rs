//! Events of brokers.

use std::fmt::Display;
use std::time::Duration;

use crate::message::{EventRef, Position};
use crate::telemetry::event::Event;
use crate::telemetry::log::{Level, Log};

const SCOPE: &str = "dapr.contrib";

/// Something in the metadata of a subscription has no effect and was most likely meant to have one.
pub struct OptionIgnored<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// What is wrong.
    pub warning: &'a str,
}

impl Event for OptionIgnored<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, warning } = self;
        log.write(Level::Warn, SCOPE, format_args!("subscription to {topic}: {warning}"), &[("topic", topic)]);
    }
}

/// The `metadata` field of a stream entry cannot be read, or not all of it. The entry is delivered all the same.
pub struct MetadataUnreadable<'a> {
    /// The component.
    pub component: &'a str,
    /// The id of the entry.
    pub position: Position,
    /// What is wrong.
    pub reason: &'a str,
}

impl Event for MetadataUnreadable<'_> {
    fn log(&self, log: &Log) {
        let Self { position, reason, .. } = self;
        log.write(
            Level::Warn,
            SCOPE,
            format_args!("Redis PubSub: Could not extract metadata for Redis message {position}: {reason}"),
            &[],
        );
    }
}

/// A message was not acknowledged and is delivered again (D1, D2).
pub struct RedeliveryPlanned<'a> {
    /// The event. Its topic is as the broker knows it.
    pub event: EventRef<'a>,
    /// How long until then.
    pub pause: Duration,
}

impl Event for RedeliveryPlanned<'_> {
    fn log(&self, log: &Log) {
        let EventRef { topic, attempt, .. } = self.event;
        let Self { pause, .. } = self;
        log.write(
            Level::Debug,
            SCOPE,
            format_args!("delivery not acknowledged, again in {pause:.1?}"),
            &[("topic", &topic), ("attempt", &attempt)],
        );
    }
}

/// A message was not acknowledged, and is not delivered again either (`ack: none`).
pub struct NotDeliveredAgain<'a> {
    /// The event. Its topic is as the broker knows it.
    pub event: EventRef<'a>,
}

impl Event for NotDeliveredAgain<'_> {
    fn log(&self, log: &Log) {
        let EventRef { topic, .. } = self.event;
        log.write(
            Level::Info,
            SCOPE,
            format_args!("delivery failed, and is not tried again: ack is none"),
            &[("topic", &topic)],
        );
    }
}

/// The queue of a subscription in memory that has ended is full: what is published from now on is not kept for it. Reported once.
pub struct IdleQueueFull<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// The most events that it holds.
    pub limit: usize,
}

impl Event for IdleQueueFull<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, limit } = self;
        log.write(Level::Warn, SCOPE, format_args!("{limit} events wait in memory for a subscription that has ended: further ones are not kept for it until it begins again"), &[("topic", topic)]);
    }
}

/// The queue of a subscription in memory that has ended was dropped with events in it, because the subscription has not begun again.
pub struct IdleQueueDropped<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// How many events it held.
    pub held: usize,
    /// How long it was kept.
    pub kept: Duration,
}

impl Event for IdleQueueDropped<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, held, kept } = self;
        log.write(Level::Warn, SCOPE, format_args!("{held} events in memory are dropped: their subscription ended more than {kept:?} ago and has not begun again"), &[("topic", topic)]);
    }
}

/// Reading from Redis fails from now on.
pub struct ReadingFailed<'a> {
    /// The component.
    pub component: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for ReadingFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { component, error } = self;
        log.write(
            Level::Error,
            SCOPE,
            format_args!("redis streams: error reading, trying again until it works: {error}"),
            &[("component", component)],
        );
    }
}

/// This Redis refuses one read of several topics: each is read by itself from now on.
pub struct ReadsOneByOne<'a> {
    /// The component.
    pub component: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
    /// The longest pause between two reads of a topic.
    pub pause: Duration,
}

impl Event for ReadsOneByOne<'_> {
    fn log(&self, log: &Log) {
        let Self { component, error, pause } = self;
        log.write(Level::Warn, SCOPE, format_args!("redis streams: this Redis refuses one read of several topics ({error}), so each topic is read by itself from now on: after a pause an event comes up to {pause:?} later, and every topic is asked for entries at least as often as that. If it is a Redis Cluster, set redisType to cluster in the component: the servers then tell which topics have entries"), &[("component", component)]);
    }
}

/// Reading from Redis works again.
pub struct ReadingResumed<'a> {
    /// The component.
    pub component: &'a str,
}

impl Event for ReadingResumed<'_> {
    fn log(&self, log: &Log) {
        let Self { component } = self;
        log.write(Level::Info, SCOPE, format_args!("redis streams: reading again"), &[("component", component)]);
    }
}

/// Redelivery and takeover fail from now on.
pub struct UpkeepFailed<'a> {
    /// The component.
    pub component: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for UpkeepFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { component, error } = self;
        log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: upkeep failed, trying again until it works: {error}"),
            &[("component", component)],
        );
    }
}

/// Acks cannot be sent for now.
pub struct AcksDelayed<'a> {
    /// The component.
    pub component: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for AcksDelayed<'_> {
    fn log(&self, log: &Log) {
        let Self { component, error } = self;
        log.write(
            Level::Warn,
            SCOPE,
            format_args!("Error acknowledging Redis messages, trying again until it works: {error}"),
            &[("component", component)],
        );
    }
}

/// Redis refuses acks, for the first of these topics from now on. The acks are kept, and their entries are not delivered again by us.
pub struct AcksRefused<'a> {
    /// The component.
    pub component: &'a str,
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for AcksRefused<'_> {
    fn log(&self, log: &Log) {
        let Self { component, topic, error } = self;
        log.write(Level::Error, SCOPE, format_args!("Error acknowledging Redis messages of {topic}, keeping the acks and trying again until they are accepted: {error}"), &[("component", component), ("topic", topic)]);
    }
}

/// All acks that Redis had refused are accepted.
pub struct AcksAccepted<'a> {
    /// The component.
    pub component: &'a str,
}

impl Event for AcksAccepted<'_> {
    fn log(&self, log: &Log) {
        let Self { component } = self;
        log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: all acks are accepted again"),
            &[("component", component)],
        );
    }
}

/// A group was gone, and everything still in the stream is delivered (D17).
pub struct GroupRecreated<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// The group.
    pub group: &'a str,
}

impl Event for GroupRecreated<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, group } = self;
        log.write(Level::Warn, SCOPE, format_args!("redis streams: consumer group {group} does not exist for stream {topic}. This could mean the server experienced data loss, or the group/stream was deleted."), &[("topic", topic)]);
        log.write(
            Level::Warn,
            SCOPE,
            format_args!("redis streams: recreating group {group} for stream {topic}"),
            &[("topic", topic)],
        );
    }
}

/// A topic cannot be read, while the others are.
pub struct TopicRefused<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for TopicRefused<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, error } = self;
        log.write(
            Level::Error,
            SCOPE,
            format_args!("redis streams: error reading from stream {topic}: {error}"),
            &[("topic", topic)],
        );
    }
}

/// A topic can be read again.
pub struct TopicAdmitted<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
}

impl Event for TopicAdmitted<'_> {
    fn log(&self, log: &Log) {
        let Self { topic } = self;
        log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: reading again from stream {topic}"),
            &[("topic", topic)],
        );
    }
}

/// Entries that their consumer will not finish are being taken over, and there are many.
pub struct TakeoverBegun<'a> {
    /// The component.
    pub component: &'a str,
    /// The former owner of the entries.
    pub from: &'a str,
}

impl Event for TakeoverBegun<'_> {
    fn log(&self, log: &Log) {
        let Self { component, from } = self;
        log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: taking over the entries of {from}"),
            &[("component", component)],
        );
    }
}

/// Entries that their consumer will not finish have been taken over.
pub struct TakeoverEnded<'a> {
    /// The component.
    pub component: &'a str,
    /// The former owner of the entries.
    pub from: &'a str,
    /// How many.
    pub entries: usize,
    /// Of how many topics.
    pub topics: usize,
}

impl Event for TakeoverEnded<'_> {
    fn log(&self, log: &Log) {
        let Self { component, from, entries, topics } = self;
        let s = if *topics == 1 { "" } else { "s" };
        log.write(
            Level::Info,
            SCOPE,
            format_args!("redis streams: took over {entries} entries in {topics} topic{s} of {from}"),
            &[("component", component)],
        );
    }
}

/// Entries were trimmed or deleted before they could be delivered again.
pub struct EntriesGone<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// How many.
    pub count: usize,
}

impl Event for EntriesGone<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, count } = self;
        log.write(Level::Warn, SCOPE, format_args!("redis streams: {count} entries are no longer in stream {topic} and cannot be delivered again; was it trimmed?"), &[("topic", topic)]);
    }
}

/// Entries could not be handed back at the end of a subscription.
pub struct HandBackFailed<'a> {
    /// The topic as the broker knows it.
    pub topic: &'a str,
    /// How many.
    pub count: usize,
    /// The reason.
    pub error: &'a dyn Display,
}

impl Event for HandBackFailed<'_> {
    fn log(&self, log: &Log) {
        let Self { topic, count, error } = self;
        log.write(
            Level::Warn,
            SCOPE,
            format_args!(
                "redis streams: {count} entries could not be handed back, others will take them over: {error}"
            ),
            &[("topic", topic)],
        );
    }
}

/// The group of an instance that died was removed.
pub struct FanOutGroupRemoved<'a> {
    /// The component.
    pub component: &'a str,
    /// The group.
    pub group: &'a str,
}

impl Event for FanOutGroupRemoved<'_> {
    fn log(&self, log: &Log) {
        let Self { component, group } = self;
        log.write(
            Level::Info,
            SCOPE,
            format_args!(
                "redis streams: removed group {group}, whose instance has been gone for longer than fanOutExpiry"
            ),
            &[("component", component)],
        );
    }
}

/// The server does not permit the keys by which groups of dead instances are found.
pub struct FanOutDenied<'a> {
    /// The component.
    pub component: &'a str,
}

impl Event for FanOutDenied<'_> {
    fn log(&self, log: &Log) {
        let Self { component } = self;
        log.write(Level::Warn, SCOPE, format_args!("redis streams: not permitted to write sidestream:* keys; fanOut groups of dead instances are not removed"), &[("component", component)]);
    }
}

/// The server does not permit the keys by which replicas see that this one lives.
pub struct LivenessDenied<'a> {
    /// The component.
    pub component: &'a str,
}

impl Event for LivenessDenied<'_> {
    fn log(&self, log: &Log) {
        let Self { component } = self;
        log.write(Level::Warn, SCOPE, format_args!("redis streams: not permitted to write sidestream:* keys; entries of a dead replica are taken over only after processingTimeout"), &[("component", component)]);
    }
}
