//! The list of brokers: component type -> constructor.
