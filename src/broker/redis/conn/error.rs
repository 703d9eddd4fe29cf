//! Failures of commands: whether the command may have been executed, whether a retry can succeed, and how the error reads.

use std::fmt;
use std::io;
use std::sync::Arc;

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

/// Why a command has no reply.
#[derive(Clone, Debug)]
pub(in crate::broker::redis) enum SendError {
    /// It was certainly not executed, and may succeed when it is sent again.
    NotExecuted(RedisError),
    /// It may have been executed, or it was refused and would be refused again.
    MaybeExecuted(RedisError),
}

impl SendError {
    /// The failure of a command whose reply was this error, or that got no reply.
    pub(super) fn of_command(error: RedisError) -> Self {
        if is_temporary_refusal(&error) || error.redirect_node().is_some() {
            Self::NotExecuted(error)
        } else {
            Self::MaybeExecuted(error)
        }
    }

    /// The failure to reach the server. Wrong credentials do not get right by a retry.
    pub(super) fn unreachable(error: RedisError) -> Self {
        if is_transient(&error) { Self::NotExecuted(error) } else { Self::MaybeExecuted(error) }
    }

    /// A reply within a pipeline: a refusal that may pass is a failure, any other error stays a value.
    pub(super) fn of_reply(reply: Value) -> Result<Value, Self> {
        temporary_refusal(&reply).map_or(Ok(reply), |error| Err(Self::NotExecuted(error)))
    }

    /// The error of the server or the connection.
    pub(in crate::broker::redis) fn into_error(self) -> RedisError {
        match self {
            Self::NotExecuted(error) | Self::MaybeExecuted(error) => error,
        }
    }
}

/// The settings do not fit the server (TLS, certificates), so a retry cannot succeed. The text says what to change.
#[derive(Clone, Debug)]
pub(super) struct SettingsMismatch(pub(super) String);

impl fmt::Display for SettingsMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsMismatch {}

impl From<SettingsMismatch> for io::Error {
    fn from(mismatch: SettingsMismatch) -> Self {
        Self::new(io::ErrorKind::InvalidData, mismatch)
    }
}

impl From<SettingsMismatch> for RedisError {
    fn from(mismatch: SettingsMismatch) -> Self {
        io::Error::from(mismatch).into()
    }
}

/// An error of this kind without further words.
pub(in crate::broker::redis) fn io_error(kind: io::ErrorKind) -> RedisError {
    io::Error::from(kind).into()
}

/// The I/O error inside, if there is one.
pub(super) fn io_cause(error: &RedisError) -> Option<&io::Error> {
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<Shared>()?.downcast_ref()
}

fn settings_mismatch(error: &RedisError) -> Option<&SettingsMismatch> {
    io_cause(error)?.get_ref()?.downcast_ref()
}

/// Must the connection be replaced after this error?
pub(in crate::broker::redis) fn is_broken(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client) || error.is_unrecoverable_error()
}

/// Is the server a replica that takes no writes?
pub(in crate::broker::redis) fn is_read_only(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// The error of a reply that shows the server to be a replica.
pub(super) fn read_only_reply(reply: &Value) -> Option<RedisError> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    (error.kind() == Some(ServerErrorKind::ReadOnly)).then(|| error.clone().into())
}

/// Does the server or the connection fail, rather than this command?
pub(in crate::broker::redis) fn is_transient(error: &RedisError) -> bool {
    is_broken(error) || is_temporary_refusal(error)
}

/// Can a retry succeed without a change of the settings?
pub(super) fn is_worth_retrying(error: &RedisError) -> bool {
    is_transient(error) && settings_mismatch(error).is_none()
}

/// Of two servers' errors the one that a retry can heal: the settings are blamed only if every server refuses them.
pub(super) fn prefer_transient(before: Option<RedisError>, now: RedisError) -> RedisError {
    match before {
        Some(before) if is_worth_retrying(&before) => before,
        _ => now,
    }
}

/// Did the server explicitly refuse, and may it accept the same command in a moment? Then nothing was executed.
fn is_temporary_refusal(error: &RedisError) -> bool {
    let by_kind = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::MasterDown
        )
    );
    by_kind
        || error.code() == Some("NOREPLICAS")
        || error.detail().is_some_and(|detail| detail.contains("max number of clients reached"))
}

/// The error of a reply within a pipeline that may pass, or that names another server of the cluster.
pub(super) fn temporary_refusal(reply: &Value) -> Option<RedisError> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    let redirected = matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask));
    let error = RedisError::from(error.clone());
    (redirected || is_temporary_refusal(&error)).then_some(error)
}

/// The text of an error, in the words of daprd where it has some: what the server said, or what failed on the way to `host`.
pub(in crate::broker::redis) fn error_text(error: &RedisError, host: &str) -> String {
    let host = if host.is_empty() { "localhost:6379" } else { host };
    if let Some(mismatch) = settings_mismatch(error) {
        return mismatch.to_string();
    }
    if error.is_connection_refusal() {
        return format!("dial tcp {host}: connect: connection refused");
    }
    if error.is_timeout() {
        return format!("dial tcp {host}: i/o timeout");
    }
    if error.kind() == ErrorKind::Parse {
        return format!("{host} does not speak the Redis protocol");
    }
    if error.kind() == ErrorKind::AuthenticationFailed && error.code().is_none() {
        // The redis crate does not pass on what the server said.
        return "WRONGPASS invalid username-password pair or user is disabled.".to_owned();
    }
    match (error.code(), error.detail()) {
        (Some("MOVED"), Some(detail)) => {
            format!("MOVED {detail} (the server is one of a cluster: set redisType to cluster)")
        }
        (Some(code), Some(detail)) => {
            // A server that does not know AUTH repeats the password that was sent with it.
            let detail = detail.split(", with args beginning with").next();
            format!("{code} {}", detail.unwrap_or_default())
        }
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_command_is_not_shown() {
        let said = b"-ERR unknown command 'AUTH', with args beginning with: 'default' 'hunter2' \r\n";
        let error = parse_redis_value(said).unwrap().extract_error().unwrap_err();
        assert_eq!(error_text(&error, "h:1"), "ERR unknown command 'AUTH'");
    }
}
