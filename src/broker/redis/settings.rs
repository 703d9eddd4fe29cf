//! The settings of a `pubsub.redis` component: text in, typed values out, all mistakes at once (tests/spec/redis.md,
//! "2.5 The two decoders", "3. pubsub.redis metadata fields", "4. Host resolution").
//!
//! Daprd's strict decoder decides what is an error and how it reads. What daprd would silently ignore (an unknown key, a
//! `redeliverInterval` it cannot read) becomes a warning here (D15). `poolSize` and the other settings of a connection pool are checked and
//! have no effect: a component has two shared connections to each server, and one more for each reader.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use super::address::{Address, Hosts};
use crate::broker::ack::Ack;
use crate::broker::options::read_bool;
use crate::broker::start_from::StartFrom;
use crate::broker::warning;
use crate::credentials::masked;
use crate::diagnostic::Diagnostic;
use crate::duration::{self, GoDuration};
use crate::metadata::ComponentMetadata;

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
    /// `redisMaxRetries`: the most retries of a command that was certainly not executed.
    pub max_retries: u32,
    /// `redisMinRetryInterval` and `redisMaxRetryInterval`: shortest and longest pause before a retry.
    pub retry_pause: (Duration, Duration),
    /// `dialTimeout`: the longest time to connect.
    pub dial_timeout: Duration,
    /// `readTimeout`: the longest wait for a reply; `None` waits without limit.
    pub read_timeout: Option<Duration>,
    /// `enableTLS`, with what it needs.
    pub tls: Option<Tls>,
    /// `consumerID`: the name of the consumer group.
    pub group: String,
    /// `processingTimeout`: idle time after which an entry of a consumer without liveness key is taken over; `None` is never.
    pub processing_timeout: Option<Duration>,
    /// `redeliverInterval`: how often such entries are looked for; `None` is never.
    pub redeliver_interval: Option<Duration>,
    /// The longest wait before a redelivery (D1): `redeliverInterval` if it is given.
    pub longest_wait: Duration,
    /// `queueDepth`: entries held in memory beside those with the app.
    pub queue_depth: usize,
    /// `concurrency`: entries with the app at a time, over all topics of the component.
    pub concurrency: usize,
    /// How streams are trimmed when something is added.
    pub trim: Option<Trim>,
    /// `startFrom`: where new groups begin.
    pub start: Option<StartFrom>,
    /// `ack`: who acknowledges an entry.
    pub ack: Ack,
    /// `fanOut`: every instance gets every entry.
    pub fan_out: bool,
    /// `fanOutExpiry`: how long the group of an instance is kept that has ended without removing it.
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

/// The most entries waiting in memory, whatever `queueDepth` says.
const MAX_QUEUE_DEPTH: usize = 65_536;
/// With a shorter expiry an instance that is only slow would lose its group.
const MIN_FAN_OUT_EXPIRY: Duration = Duration::from_secs(1);
/// Shorter read timeouts fail under load; `3` was most likely meant as seconds and is read as milliseconds.
const MIN_READ_TIMEOUT: GoDuration = GoDuration::from_millis(500);
/// What `redeliverInterval` is if it is not given.
const DEFAULT_REDELIVER_INTERVAL: Duration = Duration::from_secs(15);
/// The longest wait before a redelivery if `redeliverInterval` is not given (D1).
const DEFAULT_LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The values as they are written, before it is decided what they mean together. `None`: not given, and without default.
#[derive(Default)]
struct Values {
    ack: Option<Ack>,
    client_cert: Option<String>,
    client_key: Option<String>,
    cluster: bool,
    concurrency: usize,
    database: Option<i64>,
    dial_timeout: Duration,
    entra_id: Option<bool>,
    fan_out: Option<bool>,
    fan_out_expiry: GoDuration,
    host: Option<String>,
    insecure: Option<bool>,
    max_len: i64,
    max_len_approx: i64,
    max_retry_pause: Duration,
    min_retry_pause: Duration,
    password: Option<String>,
    port: Option<u16>,
    processing_timeout: GoDuration,
    queue_depth: usize,
    read_timeout: GoDuration,
    retries: i64,
    sentinel: Option<bool>,
    sentinel_master: Option<String>,
    sentinel_password: Option<String>,
    sentinel_username: Option<String>,
    start_from: Option<StartFrom>,
    stream_ttl: GoDuration,
    tls: Option<bool>,
    username: Option<String>,
}

