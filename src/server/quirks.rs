//! Where hyper answers or accepts otherwise than daprd's server, which clients rely on. Nothing else in the crate works
//! around hyper.

pub(super) mod h2c_upgrade;
pub(super) mod hyper_errors;
pub(super) mod peek;
pub(super) mod refusals;
