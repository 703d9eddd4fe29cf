//! The settings of a `pubsub.redis` component: text in, typed values out, all mistakes at once (tests/spec/redis.md,
//! "2.5 The two decoders", "3. pubsub.redis metadata fields", "4. Host resolution").
//!
//! Daprd's strict decoder decides what is an error and how it reads. What daprd would silently ignore (an unknown key,
//! a `redeliverInterval` it cannot read) becomes a warning here (D15).

use std::borrow::Cow;
use std::time::Duration;

use super::address::{Address, Hosts};
use crate::broker::ack::Ack;
use crate::broker::options::read_bool;
use crate::broker::start_from::StartFrom;
use crate::broker::warning::{self, Warning};
use crate::credentials::masked;
use crate::duration::{self, GoDuration};
use crate::metadata::Properties;

/// What a component says about its Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `redisHost` as resolved, for texts: `host:port`, several separated by commas, or the path of a Unix socket, never with credentials;
    /// empty if it was not given.
    pub host: String,
    /// The servers that `redisHost` names, at least one.
    pub addresses: Vec<Address>,
    /// `redisUsername`; only used together with a password.
    pub username: String,
    /// `redisPassword`; empty means none.
    pub password: String,
    /// `redisType` is `cluster`.
    pub cluster: bool,
    /// `failover`: `redisHost` lists sentinels.
    pub sentinel: bool,
    /// `sentinelMasterName`; empty if it was not given.
    pub sentinel_master: String,
    /// `sentinelUsername`; only used together with a password.
    pub sentinel_username: String,
    /// `sentinelPassword`; empty means none.
    pub sentinel_password: String,
    /// `redisDB`; 0 is not selected.
    pub database: i64,
    /// Tries after the first one, for commands that the server explicitly refused for the moment.
    pub max_retries: u32,
    /// Shortest and longest pause between such tries.
    pub retry_pause: (Duration, Duration),
    /// Longest time to connect.
    pub dial_timeout: Duration,
    /// Longest wait for the answer to a command; `None` waits for ever.
    pub read_timeout: Option<Duration>,
    /// `enableTLS`, with what it needs.
    pub tls: Option<Tls>,
    /// `consumerID`: the name of the consumer group.
    pub group: String,
    /// Idle time after which an entry of a consumer without liveness key is taken over; `None` is never.
    pub processing_timeout: Option<Duration>,
    /// Period of that take-over; `None` is never. Given explicitly, also the longest wait before a redelivery.
    pub redeliver_interval: Option<Duration>,
    /// The longest wait before a redelivery (D1).
    pub longest_wait: Duration,
    /// Entries held in memory beside those with the app.
    pub queue_depth: usize,
    /// Entries with the app at a time, over all topics of the component.
    pub concurrency: usize,
    /// How streams are trimmed when something is added.
    pub trim: Option<Trim>,
    /// `startFrom`: where groups begin that do not exist yet.
    pub start: Option<StartFrom>,
    /// `ack`: what acknowledges an entry.
    pub ack: Ack,
    /// `fanOut`: every instance gets every entry.
    pub fan_out: bool,
    /// `fanOutExpiry`: for how long the group of an instance that died without a word is kept.
    pub fan_out_expiry: Duration,
}

/// TLS to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `insecureSkipTLSVerify`.
    pub insecure: bool,
    /// `clientCert` and `clientKey`, PEM text, if both are given.
    pub client: Option<(String, String)>,
}

/// Trimming with every XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// `maxLen`.
    ExactLength(i64),
    /// `maxLenApprox`.
    Length(i64),
    /// `streamTTL`, in milliseconds. May be negative: everything is trimmed then.
    Age(i64),
}

/// Settings that make the component unusable. The text is daprd's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis client configuration error: {0}")]
pub struct SettingsError(String);

