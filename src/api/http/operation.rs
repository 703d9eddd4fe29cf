//! What a call asks for, as the log of API calls names it.

/// The operations of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Publish,
    BulkPublish,
    GetMetadata,
    PutMetadata,
    Health,
    OutboundHealth,
    Shutdown,
    Document,
    NotConfigured,
    Invocation,
}

impl Operation {
    /// Its name in the log of calls, where paths are not to be shown; empty for building blocks that are not ours.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "PublishEvent",
            Self::BulkPublish => "BulkPublishEvent",
            Self::GetMetadata => "GetMetadata",
            Self::PutMetadata => "PutMetadata",
            Self::Health => "Healthz",
            Self::OutboundHealth => "HealthzOutbound",
            Self::Shutdown => "Shutdown",
            Self::Document => "GetOpenapi",
            Self::NotConfigured => "",
            Self::Invocation => "InvokeService",
        }
    }
}
