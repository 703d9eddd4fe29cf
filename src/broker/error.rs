//! The failures of brokers.

use std::fmt;

/// Why a broker did not do something. The API shows the text after a prefix of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BrokerError {
    /// The kind of failure.
    pub kind: BrokerErrorKind,
    /// The whole text, for clients and logs.
    pub message: String,
}

/// Kinds of failure, by the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// The server cannot be reached or cannot answer now.
    Unavailable,
    /// The server refused this operation; repeating it does not help.
    Rejected,
    /// The settings or credentials are wrong; only a change of the component helps.
    Misconfigured,
    /// The broker has been closed.
    Closed,
}

impl BrokerError {
    /// An error of this kind with this text.
    pub fn new(kind: BrokerErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// The broker has been closed.
    pub fn closed() -> Self {
        Self::new(BrokerErrorKind::Closed, "component is closed")
    }

    /// May the same operation succeed later?
    pub fn is_transient(&self) -> bool {
        self.kind == BrokerErrorKind::Unavailable
    }
}
