//! Log lines in the shape of daprd's (tests/spec/resources-cli.md, "12. Log format"; tests/spec/observability.md, "8.1
//! Format"): one entry, one line, one write.
//!
//! Only `telemetry::events` writes here. An entry of a level that is off costs one comparison. [`quote`] knows how
//! values are quoted.

mod quote;

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, Local, TimeZone};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The level of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details for debugging.
    Debug,
    /// Normal operation.
    Info,
    /// A warning.
    Warn,
    /// An error.
    Error,
    /// An error that ends the process.
    Fatal,
}

impl Level {
    /// The word in the log. It is `warning`, although the value of the flag is `warn`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The four letters and the colour code in the form for terminals.
    fn badge(self) -> (&'static str, u8) {
        match self {
            Self::Debug => ("DEBU", 37),
            Self::Info => ("INFO", 36),
            Self::Warn => ("WARN", 33),
            Self::Error => ("ERRO", 31),
            Self::Fatal => ("FATA", 31),
        }
    }
}

/// Fields of an entry beside the message, for example `("topic", &topic)`.
pub type Fields<'a> = &'a [(&'a str, &'a dyn fmt::Display)];

/// Fields that are numbers in the JSON form; all others are text.
const NUMBERS: [&str; 3] = ["code", "duration", "size"];

/// The version in every line unless another one is set.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The log of one sidecar. Clones write to the same destination.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    form: Form,
    app_id: Option<String>,
    instance: String,
    version: String,
    prefix: String,
    started: Instant,
    out: Mutex<Out>,
}

/// The destination, and a buffer that is reused for every line.
struct Out {
    line: String,
    to: Box<dyn Write + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Colour,
    Json,
}

/// The settings of a log. The defaults: text without colour, no app id, this host, this version.
#[derive(Clone, Debug)]
pub struct LogBuilder {
    level: Level,
    json: bool,
    colour: bool,
    app_id: Option<String>,
    instance: Option<String>,
    version: String,
    prefix: String,
}

impl LogBuilder {
    /// A log of this level and more severe ones.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            json: false,
            colour: false,
            app_id: None,
            instance: None,
            version: VERSION.to_owned(),
            prefix: String::new(),
        }
    }

    /// `--log-as-json`. It overrides colour.
    #[must_use]
    pub fn json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }

    /// The form for terminals. Only for a destination that is one.
    #[must_use]
    pub fn colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// The field `app_id`. Lines written before the flags are parsed have none.
    #[must_use]
    pub fn app_id(mut self, app_id: impl Into<String>) -> Self {
        self.app_id = Some(app_id.into());
        self
    }

    /// The field `instance`, instead of the name of this host.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// The field `ver`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The prefix of every line, where sidecar and app share an output. Lines in JSON have none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A log that writes to `out`, each line with one call.
    pub fn build(self, out: Box<dyn Write + Send>) -> Log {
        let form = match (self.json, self.colour) {
            (true, _) => Form::Json,
            (false, true) => Form::Colour,
            (false, false) => Form::Text,
        };
        Log(Arc::new(Inner {
            level: self.level,
            form,
            app_id: self.app_id,
            instance: self.instance.unwrap_or_else(host_name),
            version: self.version,
            prefix: self.prefix,
            started: Instant::now(),
            out: Mutex::new(Out { line: String::new(), to: out }),
        }))
    }
}

impl Log {
    /// A log that writes text lines to `out`.
    pub fn new(level: Level, out: impl Write + Send + 'static) -> Self {
        LogBuilder::new(level).build(Box::new(out))
    }

    /// Whether entries of this level are written.
    pub fn is_enabled(&self, level: Level) -> bool {
        level >= self.0.level
    }

    /// Write one entry. `scope` is the name of the logger, for example `dapr.runtime`.
    pub fn write(&self, level: Level, scope: &str, message: fmt::Arguments<'_>, fields: Fields<'_>) {
        if self.is_enabled(level) {
            self.write_always(level, scope, message, fields);
        }
    }

    /// Write one entry whatever the log's level, for the API log (tests/spec/resources-cli.md, "12. Log format").
    pub fn write_always(&self, level: Level, scope: &str, message: fmt::Arguments<'_>, fields: Fields<'_>) {
        let entry = Entry { level, message, fields: self.0.all_fields(&scope, fields) };
        let mut out = self.0.out.lock();
        let Out { line, to } = &mut *out;
        line.clear();
        // Writing to a `String` cannot fail, and a failed write of the log cannot be reported.
        let _ = self.0.compose(line, &entry);
        let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
    }
}

/// One entry of the log.
struct Entry<'a> {
    level: Level,
    message: fmt::Arguments<'a>,
    /// All fields but time, level and message, sorted by name.
    fields: Vec<(&'a str, &'a dyn fmt::Display)>,
}

