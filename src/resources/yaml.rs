//! YAML as Kubernetes and Go read it: text to nodes, nodes to typed fields, each with its line.

pub mod diagnostics;
pub mod error;
pub mod fields;
pub mod key_lines;
pub mod parse;
pub mod value;