/// Every key that means something, for the question whether a key is misspelt.
pub(super) const KNOWN: &[&str] = &[
    "ack",
    "allowedTopics",
    "clientCert",
    "clientKey",
    "concurrency",
    "concurrencyMode",
    "consumerID",
    "dialTimeout",
    "enableTLS",
    "failover",
    "fanOut",
    "fanOutExpiry",
    "idleCheckFrequency",
    "idleTimeout",
    "insecureSkipTLSVerify",
    "maxConnAge",
    "maxLen",
    "maxLenApprox",
    "minIdleConns",
    "poolSize",
    "poolTimeout",
    "processingTimeout",
    "protectedTopics",
    "publishingScopes",
    "queryIndexes",
    "queueDepth",
    "readTimeout",
    "redeliverInterval",
    "redisDB",
    "redisHost",
    "redisMaxRetries",
    "redisMaxRetryInterval",
    "redisMinRetryInterval",
    "redisPassword",
    "redisPort",
    "redisType",
    "redisUsername",
    "sentinelMasterName",
    "sentinelPassword",
    "sentinelUsername",
    "startFrom",
    "streamTTL",
    "subscriptionScopes",
    "ttlInSeconds",
    "useEntraID",
    "writeTimeout",
];

/// Entries waiting in memory, whatever `queueDepth` says.
const DEEPEST_QUEUE: usize = 65_536;
const DEFAULT_PROCESSING_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_REDELIVER_INTERVAL: Duration = Duration::from_secs(15);
const DEFAULT_FAN_OUT_EXPIRY: Duration = Duration::from_secs(3600);
/// Shorter, an instance that only hesitates would lose its group.
const SHORTEST_FAN_OUT_EXPIRY: Duration = Duration::from_secs(1);
/// D1: the wait before a redelivery doubles up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Settings {
    /// Read all settings. Beside them come warnings, whether they can be used or not: what is ignored or looks like a mistake.
    pub fn of(properties: &Properties, app_id: &str) -> (Result<Self, SettingsError>, Vec<Warning>) {
        let mut texts = Vec::new();
        let settings = Self::read(properties, app_id, &mut texts);
        let mut warnings = unknown_keys(properties);
        warnings.extend(texts.into_iter().map(Warning::from));
        (settings, warnings)
    }

    fn read(properties: &Properties, app_id: &str, warnings: &mut Vec<String>) -> Result<Self, SettingsError> {
        let mut read = Decoder { properties, errors: Vec::new() };
        let port = read.number::<u16>("redisPort", "uint16", false).filter(|port| *port != 0);
        let retries = read.number::<i64>("redisMaxRetries", "int", true).unwrap_or(0);
        let min_pause = read.client_duration("redisMinRetryInterval");
        let max_pause = read.client_duration("redisMaxRetryInterval");
        let dial = read.client_duration("dialTimeout");
        let reading = read.client_duration("readTimeout");
        for unused in ["writeTimeout", "poolTimeout", "maxConnAge", "idleTimeout", "idleCheckFrequency"] {
            read.client_duration(unused);
        }
        for unused in ["poolSize", "minIdleConns", "ttlInSeconds"] {
            read.number::<i64>(unused, "int", true);
        }
        let tls = read.flag("enableTLS");
        let insecure = read.flag("insecureSkipTLSVerify");
        let entra = read.flag("useEntraID");
        let sentinel = read.flag("failover");
        let processing = read.entry_duration("processingTimeout");
        let age = read.entry_duration("streamTTL");
        let mut length = |name| read.number::<i64>(name, "int64", true).filter(|length| *length > 0);
        let (exact_length, length) = (length("maxLen"), length("maxLenApprox"));
        let start = read.read("startFrom", StartFrom::read);
        let ack = read.read("ack", Ack::read);
        let fan_out = read.flag("fanOut");
        let fan_out_expiry = read.entry_duration("fanOutExpiry");
        let database = read.number::<i64>("redisDB", "int", true);
        let depth = read.number::<usize>("queueDepth", "uint", false).unwrap_or(100);
        let concurrency = read.number::<usize>("concurrency", "uint", false).unwrap_or(10);
        read.finish()?;
        let hosts = Hosts::read(properties.get("redisHost").unwrap_or_default(), port).map_err(SettingsError)?;
        let database = match (hosts.database, database) {
            (Some(url), Some(setting)) if url != setting.max(0) => {
                return Err(contradiction("redisDB"));
            }
            (url, setting) => setting.or(url).unwrap_or(0).max(0),
        };
        if concurrency == 0 {
            warnings.push("concurrency is 0, which would deliver nothing: 1 is used".to_owned());
        }
        let age = age.filter(|age| age.as_nanos() != 0);
        if exact_length.is_some() && (length.is_some() || age.is_some()) {
            warnings.push("redis streams: maxLen cannot be used together with maxLenApprox or streamTTL; only one stream trimming strategy can be active at a time: maxLen is used".to_owned());
        } else if length.is_some() && age.is_some() {
            warnings.push("redis streams: maxLenApprox and streamTTL cannot be used together; only one stream trimming strategy can be active at a time.".to_owned());
        }
        if tls == Some(true) && hosts.text.starts_with('/') {
            warnings.push("enableTLS has no effect on a Unix socket".to_owned());
        }
        let cluster = properties.get("redisType") == Some("cluster");
        if cluster && sentinel == Some(true) {
            warnings.push("redisType cluster and failover are both set: redisHost is taken for sentinels, and all topics are on the one master that they name; for a Redis Cluster leave out failover".to_owned());
        } else if cluster && database > 0 {
            warnings.push("redisDB has no effect in a cluster, which has one database".to_owned());
        }
        if depth > DEEPEST_QUEUE {
            warnings.push(format!("queueDepth {depth} would hold too much in memory: {DEEPEST_QUEUE} is used"));
        }
        let text = |name: &str| properties.get(name).unwrap_or_default().to_owned();
        if entra.unwrap_or(false) {
            return Err(SettingsError(
                "useEntraID is not supported yet; use redisUsername and redisPassword".to_owned(),
            ));
        }
        let processing_timeout = processing.map_or(Some(DEFAULT_PROCESSING_TIMEOUT), GoDuration::positive);
        let redeliver = redeliver_interval(properties, warnings);
        let client = (text("clientCert"), text("clientKey"));
        let is_sentinel = sentinel.unwrap_or(false);
        if is_sentinel && hosts.password.is_some() {
            return Err(SettingsError("the URLs in redisHost have a password, but with failover they name sentinels: write redisUsername and redisPassword for the master, sentinelUsername and sentinelPassword for the sentinels".to_owned()));
        }
        let username = one_of(hosts.username, text("redisUsername"), "redisUsername")?;
        let password = one_of(hosts.password, text("redisPassword"), "redisPassword")?;
        let has_tls = match (hosts.tls, tls) {
            (Some(true), Some(false)) => {
                return Err(contradiction("enableTLS"));
            }
            (url, setting) => setting.or(url).unwrap_or(false),
        };
        Ok(Self {
            host: hosts.text,
            addresses: hosts.addresses,
            username,
            password,
            cluster,
            sentinel: is_sentinel,
            sentinel_master: text("sentinelMasterName"),
            sentinel_username: text("sentinelUsername"),
            sentinel_password: text("sentinelPassword"),
            database,
            max_retries: u32::try_from(if retries == 0 { 3 } else { retries.max(0) })
                .unwrap_or(u32::MAX),
            retry_pause: (
                min_pause
                    .and_then(GoDuration::positive)
                    .unwrap_or(Duration::from_millis(8)),
                max_pause
                    .and_then(GoDuration::positive)
                    .unwrap_or(Duration::from_millis(512)),
            ),
            dial_timeout: dial
                .and_then(GoDuration::positive)
                .unwrap_or(Duration::from_secs(5)),
            read_timeout: match reading.map(|given| longer(given, warnings)) {
                Some(never) if never.as_nanos() < 0 => None,
                other => Some(
                    other
                        .and_then(GoDuration::positive)
                        .unwrap_or(Duration::from_secs(3)),
                ),
            },
            tls: has_tls.then(|| Tls {
                insecure: insecure.unwrap_or(false),
                client: (!client.0.is_empty() && !client.1.is_empty()).then_some(client),
            }),
            group: properties
                .get_exact("consumerID")
                .filter(|id| !id.is_empty())
                .unwrap_or(app_id)
                .to_owned(),
            processing_timeout,
            redeliver_interval: redeliver.map_or(Some(DEFAULT_REDELIVER_INTERVAL), |given| {
                Some(given).filter(|d| !d.is_zero())
            }),
            longest_wait: redeliver
                .filter(|given| !given.is_zero())
                .unwrap_or(LONGEST_WAIT),
            queue_depth: depth.min(DEEPEST_QUEUE),
            concurrency: concurrency.max(1),
            trim: exact_length
                .map(Trim::ExactLength)
                .or(length.map(Trim::Length))
                .or(age.map(|age| Trim::Age(age.as_nanos() / 1_000_000))),
            start,
            ack: ack.unwrap_or_default(),
            fan_out: fan_out.unwrap_or(false),
            fan_out_expiry: fan_out_expiry.map_or(DEFAULT_FAN_OUT_EXPIRY, |given| {
                if given.to_std() < SHORTEST_FAN_OUT_EXPIRY {
                    warnings.push(format!(
                        "fanOutExpiry {given} is too short (a number without unit is milliseconds): {SHORTEST_FAN_OUT_EXPIRY:?} is used"
                    ));
                }
                given.to_std().max(SHORTEST_FAN_OUT_EXPIRY)
            }),
        })
    }
}