impl Inner {
    fn all_fields<'a>(&'a self, scope: &'a &'a str, fields: Fields<'a>) -> Vec<(&'a str, &'a dyn fmt::Display)> {
        let mut all: Vec<(&str, &dyn fmt::Display)> = Vec::with_capacity(fields.len() + 5);
        all.extend_from_slice(fields);
        if let Some(app_id) = &self.app_id {
            all.push(("app_id", app_id));
        }
        all.push(("instance", &self.instance));
        all.push(("scope", scope));
        all.push(("type", &"log"));
        all.push(("ver", &self.version));
        all.sort_by_key(|(name, _)| *name);
        all
    }

    fn compose(&self, line: &mut String, entry: &Entry<'_>) -> fmt::Result {
        if self.form != Form::Json {
            line.push_str(&self.prefix);
        }
        match self.form {
            Form::Text => text(line, entry, &Local::now()),
            Form::Colour => colour(line, entry, self.started.elapsed().as_secs()),
            Form::Json => json(line, entry, &Local::now()),
        }
    }
}

fn text<Z: TimeZone<Offset: fmt::Display>>(line: &mut String, entry: &Entry<'_>, now: &DateTime<Z>) -> fmt::Result {
    write!(line, "time=\"{}\" level={}", Stamp(now), entry.level.word())?;
    let before = line.len();
    line.push_str(" msg=");
    if quote::text(line, &entry.message)? == 0 {
        line.truncate(before);
    }
    for (name, value) in &entry.fields {
        write!(line, " {name}=")?;
        quote::text(line, value)?;
    }
    line.push('\n');
    Ok(())
}

fn colour(line: &mut String, entry: &Entry<'_>, seconds: u64) -> fmt::Result {
    let (letters, colour) = entry.level.badge();
    let message = entry.message.to_string();
    let message = message.strip_suffix('\n').unwrap_or(&message);
    write!(line, "\x1b[{colour}m{letters}\x1b[0m[{seconds:04}] {message:<44} ")?;
    for (name, value) in &entry.fields {
        write!(line, " \x1b[{colour}m{name}\x1b[0m=")?;
        quote::text(line, value)?;
    }
    line.push('\n');
    Ok(())
}

fn json<Z: TimeZone<Offset: fmt::Display>>(line: &mut String, entry: &Entry<'_>, now: &DateTime<Z>) -> fmt::Result {
    let (level, time) = (entry.level.word(), Stamp(now));
    let mut members: Vec<(&str, &dyn fmt::Display)> = Vec::with_capacity(entry.fields.len() + 3);
    members.extend_from_slice(&entry.fields);
    members.extend_from_slice(&[("level", &level as &dyn fmt::Display), ("msg", &entry.message), ("time", &time)]);
    members.sort_by_key(|(name, _)| *name);
    for (index, (name, value)) in members.iter().enumerate() {
        line.push(if index == 0 { '{' } else { ',' });
        quote::json(line, name)?;
        line.push(':');
        if NUMBERS.contains(name) {
            write!(line, "{value}")?;
        } else {
            quote::json(line, value)?;
        }
    }
    line.push_str("}\n");
    Ok(())
}

/// A time as Go's `RFC3339Nano` prints it: zeros at the end of the fraction are cut, UTC is `Z`.
struct Stamp<'a, Z: TimeZone>(&'a DateTime<Z>);

impl<Z: TimeZone<Offset: fmt::Display>> fmt::Display for Stamp<'_, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%dT%H:%M:%S"))?;
        // A leap second shows as a nanosecond count of a second or more.
        let mut fraction = self.0.timestamp_subsec_nanos() % 1_000_000_000;
        if fraction > 0 {
            let mut digits = 9;
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                digits -= 1;
            }
            write!(f, ".{fraction:0digits$}")?;
        }
        let offset = self.0.format("%:z").to_string();
        f.write_str(if offset == "+00:00" { "Z" } else { &offset })
    }
}

