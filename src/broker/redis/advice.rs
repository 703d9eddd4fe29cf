//! What a user can do about an error of Redis, whose own text does not say.

use deadpool_redis::redis::{ErrorKind, RedisError};

/// Advice to append to the text of an error; empty if there is none.
pub(super) fn on(error: &RedisError) -> &'static str {
    match error.code() {
        Some("OOM") => " (Redis is full: raise its maxmemory, or trim the streams with maxLenApprox or streamTTL)",
        Some("READONLY") => " (this server is a replica: redisHost must name the master, or this one be promoted)",
        Some("MISCONF") => " (Redis cannot write to its disk: its log says why)",
        Some("NOPERM") => " (grant the user of redisUsername this command and key)",
        Some("NOAUTH" | "WRONGPASS") => CREDENTIALS,
        _ if error.kind() == ErrorKind::AuthenticationFailed => CREDENTIALS,
        _ if is_without_streams(error) => {
            " (this server does not know streams: streams need Redis 5 or later, or a server that is compatible with it)"
        }
        _ => "",
    }
}

/// Does the server not know a stream command? All stream commands, and no others that this component sends, begin with X.
fn is_without_streams(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default().to_ascii_lowercase();
    let unknown = ["unknown command", "unsupported command"];
    let name = unknown.iter().find_map(|words| {
        let (_, name) = detail.split_once(words)?;
        Some(name.trim_start_matches([' ', ':', '`', '\'', '"']))
    });
    name.is_some_and(|name| name.starts_with('x'))
}

const CREDENTIALS: &str = " (redisUsername and redisPassword must be those that Redis has now; were they changed?)";

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    #[test]
    fn an_error_that_somebody_can_do_something_about_says_what() {
        let check = |text: &str, word: &str| {
            let answer = parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
            let error = answer.extract_error().unwrap_err();
            let advice = on(&error);
            assert!(advice.contains(word), "{text}: {advice}");
            assert_eq!(advice.is_empty(), word.is_empty(), "{text}");
        };
        check("OOM command not allowed when used memory > 'maxmemory'.", "maxmemory");
        check("READONLY You can't write against a read only replica.", "master");
        check("MISCONF Errors writing to the AOF file: x", "disk");
        check("NOPERM this user has no permissions to run the 'xadd' command", "grant");
        check("NOAUTH Authentication required.", "redisPassword");
        check("WRONGPASS invalid username-password pair or user is disabled.", "redisPassword");
        check("WRONGTYPE Operation against a key holding the wrong kind of value", "");
        check("ERR x", "");
        for unknown in [
            "unknown command 'XADD', with args beginning with: 'orders' '*' ",
            "unknown command `XGROUP`, with args beginning with: `CREATE`, ",
            "unknown command 'xreadgroup'",
            "Unknown command: XADD",
            "unsupported command 'xadd'",
        ] {
            check(&format!("ERR {unknown}"), "streams need Redis 5");
        }
        check("ERR unknown command 'HSET', with args", "");
        check("ERR unknown subcommand 'x'", "");
    }
}
