//! An event as the sample app reads it, and the app's answer.

use cloudevents::{AttributesReader, Data};
use serde_json::Value;

/// The app's answer to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    Retry,
    Drop,
}

impl Answer {
    pub(super) fn body(self) -> &'static str {
        match self {
            Self::Success => r#"{"status":"SUCCESS"}"#,
            Self::Retry => r#"{"status":"RETRY"}"#,
            Self::Drop => r#"{"status":"DROP"}"#,
        }
    }
}

/// The parts of a CloudEvent that the app uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: String,
    /// `orderId`, if it is a number.
    pub(super) order: Option<u64>,
    busy_warehouse: bool,
    expired_card: bool,
}

impl Event {
    /// Read a request body with the CloudEvents SDK, as an app would. A body that is not a CloudEvent is an event
    /// without content: the app of a demo takes anything.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(event) = serde_json::from_slice::<cloudevents::Event>(body) else { return Self::default() };
        let data = match event.data() {
            Some(Data::Json(data)) => data,
            Some(Data::String(_) | Data::Binary(_)) | None => &Value::Null,
        };
        Self {
            id: event.id().to_owned(),
            kind: event.ty().to_owned(),
            order: data["orderId"].as_u64(),
            busy_warehouse: data["warehouse"] == "busy",
            expired_card: data["card"] == "expired",
        }
    }

    /// The app's answer to this delivery of the event, counted from 1.
    pub(super) fn answer(&self, attempt: u32) -> Answer {
        if self.expired_card {
            Answer::Drop
        } else if self.busy_warehouse && attempt == 1 {
            Answer::Retry
        } else {
            Answer::Success
        }
    }
}