/// One setting.
struct Key {
    name: &'static str,
    /// Read before the value that is given, if there is any.
    default: &'static str,
    /// Is it a length of time of which a small number without unit is worth a warning? `readTimeout` has one of its own.
    is_time: bool,
    read: Read,
}

/// Reads the text of a setting into its field. The error is that of daprd's decoder.
type Read = fn(&mut Values, &str) -> Result<(), String>;

/// Every setting that means something, by name.
const KEYS: &[Key] = &[
    key("ack", "", |to, text| set(&mut to.ack, Ack::read(text))),
    elsewhere("allowedTopics"),
    key("clientCert", "", |to, text| set(&mut to.client_cert, Ok(text.to_owned()))),
    key("clientKey", "", |to, text| set(&mut to.client_key, Ok(text.to_owned()))),
    key("concurrency", "10", |to, text| replace(&mut to.concurrency, unsigned(text, "uint"))),
    elsewhere("concurrencyMode"),
    // Read with its exact spelling.
    elsewhere("consumerID"),
    time("dialTimeout", "5s", |to, text| replace_positive(&mut to.dial_timeout, client_time(text))),
    key("enableTLS", "", |to, text| set(&mut to.tls, read_bool(text))),
    key("failover", "", |to, text| set(&mut to.sentinel, read_bool(text))),
    key("fanOut", "", |to, text| set(&mut to.fan_out, read_bool(text))),
    time("fanOutExpiry", "1h", |to, text| replace(&mut to.fan_out_expiry, entry_time(text))),
    time("idleCheckFrequency", "", |_, text| client_time(text).map(drop)),
    time("idleTimeout", "", |_, text| client_time(text).map(drop)),
    key("insecureSkipTLSVerify", "", |to, text| set(&mut to.insecure, read_bool(text))),
    time("maxConnAge", "", |_, text| client_time(text).map(drop)),
    key("maxLen", "", |to, text| replace(&mut to.max_len, signed(text, "int64"))),
    key("maxLenApprox", "", |to, text| replace(&mut to.max_len_approx, signed(text, "int64"))),
    key("minIdleConns", "", |_, text| signed(text, "int").map(drop)),
    key("poolSize", "", |_, text| signed(text, "int").map(drop)),
    time("poolTimeout", "", |_, text| client_time(text).map(drop)),
    time("processingTimeout", "60s", |to, text| replace(&mut to.processing_timeout, entry_time(text))),
    elsewhere("protectedTopics"),
    elsewhere("publishingScopes"),
    elsewhere("queryIndexes"),
    key("queueDepth", "100", |to, text| replace(&mut to.queue_depth, unsigned(text, "uint"))),
    key("readTimeout", "3s", |to, text| match client_time(text)? {
        GoDuration::ZERO => Ok(()),
        given => replace(&mut to.read_timeout, Ok(given)),
    }),
    // A value that cannot be read is a warning: see `redeliver_interval`.
    time("redeliverInterval", "", |_, _| Ok(())),
    key("redisDB", "", |to, text| set(&mut to.database, signed(text, "int"))),
    key("redisHost", "", |to, text| set(&mut to.host, Ok(text.to_owned()))),
    key("redisMaxRetries", "3", |to, text| match signed(text, "int")? {
        0 => Ok(()),
        given => replace(&mut to.retries, Ok(given)),
    }),
    key("redisMaxRetryInterval", "512ms", |to, text| replace_positive(&mut to.max_retry_pause, client_time(text))),
    key("redisMinRetryInterval", "8ms", |to, text| replace_positive(&mut to.min_retry_pause, client_time(text))),
    key("redisPassword", "", |to, text| set(&mut to.password, Ok(text.to_owned()))),
    key("redisPort", "", |to, text| {
        set(&mut to.port, unsigned(text, "uint16"))?;
        to.port = to.port.filter(|port| *port != 0);
        Ok(())
    }),
    key("redisType", "", |to, text| replace(&mut to.cluster, Ok(text == "cluster"))),
    key("redisUsername", "", |to, text| set(&mut to.username, Ok(text.to_owned()))),
    key("sentinelMasterName", "", |to, text| set(&mut to.sentinel_master, Ok(text.to_owned()))),
    key("sentinelPassword", "", |to, text| set(&mut to.sentinel_password, Ok(text.to_owned()))),
    key("sentinelUsername", "", |to, text| set(&mut to.sentinel_username, Ok(text.to_owned()))),
    key("startFrom", "", |to, text| set(&mut to.start_from, StartFrom::read(text))),
    time("streamTTL", "", |to, text| replace(&mut to.stream_ttl, entry_time(text))),
    elsewhere("subscriptionScopes"),
    key("ttlInSeconds", "", |_, text| signed(text, "int").map(drop)),
    key("useEntraID", "", |to, text| set(&mut to.entra_id, read_bool(text))),
    time("writeTimeout", "", |_, text| client_time(text).map(drop)),
];

