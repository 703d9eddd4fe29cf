//! Counters of one sidecar, in the names of daprd (spec observability.md).

/// The registry.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// The page a scraper reads.
    pub fn render(&self) -> String {
        String::new()
    }
}
