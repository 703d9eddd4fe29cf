//! The kinds of documents: one file for what each of them holds and how it is read.

pub mod component;
pub mod configuration;
pub mod manifest;
pub mod pipeline;
pub mod resiliency;
pub mod run_file;
pub mod subscription;

mod head;