/// The names of all settings.
pub(super) const NAMES: &[&str] = &{
    let mut names = [""; KEYS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KEYS[index].name;
        index += 1;
    }
    names
};

const fn key(name: &'static str, default: &'static str, read: Read) -> Key {
    Key { name, default, is_time: false, read }
}

const fn time(name: &'static str, default: &'static str, read: Read) -> Key {
    Key { name, default, is_time: true, read }
}

/// A setting that another part of the sidecar reads, or that only daprd uses.
const fn elsewhere(name: &'static str) -> Key {
    key(name, "", |_, _| Ok(()))
}

fn set<T>(field: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *field = Some(value?);
    Ok(())
}

fn replace<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

/// Zero and less leave the default.
fn replace_positive(field: &mut Duration, value: Result<GoDuration, String>) -> Result<(), String> {
    if let Some(positive) = value?.positive() {
        *field = positive;
    }
    Ok(())
}

fn signed(text: &str, go_type: &str) -> Result<i64, String> {
    number(text, text.strip_prefix(['-', '+']).unwrap_or(text), go_type)
}

fn unsigned<N: FromStr>(text: &str, go_type: &str) -> Result<N, String> {
    number(text, text, go_type)
}

fn number<N: FromStr>(text: &str, digits: &str, go_type: &str) -> Result<N, String> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or_else(|| format!("invalid {go_type} \"{text}\""))
}

/// Kind A of tests/spec/redis.md, "2.5 The two decoders".
fn entry_time(text: &str) -> Result<GoDuration, String> {
    duration::parse_or_millis(text).map_err(|_| format!("invalid duration \"{text}\""))
}

/// Kind B: the timeouts of the client.
fn client_time(text: &str) -> Result<GoDuration, String> {
    duration::parse_or_millis(text).map_err(|error| format!("invalid Duration \"{text}\": {error}"))
}

impl Values {
    /// # Errors
    /// All values that cannot be read.
    fn read(properties: &ComponentMetadata) -> Result<Self, SettingsError> {
        let (mut values, mut errors) = (Self::default(), Vec::new());
        for key in KEYS {
            if !key.default.is_empty() {
                // Cannot fail: a test reads them all.
                let _ = (key.read)(&mut values, key.default);
            }
            let Some(text) = properties.get(key.name) else {
                continue;
            };
            if let Err(reason) = (key.read)(&mut values, text) {
                let reason = match masked(text) {
                    Cow::Borrowed(_) => reason,
                    // The reason quotes the value.
                    Cow::Owned(shown) => format!("invalid value \"{shown}\""),
                };
                errors.push(format!("* error decoding '{}': {reason}", key.name));
            }
        }
        if errors.is_empty() {
            return Ok(values);
        }
        errors.sort();
        let count = errors.len();
        Err(SettingsError(format!("decode failed. {count} error(s) decoding:\n\n{}", errors.join("\n"))))
    }

    fn trim(&self, warnings: &mut Vec<String>) -> Option<Trim> {
        let exact = Some(self.max_len).filter(|length| *length > 0);
        let approximate = Some(self.max_len_approx).filter(|length| *length > 0);
        let age = Some(self.stream_ttl).filter(|age| *age != GoDuration::ZERO);
        if exact.is_some() && (approximate.is_some() || age.is_some()) {
            warnings.push("redis streams: maxLen cannot be used together with maxLenApprox or streamTTL; only one stream trimming strategy can be active at a time: maxLen is used".to_owned());
        } else if approximate.is_some() && age.is_some() {
            warnings.push("redis streams: maxLenApprox and streamTTL cannot be used together; only one stream trimming strategy can be active at a time.".to_owned());
        }
        exact
            .map(Trim::ExactLength)
            .or(approximate.map(Trim::Length))
            .or(age.map(|age| Trim::Age(age.as_nanos() / 1_000_000)))
    }

