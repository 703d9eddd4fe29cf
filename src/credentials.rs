//! Removal of credentials from texts for logs and errors. Every message that quotes the value of a setting uses
//! [`masked`].

use std::borrow::Cow;

/// The replacement of a credential.
const MASK: &str = "***";

/// Parts of names of keys whose values are credentials: `password=`, `redisPassword=`, `auth_token=`, `AccessKey=`.
const SECRET_WORDS: [&str; 9] = ["pass", "pwd", "pw", "auth", "token", "secret", "credential", "key", "sig"];

/// The value of a setting without what may be a credential: the user and password of a URL (`redis://user:secret@host`, with and without
/// scheme) and whatever follows `password=` and its like. Rather too much is hidden than too little: a password may contain any character.
#[must_use]
pub fn masked(value: &str) -> Cow<'_, str> {
    let at = value.rfind('@');
    let userinfo = at.map(|at| {
        let scheme = value[..at].find("://");
        (scheme.map_or(0, |scheme| scheme + "://".len()), at)
    });
    match (secret_value(value), userinfo) {
        (None, None) => Cow::Borrowed(value),
        (Some(from), None) => Cow::Owned(format!("{}{MASK}", &value[..from])),
        (None, Some((start, at))) => Cow::Owned(format!("{}{MASK}{}", &value[..start], &value[at..])),
        // The `@` may belong to the password, or the key to the userinfo: everything from the earlier one on is masked.
        (Some(from), Some((start, at))) if from < at => {
            let from = if start == 0 { from } else { from.min(start) };
            Cow::Owned(format!("{}{MASK}", &value[..from]))
        }
        (Some(from), Some((start, at))) => Cow::Owned(format!("{}{MASK}{}{MASK}", &value[..start], &value[at..from])),
    }
}

/// The position of the value of the first key whose value is a credential.
fn secret_value(text: &str) -> Option<usize> {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let separators = text.match_indices(['=', ':', ' ']);
    separators
        .map(|(at, _)| at)
        .find(|&at| {
            let before = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
            let start = before.trim_end_matches(is_word).len();
            let word = before[start..].to_ascii_lowercase();
            let is_separator = match text.as_bytes()[at] {
                b'=' => true,
                // `password: secret` and `"password":"secret"`, but not the port of a host of this name.
                b':' => text[at + 1..].starts_with([' ', '\t', '"', '\'']),
                // `-a secret`, `--pass secret`.
                _ => word == "-a" || word.starts_with("--"),
            };
            let is_secret = word == "-a" || SECRET_WORDS.iter().any(|secret| word.contains(secret));
            is_separator && is_secret
        })
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_credential_is_masked() {
        for (value, shown) in [
            // Nothing to hide.
            ("redis:6379", "redis:6379"),
            ("a:1,b:2", "a:1,b:2"),
            ("[::1]:6379", "[::1]:6379"),
            ("/run/redis.sock", "/run/redis.sock"),
            ("redis://h:6379/3", "redis://h:6379/3"),
            ("token:6379", "token:6379"),
            ("monkeys", "monkeys"),
            ("ssl=true", "ssl=true"),
            ("", ""),
            // User and password of a URL.
            ("redis://user:hunter2@h:6379", "redis://***@h:6379"),
            ("rediss://:hunter2@h/0", "rediss://***@h/0"),
            ("redis://hunter2@h", "redis://***@h"),
            ("redis://user:hun@ter/2@h", "redis://***@h"),
            ("redis://user:hun ter2@h:1", "redis://***@h:1"),
            ("redis://u:hunter2@a:1,redis://u:hunter3@b:1", "redis://***@b:1"),
            ("http://u:hunter2@h?password=hunter2", "http://***@h?password=***"),
            ("redis://u:authkey=hunter2@h", "redis://***"),
            ("user:hunter2@h:6379", "***@h:6379"),
            ("hunter2@h", "***@h"),
            ("user:hun ter2@h", "***@h"),
            // Settings in a row.
            ("h:6379,password=hunter2", "h:6379,password=***"),
            ("h:6379,password=hunter2,ssl=true", "h:6379,password=***"),
            ("h:6379,Password = hun,ter2", "h:6379,Password =***"),
            ("h:6379,password=hun@ter2", "h:6379,password=***"),
            ("h:6379,user=a,pwd=hunter2", "h:6379,user=a,pwd=***"),
            ("h:6379?auth=hunter2", "h:6379?auth=***"),
            ("h:6379;token=hunter2", "h:6379;token=***"),
            ("redisPassword=hunter2", "redisPassword=***"),
            ("AccessKey=hunter2", "AccessKey=***"),
            ("password: hunter2", "password:***"),
            ("{\"password\":\"hunter2\"}", "{\"password\":***"),
            ("redis-cli -h h -a hunter2", "redis-cli -h h -a ***"),
            ("h --pass hunter2", "h --pass ***"),
        ] {
            assert_eq!(masked(value), shown, "{value}");
            assert!(!masked(value).contains("hunter"), "{value}");
        }
    }
}