impl Settings {
    /// Several servers, each with some of the topics. With sentinels there is one master, whatever the type says.
    pub(super) fn is_cluster(&self) -> bool {
        self.cluster && !self.sentinel
    }

    /// Does another server take the place of one that fails?
    pub(super) fn has_failover(&self) -> bool {
        self.cluster || self.sentinel
    }
}

/// No answer comes in less than this on a bad day; who asks for less has most likely taken milliseconds for seconds.
fn longer(read_timeout: GoDuration, warnings: &mut Vec<String>) -> GoDuration {
    let shortest = GoDuration::from_millis(500);
    if read_timeout > GoDuration::ZERO && read_timeout < shortest {
        warnings.push(format!(
            "readTimeout {read_timeout} is too short (a number without unit is milliseconds): {shortest} is used"
        ));
        return shortest;
    }
    read_timeout
}

/// Read a `redeliverInterval`: milliseconds or a duration (D15). What cannot be read is no error, as in daprd, but said.
fn redeliver_interval(properties: &Properties, warnings: &mut Vec<String>) -> Option<Duration> {
    let text = properties.get("redeliverInterval")?;
    let read = match text.parse::<i64>() {
        Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        Err(_) => duration::parse(text)
            .ok()
            .and_then(|duration| if duration.as_nanos() == 0 { Some(Duration::ZERO) } else { duration.positive() }),
    };
    if read.is_none() {
        let text = masked(text);
        warnings.push(format!(
            "redeliverInterval {text:?} is neither a duration like 30s nor a number of milliseconds: 15s is used"
        ));
    }
    read
}