    fn read_timeout(&self, warnings: &mut Vec<String>) -> Option<Duration> {
        let given = self.read_timeout;
        if given > GoDuration::ZERO && given < MIN_READ_TIMEOUT {
            warnings.push(format!(
                "readTimeout {given} is too short (a number without unit is milliseconds): {MIN_READ_TIMEOUT} is used"
            ));
        }
        // Less than zero is without limit.
        given.positive().map(|given| given.max(MIN_READ_TIMEOUT.to_std()))
    }

    fn fan_out_expiry(&self, warnings: &mut Vec<String>) -> Duration {
        let given = self.fan_out_expiry;
        if given.to_std() < MIN_FAN_OUT_EXPIRY {
            warnings.push(format!(
                "fanOutExpiry {given} is too short (a number without unit is milliseconds): {MIN_FAN_OUT_EXPIRY:?} is used"
            ));
        }
        given.to_std().max(MIN_FAN_OUT_EXPIRY)
    }
}

impl Settings {
    /// Read all settings. Warnings about what is ignored or looks like a mistake come in any case.
    pub fn of(properties: &ComponentMetadata, app_id: &str) -> (Result<Self, SettingsError>, Vec<Diagnostic>) {
        let mut texts = Vec::new();
        let settings = Self::read(properties, app_id, &mut texts);
        let mut warnings = unknown_names(properties);
        warnings.extend(texts.into_iter().map(Diagnostic::of_setting));
        (settings, warnings)
    }

    fn read(properties: &ComponentMetadata, app_id: &str, warnings: &mut Vec<String>) -> Result<Self, SettingsError> {
        let mut values = Values::read(properties)?;
        let hosts = Hosts::read(values.host.as_deref().unwrap_or_default(), values.port).map_err(SettingsError)?;
        let database = match (hosts.database, values.database) {
            (Some(url), Some(setting)) if url != setting.max(0) => return Err(contradiction("redisDB")),
            (url, setting) => setting.or(url).unwrap_or(0).max(0),
        };
        if values.concurrency == 0 {
            warnings.push("concurrency is 0, which would deliver nothing: 1 is used".to_owned());
        }
        let trim = values.trim(warnings);
        if values.tls == Some(true) && hosts.text.starts_with('/') {
            warnings.push("enableTLS has no effect on a Unix socket".to_owned());
        }
        let sentinel = values.sentinel.unwrap_or(false);
        if values.cluster && sentinel {
            warnings.push("redisType cluster and failover are both set: redisHost is taken for sentinels, and all topics are on the one master that they name; for a Redis Cluster leave out failover".to_owned());
        } else if values.cluster && database > 0 {
            warnings.push("redisDB has no effect in a cluster, which has one database".to_owned());
        }
        let depth = values.queue_depth;
        if depth > MAX_QUEUE_DEPTH {
            warnings.push(format!("queueDepth {depth} would hold too much in memory: {MAX_QUEUE_DEPTH} is used"));
        }
        if values.entra_id.unwrap_or(false) {
            return Err(SettingsError(
                "useEntraID is not supported yet; use redisUsername and redisPassword".to_owned(),
            ));
        }
        let redeliver = redeliver_interval(properties, warnings);
        if sentinel && hosts.password.is_some() {
            return Err(SettingsError("the URLs in redisHost have a password, but with failover they name sentinels: write redisUsername and redisPassword for the master, sentinelUsername and sentinelPassword for the sentinels".to_owned()));
        }
        let username = one_of(hosts.username, values.username.take(), "redisUsername")?;
        let password = one_of(hosts.password, values.password.take(), "redisPassword")?;
        let has_tls = match (hosts.tls, values.tls) {
            (Some(true), Some(false)) => return Err(contradiction("enableTLS")),
            (url, setting) => setting.or(url).unwrap_or(false),
        };
        let client = values.client_cert.take().zip(values.client_key.take());
        Ok(Self {
            trim,
            read_timeout: values.read_timeout(warnings),
            fan_out_expiry: values.fan_out_expiry(warnings),
            username,
            password,
            tls: has_tls.then(|| Tls {
                insecure: values.insecure.unwrap_or(false),
                client: client.filter(|(cert, key)| !cert.is_empty() && !key.is_empty()),
            }),
            host: hosts.text,
            addresses: hosts.addresses,
            cluster: values.cluster,
            sentinel,
            sentinel_master: values.sentinel_master.unwrap_or_default(),
            sentinel_username: values.sentinel_username.unwrap_or_default(),
            sentinel_password: values.sentinel_password.unwrap_or_default(),
            database,
            max_retries: u32::try_from(values.retries.max(0)).unwrap_or(u32::MAX),
            retry_pause: (values.min_retry_pause, values.max_retry_pause),
            dial_timeout: values.dial_timeout,
            group: properties.get_exact("consumerID").filter(|id| !id.is_empty()).unwrap_or(app_id).to_owned(),
            processing_timeout: values.processing_timeout.positive(),
            redeliver_interval: Some(redeliver.unwrap_or(DEFAULT_REDELIVER_INTERVAL)).filter(|it| !it.is_zero()),
            longest_wait: redeliver.filter(|given| !given.is_zero()).unwrap_or(DEFAULT_LONGEST_WAIT),
            queue_depth: depth.min(MAX_QUEUE_DEPTH),
            concurrency: values.concurrency.max(1),
            start: values.start_from,
            ack: values.ack.unwrap_or_default(),
            fan_out: values.fan_out.unwrap_or(false),
        })
    }

