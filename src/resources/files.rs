//! Files on disk: which ones a resource folder holds, their text, and when they change.

pub mod encoding;
pub mod folder;
pub mod watch;

mod links;
