//! CloudEvents: what is in an event, and how one is made and read. Knows nothing of brokers or HTTP.