    /// Are the topics spread over several servers? With sentinels there is one master, whatever the type says.
    pub(super) fn is_cluster(&self) -> bool {
        self.cluster && !self.sentinel
    }

    /// Does another server take over from one that fails?
    pub(super) fn has_failover(&self) -> bool {
        self.cluster || self.sentinel
    }
}

/// Read a `redeliverInterval`: milliseconds or a duration (D15). A value that cannot be read is no error, as in daprd, but a warning.
fn redeliver_interval(properties: &ComponentMetadata, warnings: &mut Vec<String>) -> Option<Duration> {
    let text = properties.get("redeliverInterval")?;
    let read = match text.parse::<i64>() {
        Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
        Err(_) => duration::parse(text)
            .ok()
            .and_then(|duration| if duration == GoDuration::ZERO { Some(Duration::ZERO) } else { duration.positive() }),
    };
    if read.is_none() {
        let text = masked(text);
        warnings.push(format!(
            "redeliverInterval {text:?} is neither a duration like 30s nor a number of milliseconds: 15s is used"
        ));
    }
    read
}

/// The value of a URL in `redisHost`, or of the setting.
///
/// # Errors
/// If both are given and differ.
fn one_of(url: Option<String>, setting: Option<String>, name: &str) -> Result<String, SettingsError> {
    let setting = setting.unwrap_or_default();
    match url {
        Some(url) if !setting.is_empty() && url != setting => Err(contradiction(name)),
        Some(url) => Ok(url),
        None => Ok(setting),
    }
}

fn contradiction(name: &str) -> SettingsError {
    SettingsError(format!("the URL in redisHost says something else than {name}; remove one of them"))
}

fn unknown_names(properties: &ComponentMetadata) -> Vec<Diagnostic> {
    warning::unknown(properties, NAMES, |name| {
        name.eq_ignore_ascii_case("consumerGroup").then(|| {
            format!("{name:?} belongs into the metadata of a subscription and has no effect here; the group of a component is consumerID")
        })
    })
}

/// Warnings about times that are small numbers without unit. They are milliseconds, and were most likely meant as seconds.
pub fn times_without_unit(properties: &ComponentMetadata) -> impl Iterator<Item = String> {
    let is_small = |text: &str| matches!(text.parse::<i64>(), Ok(1..100));
    let times = KEYS.iter().filter(|key| key.is_time).filter_map(|key| Some((key.name, properties.get(key.name)?)));
    times.filter(move |(_, text)| is_small(text)).map(|(name, text)| {
        format!("{name} {text} has no unit and is taken for {text} milliseconds: write {text}s for seconds, or {text}ms if milliseconds are meant")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Result<Settings, SettingsError>, Vec<String>) {
        let (settings, warnings) = Settings::of(&pairs.iter().copied().collect(), "app");
        let texts = warnings.into_iter().map(|warning| warning.message);
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
        for name in NAMES {
            for value in ["h:1,password=hunter2", "redis://u:hunter2@h", "u:\"hunter2\"@h", "password: hunter2"] {
                let (settings, warnings) = read(&[(name, value)]);
                let text = format!("{:?} {warnings:?}", settings.err());
                assert!(!text.contains("hunter2"), "{name}: {text}");
            }
        }
    }

    #[test]
    fn every_default_can_be_read() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!((key.read)(&mut Values::default(), key.default), Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_nearest_known_one() {
        let (_, warnings) = read(&[("redelivreInterval", "1s"), ("foo", "bar")]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("did you mean \"redeliverInterval\"?"), "{warnings:?}");
    }
}
