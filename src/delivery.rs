//! The delivery path: from a broker's message to the app's verdict and its settlement.

pub mod supervisor;