/// What a URL in `redisHost` says, or the setting of its own; not two different things.
fn one_of(url: Option<String>, setting: String, name: &str) -> Result<String, SettingsError> {
    match url {
        Some(url) if !setting.is_empty() && url != setting => Err(contradiction(name)),
        Some(url) => Ok(url),
        None => Ok(setting),
    }
}

fn contradiction(name: &str) -> SettingsError {
    SettingsError(format!("the URL in redisHost says something else than {name}; remove one of them"))
}

fn unknown_keys(properties: &Properties) -> Vec<Warning> {
    warning::unknown(properties, KNOWN, |name| {
        name.eq_ignore_ascii_case("consumerGroup").then(|| {
            format!("{name:?} belongs into the metadata of a subscription and has no effect here; the group of a component is consumerID")
        })
    })
}

/// Settings of a Redis component that are lengths of time. `readTimeout` has a warning of its own.
const TIMES: [&str; 10] = [
    "dialTimeout",
    "writeTimeout",
    "processingTimeout",
    "redeliverInterval",
    "streamTTL",
    "poolTimeout",
    "idleTimeout",
    "maxConnAge",
    "fanOutExpiry",
    "idleCheckFrequency",
];

/// Numbers without unit are milliseconds; one that is as small as this was most likely meant in seconds.
pub fn times_without_unit(properties: &Properties) -> impl Iterator<Item = String> {
    let is_small = |text: &str| matches!(text.parse::<i64>(), Ok(1..100));
    TIMES
        .iter()
        .filter_map(|name| Some((name, properties.get(name)?)))
        .filter(move |(_, text)| is_small(text))
        .map(|(name, text)| {
            format!("{name} {text} has no unit and is taken for {text} milliseconds: write {text}s for seconds, or {text}ms if milliseconds are meant")
        })
}

