//! W3C trace context: read, continue, pass on (spec http-api.md 12, delivery.md A7 and B20). No exporter.

/// What tracing does, from `spec.tracing.samplingRate`.
#[derive(Clone, Debug, PartialEq)]
pub enum Tracing {
    /// `samplingRate` unset: contexts are passed on, no spans are made.
    PassOn,
    /// `samplingRate` 0: nothing is read or written.
    Off,
    /// Every request and delivery is a span; roots are sampled by this ratio.
    Spans {
        /// 0 to 1.
        ratio: f64,
    },
}

impl Tracing {
    /// From the text of `samplingRate`.
    pub fn from_rate(_rate: Option<&str>) -> Self {
        Self::PassOn
    }

    /// The `traceparent` header of a delivery, from the event's `traceparent` (else `traceid`) attribute if that is text (B20).
    pub fn at_delivery(&self, _of_event: Option<&str>) -> Option<String> {
        None
    }
}
