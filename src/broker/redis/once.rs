//! At most once (`ack: none`): an entry is acknowledged before its sink gets it. Redis says yes to one of all who try, so that neither a
//! take-over nor a lost answer makes a second delivery; and until that moment an entry is as safe as any other.

use deadpool_redis::redis::{RedisError, Value, cmd};

use super::Shared;
use super::entry::EntryId;

/// Acknowledge an entry, and tell whether it was still there to be acknowledged: if not, somebody has had it.
///
/// # Errors
/// If Redis did not answer. The entry may be acknowledged all the same; it is then gone.
pub(super) async fn claim(shared: &Shared, topic: &str, id: EntryId) -> Result<bool, RedisError> {
    let mut command = cmd("XACK");
    command.arg(topic).arg(&shared.settings.group).arg(id.to_string());
    Ok(shared.connections.command(&command).await? == Value::Int(1))
}
