//! The embedded broker: messages live in this process and end with it.
