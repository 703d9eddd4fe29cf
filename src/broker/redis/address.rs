//! The servers that `redisHost` names, with the credentials, database and TLS of its URLs (tests/spec/redis.md, "4. Host resolution"). The
//! form is checked before anything is dialled: dialling an impossible address would be retried without end.
//!
//! `redis://` and `rediss://` URLs are read as redis-cli reads them; daprd supports neither them nor paths of Unix sockets.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use crate::credentials::masked;

/// The port of an address without one.
const DEFAULT_PORT: u16 = 6379;

const WANTED: &str = "wanted is host:port (redis:6379, [::1]:6379), the path of a Unix socket (/run/redis.sock), or \
redis://[[user]:password@]host[:port][/database] (rediss:// with TLS); the servers of a cluster, or sentinels, are separated by commas";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// `redisHost` and `redisPort` together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    /// In the order of the setting; at least one.
    pub(super) addresses: Vec<Address>,
    /// The addresses for texts, without credentials; empty if none was given, as in the texts of daprd.
    pub(super) text: String,
    /// From a URL, decoded.
    pub(super) username: Option<String>,
    /// From a URL, decoded.
    pub(super) password: Option<String>,
    /// From a URL.
    pub(super) database: Option<i64>,
    /// `Some(true)` for `rediss://`, `Some(false)` for `redis://`.
    pub(super) tls: Option<bool>,
}

impl Hosts {
    /// Read `redisHost`, one address or several separated by commas, with `redisPort` where an address has no port.
    ///
    /// # Errors
    /// What is wrong, and the form that is wanted. The text contains no credentials.
    pub(super) fn read(text: &str, port: Option<u16>) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self {
                addresses: vec![Address::Tcp("localhost".to_owned(), port.unwrap_or(DEFAULT_PORT))],
                text: port.map_or_else(String::new, |port| format!(":{port}")),
                ..Self::default()
            });
        }
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut hosts = Self::default();
        let mut texts = Vec::new();
        for part in &parts {
            let one = read_part(part, port, parts.len() > 1).map_err(|wrong| match wrong {
                Wrong::Form(reason) => {
                    format!("redisHost \"{}\" {reason}; {WANTED}", shown(text, part))
                }
                Wrong::Port(reason) => reason,
            })?;
            texts.push(one.text);
            hosts.addresses.extend(one.addresses);
            let told = [
                (agree(&mut hosts.username, one.username), "users"),
                (agree(&mut hosts.password, one.password), "passwords"),
                (agree(&mut hosts.database, one.database), "databases"),
                (agree(&mut hosts.tls, one.tls), "ways (redis:// and rediss://)"),
            ];
            if let Some((_, what)) = told.iter().find(|(agreed, _)| !agreed) {
                return Err(format!(
                    "the URLs in redisHost name different {what}; all servers of a component share one"
                ));
            }
        }
        hosts.text = texts.join(",");
        Ok(hosts)
    }
}

/// What is wrong with one address.
enum Wrong {
    /// Its form: what the whole setting is said to be or have.
    Form(String),
    /// It contradicts `redisPort`; the whole text, as daprd has it.
    Port(String),
}

impl From<&str> for Wrong {
    fn from(reason: &str) -> Self {
        Self::Form(reason.to_owned())
    }
}

/// Keep the first value; `false` if a later one differs from it.
fn agree<T: PartialEq>(before: &mut Option<T>, now: Option<T>) -> bool {
    match (&before, now) {
        (_, None) => true,
        (Some(before), Some(now)) => *before == now,
        (None, now) => {
            *before = now;
            true
        }
    }
}

/// A part of the setting as an error may quote it. Text after a host that is no port may be a password, and is not shown.
fn shown(whole: &str, part: &str) -> String {
    if masked(part) != part {
        return masked(part).into_owned();
    }
    if masked(whole) != whole {
        // The comma may belong to a password.
        return masked(whole).into_owned();
    }
    let start = part.find("://").map_or(0, |scheme| scheme + "://".len());
    let (scheme, address) = part.split_at(start);
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b":/".contains(&byte));
    let is_numeric = address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.[]%/".contains(&byte));
    match address.split_once(|letter: char| letter == ':' || letter.is_whitespace()) {
        Some((host, behind)) if !is_numeric && !is_port(behind) => {
            let sign = address[host.len()..].chars().next().unwrap_or(':');
            format!("{scheme}{host}{sign}***")
        }
        _ => part.to_owned(),
    }
}