/// The name of this host; empty if it is not UTF-8.
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, NaiveDate, Utc};

    use super::*;

    /// A destination that tests can read. It counts the writes.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<(String, usize)>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut paper = self.0.lock();
            paper.0.push_str(std::str::from_utf8(bytes).unwrap());
            paper.1 += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The text of one entry, with the time replaced by `<time>`.
    fn written(builder: LogBuilder, message: &str, fields: Fields<'_>) -> String {
        let paper = Paper::default();
        let log = builder.instance("host1").version("1.18.0").build(Box::new(paper.clone()));
        log.write(Level::Info, "dapr.runtime", format_args!("{message}"), fields);
        let (line, calls) = paper.0.lock().clone();
        assert!(calls <= 1, "a line is one write");
        let Some(at) = line.find("\"20").map(|quote| quote + 1) else {
            return line;
        };
        let until = at + line[at..].find('"').unwrap();
        format!("{}<time>{}", &line[..at], &line[until..])
    }

    #[test]
    fn text_lines_have_time_level_message_and_then_the_fields_by_name() {
        let check = |message: &str, fields: Fields<'_>, expected: &str| {
            let builder = LogBuilder::new(Level::Info).app_id("myapp");
            assert_eq!(written(builder, message, fields), format!("{expected}\n"));
        };
        check(
            "dapr initialized. Status: Running. Init Elapsed 41ms",
            &[],
            r#"time="<time>" level=info msg="dapr initialized. Status: Running. Init Elapsed 41ms" app_id=myapp instance=host1 scope=dapr.runtime type=log ver=1.18.0"#,
        );
        check(
            "",
            &[("topic", &"a b"), ("empty", &"")],
            r#"time="<time>" level=info app_id=myapp empty= instance=host1 scope=dapr.runtime topic="a b" type=log ver=1.18.0"#,
        );
        check(
            "done",
            &[("component", &"pubsub (pubsub.redis/v1)")],
            r#"time="<time>" level=info msg=done app_id=myapp component="pubsub (pubsub.redis/v1)" instance=host1 scope=dapr.runtime type=log ver=1.18.0"#,
        );
    }

    #[test]
    fn there_is_no_app_id_before_the_flags_are_parsed() {
        assert_eq!(
            written(LogBuilder::new(Level::Info), "x", &[]),
            "time=\"<time>\" level=info msg=x instance=host1 scope=dapr.runtime type=log ver=1.18.0\n",
        );
    }

    #[test]
    fn json_lines_have_sorted_keys_and_numbers_where_daprd_has_them() {
        let check = |message: &str, fields: Fields<'_>, expected: &str| {
            let builder = LogBuilder::new(Level::Info).json(true).colour(true).app_id("myapp");
            assert_eq!(written(builder, message, fields), format!("{expected}\n"));
        };
        check(
            "a <b> & \"c\"",
            &[],
            r#"{"app_id":"myapp","instance":"host1","level":"info","msg":"a \u003cb\u003e \u0026 \"c\"","scope":"dapr.runtime","time":"<time>","type":"log","ver":"1.18.0"}"#,
        );
        check(
            "HTTP API Called",
            &[("method", &"GET /x"), ("code", &204), ("size", &0), ("duration", &1)],
            r#"{"app_id":"myapp","code":204,"duration":1,"instance":"host1","level":"info","method":"GET /x","msg":"HTTP API Called","scope":"dapr.runtime","size":0,"time":"<time>","type":"log","ver":"1.18.0"}"#,
        );
    }

    #[test]
    fn terminals_get_a_coloured_badge_and_a_padded_message() {
        assert_eq!(
            written(LogBuilder::new(Level::Info).colour(true), "hello\n", &[]),
            format!(
                "\x1b[36mINFO\x1b[0m[0000] {:<44}  \x1b[36minstance\x1b[0m=host1 \x1b[36mscope\x1b[0m=dapr.runtime \x1b[36mtype\x1b[0m=log \x1b[36mver\x1b[0m=1.18.0\n",
                "hello"
            ),
        );
    }

    #[test]
    fn a_level_that_is_off_writes_nothing_unless_told_to() {
        let paper = Paper::default();
        let log = Log::new(Level::Error, paper.clone());
        log.write(Level::Warn, "dapr.runtime", format_args!("hidden"), &[]);
        assert_eq!(paper.0.lock().1, 0);
        log.write_always(Level::Info, "dapr.runtime.http-info", format_args!("seen"), &[]);
        log.write(Level::Fatal, "dapr.runtime", format_args!("seen too"), &[]);
        let lines = paper.0.lock().clone();
        assert_eq!(lines.1, 2);
        assert!(lines.0.contains("level=fatal msg=\"seen too\""), "{lines:?}");
    }

    #[test]
    fn times_are_go_s_with_zeros_cut() {
        let check = |nanos: u32, offset: i32, expected: &str| {
            let time =
                NaiveDate::from_ymd_opt(2026, 8, 21).and_then(|day| day.and_hms_nano_opt(20, 12, 9, nanos)).unwrap();
            let zone = FixedOffset::east_opt(offset).unwrap();
            let time = zone.from_local_datetime(&time).unwrap();
            assert_eq!(Stamp(&time).to_string(), expected);
        };
        check(123_456_789, 0, "2026-08-21T20:12:09.123456789Z");
        check(200_000_000, 0, "2026-08-21T20:12:09.2Z");
        check(20_000, 7200, "2026-08-21T20:12:09.00002+02:00");
        check(0, -34_200, "2026-08-21T20:12:09-09:30");
        assert!(Stamp(&Utc::now()).to_string().ends_with('Z'));
    }
}