/// Reads values one by one and remembers what is wrong with them.
struct Decoder<'a> {
    properties: &'a Properties,
    errors: Vec<String>,
}

impl Decoder<'_> {
    fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.properties.get(name)?;
        parse(text)
            .map_err(|reason| {
                let reason = match masked(text) {
                    Cow::Borrowed(_) => reason,
                    // The reason quotes it as it is.
                    Cow::Owned(shown) => format!("invalid value \"{shown}\""),
                };
                self.errors.push(format!("* error decoding '{name}': {reason}"));
            })
            .ok()
    }

    fn number<N: std::str::FromStr>(&mut self, name: &str, kind: &str, signed: bool) -> Option<N> {
        self.read(name, |text| {
            let digits = if signed { text.strip_prefix(['-', '+']).unwrap_or(text) } else { text };
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or_else(|| format!("invalid {kind} \"{text}\""))
        })
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, read_bool)
    }

    /// Kind A of tests/spec/redis.md, "2.5 The two decoders": `processingTimeout`, `streamTTL`.
    fn entry_duration(&mut self, name: &str) -> Option<GoDuration> {
        self.read(name, |text| duration::parse_or_millis(text).map_err(|_| format!("invalid duration \"{text}\"")))
    }

    /// Kind B: the timeouts of the client.
    fn client_duration(&mut self, name: &str) -> Option<GoDuration> {
        self.read(name, |text| {
            duration::parse_or_millis(text).map_err(|error| format!("invalid Duration \"{text}\": {error}"))
        })
    }

    fn finish(mut self) -> Result<(), SettingsError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort();
        Err(SettingsError(format!(
            "decode failed. {} error(s) decoding:\n\n{}",
            self.errors.len(),
            self.errors.join("\n")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Result<Settings, SettingsError>, Vec<String>) {
        let (settings, warnings) = Settings::of(&pairs.iter().copied().collect(), "app");
        let texts = warnings.into_iter().map(|warning| warning.text);
        (settings, texts.collect())
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]
    fn check<T: PartialEq + std::fmt::Debug>(pairs: &[(&str, &str)], field: impl Fn(&Settings) -> T, expected: T) {
        assert_eq!(field(&read(pairs).0.unwrap()), expected, "{pairs:?}");
    }

    #[track_caller]
    fn refused(pairs: &[(&str, &str)], expected: &str) {
        let error = read(pairs).0.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{pairs:?}: {error}");
    }

    #[test]
    fn durations_are_milliseconds_or_go_durations() {
        let timeout = |s: &Settings| s.processing_timeout;
        check(&[], timeout, Some(Duration::from_secs(60)));
        check(&[("processingTimeout", "5000")], timeout, Some(Duration::from_secs(5)));
        check(&[("processingTimeout", "5s")], timeout, Some(Duration::from_secs(5)));
        check(&[("PROCESSINGTIMEOUT", "5s")], timeout, Some(Duration::from_secs(5)));
        check(&[("processingTimeout", "0")], timeout, None);
        check(&[("processingTimeout", "-1")], timeout, None);
        check(&[("streamTTL", "24h")], |s| s.trim, Some(Trim::Age(86_400_000)));
        check(&[("streamTTL", "60000")], |s| s.trim, Some(Trim::Age(60_000)));
        check(&[("maxLenApprox", "1000"), ("streamTTL", "1h")], |s| s.trim, Some(Trim::Length(1000)));
        check(&[("maxLenApprox", "-1")], |s| s.trim, None);
        check(&[("readTimeout", "3")], |s| s.read_timeout, Some(Duration::from_millis(500)));
        check(&[("readTimeout", "-1")], |s| s.read_timeout, None);
        check(&[("redisMaxRetries", "-1")], |s| s.max_retries, 0);
    }

    #[test]
    fn streams_are_trimmed_by_one_rule_at_a_time() {
        #[track_caller]
        fn trimmed(pairs: &[(&str, &str)], expected: Option<Trim>, warned: Option<&str>) {
            let (settings, warnings) = read(pairs);
            assert_eq!(settings.unwrap().trim, expected, "{pairs:?}");
            assert_eq!(warnings.len(), usize::from(warned.is_some()), "{warnings:?}");
            assert!(warnings.iter().all(|text| text.contains(warned.unwrap())));
        }
        let (exact, about, age) = (("maxLen", "10"), ("maxLenApprox", "1000"), ("streamTTL", "1h"));
        let maxlen_wins = Some("maxLen is used");
        trimmed(&[exact], Some(Trim::ExactLength(10)), None);
        trimmed(&[exact, about], Some(Trim::ExactLength(10)), maxlen_wins);
        trimmed(&[exact, age], Some(Trim::ExactLength(10)), maxlen_wins);
        trimmed(&[exact, about, age], Some(Trim::ExactLength(10)), maxlen_wins);
        trimmed(&[about, age], Some(Trim::Length(1000)), Some("maxLenApprox and streamTTL"));
        trimmed(&[("maxLen", "0"), about], Some(Trim::Length(1000)), None);
        trimmed(&[("maxLen", "-1"), age], Some(Trim::Age(3_600_000)), None);
        trimmed(&[about, ("streamTTL", "0")], Some(Trim::Length(1000)), None);
        refused(&[("maxLen", "1e3")], "* error decoding 'maxLen': invalid int64 \"1e3\"");
    }

    #[test]
    fn how_topics_are_read_can_be_set() {
        let rules = |s: &Settings| (s.start, s.ack, s.fan_out, s.fan_out_expiry);
        let hour = Duration::from_secs(3600);
        check(&[], rules, (None, Ack::Explicit, false, hour));
        check(
            &[("startFrom", "new"), ("ack", "none"), ("fanOut", "true"), ("fanOutExpiry", "90s")],
            rules,
            (Some(StartFrom::New), Ack::None, true, Duration::from_secs(90)),
        );
        let (settings, warnings) = read(&[("fanOutExpiry", "60")]);
        assert_eq!(settings.unwrap().fan_out_expiry, Duration::from_secs(1));
        assert!(warnings[0].contains("fanOutExpiry 60ms is too short"), "{warnings:?}");
        refused(&[("fanOut", "yes")], "* error decoding 'fanOut': invalid bool \"yes\"");
        refused(&[("ack", "all")], "* error decoding 'ack': ack \"all\" is neither \"explicit\" nor \"none\"");
        refused(&[("startFrom", "nwe")], "or a duration back from now like 1h; did you mean \"new\"?");
        assert!(read(&[("consumerGroup", "g")]).1[0].contains("metadata of a subscription"));
        assert!(read(&[("startForm", "new")]).1[0].contains("did you mean \"startFrom\"?"));
    }

    #[test]
    fn redeliver_interval_takes_durations_too_and_is_never_an_error() {
        let interval = |s: &Settings| (s.redeliver_interval, s.longest_wait);
        let minute = Duration::from_secs(60);
        check(&[], interval, (Some(Duration::from_secs(15)), minute));
        check(&[("redeliverInterval", "30s")], interval, (Some(Duration::from_secs(30)), Duration::from_secs(30)));
        check(&[("redeliverInterval", "5000")], interval, (Some(Duration::from_secs(5)), Duration::from_secs(5)));
        check(&[("redeliverinterval", "5000")], interval, (Some(Duration::from_secs(5)), Duration::from_secs(5)));
        check(&[("redeliverInterval", "0")], interval, (None, minute));
        check(&[("redeliverInterval", "bogus")], interval, (Some(Duration::from_secs(15)), minute));
        assert!(read(&[("redeliverInterval", "bogus")]).1[0].contains("bogus"));
    }

    #[test]
    fn values_that_cannot_be_read_are_all_named() {
        refused(&[("processingTimeout", "")], "* error decoding 'processingTimeout': invalid duration \"\"");
        refused(&[("streamTTL", "30d")], "* error decoding 'streamTTL': invalid duration \"30d\"");
        refused(&[("maxLenApprox", "1e3")], "* error decoding 'maxLenApprox': invalid int64 \"1e3\"");
        for value in ["-5", "+5", "0x10", " 7", "1.5", ""] {
            refused(&[("queueDepth", value)], &format!("* error decoding 'queueDepth': invalid uint \"{value}\""));
        }
        for value in ["yes", "", "tRuE"] {
            refused(&[("enableTLS", value)], &format!("* error decoding 'enableTLS': invalid bool \"{value}\""));
        }
        refused(&[("redisPort", "99999")], "invalid uint16 \"99999\"");
        refused(&[("redisMaxRetries", "")], "invalid int \"\"");
        refused(&[("readTimeout", "abc")], "invalid Duration \"abc\": time: invalid duration \"abc\"");
        refused(
            &[("queueDepth", "x"), ("concurrency", "y")],
            "decode failed. 2 error(s) decoding:\n\n* error decoding 'concurrency': invalid uint \"y\"\n* error decoding 'queueDepth': invalid uint \"x\"",
        );
    }

    #[test]
    fn hosts_get_a_port() {
        let host = |s: &Settings| s.host.clone();
        check(&[], host, String::new());
        check(&[("redisHost", "h")], host, "h:6379".to_owned());
        check(&[("redisHost", "h"), ("redisPort", "6380")], host, "h:6380".to_owned());
        check(&[("redisHost", "h:1"), ("redisPort", "1")], host, "h:1".to_owned());
        check(&[("redisHost", "node1 , node2")], host, "node1:6379,node2:6379".to_owned());
        check(&[("redisHost", "::1")], host, "[::1]:6379".to_owned());
        check(&[("redisHost", "[::1]:7")], host, "[::1]:7".to_owned());
        check(&[("REDISHOST", "a:1"), ("redisHost", "b:1")], host, "b:1".to_owned());
        refused(
            &[("redisHost", "h:6379"), ("redisPort", "6380")],
            "redis host \"h:6379\" already contains port 6379, but redisPort is set to 6380; either remove the port from redisHost or remove the redisPort setting",
        );
    }

    #[test]
    fn cluster_and_sentinels_are_chosen_as_daprd_does() {
        let kind = |s: &Settings| (s.is_cluster(), s.sentinel, s.has_failover());
        check(&[], kind, (false, false, false));
        check(&[("redisType", "node")], kind, (false, false, false));
        check(&[("redisType", "cluster")], kind, (true, false, true));
        check(&[("redisType", "Cluster")], kind, (false, false, false));
        check(&[("failover", "T")], kind, (false, true, true));
        let both = [("redisType", "cluster"), ("failover", "true")];
        check(&both, kind, (false, true, true));
        refused(&[("failover", "yes")], "invalid bool \"yes\"");
        let sentinel = [
            ("failover", "true"),
            ("sentinelMasterName", "main"),
            ("sentinelUsername", "u"),
            ("sentinelPassword", "p"),
        ];
        check(
            &sentinel,
            |s| {
                let texts = [&s.sentinel_master, &s.sentinel_username, &s.sentinel_password];
                texts.map(String::clone)
            },
            ["main", "u", "p"].map(str::to_owned),
        );
    }

    #[test]
    fn what_has_no_effect_in_a_cluster_or_with_sentinels_is_named() {
        #[track_caller]
        fn warned(pairs: &[(&str, &str)], expected: &[&str]) {
            let warnings = read(pairs).1;
            assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
            let told = warnings.iter().zip(expected);
            assert!(told.into_iter().all(|(text, part)| text.contains(part)));
        }
        let (cluster, failover) = (("redisType", "cluster"), ("failover", "true"));
        let database = ("redisDB", "1");
        warned(&[cluster], &[]);
        warned(&[failover, database], &[]);
        warned(&[cluster, ("failover", "false")], &[]);
        warned(&[("redisType", "Cluster"), failover], &[]);
        warned(&[cluster, database], &["redisDB has no effect"]);
        // Daprd asks the sentinels for the master, too, and selects the database there.
        let both = "for a Redis Cluster leave out failover";
        warned(&[cluster, failover], &[both]);
        warned(&[cluster, failover, database], &[both]);
    }

    #[test]
    fn what_a_url_says_and_a_setting_of_its_own_must_not_contradict() {
        type Seen<'a> = (&'a str, &'a str, i64, bool);
        fn seen(settings: &Settings) -> Seen<'_> {
            let password = settings.password.as_str();
            (&settings.username, password, settings.database, settings.tls.is_some())
        }
        let url = ("redisHost", "rediss://me:hunter2@h:7/3");
        let (sentinels, plain) = (("failover", "true"), ("redisHost", "redis://h"));
        for (pairs, expected) in [
            (&[url] as &[_], ("me", "hunter2", 3, true)),
            (
                &[
                    url,
                    ("redisUsername", "me"),
                    ("redisPassword", "hunter2"),
                    ("redisDB", "3"),
                    ("enableTLS", "true"),
                    ("redisPort", "7"),
                ],
                ("me", "hunter2", 3, true),
            ),
            (&[url, ("redisUsername", ""), ("redisPassword", "")], ("me", "hunter2", 3, true)),
            (&[plain, ("redisPassword", "p"), ("redisDB", "2"), ("enableTLS", "true")], ("", "p", 2, true)),
            (&[plain, ("enableTLS", "false")], ("", "", 0, false)),
            (&[("redisHost", "rediss://h/1"), sentinels], ("", "", 1, true)),
        ] {
            let settings = read(pairs).0.unwrap();
            assert_eq!(seen(&settings), expected, "{pairs:?}");
            assert!(!settings.host.contains("hunter"), "{}", settings.host);
        }
        for (other, name) in [
            (("redisUsername", "you"), "redisUsername; remove"),
            (("redisPassword", "hunter3"), "redisPassword; remove"),
            (("redisDB", "0"), "redisDB; remove"),
            (("enableTLS", "false"), "enableTLS; remove"),
            (("redisPort", "8"), "already contains port 7, but redisPort is set to 8"),
            (sentinels, "sentinelPassword for the sentinels"),
        ] {
            let error = read(&[url, other]).0.unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_quoted_by_no_error_or_warning() {
        for name in KNOWN {
            for value in ["h:1,password=hunter2", "redis://u:hunter2@h", "u:\"hunter2\"@h", "password: hunter2"] {
                let (settings, warnings) = read(&[(name, value)]);
                let text = format!("{:?} {warnings:?}", settings.err());
                assert!(!text.contains("hunter2"), "{name}: {text}");
            }
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_nearest_known_one() {
        let (_, warnings) = read(&[("redelivreInterval", "1s"), ("foo", "bar")]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("did you mean \"redeliverInterval\"?"), "{warnings:?}");
    }
}
