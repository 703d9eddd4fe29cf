//! The kinds of documents: one file for what each of them holds and how it is read.

pub mod component;
pub mod component_error;
pub mod component_type;
pub mod configuration;
pub mod manifest;
pub mod pipeline;
pub mod policies;
pub mod resiliency;
pub mod run_file;
pub mod subscription;

mod common_keys;