/// Read one address. `is_one_of_many`: the setting has several, separated by commas.
fn read_part(part: &str, port: Option<u16>, is_one_of_many: bool) -> Result<Hosts, Wrong> {
    if part.is_empty() {
        return Err("has an empty part between its commas".into());
    }
    if part.starts_with('/') {
        return Ok(Hosts {
            addresses: vec![Address::Unix(part.to_owned())],
            text: part.to_owned(),
            ..Hosts::default()
        });
    }
    if let Some((scheme, rest)) = part.split_once("://") {
        return match &*scheme.to_ascii_lowercase() {
            "redis" => read_url(rest, false, port),
            "rediss" => read_url(rest, true, port),
            "unix" | "redis+unix" | "file" => Err("has a scheme: for a Unix socket write its path alone".into()),
            scheme if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') => {
                Err(Wrong::Form(format!("is no address of a Redis: it begins with {scheme}://")))
            }
            _ => Err("is no address of a Redis".into()),
        };
    }
    if part.contains('=') || (is_one_of_many && part.contains('@')) {
        return Err("looks like a connection string of another client: every setting has a property of its own here (redisPassword, redisUsername, redisDB, enableTLS)".into());
    }
    if part.contains('@') {
        return Err(
            "has a user or password in it, which belong into redisUsername and redisPassword, or into a URL".into()
        );
    }
    if part.contains(char::is_whitespace) {
        return Err("has a blank in it".into());
    }
    if part.starts_with("unix:") || part.starts_with('.') || part.ends_with(".sock") {
        return Err("is no path of a Unix socket: that begins with /".into());
    }
    if part.contains(['/', '\\', '?', '#']) {
        return Err("has a path or query behind the address; the number of a database is the setting redisDB".into());
    }
    let (host, own) = host_and_port(part)?;
    let port = agreed_port(part, own, port)?;
    let text = match own {
        Some(_) => part.to_owned(),
        None => Address::Tcp(host.clone(), port).to_string(),
    };
    Ok(Hosts { addresses: vec![Address::Tcp(local_if_empty(host), port)], text, ..Hosts::default() })
}

/// Read a URL after its `redis://` or `rediss://`, as redis-cli does: user and password end at the first `@`, and without a colon they are
/// a password.
fn read_url(rest: &str, tls: bool, port: Option<u16>) -> Result<Hosts, Wrong> {
    let (userinfo, rest) = match rest.split_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    if rest.contains('@') {
        return Err("has more than one @: in a user or password it is written %40".into());
    }
    if rest.contains(['?', '#']) {
        return Err("has a query or fragment, which nothing reads: every setting has a property of its own here".into());
    }
    if rest.contains(char::is_whitespace) {
        return Err("has a blank in it".into());
    }
    let (address, database) = match rest.split_once('/') {
        Some((address, database)) => (address, database),
        None => (rest, ""),
    };
    let database = match database {
        "" => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "has no usable number of a database behind its /")?)
        }
        _ => return Err("has something else than the number of a database behind its /".into()),
    };
    let (username, password) = match userinfo {
        None => ("", ""),
        Some(userinfo) => userinfo.split_once(':').unwrap_or(("", userinfo)),
    };
    let decode = |text: &str| -> Result<Option<String>, Wrong> {
        let decoded = is_percent_encoded(text).then(|| percent_decode_str(text).decode_utf8().ok());
        let decoded = decoded.flatten().ok_or(
            "has a % in its user or password that no two hexadecimal digits of a character follow: the sign itself is written %25",
        )?;
        Ok((!decoded.is_empty()).then(|| decoded.into_owned()))
    };
    let (username, password) = (decode(username)?, decode(password)?);
    let (host, own) = if address.is_empty() { (String::new(), None) } else { host_and_port(address)? };
    let port = agreed_port(address, own, port)?;
    let address = Address::Tcp(local_if_empty(host), port);
    Ok(Hosts { text: address.to_string(), addresses: vec![address], username, password, database, tls: Some(tls) })
}

/// The port of an address: its `own`, or `redisPort`, or the default.
///
/// # Errors
/// If both are given and differ.
fn agreed_port(address: &str, own: Option<u16>, setting: Option<u16>) -> Result<u16, Wrong> {
    match (own, setting) {
        (Some(own), Some(setting)) if own != setting => Err(Wrong::Port(format!(
            "redis host \"{address}\" already contains port {own}, but redisPort is set to {setting}; either remove the port from redisHost or remove the redisPort setting"
        ))),
        _ => Ok(own.or(setting).unwrap_or(DEFAULT_PORT)),
    }
}

/// An address without host is on this machine, as in Go.
fn local_if_empty(host: String) -> String {
    if host.is_empty() { "localhost".to_owned() } else { host }
}

fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Read `host`, `host:port`, `:port`, `v6`, `[v6]` or `[v6]:port`.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), Wrong> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("has a [ without its ]")?;
        if !is_v6(host) {
            return Err("has something else than an IPv6 address in its brackets".into());
        }
        let port = match behind {
            "" => None,
            behind => Some(port_of(
                behind.strip_prefix(':').ok_or("has something else than a colon and a port behind its ]")?,
            )?),
        };
        return Ok((host.to_owned(), port));
    }
    if text.matches(':').count() > 1 {
        if !is_v6(text) {
            return Err("has too many colons; an IPv6 address with a port stands in brackets".into());
        }
        if looks_like_a_port(text) {
            return Err("may be an IPv6 address with a port, or without: it stands in brackets then".into());
        }
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (text, None),
    };
    match (host, port) {
        ("", Some(_)) => {}
        _ => check_name(host)?,
    }
    Ok((host.to_owned(), port))
}

fn is_v6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "eth0"));
    address.parse::<Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Does an `IPv6` address without brackets end in a group that may be meant as a port of Redis?
fn looks_like_a_port(address: &str) -> bool {
    let last = address.rsplit(':').next().and_then(|last| last.parse().ok());
    last.is_some_and(|port: u16| matches!(port, 6370..=6399 | 7000..=7010))
}

fn port_of(text: &str) -> Result<u16, Wrong> {
    if text.is_empty() {
        return Err("has a colon without a port".into());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has a port that is no number".into());
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("has a port that is not between 1 and 65535".into()),
    }
}

