//! The settings of a sidecar, resolved from flags, environment and Configuration files into one valid value.
//!
//! [`Settings::resolve`] makes them and collects all errors. [`LogSettings`] is resolved first, because errors are logged.
//! `runtime` hands each section to the part that it is for.

mod log;
mod resolve;
mod settings;

pub use self::log::{LogError, LogSettings};
pub use self::resolve::{ConfigError, Resolved};
pub use self::settings::{
    ApiAccess, AppHealthSettings, AppProtocol, AppSettings, CallLog, HttpSettings, InitEndpoints, MetricsSettings,
    Settings,
};
