//! Resource files: the folders of `--resources-path` read, checked and filtered for one app.
//!
//! YAML becomes typed values here, and every finding carries file and line; no module above sees YAML. Follows
//! tests/spec/resources-cli.md, "4. Reading resource directories" to "9. Configuration files". [`Resources::load`] is
//! the entry point. `files` lists and watches what is on disk, `yaml` parses it by Go's rules, `kinds` holds one file
//! per kind of resource, and `load` puts all folders together.

pub mod advice;
pub mod difference;
pub mod files;
pub mod kinds;
pub mod last_good;
pub mod resolve;
pub mod secrets;
pub mod yaml;

mod load;
mod load_error;
mod set;

pub use self::load::LoadRequest;
pub use self::load_error::LoadError;
pub use self::set::Resources;

#[cfg(test)]
mod tests;