/// Check that this is a host name or an `IPv4` address.
fn check_name(host: &str) -> Result<(), Wrong> {
    if host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is a number and no host: a port stands behind a host and a colon".into());
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return match host.parse::<Ipv4Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("is no IPv4 address: that has four numbers from 0 to 255".into()),
        };
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err("has a host that is no name: that has letters, digits, dots, hyphens and underscores".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn addresses_are_hosts_with_ports_or_paths() {
        for (text, port, addresses, shown) in [
            ("", None, vec![tcp("localhost", 6379)], ""),
            ("", Some(6380), vec![tcp("localhost", 6380)], ":6380"),
            ("h", None, vec![tcp("h", 6379)], "h:6379"),
            ("h", Some(6380), vec![tcp("h", 6380)], "h:6380"),
            ("h:1", None, vec![tcp("h", 1)], "h:1"),
            ("h:1", Some(1), vec![tcp("h", 1)], "h:1"),
            (":7", None, vec![tcp("localhost", 7)], ":7"),
            (" h:1\n", None, vec![tcp("h", 1)], "h:1"),
            ("10.0.0.1", None, vec![tcp("10.0.0.1", 6379)], "10.0.0.1:6379"),
            (
                "my_redis-0.svc.cluster.local.:6379",
                None,
                vec![tcp("my_redis-0.svc.cluster.local.", 6379)],
                "my_redis-0.svc.cluster.local.:6379",
            ),
            ("::1", None, vec![tcp("::1", 6379)], "[::1]:6379"),
            ("::1", Some(7), vec![tcp("::1", 7)], "[::1]:7"),
            ("fd00::1234", None, vec![tcp("fd00::1234", 6379)], "[fd00::1234]:6379"),
            ("fe80::1%eth0", None, vec![tcp("fe80::1%eth0", 6379)], "[fe80::1%eth0]:6379"),
            ("[::1]", None, vec![tcp("::1", 6379)], "[::1]:6379"),
            ("[::1]:7", None, vec![tcp("::1", 7)], "[::1]:7"),
            ("a:1, b ,[::1]:3", Some(1), vec![], ""),
            ("a:1, b ,[::1]:3", None, vec![tcp("a", 1), tcp("b", 6379), tcp("::1", 3)], "a:1,b:6379,[::1]:3"),
            ("/run/a b.sock", None, vec![Address::Unix("/run/a b.sock".to_owned())], "/run/a b.sock"),
        ] {
            let read = Hosts::read(text, port);
            if addresses.is_empty() {
                let error = read.unwrap_err();
                assert!(error.contains("already contains port 3, but redisPort is set to 1"), "{error}");
                continue;
            }
            let expected = Hosts { addresses, text: shown.to_owned(), ..Hosts::default() };
            assert_eq!(read, Ok(expected), "{text}");
        }
    }

    #[test]
    fn urls_mean_what_they_mean_to_redis_cli() {
        let url = |host: &str, port, username: &str, password: &str, database, tls| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Hosts {
                addresses: vec![tcp(host, port)],
                text: tcp(host, port).to_string(),
                username: given(username),
                password: given(password),
                database,
                tls: Some(tls),
            }
        };
        for (text, expected) in [
            ("redis://h", url("h", 6379, "", "", None, false)),
            ("REDIS://h/", url("h", 6379, "", "", None, false)),
            ("redis://", url("localhost", 6379, "", "", None, false)),
            ("redis:///3", url("localhost", 6379, "", "", Some(3), false)),
            ("rediss://h:6380/2", url("h", 6380, "", "", Some(2), true)),
            ("redis://pw@h:1", url("h", 1, "", "pw", None, false)),
            ("redis://:pw@h:1", url("h", 1, "", "pw", None, false)),
            ("redis://u:@h:1", url("h", 1, "u", "", None, false)),
            ("redis://u:p:w/?#@h", url("h", 6379, "u", "p:w/?#", None, false)),
            ("redis://%75ser:p%40%2c%25@[::1]:7/0", url("::1", 7, "user", "p@,%", Some(0), false)),
            ("redis://u:p w@h", url("h", 6379, "u", "p w", None, false)),
        ] {
            assert_eq!(Hosts::read(text, None), Ok(expected), "{text}");
        }
        assert_eq!(Hosts::read("redis://h", Some(7)).unwrap().addresses, [tcp("h", 7)]);
        let many = Hosts::read("redis://u:p@a:1,redis://b:2,c:3", None).unwrap();
        assert_eq!(many.addresses, [tcp("a", 1), tcp("b", 2), tcp("c", 3)]);
        assert_eq!(many.password.as_deref(), Some("p"));
        for (text, what) in [
            ("redis://u:hunter2@a,redis://u:hunter3@b", "different passwords"),
            ("redis://a/1,redis://a/2", "different databases"),
            ("redis://a,rediss://b", "different ways"),
        ] {
            let error = Hosts::read(text, None).unwrap_err();
            assert!(error.contains(what) && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn what_can_be_no_address_is_refused_with_the_form_that_is_wanted() {
        for (text, shown, reason) in [
            ("http://h:6379", "http://h:6379", "begins with http://"),
            ("tcp://h:6379", "tcp://h:6379", "begins with tcp://"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock", "write its path alone"),
            ("unix:/run/redis.sock", "unix:***", "begins with /"),
            ("./redis.sock", "./redis.sock", "begins with /"),
            ("h 6379", "h 6379", "a blank"),
            ("h :6379", "h :6379", "a blank"),
            ("::1:6379", "::1:6379", "brackets"),
            ("2001:db8:0:0:0:0:0:1:6379", "2001:db8:0:0:0:0:0:1:6379", "brackets"),
            ("a:b:c", "a:b:c", "too many colons"),
            ("h:6379:hunter2", "h:***", "too many colons"),
            ("[::1", "[::1", "without its ]"),
            ("[::1]6379", "[::1]6379", "behind its ]"),
            ("[::1]:", "[::1]:", "without a port"),
            ("[h]:6379", "[h]:6379", "in its brackets"),
            ("h:", "h:", "without a port"),
            ("h:0", "h:0", "between 1 and 65535"),
            ("h:99999", "h:99999", "between 1 and 65535"),
            ("h:-1", "h:***", "no number"),
            ("default:hunter2", "default:***", "no number"),
            ("6379", "6379", "a port stands behind"),
            ("127.0.0.1.5:6379", "127.0.0.1.5:6379", "no IPv4 address"),
            ("127.0.0.300", "127.0.0.300", "no IPv4 address"),
            ("a..b", "a..b", "no name"),
            ("-h:6379", "-h:6379", "no name"),
            ("${REDIS_HOST}:6379", "${REDIS_HOST}:6379", "no name"),
            ("h:6379/0", "h:6379/0", "redisDB"),
            ("h/0", "h/0", "redisDB"),
            ("user:hunter2@h:6379", "***@h:6379", "redisUsername"),
            ("user:hun ter2@h:6379", "***@h:6379", "redisUsername"),
            ("h:6379,password=hunter2", "password=***", "another client"),
            ("h:6379,password=hunter2,ssl=True", "password=***", "another client"),
            ("h:6379,abortConnect=false,password=hunter2", "h:6379,abortConnect=false,password=***", "another client"),
            ("h:6379,password=hunter2,with=a,hunter3", "password=***", "another client"),
            ("a:1,,b:2", "", "empty part"),
            ("a:1,", "", "empty part"),
            (",", "", "empty part"),
            ("redis://u:hunter2@x@h", "redis://***@h", "%40"),
            ("redis://u:hunter2%@h", "redis://***@h", "%25"),
            ("redis://u:hunter%ff@h", "redis://***@h", "%25"),
            ("redis://u:hunter2,x@h", "redis://***@h", "no number"),
            ("redis://h/x", "redis://h/x", "behind its /"),
            ("redis://h?password=hunter2", "redis://h?password=***", "query"),
            ("redis://h:0", "redis://h:0", "between 1 and 65535"),
            ("rediss//h", "rediss//h", "redisDB"),
        ] {
            let error = Hosts::read(text, None).unwrap_err();
            let quoted = format!("redisHost \"{shown}\" ");
            assert!(error.starts_with(&quoted), "{text}: {error}");
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.ends_with(WANTED), "{text}: {error}");
            assert!(!error.contains("hunter"), "{text}: {error}");
        }
    }
}
